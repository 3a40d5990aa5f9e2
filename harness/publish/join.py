"""Strategies of another group, joined to a published board: what must fit, and the board with them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.archive import ARCHIVE, pack, run_files, unpacked
from harness.config import NOT_IN_THE_DIGEST
from harness.errors import InputError, shorten
from harness.files import draft_folder
from harness.publish.board import (
    Board,
    budget_unit,
    build_board,
    check_runs,
    read_runs,
    start_gap,
)
from harness.publish.notes import versions
from harness.publish.significance import Significance
from harness.publish.write import write_files
from harness.results import ORIGIN, UNNAMED_GROUP, Run, find_runs, impossible_origin
from harness.scoring import mean_iou
from harness.types import FULL_DATA


@dataclass(frozen=True, slots=True)
class Joining:
    """Runs that fit a board.

    place: the folder of the board. added: runs of strategies that it does not have, with their
    origin. lines: what was compared, for a person.
    """

    place: Path
    added: list[Run]
    lines: list[str]


@dataclass(frozen=True, slots=True)
class _Difference:
    """Something in which a run is not like the board's, with both values.

    is_arithmetic: another processor or version may be the reason, so that --allow-mixed takes it.
    """

    what: str
    ours: object
    external: object
    is_arithmetic: bool = False


def check_joining(
    place: Path, folders: Sequence[Path], origin: str | None = None, *, mixed: bool = False
) -> Joining:
    """Read the runs of another group and hold them against a published board.

    Args:
        place: the folder of the board.
        folders: with runs of the other group.
        origin: who they are; for runs that do not carry it already.
        mixed: take what other arithmetic makes: another device, trainer or version of torch, and
            a round 0 or full-data references that differ.

    Raises:
        InputError: one line that names both sides.
    """
    if origin is not None and (fault := impossible_origin(origin)):
        raise InputError(f"--origin: {fault}")
    board = build_board(place, mixed=mixed)
    where = ", ".join(map(str, folders))
    runs = _read(folders, where)
    sides = f"{place} and {where}"
    for run in runs:
        _refuse(sides, run, _of_the_board(board, run), mixed=mixed)
    equal: list[Run] = []
    left_out: list[Run] = []
    added: list[Run] = []
    for run in runs:
        if run.info.strategy not in {FULL_DATA, *board.groups}:
            added.append(replace(run, origin=run.origin or origin or UNNAMED_GROUP))
            continue
        found = list(_of_the_same_name(board, run))
        _refuse(sides, run, found, mixed=mixed)
        is_equal = any(run.rounds == one.rounds for one in _namesakes(board, run))
        (equal if is_equal else left_out).append(run)
    if not added:
        raise InputError(
            f"{where}: must have a strategy that {place} does not have, got "
            f"{', '.join(sorted({run.info.strategy for run in runs}))}"
        )
    _check_seeds(place, board, where, added)
    check_runs(added)
    for run in added:
        _refuse(sides, run, _of_the_seed(board, run), mixed=mixed)
    return Joining(place, added, [*_said(board, added), *_of_both(equal, left_out)])


def _check_place(place: Path, out: Path) -> None:
    """Refuse a folder for the new board in which something would be lost."""
    if out.exists() and not out.is_dir():
        raise InputError(f"--out must be a folder, got the file {out}")
    is_board = out.resolve() == place.resolve()
    if (out / "runs").is_dir() or (not is_board and (out / ARCHIVE).exists()):
        raise InputError(
            f"--out must be a new folder, or {place} itself where its runs are in {ARCHIVE}; "
            f"{out} holds runs"
        )


def write_joined(
    joining: Joining,
    out: Path,
    *,
    mixed: bool = False,
    kinds: Sequence[str] = ("png",),
    photos: dict[str, Path] | None = None,
) -> tuple[Board, Significance | None, list[str], list[str]]:
    """Write a board with what was joined to it: its archive, and all files computed from it.

    The run files of both groups are taken as they are; a file beside each joined run says whose it
    is. All is made apart first. Then a new folder takes its name at once; in a folder that is there
    the archive is replaced first, from which ``harness publish`` computes all else.

    Returns:
        The board, and what ``write_files`` returns.

    Raises:
        InputError: ``out`` holds runs, and is not the board with an archive.
    """
    _check_place(joining.place, out)
    out = out.absolute()
    with draft_folder(out.parent, "joined") as draft:
        new = draft / "board"
        pack(_files(joining), new / ARCHIVE)
        board = build_board(new, mixed=mixed)
        written = write_files(board, new, kinds=kinds, photos=photos)
        if out.exists():
            for file in sorted(new.iterdir(), key=lambda file: file.name != ARCHIVE):
                file.replace(out / file.name)
        else:
            new.rename(out)
    return board, *written


def _files(joining: Joining) -> dict[str, bytes | Path]:
    """Return the run files of the board and of what is joined, by their names in the archive."""
    files = run_files(unpacked(joining.place))
    for run in joining.added:
        if run.path is None:
            continue
        folder = f"runs/{run.info.strategy}/seed-{run.info.seed}/"
        of_all = run_files(run.path.parent.parent.parent)
        files |= {name: file for name, file in of_all.items() if name.startswith(folder)}
        files[folder + ORIGIN] = f"{run.origin}\n".encode()
    return files


def _read(folders: Sequence[Path], where: str) -> list[Run]:
    """Read finished runs; refuse a folder without any, and runs that are not finished."""
    places = [unpacked(folder) for folder in folders]
    for folder, place in zip(folders, places, strict=True):
        if not find_runs(place):
            raise InputError(f"{folder}: must be a folder with runs of harness bench, found none")
    runs = sorted(read_runs(places), key=lambda run: (run.info.strategy, run.info.seed))
    for run in runs:
        rounds = 0 if run.info.strategy == FULL_DATA else int(run.info.config["harness"]["rounds"])
        if len(run.rounds) < rounds + 1:
            raise InputError(
                f"{where}: {run.info.strategy} seed {run.info.seed} must be finished, got "
                f"{len(run.rounds)} of {rounds + 1} rounds"
            )
    return runs


def _refuse(sides: str, run: Run, found: Iterable[_Difference], *, mixed: bool) -> None:
    """Refuse the first difference, unless it is one of arithmetic and these are allowed."""
    for one in found:
        if one.is_arithmetic and mixed:
            continue
        allowed = "; --allow-mixed takes it, and marks the board" if one.is_arithmetic else ""
        raise InputError(
            f"{sides} ({run.info.strategy} seed {run.info.seed}) must have the same {one.what}, "
            f"got {_shown(one.ours)} and {_shown(one.external)}{allowed}"
        )


def _shown(value: object) -> str:
    return value if isinstance(value, str) else shorten(value, 200)


def _of_the_board(board: Board, run: Run) -> Iterator[_Difference]:
    """Yield in what a run differs from the board's own runs, which are all alike in it."""
    ours, external = next((one for one in board.runs if not one.origin), board.any_run), run
    a, b = ours.info, external.info
    if a.config_sha256 != b.config_sha256:
        keys = _differing_keys(a.config, b.config)
        yield _Difference(
            f"config{f' ({keys})' if keys else ''}", a.config_sha256[:12], b.config_sha256[:12]
        )
    for what, one, other in (
        ("data (fingerprint)", a.data_fingerprint[:12], b.data_fingerprint[:12]),
        ("unit of their budgets", budget_unit(ours), budget_unit(external)),
        ("classes", a.class_names, b.class_names),
        ("number of val images", a.val_images, b.val_images),
    ):
        if one != other:
            yield _Difference(what, one, other)
    if _labels(ours) != _labels(external):
        yield _Difference("label areas", *_first_apart(_labels(ours), _labels(external)))
    for what, one, other in (
        ("device", a.device, b.device),
        ("version of the trainer", a.trainer_version, b.trainer_version),
        (
            "torch",
            a.provenance.public_version("torch"),
            b.provenance.public_version("torch"),
        ),
    ):
        if one != other:
            yield _Difference(what, one, other, is_arithmetic=True)


def _of_the_seed(board: Board, run: Run) -> Iterator[_Difference]:
    """Yield in what a joined run differs from the board's runs of its seed."""
    own = board.own_run(run.info.seed) or next(
        one for group in board.groups.values() for one in group if one.info.seed == run.info.seed
    )
    a, b = own.info, run.info
    for what, one, other in (
        ("images, pixels and clicks of the pool", _pool(own), _pool(run)),
        ("budgets", *_first_apart(_budgets(own), _budgets(run))),
        ("seed set", *_first_apart(own.rounds[0].query, run.rounds[0].query)),
    ):
        if one != other:
            yield _Difference(what, one, other)
    if own.rounds[0].areas != run.rounds[0].areas:
        yield _Difference(
            f"round 0 (its mIoU differs by {100 * start_gap(own, run):.2f} points)",
            f"that of {a.strategy}, made on {a.provenance.machine}",
            f"one made on {b.provenance.machine}",
            is_arithmetic=True,
        )


def _of_the_same_name(board: Board, run: Run) -> Iterator[_Difference]:
    """Yield in what a run differs from the board's own of the same strategy and seed."""
    own = _namesakes(board, run)
    twin = next((one for one in own if one.info.seed == run.info.seed), None)
    if (
        own
        and (one := own[0].info)
        and (one.equation, one.code)
        != (
            run.info.equation,
            run.info.code,
        )
    ):
        yield _Difference(
            "strategy under that name; give it another",
            f"{one.equation} {one.code[:12]}".strip(),
            f"{run.info.equation} {run.info.code[:12]}".strip(),
        )
    if twin is not None and twin.rounds != run.rounds:
        gaps = [
            abs(mean_iou(a.areas) - mean_iou(b.areas))
            for a, b in zip(twin.rounds, run.rounds, strict=True)
        ]
        yield _Difference(
            "rounds",
            f"those of the board, made on {twin.info.provenance.machine}",
            f"others, by up to {100 * max(gaps):.2f} points of mIoU, made on "
            f"{run.info.provenance.machine}",
            is_arithmetic=True,
        )


def _namesakes(board: Board, run: Run) -> list[Run]:
    """Return the board's runs of a run's strategy."""
    return board.groups.get(run.info.strategy, board.references)


def _check_seeds(place: Path, board: Board, where: str, added: Sequence[Run]) -> None:
    """Refuse strategies without the seeds that the board's strategies share, or with others.

    Choice: pairs are tested on the seeds that all strategies have. One with fewer would take seeds
    from every test of the others, and a seed that nobody else has cannot be compared.
    """
    by_name = [{run.info.seed for run in group} for group in board.groups.values()]
    shared, known = set.intersection(*by_name), set.union(*by_name)
    seeds: dict[str, set[int]] = defaultdict(set)
    for run in added:
        seeds[run.info.strategy].add(run.info.seed)
    for name, found in seeds.items():
        if not shared <= found <= known:
            raise InputError(
                f"{name} of {where} must have the seeds of {place}, {_listed(shared)}, got "
                f"{_listed(found)}: pairs are tested on seeds that all strategies have"
            )


def _said(board: Board, added: Sequence[Run]) -> list[str]:
    """Return what was compared."""
    names = sorted({(run.info.strategy, run.origin) for run in added})
    seeds = {run.info.seed for run in added}
    own = {seed: board.own_run(seed) for seed in seeds}
    gap = max((start_gap(run, twin) for run in added if (twin := own[run.info.seed])), default=0.0)
    return [
        *(f"joins {name} of {origin}" for name, origin in names),
        f"seeds {_listed(seeds)}; round 0 differs by up to {100 * gap:.2f} points of mIoU"
        if gap
        else f"seeds {_listed(seeds)}; round 0 is the board's",
        f"the board: {versions(board.runs)}",
        f"joined: {versions(added)}",
    ]


def _labels(run: Run) -> list[tuple[str, list[int]]]:
    return [(areas.image_id, areas.label) for areas in run.rounds[0].areas]


def _pool(run: Run) -> tuple[int, int, int]:
    return run.info.train_images, run.info.train_px, run.info.totals.polygon


def _budgets(run: Run) -> list[int]:
    """Return the budget of each round in the board's unit."""
    clicks = [record.budget_clicks for record in run.rounds]
    return [
        record.budget_px if own is None else own
        for record, own in zip(run.rounds, clicks, strict=True)
    ]


def _first_apart(ours: Sequence[object], external: Sequence[object]) -> tuple[object, object]:
    """Return the first entries that differ; where one is longer, how many there are."""
    pairs = ((a, b) for a, b in zip(ours, external, strict=False) if a != b)
    return next(pairs, (len(ours), len(external)))


_MOST_KEYS = 4


def _differing_keys(ours: dict[str, Any], external: dict[str, Any]) -> str:
    """Name the keys in which two configs differ, of those that determine results."""
    one, other = dict(_flat(ours)), dict(_flat(external))
    keys = [key for key in sorted({*one, *other}) if one.get(key) != other.get(key)]
    return ", ".join([*keys[:_MOST_KEYS], *(["..."] if len(keys) > _MOST_KEYS else [])])


def _flat(block: dict[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for key, value in block.items():
        name = f"{before}{key}"
        if name in {*NOT_IN_THE_DIGEST, "name", "data.root", "harness.seeds"}:
            continue
        if isinstance(value, dict):
            yield from _flat(value, f"{name}.")
        else:
            yield name, json.dumps(value, sort_keys=True)


def _listed(seeds: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(seeds)))


def _of_both(equal: Sequence[Run], left_out: Sequence[Run]) -> list[str]:
    """Return what is said about strategies that both sides have."""
    said = {"equal on both sides": equal, "left out, since the board has its own": left_out}
    return [f"{what}: {_named(runs)}" for what, runs in said.items() if runs]


def _named(runs: Sequence[Run]) -> str:
    seeds: dict[str, set[int]] = defaultdict(set)
    for run in runs:
        seeds[run.info.strategy].add(run.info.seed)
    return "; ".join(f"{name} seeds {_listed(found)}" for name, found in seeds.items())
