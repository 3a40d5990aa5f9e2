"""The cost network: clicks per pixel from the frozen backbone's features and the class probabilities (after arXiv 1611.08272).

It works on cells of 8 x 8 pixels, the stride of pool3, whatever the strides of the network. Every
choice here is ours: the paper names the idea only. docs/notebook/cost-model.md compares the
choices by their error on images that were held out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.blocks import CostModel
from harness.clicks import vertex_map
from harness.errors import RunError
from harness.logits import upsample
from harness.segmentor.fcn8s import LOGIT_STRIDE_PX

_CELL_PX = LOGIT_STRIDE_PX


class CostHead(nn.Module):
    """A small network on every cell: standardised features -> clicks per cell, > 0.

    Choice: pointwise, since pool4 and pool5 bring the context; then only labelled cells have to be
    kept for training.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.standardise = nn.BatchNorm1d(channels, affine=False, momentum=None)
        self.layers = nn.Sequential(
            nn.Linear(channels, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 1),
        )

    def forward(self, cells: Tensor) -> Tensor:
        """Map (n, F) features to (n,) expected clicks per cell."""
        return _clicks(self.layers(self.standardise(cells)).squeeze(-1))

    def of_image(self, levels: Sequence[Tensor], cells: tuple[int, int]) -> Tensor:
        """Return the (h, w) expected clicks of one image's cells.

        What ``forward`` gives, to rounding, in a fraction of the time.

        The first layer is linear and so is up-sampling, so the layer comes first: it leaves few
        channels to be made large. The standardisation is folded into its weights.

        Args:
            levels: (1, c_i, h_i, w_i) maps whose channels add up to F. cells: (h, w).
        """
        first = cast("nn.Linear", self.layers[0])
        mean, variance = (
            self.standardise.get_buffer("running_mean"),
            self.standardise.get_buffer("running_var"),
        )
        weight = first.weight * torch.rsqrt(variance + self.standardise.eps)
        bias = first.bias - weight @ mean
        parts = torch.split(weight, [level.shape[1] for level in levels], dim=1)
        made = [
            upsample(F.conv2d(level, part[:, :, None, None]), cells)
            for level, part in zip(levels, parts, strict=True)
        ]
        hidden = (torch.stack(made).sum(0) + bias[:, None, None])[0].permute(1, 2, 0)
        return _clicks(self.layers[1:](hidden).squeeze(-1))


def _clicks(score: Tensor) -> Tensor:
    return F.softplus(score) + 1e-4


def feature_levels(
    features: Sequence[Tensor], logits: Tensor, size: tuple[int, int]
) -> list[Tensor]:
    """List what the head sees of one image, each at its own resolution.

    Args:
        features: of the backbone, for FCN8s pool3, pool4 and pool5: (1, c, h_i, w_i) each.
        logits: (1, C, h, w) at any stride.
        size: (H, W) of the image in pixels.

    Returns:
        (1, c_i, h_i, w_i) maps: backbone features, class probabilities, and how much each
        probability varies over the 3 x 3 neighbour cells, which is high at predicted class borders.
    """
    probabilities = _at_cells(logits.softmax(1), cells_of(size))
    return [
        *(_at_most(level, cells_of(size)) for level in features),
        probabilities,
        _highest_nearby(probabilities) + _highest_nearby(-probabilities),
    ]


def _highest_nearby(maps: Tensor) -> Tensor:
    """Return the largest value of the 3 x 3 neighbourhood of each cell.

    Beyond the rim there is nothing.
    """
    for axis in (2, 3):
        count = maps.shape[axis]
        shifted = [maps.narrow(axis, max(by, 0), count - abs(by)) for by in (1, -1)]
        widest = maps.clone()
        for by, part in zip((1, -1), shifted, strict=True):
            place = widest.narrow(axis, max(-by, 0), count - abs(by))
            torch.maximum(place, part, out=place)
        maps = widest
    return maps


def cell_features(features: Sequence[Tensor], logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Return ``feature_levels`` as (h, w, F), one row of features for each cell.

    What the head is trained on.
    """
    levels = feature_levels(features, logits, size)
    return torch.cat([upsample(level, cells_of(size)) for level in levels], dim=1)[0].permute(
        1, 2, 0
    )


def cells_of(size: tuple[int, int]) -> tuple[int, int]:
    """Return how many cells an (H, W) image has along each axis."""
    return -(-size[0] // _CELL_PX), -(-size[1] // _CELL_PX)


def _at_most(level: Tensor, cells: tuple[int, int]) -> Tensor:
    """Average maps that are finer than the cells."""
    finer = level.shape[-2] > cells[0] or level.shape[-1] > cells[1]
    return F.adaptive_avg_pool2d(level, cells) if finer else level


def _at_cells(maps: Tensor, cells: tuple[int, int]) -> Tensor:
    return upsample(_at_most(maps, cells), cells)


def click_density(
    vertices: npt.NDArray[np.int32], labelled: npt.NDArray[np.bool_], sigma_px: float
) -> npt.NDArray[np.float64]:
    """Spread each recorded vertex over labelled pixels: the target of the cost head.

    Choice: a Gaussian that is cut at the mask and scaled back to mass 1 for each vertex, so the
    map's sum is the number of vertices, and no vertex outside the labelled pixels can leave a
    trace.

    Args:
        vertices: (n, 2) pixel (x, y), all inside ``labelled``.
        labelled: (H, W) mask.

    Returns:
        (H, W) clicks per pixel.
    """
    mask = labelled.astype(np.float64)
    reach = np.maximum(_blur(mask, sigma_px), 1e-12)
    points = vertex_map(vertices, *labelled.shape) * mask
    return _blur(points / reach, sigma_px) * mask


def _blur(values: npt.NDArray[np.float64], sigma_px: float) -> npt.NDArray[np.float64]:
    side = 2 * int(np.ceil(3 * sigma_px)) + 1
    return np.asarray(
        cv2.GaussianBlur(values, (side, side), sigma_px, borderType=cv2.BORDER_CONSTANT), np.float64
    )


def per_cell(pixel_map: npt.NDArray[np.float64]) -> Tensor:
    """Sum an (H, W) map over its 8 x 8 cells: (ceil(H / 8), ceil(W / 8)) float32."""
    height, width = pixel_map.shape
    padded = np.pad(pixel_map, ((0, -height % _CELL_PX), (0, -width % _CELL_PX)))
    blocks = padded.reshape(
        padded.shape[0] // _CELL_PX, _CELL_PX, padded.shape[1] // _CELL_PX, _CELL_PX
    )
    return torch.from_numpy(blocks.sum(axis=(1, 3))).float()


def per_pixel(cells: Tensor, size: tuple[int, int]) -> Tensor:
    """Spread (h, w) clicks per cell evenly over the cells' pixels: (H, W) clicks per pixel."""
    spread = (cells / _CELL_PX**2).repeat_interleave(_CELL_PX, 0).repeat_interleave(_CELL_PX, 1)
    return spread[: size[0], : size[1]]


class Cells(NamedTuple):
    """Labelled cells to learn from.

    features: (n, F). clicks: (n,) spread over the labelled part. exposure: (n,) labelled share of
    the cell, in (0, 1].
    """

    features: Tensor
    clicks: Tensor
    exposure: Tensor


def train_cost_head(cells: Cells, options: CostModel, seed: int) -> CostHead:
    """Learn clicks per cell from labelled cells.

    Choice: a cell of which only a share is labelled counts with that share as exposure.

    Raises:
        RunError: the loss is NaN or infinite.
    """
    head = CostHead(cells.features.shape[1], options.hidden).to(cells.features.device)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in head.parameters():
            scale = (2.0 / parameter.shape[1]) ** 0.5 if parameter.ndim == 2 else 0.0
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
    head.train()
    head.standardise(cells.features)
    head.standardise.eval()
    optimizer = torch.optim.AdamW(
        head.parameters(), lr=options.lr, weight_decay=options.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.lr, total_steps=options.steps)
    for _ in range(options.steps):
        n_rows = min(options.batch_cells, len(cells.features))
        rows = torch.randint(len(cells.features), (n_rows,), generator=generator).to(
            cells.features.device
        )
        batch = Cells(*(column[rows] for column in cells))
        expected = head(batch.features) * batch.exposure
        loss = (expected - batch.clicks * expected.log()).mean()  # Poisson
        if not torch.isfinite(loss):
            raise RunError("the cost head's loss is NaN or infinite")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    return head.eval()
