import numpy as np
import pytest
import torch

from harness.segmentor.cost_head import (
    BorderHead,
    Cells,
    CostRecipe,
    _highest_nearby,
    cell_features,
    click_density,
    feature_levels,
    near_vertices,
    per_cell,
    per_cell_sum,
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


def planted(recipe: CostRecipe) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the clicks that a head predicts for cells with a known rate, and that rate."""
    generator = torch.Generator().manual_seed(0)
    features = torch.rand((3000, 4), generator=generator)
    rate = 0.2 + 3.0 * features[:, 1]
    exposure = torch.rand(3000, generator=generator) * 0.5 + 0.5
    clicks = torch.poisson(rate * exposure, generator=generator)
    near = (rate / 4 + 0.1 * torch.rand(3000, generator=generator)).clamp(0, 1)
    head = train_cost_head(Cells(features, clicks, near, exposure), recipe, seed=0)
    return head(features).detach(), rate


@pytest.mark.parametrize("target", ["density", "vertices"])
@pytest.mark.parametrize("kind", ["trunk", "probabilities"])
def test_a_head_learns_a_planted_rate(kind, target):
    guess, rate = planted(CostRecipe(head=kind, target=target))
    assert float(torch.corrcoef(torch.stack([guess, rate]))[0, 1]) > 0.95
    assert float(guess.mean()) == pytest.approx(float(rate.mean()), rel=0.1)


@pytest.mark.parametrize(
    "recipe",
    [
        CostRecipe(),
        CostRecipe(hidden=0),
        CostRecipe(hidden=16, target="vertices"),
        CostRecipe(head="probabilities"),
        CostRecipe(head="borders"),
    ],
    ids=str,
)
def test_a_whole_image_is_predicted_as_its_cells_are(recipe):
    """The quick form for images against the form that is trained: the same sums in another order."""
    generator = torch.Generator().manual_seed(1)
    features = [
        torch.rand(1, c, h, w, generator=generator) for c, h, w in ((5, 6, 9), (4, 3, 5), (3, 2, 3))
    ]
    logits = torch.randn(1, 7, 6, 9, generator=generator)
    cells = cell_features(features, logits, (48, 72), recipe.head).flatten(0, 1)
    rates = 0.1 + torch.rand(len(cells), generator=generator)
    head = train_cost_head(Cells(cells, rates, rates / 2, torch.ones(len(cells))), recipe, seed=0)
    with torch.no_grad():
        found = head.of_image(feature_levels(features, logits, (48, 72), recipe.head), (6, 9))
        assert torch.allclose(found.flatten(), head(cells), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 3, 5, 7), (1, 2, 1, 4), (2, 1, 3, 1), (1, 1, 1, 1)])
def test_the_highest_nearby_is_max_pooling(shape):
    maps = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(
        _highest_nearby(maps), torch.nn.functional.max_pool2d(maps, 3, stride=1, padding=1)
    )


def test_the_border_head_learns_one_factor():
    features = torch.tensor([[2.0], [0.0], [6.0]])
    head = train_cost_head(
        Cells(
            features, torch.tensor([1.0, 0.0, 1.0]), torch.zeros(3), torch.tensor([1.0, 1.0, 0.5])
        ),
        CostRecipe(head="borders"),
        seed=0,
    )
    assert isinstance(head, BorderHead)
    assert head(features).tolist() == pytest.approx(
        [2 * 2 / 5, 0.0, 6 * 2 / 5], abs=1e-3
    )  # 2 clicks on 2 + 6 / 2 pixels of border


def test_borders_are_counted_in_their_cells():
    logits = torch.full((1, 2, 2, 3), -4.0)
    logits[0, 0, :, :1], logits[0, 1, :, 1:] = 4.0, 4.0
    features = cell_features((), logits, (16, 24), head="borders")
    assert features.shape == (2, 3, 1)
    assert features[..., 0].tolist() == [[8.0, 0.0, 0.0], [8.0, 0.0, 0.0]]
    assert per_cell_sum(torch.ones(12, 20)).tolist() == [[64.0, 64.0, 32.0], [32.0, 32.0, 16.0]]


def test_the_vertex_target_keeps_to_the_mask():
    labelled = np.zeros((32, 64), bool)
    labelled[8:16, 8:24] = True
    near = near_vertices(np.array([[10, 10], [40, 5]], np.int32), labelled)
    assert near[~labelled].sum() == 0
    assert near.sum() == 7 * 7  # 4 px around (10, 10), cut at the mask's corner (8, 8)


def test_training_repeats():
    cells = Cells(torch.rand(200, 3), torch.rand(200), torch.rand(200), torch.ones(200))
    one, two = (train_cost_head(cells, CostRecipe(steps=10), seed=3) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
