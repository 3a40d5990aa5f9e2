import math

import numpy as np
import pytest
import torch

from harness.regions import (
    ConditionalCosts,
    CostDistribution,
    Peak,
    RunningBest,
    non_maximum_suppression,
    rescale,
    select_within_budget,
    window_sum,
)
from harness.types import Candidate, Region


def brute_force(pixels: torch.Tensor, height: int, width: int, stride: int) -> torch.Tensor:
    rows, cols = pixels.shape
    return torch.stack(
        [
            torch.stack(
                [
                    pixels[y : y + height, x : x + width].double().sum()
                    for x in range(0, cols - width + 1, stride)
                ]
            )
            for y in range(0, rows - height + 1, stride)
        ]
    )


@pytest.mark.parametrize(
    ("window", "stride"), [(1, 1), (2, 1), (3, 1), (5, 2), (7, 3), ((4, 7), 1), (11, 1)]
)
def test_window_sum_equals_brute_force(window, stride):
    pixels = torch.rand((11, 13), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    height, width = (window, window) if isinstance(window, int) else window
    # 52 bits over the sum of 143 values leave less than 1e-13 of rounding to each value
    assert torch.allclose(
        window_sum(pixels, window, stride=stride),
        brute_force(pixels, height, width, stride),
        rtol=0,
        atol=1e-11,
    )


def test_window_sum_of_integers_is_exact():
    pixels = torch.randint(0, 50, (20, 17), generator=torch.Generator().manual_seed(2))
    assert torch.equal(window_sum(pixels, 6), brute_force(pixels, 6, 6, 1))


def test_window_sum_of_a_constant_map_is_constant():
    sums = window_sum(torch.full((40, 60), 0.1), 7)
    assert float(sums.max()) == float(sums.min())


def test_window_of_the_whole_image():
    assert window_sum(torch.ones(4, 6), (4, 6)).tolist() == [[24.0]]


def test_window_sum_of_an_empty_map_is_zero():
    assert torch.equal(window_sum(torch.zeros(5, 5), 2), torch.zeros((4, 4), dtype=torch.float64))


@pytest.mark.parametrize("window", [0, -1, 6, (5, 7)])
def test_a_window_that_does_not_fit_is_refused(window):
    with pytest.raises(ValueError, match="must be from 1x1 to 5x6"):
        window_sum(torch.ones(5, 6), window)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
def test_a_bad_value_is_refused(bad):
    pixels = torch.ones(4, 4)
    pixels[2, 1] = bad
    with pytest.raises(ValueError, match="NaN, infinite or negative"):
        window_sum(pixels, 2)


def test_rescale_uses_the_pool_bounds():
    assert rescale(torch.tensor([[2.0, 3.0]]), 1.0, 5.0).tolist() == [[0.25, 0.5]]


def test_rescale_of_a_constant_pool_is_zero():
    assert rescale(torch.tensor([[3.0, 3.0]]), 3.0, 3.0).tolist() == [[0.0, 0.0]]


def test_rescale_refuses_swapped_bounds():
    with pytest.raises(ValueError, match="low <= high"):
        rescale(torch.zeros(1, 1), 2.0, 1.0)


def test_suppression_clears_exactly_the_windows_that_share_a_pixel():
    scores = torch.zeros(7, 7)
    scores[3, 3] = 9.0
    peaks = non_maximum_suppression(scores, 2)
    # around (3, 3) the offsets -1..1 go; (3, 5) and (1, 3) share no pixel and stay
    assert peaks[0] == Peak(3, 3, 9.0)
    taken = {(peak.top, peak.left) for peak in peaks[1:]}
    assert not any(abs(top - 3) < 2 and abs(left - 3) < 2 for top, left in taken)
    assert (0, 0) in taken
    assert any(abs(top - 3) == 2 for top, _ in taken)


def test_suppression_breaks_ties_by_top_then_left():
    assert [(peak.top, peak.left) for peak in non_maximum_suppression(torch.ones(3, 3), 1)][:4] == [
        (0, 0),
        (0, 1),
        (0, 2),
        (1, 0),
    ]


def test_forbidden_placements_never_come_back():
    scores = torch.full((4, 4), -math.inf)
    assert non_maximum_suppression(scores, 2) == []
    scores[1, 2] = -5.0
    assert non_maximum_suppression(scores, 2) == [Peak(1, 2, -5.0)]


def test_positions_are_pixels_under_a_stride():
    scores = torch.zeros(3, 3)
    scores[1, 2] = 1.0
    assert non_maximum_suppression(scores, 4, stride=4)[0] == Peak(4, 8, 1.0)


def test_limit_and_floor_stop_early():
    scores = torch.arange(6.0).reshape(1, 6)
    assert len(non_maximum_suppression(scores, 1, limit=2)) == 2
    assert [peak.score for peak in non_maximum_suppression(scores, 1, floor=4.0)] == [5.0, 4.0]


def test_a_nan_score_is_refused():
    with pytest.raises(ValueError, match="NaN"):
        non_maximum_suppression(torch.tensor([[math.nan]]), 1)


def candidate(score, image_id="a", top=0, left=0, side=2):
    return Candidate(Region(image_id, top, left, side, side), score, side * side)


def test_selection_is_global_and_ties_go_by_image_then_place():
    pool = [
        candidate(1.0, "b"),
        candidate(2.0, "c"),
        candidate(1.0, "a", 4),
        candidate(1.0, "a", 0, 4),
        candidate(1.0, "a", 0, 0),
    ]
    picked = select_within_budget(pool, 16)
    assert [(item.region.image_id, item.region.top, item.region.left) for item in picked] == [
        ("c", 0, 0),
        ("a", 0, 0),
        ("a", 0, 4),
        ("a", 4, 0),
    ]


def test_selection_leaves_what_does_not_fit():
    assert len(select_within_budget([candidate(1.0), candidate(0.5, top=4)], 7)) == 1
    assert select_within_budget([candidate(1.0)], 3) == []


def test_running_best_is_the_lowest_score_among_those_that_fill_the_budget():
    best = RunningBest(8)
    assert best.floor == -math.inf
    for score in (1.0, 3.0, 2.0):
        best.add(score, 4)
    assert best.floor == 2.0
    best.add(5.0, 2)  # 5, 3 and 2 hold 10 pixels: without the 2 they would hold 6
    assert best.floor == 2.0
    best.add(4.0, 7)
    assert best.floor == 4.0


def test_running_best_without_room_lets_nothing_in():
    assert RunningBest(0).floor == math.inf


def test_running_best_lets_all_in_while_the_budget_is_not_full():
    best = RunningBest(100)
    best.add(5.0, 99)
    assert best.floor == -math.inf


def test_a_rank_is_the_share_of_the_pool_that_costs_less():
    costs = CostDistribution(np.array([5.0, 1.0, 5.0, 9.0]))
    asked = torch.tensor([[0.0, 1.0, 5.0], [7.0, 9.0, 1e6]], dtype=torch.float64)
    assert costs.rank(asked).tolist() == [[0.0, 0.0, 0.25], [0.75, 0.75, 1.0]]


def test_a_robust_scale_does_not_see_one_dear_region():
    values = np.arange(101.0)
    costs, stretched = CostDistribution(values), CostDistribution(np.append(values, 1e9))
    assert costs.robust(torch.tensor([0.0, 1.0, 50.0, 99.0, 1e9])).tolist() == [0, 0, 0.5, 1, 1]
    assert float(stretched.robust(torch.tensor([50.0]))) == pytest.approx(0.5, abs=0.01)
    assert float(rescale(torch.tensor([50.0]), 0.0, 1e9)) < 1e-6


def test_costs_that_are_all_equal_scale_to_0():
    costs = CostDistribution(np.full(7, 3.0))
    for scaled in (costs.rank, costs.robust):
        assert scaled(torch.tensor([3.0, 3.0])).tolist() == [0.0, 0.0]


def test_a_robust_scale_still_knows_what_lies_beyond_equal_percentiles():
    costs = CostDistribution(np.append(np.zeros(992), np.full(8, 7.0)))
    assert costs.robust(torch.tensor([0.0, 7.0])).tolist() == [0.0, 1.0]


def test_a_conditional_rank_compares_regions_of_like_information():
    """Two groups of twenty times 50 regions: what is dear in one is cheap in the other."""
    information = np.repeat([1.0, 2.0], 500)
    costs = np.concatenate([np.arange(500.0), 1000 + np.arange(500.0)])
    scale = ConditionalCosts(information, costs)
    asked = torch.tensor([[0.0, 250.0, 500.0], [1000.0, 1250.0, 1500.0]], dtype=torch.float64)
    like = torch.tensor([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]], dtype=torch.float64)
    assert scale.rank(asked, like).tolist() == [[0.0, 0.5, 1.0], [0.0, 0.5, 1.0]]
    assert scale.rank(asked, torch.tensor(9.0).expand(2, 3)).tolist()[0] == [0.0, 0.0, 0.0]


def test_parts_of_like_information_are_equal_in_size():
    """With information 0, 1, ... the 20 parts of 40 regions hold two each."""
    information, costs = np.arange(40.0), np.tile([3.0, 5.0], 20)
    scale = ConditionalCosts(information, costs)
    found = scale.rank(torch.from_numpy(costs), torch.from_numpy(information))
    assert found.tolist() == [0.0, 0.5] * 20


def test_a_conditional_rank_is_a_plain_one_where_all_information_is_equal():
    costs = np.array([5.0, 1.0, 5.0, 9.0])
    asked = torch.tensor([0.0, 5.0, 6.0, 9.5], dtype=torch.float64)
    scale = ConditionalCosts(np.zeros(4), costs)
    assert torch.equal(scale.rank(asked, torch.zeros(4)), CostDistribution(costs).rank(asked))


@pytest.mark.parametrize(
    ("information", "costs"),
    [([], []), ([1.0], [1.0, 2.0]), ([math.nan], [1.0]), ([1.0], [math.inf])],
)
def test_costs_that_cannot_be_compared_are_refused(information, costs):
    with pytest.raises(ValueError, match=r"one or more|finite"):
        ConditionalCosts(np.array(information), np.array(costs))


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_costs_that_cannot_be_ordered_are_refused(values):
    with pytest.raises(ValueError, match="finite numbers, one or more"):
        CostDistribution(np.array(values))
