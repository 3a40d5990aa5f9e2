"""Networks by what determines them.

Trained once, found again by every run that asks for the same.
"""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from pydantic import TypeAdapter

from harness.acquisition import Counters
from harness.errors import RunError
from harness.files import checksum, remove_own, write_text
from harness.loop import StageTimer, StoredNetwork
from harness.maps import DiskMaps
from harness.pool import LabelledPool
from harness.protocols import Network, Trainer
from harness.types import CostQuality, ImageAreas, LossPoint


@dataclass(frozen=True, slots=True)
class _Validation:
    areas: list[ImageAreas]
    cost_quality: CostQuality | None
    has_cost: bool
    weights_sha256: str


_SHARED, _WEIGHTS, _SCORES = "shared", "weights.pt", "validation.json"
_VALIDATION = TypeAdapter(_Validation)
_NOT_KEPT = re.compile(
    r"\.lock|training(-before)?\.ckpt|.+\.(map|features|segments|claim|holder)|\.(weights\.pt|validation\.json)-\w{8}"
)
OWN_FILES = re.compile(rf"weights\.pt|validation\.json|{_NOT_KEPT.pattern}")
"""Names of the files of a work folder."""
FEATURE_FOLDER, SUPERPIXEL_FOLDER = "features", "superpixels"
_PRIVATE = re.compile(rf"claims|{FEATURE_FOLDER}|{SUPERPIXEL_FOLDER}|.+-seed-\d+-.+|nobody-.+")
_KEY = re.compile(r"[0-9a-f]{16}")
"""Names of its folders: of claims, of a frozen backbone's features, of superpixels, of runs (``owner`` and
``rules``), and of networks by their key."""


def _folders_of_ours(parent: Path, names: re.Pattern[str]) -> list[Path]:
    """Return the folders in a folder that have a name of ours.

    No links, and none through a link.
    """
    if parent.is_symlink() or not parent.is_dir():
        return []
    return [
        path
        for path in sorted(parent.iterdir())
        if names.fullmatch(path.name) and path.is_dir() and not path.is_symlink()
    ]


def _shared_folders(folder: Path) -> list[Path]:
    """Return the folders of the networks that all runs of a seed share."""
    return [
        path
        for shared in _folders_of_ours(folder, re.compile(_SHARED))
        for path in _folders_of_ours(shared, _KEY)
    ]


NoteLosses = Callable[[int, Sequence[LossPoint]], None]
"""Takes the losses of a round's training."""


class NetworkStore:
    """Trains what is asked for, unless the same labels, seed, round, data and recipe were trained before.

    Round 0 is shared by all strategies of a seed and is kept until the board is finished. Later
    ones belong to one run (``owner`` names its folder) and go when they are used, so that two runs
    that ask the same cannot delete each other's. Maps of different window ``rules`` lie apart, and
    so do the private folders of their runs.
    """

    def __init__(
        self,
        trainer: Trainer,
        folder: Path,
        *,
        data_fingerprint: str,
        stage: StageTimer,
        counters: Counters,
        map_bytes: int | None = None,
        note_losses: NoteLosses = lambda _round, _losses: None,
    ) -> None:
        self._trainer, self._folder, self._map_bytes = trainer, folder, map_bytes
        self._data = data_fingerprint
        self._stage, self._counters, self._note_losses = stage, counters, note_losses
        self._owner, self._rules = "nobody", "own"

    def of(self, owner: str, rules: str | None = None) -> NetworkStore:
        """Return the same store as a run uses it.

        Args:
            owner: names the folder of what this run alone asks for.
            rules: the window rules whose maps lie apart; as before without it.
        """
        store = copy.copy(self)
        store._owner, store._rules = owner, rules or self._rules  # noqa: SLF001
        return store

    def get_or_train(
        self, pool: LabelledPool, seed: int, round_number: int, *, with_cost: bool
    ) -> StoredNetwork:
        """Return the networks that these labels, this seed and this round determine."""
        key = hashlib.sha256(
            f"{self._trainer.recipe} {self._data} {seed} {round_number} {pool.digest()}".encode()
        ).hexdigest()[:16]
        folder = self._place(key, round_number)
        self._counters.trainings_asked += 1
        with self._alone_with(folder, round_number):
            return self._get_or_train(key, folder, pool, seed, round_number, with_cost=with_cost)

    def _alone_with(self, folder: Path, round_number: int) -> AbstractContextManager[object]:
        """Keep others from training the same at the same time, where others may ask for it."""
        if round_number:
            return nullcontext()
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / ".lock")

    def _get_or_train(
        self,
        key: str,
        folder: Path,
        pool: LabelledPool,
        seed: int,
        round_number: int,
        *,
        with_cost: bool,
    ) -> StoredNetwork:
        weights, scores = folder / _WEIGHTS, folder / _SCORES
        found = _read_validation(scores, weights)
        if found is not None and (found.has_cost or not with_cost):
            network = self._trainer.load(weights, seed, round_number)
            return StoredNetwork(key, network, found.areas, found.cost_quality, self._maps(folder))
        self._counters.trainings_run += 1
        with self._stage(round_number, "training"):
            network = self._train(
                pool, seed, round_number, folder / "training", with_cost=with_cost
            )
        self._note_losses(round_number, network.losses)
        with self._stage(round_number, "evaluation"):
            areas, quality = network.evaluate(), network.cost_quality()
        network.save(weights)
        validation = _Validation(areas, quality, network.has_cost, _sha256(weights))
        record = _VALIDATION.dump_json(validation).decode()
        write_text(scores, f"{checksum(record)}\n{record}\n")
        remove_own(folder / "training", OWN_FILES)
        return StoredNetwork(
            key, network, validation.areas, validation.cost_quality, self._maps(folder)
        )

    def _train(
        self,
        pool: LabelledPool,
        seed: int,
        round_number: int,
        checkpoints: Path,
        *,
        with_cost: bool,
    ) -> Network:
        """Train; what a training that failed has left is of no use to one that tries again."""
        try:
            return self._trainer.fit(
                pool, seed, round_number, with_cost=with_cost, checkpoints=checkpoints
            )
        except RunError:
            remove_own(checkpoints, OWN_FILES)
            raise

    def _maps(self, folder: Path) -> DiskMaps:
        return DiskMaps(folder / f"maps-{self._rules}", self._map_bytes)

    def discard(self, trained: StoredNetwork) -> None:
        """Delete networks that only one run could ask for again."""
        remove_own(self.private / trained.key, OWN_FILES)

    @property
    def private(self) -> Path:
        """Where the networks and maps lie that only the run at hand asks for."""
        return self._folder / f"{self._owner}-{self._rules}"

    def forget(self) -> None:
        """Delete all that lies in the private folder of the run at hand."""
        remove_own(self.private, OWN_FILES)

    @staticmethod
    def clear_up(folder: Path) -> None:
        """Delete what a finished board leaves, but for the networks of round 0.

        A strategy that is added later asks for those again. Nothing of others is touched.
        """
        for path in _folders_of_ours(folder, _PRIVATE):
            remove_own(path, OWN_FILES)
        for path in _shared_folders(folder):
            remove_own(path, _NOT_KEPT)

    @staticmethod
    def clear_all(folder: Path) -> None:
        """Delete all networks and maps of a board that is replaced by another one."""
        for path in [*_folders_of_ours(folder, _PRIVATE), *_shared_folders(folder)]:
            remove_own(path, OWN_FILES)

    def _place(self, key: str, round_number: int) -> Path:
        """Return where networks lie.

        Round 0 belongs to all runs of a seed, later rounds to the run that asks.
        """
        return (self._folder / _SHARED if round_number == 0 else self.private) / key


def _read_validation(path: Path, weights: Path) -> _Validation | None:
    """Read what was found out about networks.

    None where a file is missing or damaged: they are trained again, to the same bits.
    """
    try:
        stored, _, record = path.read_text(encoding="utf-8").rstrip("\n").partition("\n")
        found = _VALIDATION.validate_json(record)
        intact = stored == checksum(record) and found.weights_sha256 == _sha256(weights)
    except (OSError, ValueError):
        return None
    return found if intact else None


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
