"""An Optuna study that several processes share.

Bound to its config and data, killed trials found and tried again.
"""

from __future__ import annotations

import itertools
import json
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
from filelock import FileLock
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import make_url

from harness.errors import InputError, one_line, secret_of, without_password
from harness.tune.space import Space, Value

Objective = Literal["aubc-clicks", "c95", "aubc-clicks,time"]
DIRECTIONS: dict[str, list[Literal["maximize", "minimize"]]] = {
    "aubc-clicks": ["maximize"],
    "c95": ["minimize"],
    "aubc-clicks,time": ["maximize", "minimize"],
}
Pruning = Literal["median", "hyperband", "none"]
Sampling = Literal["tpe", "grid"]

_BOUND_TO = "harness:bound-to"
_HEARTBEAT = "harness:beat"
_OPENINGS = "harness:openings"
_UNDEFINED = "harness:undefined"
_HEARTBEAT_EVERY_S = 1.0
SHORTEST_GRACE_S = 4 * _HEARTBEAT_EVERY_S


Report = Callable[[float, int], None]
"""Takes the mean over the seeds so far, at a step that every trial passes in the same order.

It raises ``optuna.TrialPruned`` when the trial is not worth going on.
"""

Evaluate = Callable[[dict[str, Value], Report], Sequence[float]]
"""A point and a reporter -> the values of the objective."""


def open_storage(text: str) -> BaseStorage:
    """Open a journal file (safe for several processes), or any URL that Optuna takes, such as sqlite:///study.db.

    Raises:
        InputError: a URL that cannot be opened, a database in memory, a folder that cannot be
            written, or a damaged journal. No message holds a password.
    """
    shown = without_password(text)
    if not text.strip():
        raise InputError("--storage must be a file or a database URL, got nothing")
    try:
        if "://" in text:
            _refuse_memory(text, shown)
            return RDBStorage(text)
        path = Path(text).resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = _HealingLock(str(path))
        if path.exists():
            lock.acquire()
            lock.release()
            _check_journal(path)
        return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
    except InputError:
        raise
    except OSError as error:
        raise InputError(
            f"--storage {shown} must be a file in a writable folder, or a database URL "
            f"({error.strerror})"
        ) from error
    except Exception as error:  # noqa: BLE001  each database driver has errors of its own
        said = str(error).partition("(Background on this error")[0]
        reason = one_line(without_password(said, secret_of(text)))
        raise InputError(
            f"--storage {shown} cannot be opened ({reason}); it must be a file, or a URL such as "
            "sqlite:///study.db"
        ) from None


def _refuse_memory(text: str, shown: str) -> None:
    """Refuse a database that is gone with this process: the study could not go on.

    Raises:
        InputError: such a URL.
    """
    url = make_url(text)
    place = url.database or ""
    if url.get_backend_name() == "sqlite" and (
        place in {"", ":memory:"}
        or place.startswith("file::memory")
        or "memory" in url.query.values()
    ):
        raise InputError(
            f"--storage {shown} must outlive this process, got a database in memory; such as "
            "sqlite:///study.db"
        )


class _HealingLock(JournalFileOpenLock):
    """The lock of a journal; whoever takes it first cuts off a last line that was not written in full.

    Optuna would refuse the journal for good after a process that was killed while it wrote, and its
    own lock would outlive that process by half a minute; the kernel's dies with it.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._path = Path(path)
        self._lock = FileLock(f"{path}.flock")

    def acquire(self) -> bool:
        """Take the lock, then heal the journal; what is cut off is kept beside it."""
        self._lock.acquire()
        if self._path.exists():
            with self._path.open("rb+") as stream:
                content = stream.read()
                whole = content.rfind(b"\n") + 1
                if whole < len(content):
                    with self._path.with_name(self._path.name + ".torn").open("ab") as kept:
                        kept.write(content[whole:] + b"\n")
                    stream.truncate(whole)
        return True

    def release(self) -> None:
        """Let others write."""
        self._lock.release()


def _check_journal(path: Path) -> None:
    """Refuse what is no journal, before Optuna reads half of it.

    Raises:
        InputError: a line that is no JSON object, with its number.
    """
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                is_entry = isinstance(json.loads(line), dict)
            except (ValueError, RecursionError):
                is_entry = False
            if not is_entry:
                raise InputError(
                    f"--storage {path}:{number}: must be an entry of an Optuna journal; restore "
                    "the file, or name another"
                )


def open_study(
    storage: BaseStorage,
    name: str,
    space: Space,
    objective: Objective,
    bound_to: dict[str, str],
    *,
    sampler: Sampling,
    pruner: Pruning,
    seed: int,
    lock: Path,
) -> optuna.Study:
    """Open or start a study; its first trial is the default parameters.

    Args:
        bound_to: what must be the same for trials to be compared: config, data, code.

    Raises:
        InputError: the study is bound to something else, or the storage holds something else.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        try:
            study = optuna.create_study(
                storage=storage,
                study_name=name,
                directions=DIRECTIONS[objective],
                load_if_exists=True,
                pruner=_pruner(pruner, objective),
            )
            found = study.user_attrs.get(_BOUND_TO)
            # each opening has a random stream of its own: two processes, or a restart, must not ask
            # for the same points
            opening = int(study.user_attrs.get(_OPENINGS, 0))
            study.set_user_attr(_OPENINGS, opening + 1)
            draws = int(np.random.SeedSequence([seed, opening]).generate_state(1)[0])
            study.sampler = optuna.samplers.TPESampler(
                seed=draws, n_startup_trials=8, constant_liar=True
            )
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"study {name}: the storage cannot be read ({' '.join(str(error).split())}); "
                "give another --storage"
            ) from error
        if found is not None and (
            different := sorted(
                key for key in {*found, *bound_to} if found.get(key) != bound_to.get(key)
            )
        ):
            raise InputError(
                f"study {name} in this storage was started with another {', '.join(different)}; "
                "give what it was started with, or another --storage"
            )
        for point in [
            *([] if found else [space.defaults()]),
            *(_sweep(space) if sampler == "grid" else []),
        ]:
            study.enqueue_trial(point, skip_if_exists=True)
        study.set_user_attr(_BOUND_TO, bound_to)
    return study


def _sweep(space: Space) -> Iterator[dict[str, Value]]:
    """Yield all points of the grid: they are queued, so any number of processes may share them."""
    axes = space.grid()
    return (dict(zip(axes, point, strict=True)) for point in itertools.product(*axes.values()))


def _pruner(pruning: Pruning, objective: Objective) -> optuna.pruners.BasePruner:
    if pruning == "none" or "," in objective:
        return optuna.pruners.NopPruner()
    if pruning == "hyperband":
        return optuna.pruners.HyperbandPruner()
    return optuna.pruners.MedianPruner(n_startup_trials=4)


@dataclass(slots=True)
class Search:
    """Asks for trials until enough of them have ended, and takes over those whose process has died.

    With ``trials`` = 0 only what is queued is done: a grid.

    A process sends a heartbeat for its trial every few seconds. A trial is stale when this process
    has seen the same heartbeat for ``grace_s`` by its own clock, so clocks of two machines need not
    agree; its point is then queued again.
    """

    study: optuna.Study
    space: Space
    evaluate: Evaluate
    trials: int
    ended: Callable[[FrozenTrial], None] = lambda _trial: None
    grace_s: float = 60.0
    _seen: dict[int, tuple[Any, float]] = field(default_factory=dict)
    _own: set[int] = field(default_factory=set)

    def run(self) -> None:
        """Work until the study has its trials.

        Other processes' trials are waited for, in case they die.
        """
        while True:
            self._reap_stale_trials()
            trials = self.study.get_trials(deepcopy=False)
            states = [trial.state for trial in trials]
            started = sum(
                trial.state in {TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING}
                or _UNDEFINED in trial.user_attrs
                for trial in trials
            )
            if TrialState.WAITING in states or started < self.trials:
                self._run_one()
            elif TrialState.RUNNING in states:
                time.sleep(min(1.0, self.grace_s / 4))
            else:
                return

    def _run_one(self) -> None:
        trial = self.study.ask()
        self._own.add(trial.number)
        values: list[float] | None = None
        try:
            with _sending_heartbeats(trial):
                values = list(self.evaluate(self.space.suggest(trial), _reporter(trial)))
            state = TrialState.COMPLETE
            if not all(math.isfinite(value) for value in values):
                trial.set_user_attr(_UNDEFINED, str(values))
                values, state = None, TrialState.FAIL
        except optuna.TrialPruned:
            state = TrialState.PRUNED
        except UpdateFinishedTrialError:
            return  # somebody took this process for dead and queued the point again
        except Exception:
            self.study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
            raise
        except BaseException:
            self._retry(trial.number)  # interrupted: a later start goes on with it
            raise
        self.ended(self.study.tell(trial, values, state=state, skip_if_finished=True))

    def _reap_stale_trials(self) -> None:
        now = time.monotonic()
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if trial.number in self._own:
                continue
            heartbeat = trial.user_attrs.get(_HEARTBEAT)
            if (
                self._seen.get(trial.number, (None, 0.0))[0] != heartbeat
                or trial.number not in self._seen
            ):
                self._seen[trial.number] = heartbeat, now
            elif now - self._seen[trial.number][1] >= self.grace_s:
                self._retry(trial.number)

    def _retry(self, number: int) -> None:
        """Queue a trial's point again, then fail it.

        A kill in between costs a second try, not the point.
        """
        trials = self.study.get_trials(deepcopy=False)
        trial = trials[number]
        if not any(other.user_attrs.get("retry of") == number for other in trials):
            point = {
                **trial.system_attrs.get("fixed_params", {}),
                **trial.params,
            }  # it may have died between two parameters
            self.study.enqueue_trial(point, user_attrs={"retry of": number})
        with suppress(ValueError, UpdateFinishedTrialError):
            self.study.tell(number, state=TrialState.FAIL)


def _reporter(trial: optuna.Trial) -> Report:
    single = len(trial.study.directions) == 1

    def report(value: float, step: int) -> None:
        if single:
            trial.report(value, step)
            if trial.should_prune():
                raise optuna.TrialPruned

    return report


@contextmanager
def _sending_heartbeats(trial: optuna.Trial) -> Iterator[None]:
    """Show every few seconds that this trial's process is alive."""
    over = threading.Event()

    def send_heartbeats() -> None:
        number = 0
        while not over.is_set():
            with suppress(Exception):  # a busy database must not end the heartbeats
                trial.set_user_attr(_HEARTBEAT, number)
            number += 1
            over.wait(_HEARTBEAT_EVERY_S)

    thread = threading.Thread(target=send_heartbeats, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def bound_to(
    config_sha256: str, tune: dict[str, Any], data: str, objective: str, trainer_version: int
) -> dict[str, str]:
    """Return what binds a study.

    Trials of another config, data set, space, objective or trainer cannot be compared.
    """
    return {
        "config": config_sha256,
        "space": json.dumps(tune, sort_keys=True),
        "data": data,
        "objective": objective,
        "trainer": str(trainer_version),
    }
