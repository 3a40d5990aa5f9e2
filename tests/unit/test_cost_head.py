import numpy as np
import pytest
import torch

from harness.blocks import CostModel
from harness.segmentor.cost_head import (
    Cells,
    _highest_nearby,
    cell_features,
    click_density,
    feature_levels,
    per_cell,
    per_pixel,
    train_cost_head,
)


def test_density_keeps_the_number_of_clicks():
    vertices = np.array([[3, 3], [40, 20], [63, 31], [0, 0]], np.int32)
    density = click_density(vertices, np.ones((32, 64), bool), 2.0)
    # float64 blur: rounding only
    assert density.sum() == pytest.approx(4.0, abs=1e-9)
    assert density.min() >= 0


def test_density_keeps_to_the_mask():
    labelled = np.zeros((32, 64), bool)
    labelled[8:16, 8:24] = True
    density = click_density(np.array([[8, 8], [20, 12]], np.int32), labelled, 3.0)
    assert density[~labelled].sum() == 0
    assert density.sum() == pytest.approx(2.0, abs=1e-9)


def test_a_vertex_outside_the_mask_leaves_no_trace():
    labelled = np.zeros((32, 64), bool)
    labelled[8:16, 8:24] = True
    inside, beside = (
        np.array([[10, 10]], np.int32),
        np.array([[10, 10], [10, 16], [40, 5]], np.int32),
    )
    assert np.array_equal(
        click_density(inside, labelled, 3.0), click_density(beside, labelled, 3.0)
    )


def test_cells_and_pixels_keep_the_sum():
    pixels = np.random.default_rng(0).random((20, 30))
    cells = per_cell(pixels)
    assert cells.shape == (3, 4)
    assert float(cells.sum()) == pytest.approx(pixels.sum(), rel=1e-6)
    spread = per_pixel(torch.ones(2, 3), (16, 24))
    assert spread.shape == (16, 24)
    assert float(spread.sum()) == pytest.approx(6.0)
    assert per_pixel(torch.ones(2, 3), (12, 20)).shape == (12, 20)


def test_a_head_learns_a_planted_rate():
    generator = torch.Generator().manual_seed(0)
    features = torch.rand((3000, 4), generator=generator)
    rate = 0.2 + 3.0 * features[:, 1]
    exposure = torch.rand(3000, generator=generator) * 0.5 + 0.5
    clicks = torch.poisson(rate * exposure, generator=generator)
    head = train_cost_head(Cells(features, clicks, exposure), CostModel(), seed=0)
    guess = head(features).detach()
    assert float(torch.corrcoef(torch.stack([guess, rate]))[0, 1]) > 0.95
    assert float(guess.mean()) == pytest.approx(float(rate.mean()), rel=0.1)


@pytest.mark.parametrize("hidden", [1, 16, 64])
def test_a_whole_image_is_predicted_as_its_cells_are(hidden):
    """The quick form for images against the form that is trained: the same sums in another order."""
    generator = torch.Generator().manual_seed(1)
    features = [
        torch.rand(1, c, h, w, generator=generator) for c, h, w in ((5, 6, 9), (4, 3, 5), (3, 2, 3))
    ]
    logits = torch.randn(1, 7, 6, 9, generator=generator)
    cells = cell_features(features, logits, (48, 72)).flatten(0, 1)
    rates = 0.1 + torch.rand(len(cells), generator=generator)
    options = CostModel(hidden=hidden)
    head = train_cost_head(Cells(cells, rates, torch.ones(len(cells))), options, seed=0)
    with torch.no_grad():
        found = head.of_image(feature_levels(features, logits, (48, 72)), (6, 9))
        assert torch.allclose(found.flatten(), head(cells), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 3, 5, 7), (1, 2, 1, 4), (2, 1, 3, 1), (1, 1, 1, 1)])
def test_the_highest_nearby_is_max_pooling(shape):
    maps = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(
        _highest_nearby(maps), torch.nn.functional.max_pool2d(maps, 3, stride=1, padding=1)
    )


def test_training_repeats():
    cells = Cells(torch.rand(200, 3), torch.rand(200), torch.ones(200))
    one, two = (train_cost_head(cells, CostModel(steps=10), seed=3) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
