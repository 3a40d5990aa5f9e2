import numpy as np
import pytest
import torch

from harness.segmentor.cost_head import CostRecipe, click_density, per_cell, per_pixel, train_cost_head


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
    inside, beside = np.array([[10, 10]], np.int32), np.array([[10, 10], [10, 16], [40, 5]], np.int32)
    assert np.array_equal(click_density(inside, labelled, 3.0), click_density(beside, labelled, 3.0))


def test_cells_and_pixels_keep_the_sum():
    pixels = np.random.default_rng(0).random((20, 30))
    cells = per_cell(pixels)
    assert cells.shape == (3, 4)
    assert float(cells.sum()) == pytest.approx(pixels.sum(), rel=1e-6)
    spread = per_pixel(torch.ones(2, 3), (16, 24))
    assert spread.shape == (16, 24)
    assert float(spread.sum()) == pytest.approx(6.0)
    assert per_pixel(torch.ones(2, 3), (12, 20)).shape == (12, 20)


def test_the_head_learns_a_planted_rate():
    generator = torch.Generator().manual_seed(0)
    cells = torch.rand((3000, 4), generator=generator)
    rate = 0.2 + 3.0 * cells[:, 1]
    exposure = torch.rand(3000, generator=generator) * 0.5 + 0.5
    clicks = torch.poisson(rate * exposure, generator=generator)
    head = train_cost_head(cells, clicks, exposure, CostRecipe(), seed=0)
    guess = head(cells).detach()
    assert float(torch.corrcoef(torch.stack([guess, rate]))[0, 1]) > 0.95
    assert float(guess.mean()) == pytest.approx(float(rate.mean()), rel=0.1)


def test_training_repeats():
    cells, clicks = torch.rand(200, 3), torch.rand(200)
    one, two = (train_cost_head(cells, clicks, torch.ones(200), CostRecipe(steps=10), seed=3) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
