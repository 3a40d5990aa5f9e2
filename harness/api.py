"""Boards from Python: run an experiment, read a board, get a table (docs/reference/python.md)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.config import ExperimentSpec, load_spec
from harness.errors import RunError
from harness.publish.board import Board, build_board

if TYPE_CHECKING:
    from harness.executors import Executor


@dataclass(frozen=True, slots=True)
class Experiment:
    """One configuration: data, network, training, protocol."""

    spec: ExperimentSpec

    @classmethod
    def from_config(
        cls,
        config: str | Path | None = None,
        *,
        data_root: str | Path | None = None,
        seeds: Sequence[int] | None = None,
        device: str | None = None,
        changes: Sequence[str] = (),
    ) -> Experiment:
        """Read a config file, or a built-in one by its name; the default board's without one.

        Args:
            config: a file, or a name that ``harness config list`` prints.
            data_root: the folder of the data, for configs that read one.
            seeds: in the place of the config's own.
            device: cpu or cuda.
            changes: ``key.of.a.block=value`` each, as --set takes them.

        Raises:
            InputError: as ``harness bench`` says it, in one line.
        """
        return cls(
            load_spec(
                None if config is None else Path(config),
                data_root=None if data_root is None else Path(data_root),
                seeds=None if seeds is None else tuple(seeds),
                device=device,
                changes=changes,
            )
        )

    def run(
        self,
        strategies: str | Iterable[str] = "all",
        *,
        out: str | Path = "out",
        workers: int = 1,
        retry_failed: bool = False,
        executor: str | Executor = "local",
    ) -> Board:
        """Run what is not finished in a folder, write its leaderboard, and return it.

        It goes on where an earlier call stopped. With several workers the calling file needs the
        guard ``if __name__ == "__main__"``, as multiprocessing does.

        Args:
            strategies: identities such as ``cereals-g3-entropy[alpha=0.3]`` or
                ``mine.py:function``, or all.
            out: the folder of the board.
            workers: processes of one thread.
            retry_failed: try runs again that failed before.
            executor: who does the jobs: a name as ``--executor`` takes it, or a function.

        Raises:
            InputError: bad input, before any work.
            RunError: a run failed; the others are finished and its folder holds ``failure.txt``.
        """
        from harness.invocation import Invocation
        from harness.machine import check_machine
        from harness.publish.write import write_board
        from strategies import parse_list

        asked = strategies if isinstance(strategies, str) else ",".join(strategies)
        names = [strategy.name for strategy in parse_list(asked)]
        machine = check_machine(workers, 20.0, self.spec.device)
        board = Invocation(
            self.spec, names, Path(out), machine, retry_failed=retry_failed, executor=executor
        )
        ending = board.run(publish=write_board)
        if ending.failed:
            first = ending.failed[0]
            more = f" (and {len(ending.failed) - 1} more)" if len(ending.failed) > 1 else ""
            raise RunError(f"{out}: {first.job.title}: {first.error}{more}")
        return load_board(out)


def load_board(*folders: str | Path) -> Board:
    """Read a board from run folders, or from a published folder with ``runs.tar.xz``.

    Args:
        folders: one for each machine that runs were done on.

    Raises:
        InputError: no finished run, or runs of different boards.
    """
    return build_board(*map(Path, folders))
