"""The cost network: clicks per pixel from the frozen trunk's features and the class probabilities (after arXiv 1611.08272).

It works on cells of 8 x 8 pixels, the stride of pool3. Every choice here is ours: the paper names the idea only.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.clicks import vertex_map
from harness.errors import RunError
from harness.logits import upsample
from harness.segmentor.fcn8s import LOGIT_STRIDE_PX

_CELL_PX = LOGIT_STRIDE_PX


@dataclass(frozen=True, slots=True)
class CostRecipe:
    """How the cost head is built and trained. sigma_px: the Gaussian that spreads a vertex; max_cells bounds memory."""

    hidden: int = 64
    steps: int = 300
    batch_cells: int = 1024
    lr: float = 3e-3
    weight_decay: float = 1e-2
    sigma_px: float = 2.0
    max_cells: int = 400_000


class CostHead(nn.Module):
    """A small network on every cell: standardised features -> clicks per cell, > 0.

    Choice: pointwise, since pool4 and pool5 bring the context; then only labelled cells have to be kept for training.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.standardise = nn.BatchNorm1d(channels, affine=False, momentum=None)
        self.layers = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, cells: Tensor) -> Tensor:
        """Map (n, F) features to (n,) expected clicks per cell."""
        return F.softplus(self.layers(self.standardise(cells))).squeeze(-1) + 1e-4


def cell_features(features: tuple[Tensor, ...], logits: Tensor) -> Tensor:
    """Put together what the head sees of one image.

    Args:
        features: pool3, pool4, pool5 of one image, (1, c, h_i, w_i).
        logits: (1, C, h, w) at stride 8.

    Returns:
        (h, w, F): trunk features, class probabilities, and how much each probability varies over the 3 x 3 neighbour cells,
        which is high at predicted class borders.
    """
    probabilities = logits.softmax(1)
    highest = F.max_pool2d(probabilities, 3, stride=1, padding=1)
    lowest = -F.max_pool2d(-probabilities, 3, stride=1, padding=1)
    size = logits.shape[-2], logits.shape[-1]
    resized = [upsample(level, size) for level in features]
    return torch.cat([*resized, probabilities, highest - lowest], dim=1)[0].permute(1, 2, 0)


def click_density(vertices: npt.NDArray[np.int32], labelled: npt.NDArray[np.bool_], sigma_px: float) -> npt.NDArray[np.float64]:
    """Spread each recorded vertex over labelled pixels: the target of the cost head.

    Choice: a Gaussian that is cut at the mask and scaled back to mass 1 for each vertex, so the map's sum is the number of
    vertices, and no vertex outside the labelled pixels can leave a trace.

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
    return np.asarray(cv2.GaussianBlur(values, (side, side), sigma_px, borderType=cv2.BORDER_CONSTANT), np.float64)


def per_cell(pixel_map: npt.NDArray[np.float64]) -> Tensor:
    """Sum an (H, W) map over its 8 x 8 cells: (ceil(H / 8), ceil(W / 8)) float32."""
    height, width = pixel_map.shape
    padded = np.pad(pixel_map, ((0, -height % _CELL_PX), (0, -width % _CELL_PX)))
    blocks = padded.reshape(padded.shape[0] // _CELL_PX, _CELL_PX, padded.shape[1] // _CELL_PX, _CELL_PX)
    return torch.from_numpy(blocks.sum(axis=(1, 3))).float()


def per_pixel(cells: Tensor, size: tuple[int, int]) -> Tensor:
    """Spread (h, w) clicks per cell evenly over the cells' pixels: (H, W) clicks per pixel."""
    spread = (cells / _CELL_PX**2).repeat_interleave(_CELL_PX, 0).repeat_interleave(_CELL_PX, 1)
    return spread[: size[0], : size[1]]


def train_cost_head(cells: Tensor, clicks: Tensor, exposure: Tensor, recipe: CostRecipe, seed: int) -> CostHead:
    """Learn clicks per cell from labelled cells, by Poisson likelihood.

    Choice: a cell of which only a share is labelled counts with that share as exposure.

    Args:
        cells: (n, F) features. clicks: (n,) target clicks on the labelled part. exposure: (n,) labelled share, in (0, 1].

    Raises:
        RunError: the loss is NaN or infinite.
    """
    generator = torch.Generator().manual_seed(seed)
    head = CostHead(cells.shape[1], recipe.hidden).to(cells.device)
    with torch.no_grad():
        for parameter in head.parameters():
            scale = (2.0 / parameter.shape[1]) ** 0.5 if parameter.ndim == 2 else 0.0
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
    head.train()
    head.standardise(cells)
    head.standardise.eval()
    optimizer = torch.optim.AdamW(head.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.lr, total_steps=recipe.steps)
    for _ in range(recipe.steps):
        rows = torch.randint(len(cells), (min(recipe.batch_cells, len(cells)),), generator=generator).to(cells.device)
        expected = head(cells[rows]) * exposure[rows]
        loss = (expected - clicks[rows] * expected.log()).mean()
        if not torch.isfinite(loss):
            raise RunError("the cost head's loss is NaN or infinite")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    return head.eval()
