"""A small decode head for frozen backbones: all levels, one 3 x 3 convolution."""

from __future__ import annotations

from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn

from harness.logits import upsample


@MODELS.register_module()
class LightHead(BaseDecodeHead):  # type: ignore[misc]
    """Each level through a 1 x 1 convolution, their sum at the finest, 3 x 3, dropout, 1 x 1.

    Choice: small, so that a training on cached features takes seconds on one core; the 3 x 3
    convolution lets a cell look at its neighbours, which a head of 1 x 1 convolutions cannot.

    Args:
        in_channels: of each level, from the finest to the coarsest; asked of the backbone where a
            config leaves it out.
        channels: of the sum.
        mmseg: options of ``BaseDecodeHead``; ``in_index`` lists the levels.
    """

    def __init__(self, in_channels: list[int], channels: int, **mmseg: Any) -> None:
        super().__init__(list(in_channels), channels, input_transform="multiple_select", **mmseg)
        self.levels = nn.ModuleList(
            ConvModule(count, channels, 1, norm_cfg=self.norm_cfg, act_cfg=None)
            for count in in_channels
        )
        self.mix = ConvModule(
            channels, channels, 3, padding=1, norm_cfg=self.norm_cfg, act_cfg=self.act_cfg
        )

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Map the levels to (B, C, h, w) logits at the finest level's stride."""
        chosen = self._transform_inputs(inputs)
        size = chosen[0].shape[-2], chosen[0].shape[-1]
        summed = torch.stack(
            [upsample(level(maps), size) for level, maps in zip(self.levels, chosen, strict=True)]
        ).sum(0)
        logits: Tensor = self.cls_seg(self.mix(torch.relu(summed)))
        return logits
