"""One round's networks, as acquisition and evaluation see them."""

from __future__ import annotations

import functools
import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.clicks import vertex_map
from harness.data.cityscapes import Split
from harness.data.labels import IGNORE
from harness.data.readahead import ReadAhead
from harness.errors import RunError
from harness.files import atomic_write
from harness.logits import Logits
from harness.regions import window_sum
from harness.scoring import class_areas
from harness.seeds import Purpose, torch_seed
from harness.segmentor.committee import Drawn, passes_of
from harness.segmentor.cost_head import CostHead, cells_of, feature_levels, per_pixel
from harness.segmentor.frozen import FeatureCache, batch_of
from harness.statistics import cost_quality
from harness.types import CostQuality, ImageAreas, LossPoint
from harness.views import View

_MOST_MEMBER_BYTES = 256 << 20
"""Choice: members of one image, at the network's stride, that wait for the next measure."""
_MEMBERS_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class _Seen:
    """All of one image that needs no dropout: run once, whatever is asked of it."""

    size: tuple[int, int]
    features: tuple[Tensor, ...]
    state: Any
    logits: Tensor


class TrainedNetwork:
    """A frozen segmentation network with, perhaps, a cost head."""

    def __init__(
        self,
        model: Any,
        cost_head: CostHead | None,
        *,
        train: Split,
        val: Split,
        seed: int,
        round_number: int,
        window_px: int,
        device: torch.device,
        features: FeatureCache | None = None,
        slides: bool = False,
        losses: Sequence[LossPoint] = (),
    ) -> None:
        self._model = model.eval()
        self._passes = passes_of(model, slides=slides)
        self._features = features
        self._cost_head = cost_head
        self.losses = losses
        self._val = val
        self._seed, self._round = seed, round_number
        self._window_px, self._device = window_px, device
        self._read, self._photos = train.photo, ReadAhead(train.photo)
        self._last: tuple[str, _Seen] | None = None
        self._members_of: tuple[str, int, list[Logits]] | None = None
        self._validated: tuple[list[ImageAreas], CostQuality | None] | None = None

    @property
    def model(self) -> Any:
        """The segmentor itself."""
        return self._model

    @property
    def has_cost(self) -> bool:
        """Whether it predicts clicks."""
        return self._cost_head is not None

    @property
    def has_dropout(self) -> bool:
        """Whether a committee of it would have different members."""
        return self._passes.has_dropout

    # ----------------------------------------------------------------------------------- prediction

    def predict(self, image_id: str, n_passes: int) -> View:
        """Predict one training image.

        Nothing stochastic runs before ``passes`` is read, and the backbone runs once. What a view
        gives are copies: no strategy can change what another one reads.

        Raises:
            RunError: while passes are read: all committee members are identical, so dropout does
                nothing.
        """
        seen = self._see_last(image_id)
        plain = functools.cache(lambda: Logits(seen.logits[0].clone(), seen.size))
        passes: Iterator[Logits | Tensor] = (
            iter([plain()]) if n_passes == 1 else self._committee_once(image_id, seen, n_passes)
        )
        return View(
            passes,
            self._cost(seen) if self._cost_head is not None else None,
            plain_pass=plain,
            backbone_maps=functools.cache(lambda: [level.clone() for level in seen.features]),
            photograph=lambda: self._read(image_id),
            mirrored_pass=lambda: self._mirrored(image_id),
        )

    def _mirrored(self, image_id: str) -> Logits:
        """See the mirrored photograph, and mirror what is seen back."""
        photo = np.ascontiguousarray(self._read(image_id)[:, ::-1])
        seen = self.see(photo, f"train/{image_id} mirrored")
        return Logits(seen.logits[0].flip(-1), seen.size)

    def expect(self, image_ids: Iterable[str]) -> None:
        """Read these images ahead, in this order."""
        self._photos.expect(image_ids)

    def _see_last(self, image_id: str) -> _Seen:
        if self._last is None or self._last[0] != image_id:
            self._members_of = None
            try:
                self._last = image_id, self.see(self._photos.get(image_id), f"train/{image_id}")
            except RunError as error:
                raise RunError(f"image {image_id}: {error}") from error
        return self._last[1]

    @torch.no_grad()
    def see(self, photo: npt.NDArray[np.uint8], key: str | None = None) -> _Seen:
        """Run backbone and head once on an (H, W, 3) photograph.

        A frozen backbone only once for each ``key``.
        """
        batch = functools.cache(functools.partial(batch_of, self._model, photo))
        if self._features is None or key is None:
            features = tuple(self._model.extract_feat(batch()))
        else:
            features = self._features.get(key, lambda: tuple(self._model.extract_feat(batch())))
        state: Any = self._passes.prefix(batch, features)
        logits = self._passes.suffix(state)
        if not bool(torch.isfinite(logits).all()):
            raise RunError("the segmentation network's logits are NaN or infinite")
        return _Seen((photo.shape[0], photo.shape[1]), features, state, logits)

    def _committee_once(
        self, image_id: str, seen: _Seen, n_passes: int
    ) -> Iterator[Logits | Tensor]:
        """Yield a committee's members; those of the last image are kept for other measures."""
        if self._members_of is not None and self._members_of[:2] == (image_id, n_passes):
            for member in self._members_of[2]:
                yield Logits(member.values.clone(), member.size)
            return
        self._members_of, kept, size = None, [], 0
        for member in self._committee(image_id, seen, n_passes):
            size += member.values.nbytes
            if size <= _MOST_MEMBER_BYTES:
                kept.append(Logits(member.values.clone(), member.size))
            yield member
        if size <= _MOST_MEMBER_BYTES:
            self._members_of = image_id, n_passes, kept

    @torch.no_grad()
    def _committee(self, image_id: str, seen: _Seen, n_passes: int) -> Iterator[Logits]:
        generator = torch.Generator(self._device).manual_seed(
            torch_seed(self._seed, self._round, Purpose.COMMITTEE, image_id)
        )
        first: tuple[Tensor, Drawn] | None = None
        differs = dropped = False
        for start in range(0, n_passes, _MEMBERS_AT_ONCE):
            members = min(_MEMBERS_AT_ONCE, n_passes - start)
            drawn = self._passes.masks(seen.state, members, generator)
            for number, logits in enumerate(self._members(seen.state, drawn)):
                own = tuple(column[number] for column in drawn)
                first = (logits, own) if first is None else first
                differs = differs or not bool((logits == first[0]).all())
                dropped = dropped or any(
                    not torch.equal(a, b) for a, b in zip(own, first[1], strict=True)
                )
                yield Logits(logits, seen.size)
        # narrow layers may drop the same by chance; the check at the start asks many members
        if not differs and (not self.has_dropout or (dropped and self._passes.drops_last)):
            raise RunError(
                f"image {image_id}: all {n_passes} committee passes are identical; "
                "Monte-Carlo dropout does nothing in this network"
            )

    def committee_differs(self, photo: npt.NDArray[np.uint8], members: int) -> bool:
        """Return whether any of some committee members sees a photograph in its own way."""
        seen = self.see(photo)
        generator = torch.Generator(self._device).manual_seed(0)
        with torch.no_grad():
            drawn = self._passes.masks(seen.state, members, generator)
            made = list(self._members(seen.state, drawn))
        return any(not torch.equal(logits, made[0]) for logits in made)

    def _members(self, state: Any, drawn: Drawn) -> Iterator[Tensor]:
        """Run some members; where they do not all fit in memory, half of them at a time.

        What they dropped is drawn before, so the result is the same.
        """
        members = len(drawn[0])
        try:
            made = list(self._passes.committee(state, drawn))
        except torch.OutOfMemoryError:
            if members == 1:
                raise
            made = None  # what follows is outside of the handler, whose traceback keeps tensors
        if made is not None:
            yield from made
            return
        half = members // 2
        print(
            f"harness: out of memory with {members} committee members at once; "
            f"going on with {half}",
            file=sys.stderr,
        )
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        for part in (slice(None, half), slice(half, None)):
            yield from self._members(state, tuple(column[part] for column in drawn))

    @torch.no_grad()
    def _cost(self, seen: _Seen) -> Tensor:
        if self._cost_head is None:
            raise RunError("these networks predict no cost")
        clicks = self._cost_head.of_image(
            feature_levels(seen.features, seen.logits, seen.size),
            cells_of(seen.size),
        )
        if not bool(torch.isfinite(clicks).all()):
            raise RunError("the cost network's clicks are NaN or infinite")
        return per_pixel(clicks, seen.size)

    # ----------------------------------------------------------------------------------- evaluation

    def evaluate(self) -> list[ImageAreas]:
        """Return class areas of every validation image."""
        return self._validate()[0]

    def cost_quality(self) -> CostQuality | None:
        """Compare predicted with recorded clicks per window, on windows that tile the validation images."""
        return self._validate()[1]

    def _validate(self) -> tuple[list[ImageAreas], CostQuality | None]:
        if self._validated is None:
            areas, predicted, recorded = [], [], []
            for image_id in self._val.files:
                seen = self.see(self._val.photo(image_id), f"val/{image_id}")
                winner = Logits(seen.logits[0], seen.size).winners()
                areas.append(
                    class_areas(
                        image_id,
                        winner.cpu().numpy(),
                        self._val.train_ids(image_id),
                        len(self._val.class_names),
                        IGNORE,
                    )
                )
                if self._cost_head is not None:
                    tile = functools.partial(
                        window_sum, window=self._window_px, stride=self._window_px
                    )
                    predicted.append(tile(self._cost(seen).cpu()).flatten().numpy())
                    recorded.append(
                        tile(torch.from_numpy(vertex_map(self._val.vertices(image_id), *seen.size)))
                        .flatten()
                        .numpy()
                    )
            self._validated = (
                areas,
                cost_quality(np.concatenate(predicted), np.concatenate(recorded))
                if predicted
                else None,
            )
        return self._validated

    # -------------------------------------------------------------------------------------- storing

    def save(self, path: Path) -> None:
        """Write the weights under a temporary name, then rename.

        They pass through memory: torch's own writer hides that a disk is full.
        """
        document = {
            "segmentor": self._model.state_dict(),
            "cost_head": self._cost_head.state_dict() if self._cost_head else None,
        }
        buffer = io.BytesIO()
        torch.save(document, buffer)
        with atomic_write(path) as draft:
            draft.write_bytes(buffer.getbuffer())
