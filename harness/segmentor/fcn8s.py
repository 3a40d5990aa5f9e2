"""FCN8s in MMSegmentation: a VGG16 backbone of any width and a head with skips from pool4 and pool3 (arXiv 1411.4038).

mmseg's ``fcn_*-d8`` models are dilated ResNets, another network; and ``mmcv.cnn.VGG`` has a fixed
width.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn

from harness.built_in import weights_path
from harness.errors import InputError
from harness.logits import upsample
from harness.segmentor.pretraining import FORMAT, read_backbone

STAGES: tuple[tuple[int, int], ...] = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""VGG16 (configuration D): output channels and number of 3x3 convolutions of each of the five stages."""

LOGIT_STRIDE_PX = 8


def scaled(channels: int, width: float) -> int:
    """Return a layer's channel count under a width multiplier, at least 1."""
    return max(1, round(channels * width))


@MODELS.register_module()
class VGG16(BaseModule):  # type: ignore[misc]
    """The convolutional part of VGG16 with a width multiplier.

    Returns pool3, pool4 and pool5 (strides 8, 16, 32).

    Args:
        width: multiplier on every channel count, 0 < width <= 1.
        norm_cfg: normalisation after each convolution. Choice: batch norm by default, since
            training is from scratch.
        pretrained: weights on disk: those that ``harness pretext`` wrote, or a torchvision
            ``vgg16`` or ``vgg16_bn`` state dict at full width.
    """

    def __init__(
        self,
        *,
        width: float = 1.0,
        norm_cfg: dict[str, Any] | None = None,
        pretrained: str | None = None,
    ) -> None:
        super().__init__()
        if not 0 < width <= 1:
            raise InputError(f"backbone.width must be more than 0 and at most 1, got {width}")
        self.pretrained, self._width = pretrained, width
        self.out_channels = tuple(scaled(STAGES[i][0], width) for i in (2, 3, 4))
        channels = 3
        stages = []
        for base, repeats in STAGES:
            layers: list[nn.Module] = []
            for _ in range(repeats):
                layers.append(
                    ConvModule(channels, scaled(base, width), 3, padding=1, norm_cfg=norm_cfg)
                )
                channels = scaled(base, width)
            stages.append(nn.Sequential(*layers, nn.MaxPool2d(2, stride=2, ceil_mode=True)))
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map (B, 3, H, W) to the three pooled maps, each ceil(H / stride) high."""
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return tuple(outputs[2:])

    def load_pretrained(self) -> None:
        """Read the weights from ``pretrained``, if one is named."""
        if self.pretrained is None:
            return
        path = weights_path(self.pretrained)
        document = read_backbone(path)
        if document.get("format") == FORMAT:
            try:
                self.load_state_dict(document["state"])
            except (RuntimeError, KeyError) as error:
                raise InputError(
                    f"backbone.pretrained: {path} is of another backbone than this one, of width "
                    f"{self._width:g}"
                ) from error
        else:
            self._load_torchvision(path, document)

    def _load_torchvision(self, path: Path, state: dict[str, Any]) -> None:
        if self._width != 1.0:
            raise InputError(
                "backbone.pretrained: weights of torchvision need full width, but backbone.width "
                f"is {self._width}"
            )
        source = [
            (name, value)
            for name, value in state.items()
            if name.startswith("features.") and not name.endswith("num_batches_tracked")
        ]
        target = [
            (name, value)
            for name, value in self.state_dict().items()
            if not name.endswith("num_batches_tracked")
        ]
        if [tuple(value.shape) for _, value in source] != [
            tuple(value.shape) for _, value in target
        ]:
            raise InputError(
                f"backbone.pretrained: {path} does not fit this backbone; with batch norm use "
                "vgg16_bn, without it vgg16"
            )
        self.load_state_dict(
            {to: value for (to, _), (_, value) in zip(target, source, strict=True)}, strict=False
        )


def draw_weights(model: nn.Module, seed: int) -> None:
    """Draw all weights in the order of their names.

    They depend on the seed and the architecture alone.

    Convolutions: normal, fan-out, for ReLU (He et al. 2015); score layers: normal with standard
    deviation 0.01; biases 0.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 4:
                fan_out = parameter.shape[0] * parameter.shape[2] * parameter.shape[3]
                std = 0.01 if "score" in name or "conv_seg" in name else math.sqrt(2.0 / fan_out)
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)
            else:
                parameter.fill_(1.0 if name.endswith(".weight") else 0.0)


class HeadState(NamedTuple):
    """All of the head that no dropout touches: fc6 after its ReLU, and the scores of both skips."""

    fc6: Tensor
    pool4_score: Tensor
    pool3_score: Tensor


class Masks(NamedTuple):
    """What dropout keeps after fc6 and fc7: (members, channels, h, w) of bool."""

    fc6: Tensor
    fc7: Tensor


@MODELS.register_module()
class FCN8sHead(BaseDecodeHead):  # type: ignore[misc]
    """fc6 (7x7), fc7, dropout 0.5 after both, score layers, skips from pool4 and pool3.

    Logits at stride 8.

    Choice: bilinear up-sampling instead of learned deconvolutions, and "same" padding in fc6
    instead of 100 px around the image; the receptive field and the skip points are the paper's.

    Args:
        in_channels: channels of pool3, pool4, pool5.
        channels: channels of fc6 and fc7 (4096 at full width).
        loss_stride: the loss is taken on every ``loss_stride``-th pixel of each axis; 1 is every
            pixel.
    """

    def __init__(
        self,
        in_channels: tuple[int, int, int],
        channels: int,
        *,
        loss_stride: int = 1,
        drop: float = 0.5,
        **mmseg: Any,
    ) -> None:
        super().__init__(
            list(in_channels),
            channels,
            in_index=[0, 1, 2],
            input_transform="multiple_select",
            dropout_ratio=0.0,
            **mmseg,
        )
        pool3, pool4, pool5 = in_channels
        self.loss_stride = loss_stride
        self.fc6 = nn.Conv2d(pool5, channels, 7, padding=3)
        self.fc7 = nn.Conv2d(channels, channels, 1)
        self.drop6 = nn.Dropout(drop)
        self.drop7 = nn.Dropout(drop)
        self.score_pool4 = nn.Conv2d(pool4, self.num_classes, 1)
        self.score_pool3 = nn.Conv2d(pool3, self.num_classes, 1)

    def prefix(self, inputs: tuple[Tensor, ...]) -> HeadState:
        """Run what comes before the first dropout.

        Once per image, whatever the size of the committee.
        """
        pool3, pool4, pool5 = self._transform_inputs(inputs)
        return HeadState(F.relu(self.fc6(pool5)), self.score_pool4(pool4), self.score_pool3(pool3))

    def suffix(self, state: HeadState) -> Tensor:
        """Run what comes after it. Returns (B, C, h, w) logits at stride 8."""
        hidden = F.relu(self.fc7(self.drop6(state.fc6)))
        score = self.cls_seg(self.drop7(hidden))
        score = upsample(score, _size(state.pool4_score)) + state.pool4_score
        return upsample(score, _size(state.pool3_score)) + state.pool3_score

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Map pool3, pool4, pool5 to logits at stride 8."""
        return self.suffix(self.prefix(inputs))

    def masks(self, state: HeadState, members: int, generator: torch.Generator) -> Masks:
        """Draw the dropout masks of some committee members from ``generator`` alone."""
        shape = members, self.fc7.in_channels, *_size(state.fc6)
        return Masks(
            _kept(shape, self.drop6.p, generator).to(state.fc6.device),
            _kept(shape, self.drop7.p, generator).to(state.fc6.device),
        )

    def committee(self, state: HeadState, masks: Masks) -> Tensor:
        """One stochastic pass of the suffix for each member (Gal & Ghahramani 2016).

        ``state`` is of one image.
        """
        hidden = F.relu(self.fc7(state.fc6 * masks.fc6 / (1.0 - self.drop6.p)))
        score = self.cls_seg(hidden * masks.fc7 / (1.0 - self.drop7.p))
        score = upsample(score, _size(state.pool4_score)) + state.pool4_score
        return upsample(score, _size(state.pool3_score)) + state.pool3_score

    def loss_by_feat(self, seg_logits: Tensor, batch_data_samples: list[Any]) -> dict[str, Tensor]:
        """Cross entropy at ``loss_stride``, in float32.

        Mmseg's per-step accuracy is left out, since it took a third of a small step.
        """
        labels = self._stack_batch_gt(batch_data_samples).squeeze(1)
        offset = self.loss_stride // 2
        labels = labels[:, offset :: self.loss_stride, offset :: self.loss_stride]
        with torch.autocast(seg_logits.device.type, enabled=False):
            logits = upsample(seg_logits.float(), _size(labels))
            return {
                self.loss_decode.loss_name: self.loss_decode(
                    logits, labels, ignore_index=self.ignore_index
                )
            }


def _size(maps: Tensor) -> tuple[int, int]:
    return maps.shape[-2], maps.shape[-1]


def _kept(shape: tuple[int, ...], rate: float, generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device) >= rate
