"""One image through a network: once as it is, and once for each member of a dropout committee.

What no dropout touches is run once per image, whatever the size of the committee (Monte-Carlo
dropout: Gal & Ghahramani 2016).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn

from harness.segmentor.fcn8s import FCN8sHead, HeadState, Masks

_DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
_SEEDS = 2**63 - 1

Drawn = tuple[Tensor, ...]
"""What some members drew: the first axis of each tensor is that of the members."""


class Passes:
    """A network with a stock head, of mmseg or somebody else's.

    Where its only dropout is the one before its last layer, a member repeats that layer alone:
    mmseg's ``cls_seg`` is dropout and a 1 x 1 convolution. Otherwise what holds a dropout is run
    again in full for each member, with nothing but its dropout modules in training.

    Args:
        model: a segmentor in evaluation.
        slides: it predicts window by window; each member then runs on every window.
    """

    def __init__(self, model: Any, *, slides: bool = False) -> None:
        self._model, self._slides = model, slides
        self._dropouts = [
            module
            for name, module in model.named_modules()
            if isinstance(module, _DROPOUT)
            and module.p > 0
            and not name.startswith("auxiliary_head")
        ]
        self.drops_last = not slides and self._dropouts == [
            getattr(model.decode_head, "dropout", None)
        ]
        """Whether members drop channels before the last layer and nowhere else."""
        in_head = {id(module) for module in model.decode_head.modules()}
        self._repeats_backbone = slides or any(id(item) not in in_head for item in self._dropouts)

    @property
    def has_dropout(self) -> bool:
        """Whether there is any committee to ask."""
        return bool(self._dropouts)

    def prefix(self, make: Callable[[], Tensor], features: tuple[Tensor, ...]) -> _State:
        """Run what comes before the first dropout, and what comes after it without any.

        Args:
            make: gives (1, 3, H, W), as the data preprocessor does.
            features: of the backbone, for that.
        """
        batch = make()
        head = self._model.decode_head
        if self._slides:
            return _State(batch, features, self._window_by_window(batch), None)
        layer = getattr(head, "conv_seg", None)
        if not isinstance(layer, nn.Module) or not self.drops_last:
            logits = _first(head(features))
            return _State(batch, features, self._at_size(batch, logits), None)
        seen: list[tuple[Tensor, Tensor]] = []
        dropped: list[Tensor] = []
        hooks = (
            layer.register_forward_hook(lambda _, given, made: seen.append((given[0], made))),
            self._dropouts[0].register_forward_hook(lambda *made: dropped.append(made[-1])),
        )
        try:
            logits = _first(head(features))
        finally:
            for hook in hooks:
                hook.remove()
        is_last = (
            len(seen) == 1
            and seen[0][1] is logits
            and any(made.data_ptr() == seen[0][0].data_ptr() for made in dropped)
        )
        return _State(
            batch, features, self._at_size(batch, logits), seen[0][0] if is_last else None
        )

    def suffix(self, state: _State) -> Tensor:
        """Return the (1, C, h, w) logits of the pass without dropout."""
        return state.logits

    def masks(self, state: _State, members: int, generator: torch.Generator) -> Drawn:
        """Draw what some members drop, from ``generator`` alone: masks, or seeds of full passes."""
        if state.hidden is None:
            device = generator.device
            return (torch.randint(_SEEDS, (members,), generator=generator, device=device),)
        shape = members, state.hidden.shape[1], 1, 1  # Dropout2d drops whole channels
        drawn = torch.rand(shape, generator=generator, device=generator.device)
        return ((drawn >= self._dropouts[0].p).to(state.hidden.device),)

    def committee(self, state: _State, drawn: Drawn) -> Iterator[Tensor]:
        """Yield each member's (C, h, w) logits."""
        if state.hidden is not None:
            hidden = state.hidden * drawn[0] / (1.0 - self._dropouts[0].p)
            yield from self._at_size(state.batch, self._model.decode_head.conv_seg(hidden))
            return
        for seed in drawn[0].tolist():
            with self._dropping(seed, state.batch.device):
                logits = self._again(state)
            yield logits[0]

    def _again(self, state: _State) -> Tensor:
        if self._slides:
            return self._window_by_window(state.batch)
        features = (
            self._model.extract_feat(state.batch) if self._repeats_backbone else state.features
        )
        return self._at_size(state.batch, _first(self._model.decode_head(features)))

    def _at_size(self, batch: Tensor, logits: Tensor) -> Tensor:
        """Resize as mmseg does where our own way to see logits at full size is another one."""
        if not self._model.align_corners:
            return logits
        return F.interpolate(logits, batch.shape[-2:], mode="bilinear", align_corners=True)

    def _window_by_window(self, batch: Tensor) -> Tensor:
        meta = {"ori_shape": batch.shape[2:], "img_shape": batch.shape[2:]}
        logits: Tensor = self._model.slide_inference(batch, [meta])
        return logits

    @contextmanager
    def _dropping(self, seed: int, device: torch.device) -> Iterator[None]:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            for module in self._dropouts:
                module.train()
            try:
                yield
            finally:
                for module in self._dropouts:
                    module.eval()


def _first(made: Any) -> Tensor:
    """Return a head's logits; more may follow, for its loss, as of mmseg's DAHead and EncHead."""
    logits: Tensor = made[0] if isinstance(made, tuple | list) else made
    return logits


class _State(NamedTuple):
    """One image: what goes in, the backbone's maps, logits, what the last layer is given."""

    batch: Tensor
    features: tuple[Tensor, ...]
    logits: Tensor
    hidden: Tensor | None


class FCN8sPasses:
    """FCN8s: backbone, fc6 and skip scores run once; members run side by side after that."""

    drops_last = True

    def __init__(self, head: FCN8sHead) -> None:
        self._head = head

    @property
    def has_dropout(self) -> bool:
        """Whether there is any committee to ask."""
        return self._head.drop6.p > 0 or self._head.drop7.p > 0

    def prefix(self, _make: Callable[[], Tensor], features: tuple[Tensor, ...]) -> HeadState:
        """Run what comes before the first dropout; the image itself is not asked for."""
        return self._head.prefix(features)

    def suffix(self, state: HeadState) -> Tensor:
        """Return the (1, C, h, w) logits of the pass without dropout."""
        return self._head.suffix(state)

    def masks(self, state: HeadState, members: int, generator: torch.Generator) -> Drawn:
        """Draw the masks of some members from ``generator`` alone."""
        return self._head.masks(state, members, generator)

    def committee(self, state: HeadState, drawn: Drawn) -> Iterator[Tensor]:
        """Yield each member's (C, h, w) logits."""
        yield from self._head.committee(state, Masks(*drawn))


def passes_of(model: Any, *, slides: bool = False) -> Passes | FCN8sPasses:
    """Return how a network is run on an image."""
    head = model.decode_head
    if isinstance(head, FCN8sHead) and not slides:
        return FCN8sPasses(head)
    return Passes(model, slides=slides)


def dropout_advice(model: Any) -> str:
    """Say what would give a network whose members are alike a dropout."""
    head = model.decode_head
    last = isinstance(getattr(head, "conv_seg", None), nn.Module)
    if isinstance(head, BaseDecodeHead) and last and not head.dropout_ratio:
        return "set model.decode_head.dropout_ratio"
    return f"give {type(head).__name__} a dropout layer that its forward pass runs"
