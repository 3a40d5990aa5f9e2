"""The strategies of the field, by hand and against slow forms; and what modifiers do to a score."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import strategies
from harness.context import QueryContext
from harness.errors import InputError
from harness.logits import Logits
from harness.pool import LabelledPool
from harness.types import Candidate, Region
from harness.views import View
from strategies import diversity, neighbourhood, uncertainty
from strategies.baselines import information_alone
from strategies.field import weighted_chance


def of(*members: torch.Tensor) -> View:
    return View(iter(members))


def at_stride(*members: torch.Tensor, size=(24, 40)) -> View:
    return View(iter([Logits(member, size) for member in members]))


def p(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).reshape(len(values), 1, 1)


def random_members(count: int, classes: int = 5) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(count)
    return [torch.randn((classes, 3, 5), generator=generator) for _ in range(count)]


# ---------------------------------------------------------------------------------- uncertainty


def test_least_confidence_and_margin_by_hand():
    assert float(uncertainty.least_confidence(of(p(0.5, 0.3, 0.2)))) == pytest.approx(0.5)
    assert float(uncertainty.margin(of(p(0.5, 0.3, 0.2)))) == pytest.approx(0.8)
    assert float(uncertainty.margin(of(p(1.0, 0.0)))) == 0.0
    assert float(uncertainty.margin(of(p(0.5, 0.5)))) == 1.0


def test_bald_by_hand():
    sure = [p(1.0, 0.0), p(0.0, 1.0)]  # each sure, and they differ: all of it is disagreement
    assert float(uncertainty.bald(of(*sure))) == pytest.approx(math.log(2))
    unsure = [p(0.5, 0.5), p(0.5, 0.5)]  # none of it is
    assert float(uncertainty.bald(of(*unsure))) == pytest.approx(0.0)
    mixed = [p(0.8, 0.2), p(0.4, 0.6)]
    h = lambda *q: -sum(x * math.log(x) for x in q)  # noqa: E731
    expected = h(0.6, 0.4) - (h(0.8, 0.2) + h(0.4, 0.6)) / 2
    assert float(uncertainty.bald(of(*mixed))) == pytest.approx(expected)


def test_variation_ratio_and_mean_deviation_by_hand():
    members = [p(0.9, 0.1, 0.0), p(0.2, 0.7, 0.1), p(0.6, 0.3, 0.1)]
    assert float(uncertainty.variation_ratio(of(*members))) == pytest.approx(1 / 3)
    assert float(uncertainty.variation_ratio(of(members[0]))) == 0.0
    expected = np.mean([np.std(column) for column in torch.stack(members).flatten(1).T.tolist()])
    assert float(uncertainty.mean_deviation(of(*members))) == pytest.approx(expected)


@pytest.mark.parametrize(
    "measure",
    [
        uncertainty.least_confidence,
        uncertainty.margin,
        uncertainty.bald,
        uncertainty.variation_ratio,
        uncertainty.mean_deviation,
    ],
)
def test_scores_at_a_stride_give_what_whole_probabilities_give(measure):
    members = random_members(4)
    whole = [Logits(member, (24, 40)).probabilities() for member in members]
    ours, slow = measure(at_stride(*members)), measure(of(*whole))
    assert ours.shape == (24, 40)
    assert torch.allclose(ours, slow, atol=1e-6)


def test_a_committee_needs_a_member():
    with pytest.raises(ValueError, match="one pass or more"):
        uncertainty.bald(of())


# -------------------------------------------------------------------------------- neighbourhood


def seen(logits: torch.Tensor, size, shares=None, mirrored=None) -> View:
    counts = np.zeros(256, np.int64)
    counts[: len(shares or [])] = shares or []
    return View(
        iter([Logits(logits, size)]),
        plain_pass=lambda: Logits(logits, size),
        mirrored_pass=lambda: Logits(logits if mirrored is None else mirrored, size),
        class_counts=lambda: counts,
    )


@pytest.mark.parametrize("radius", [1, 3])
def test_ripu_is_what_walking_the_pixels_gives(radius):
    logits = torch.randn((4, 9, 11), generator=torch.Generator().manual_seed(1)) * 2
    view = seen(logits, (9, 11))
    labels, entropy = logits.argmax(0).numpy(), view.logits.entropy().numpy()
    expected = np.zeros((9, 11))
    for y in range(9):
        for x in range(11):
            part = (
                slice(max(0, y - radius), y + radius + 1),
                slice(max(0, x - radius), x + radius + 1),
            )
            _, counts = np.unique(labels[part], return_counts=True)
            shares = counts / counts.sum()
            expected[y, x] = -(shares * np.log(shares)).sum() * entropy[part].mean()
    assert np.allclose(neighbourhood.ripu(view, radius).numpy(), expected, atol=1e-5)


def test_what_is_pure_is_worth_nothing():
    logits = torch.zeros(3, 4, 4)
    logits[1] = 1.0
    assert float(neighbourhood.ripu(seen(logits, (4, 4))).abs().max()) == 0.0


def test_flip_inconsistency_by_hand():
    ours, theirs = torch.tensor([0.8, 0.2]).log(), torch.tensor([0.5, 0.5]).log()
    view = seen(ours.reshape(2, 1, 1), (1, 1), mirrored=theirs.reshape(2, 1, 1))
    one = 0.8 * math.log(0.8 / 0.5) + 0.2 * math.log(0.2 / 0.5)
    other = 0.5 * math.log(0.5 / 0.8) + 0.5 * math.log(0.5 / 0.2)
    assert float(neighbourhood.flip_inconsistency(view)) == pytest.approx((one + other) / 2)
    same = seen(ours.reshape(2, 1, 1), (1, 1))
    assert float(neighbourhood.flip_inconsistency(same)) == 0.0


def test_rare_classes_weigh_more():
    logits = torch.tensor([[2.0, 0.0], [0.0, 2.0]]).reshape(2, 1, 2)
    view = seen(logits, (1, 2), shares=[900, 100])
    common, rare = neighbourhood.balanced_margin(view).flatten().tolist()
    assert common == pytest.approx(math.exp(-2.0) * math.exp(-0.9))
    assert rare == pytest.approx(math.exp(-2.0) * math.exp(-0.1))
    weights = neighbourhood.rarity(view).flatten().tolist()
    assert weights == pytest.approx([1 / (0.9 + 0.5), 1 / (0.1 + 0.5)])


def test_balanced_random_weighs_by_sums_that_are_not_scaled():
    strategy = strategies.make("balanced-random")
    assert (strategy.scaled, strategy.fuse) == (False, weighted_chance)


def test_weighted_chance_draws_in_proportion_to_the_weights():
    weights = torch.tensor([[0.1, 0.2, 0.7]], dtype=torch.float64)
    rng = np.random.default_rng(0)
    first = [int(weighted_chance(weights, None, rng).argmax()) for _ in range(20_000)]
    shares = np.bincount(first, minlength=3) / len(first)
    assert shares == pytest.approx([0.1, 0.2, 0.7], abs=0.015)


# ------------------------------------------------------------------------------------ diversity


class Points(QueryContext):
    """Embeddings that are given: the first number of a region's place names one."""

    def embeddings(self, regions, level=-1):
        return torch.tensor([self.pool[region.top] for region in regions], dtype=torch.float32)

    @property
    def labelled(self):
        return [Region("bought", top, 0, 1, 1) for top in self.predictor]


def context(points, labelled):
    return Points(points, labelled, np.random.default_rng(0))


def candidates(count, images=1):
    return [
        Candidate(Region(f"img_{number % images}", number, 0, 1, 1), 1.0 - number / 100, 1)
        for number in range(count)
    ]


def test_k_centre_takes_the_farthest_first():
    points = [(0.0, 0.0), (1.0, 0.0), (10.0, 0.0), (10.0, 1.0), (0.0, 6.0), (0.0, 0.1)]
    chosen = diversity.k_centre(candidates(6), 3, context(points, [0]))
    assert [item.region.top for item in chosen] == [3, 4, 1]


class Contents(QueryContext):
    """An image's content by place: ``pool`` maps (image, top, left) of windows of 10 px to points."""

    def embeddings(self, regions, level=-1):
        points = [
            np.mean(
                [
                    self.pool[region.image_id, top, left]
                    for top in range(region.top, region.top + region.height, 10)
                    for left in range(region.left, region.left + region.width, 10)
                ],
                axis=0,
            )
            for region in regions
        ]
        return torch.tensor(np.array(points), dtype=torch.float32)

    @property
    def labelled(self):
        return self.predictor


@pytest.mark.parametrize("select", [diversity.k_centre, diversity.spatially_diverse])
def test_content_of_a_labelled_image_is_known_window_by_window(select):
    seen = {("bought", 0, 0): (5.0, 0.0), ("bought", 0, 10): (-5.0, 0.0)}
    offered = {("a", 0, 0): (5.0, 0.0), ("a", 0, 10): (-5.0, 0.0), ("a", 0, 20): (0.0, 3.0)}
    items = [Candidate(Region(*place, 10, 10), 1.0, 100) for place in offered]
    whole = [Region("bought", 0, 0, 10, 20)]
    context = Contents(seen | offered, whole, np.random.default_rng(0))
    assert select(items, 100, context)[0].region.left == 20


def test_labelled_windows_tile_what_is_larger_than_a_candidate():
    items = [Candidate(Region("a", 0, 0, 10, 10), 1.0, 100)]
    whole, window = Region("b", 0, 0, 25, 20), Region("c", 3, 4, 10, 10)
    context = Contents({}, [whole, window], np.random.default_rng(0))
    found = diversity.labelled_windows(items, context)
    assert found[-1] == window
    assert sum(region.area_px for region in found[:-1]) == whole.area_px
    assert [(region.top, region.left, region.height, region.width) for region in found[:-1]] == [
        (top, left, min(10, 25 - top), 10) for top in (0, 10, 20) for left in (0, 10)
    ]


def test_typiclust_goes_to_the_middle_of_clusters_without_a_label():
    rng = np.random.default_rng(1)
    angles = [0.0, 1.0, 2.0]
    points = []
    for angle, count in zip(angles, (9, 12, 6), strict=True):
        offsets = np.sort(rng.normal(0, 0.02, count))
        points += [(math.cos(angle + o), math.sin(angle + o)) for o in offsets]
    points.append((math.cos(0.0), math.sin(0.0)))  # labelled: the first cluster is known
    chosen = diversity.typical(candidates(27), 2, context(points, [27]))
    picked = [item.region.top for item in chosen]
    assert 9 <= picked[0] < 21  # the largest cluster that holds no label
    assert 21 <= picked[1] < 27
    ends = {9, 20, 21, 26}
    assert not ends & set(picked)


def test_windows_are_spread_over_images_in_turns():
    chosen = diversity.spread_over_images(candidates(12, images=3), 5, context([], []))
    assert [item.region.image_id for item in chosen] == ["img_0", "img_1", "img_2"] * 1 + [
        "img_0",
        "img_1",
    ]
    assert [item.region.top for item in chosen] == [0, 1, 2, 3, 4]
    piled = [replace(item, region=replace(item.region, image_id="a")) for item in candidates(4)]
    piled += [Candidate(Region("b", 50, 0, 1, 1), 0.1, 1)]
    chosen = diversity.spread_over_images(piled, 3, context([], []))
    assert [item.region.image_id for item in chosen] == ["a", "b", "a"]


class Seen:
    """One image whose logits and features are given, one cell for each pixel."""

    def __init__(self, logits, features):
        self._logits, self._features = logits, features

    def predict(self, image_id, n_passes):
        size = tuple(self._logits.shape[1:])
        return View(
            iter(()),
            plain_pass=lambda: Logits(self._logits, size),
            backbone_maps=lambda: [self._features[None]],
        )

    def expect(self, image_ids):
        pass


def columns(count, width=1):
    """Return windows side by side, one pixel high."""
    return [
        Candidate(Region("a", 0, number * width, 1, width), 1.0 - number / 1000, width)
        for number in range(count)
    ]


def seen_by(network, seed=0):
    return QueryContext(LabelledPool({"a": (1, 1)}), network, np.random.default_rng(seed))


def test_badge_by_hand():
    """Two classes, so P - onehot is (-q, q) or (q, -q), and |g|^2 = 2 q^2 |h|^2."""
    shares = torch.tensor([[0.9, 0.6, 0.4, 0.6], [0.1, 0.4, 0.6, 0.4]], dtype=torch.float64)
    features = torch.tensor([[1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    network = Seen(shares.log()[:, None], features[:, None])
    view = network.predict("a", 1)
    residual, embedding = diversity._gradient_factors(view, Region("a", 0, 0, 1, 2))
    assert residual.tolist() == pytest.approx([-0.25, 0.25])  # the mean of both pixels
    assert embedding.tolist() == [1.0, 0.0]
    # g: 0.1 (-1, 1) h1, 0.4 (-1, 1) h1, 0.4 (1, -1) h1, 0.4 (-1, 1) h2: the second is the first of
    # the longest; squared distances from it are 0.18, 0, 1.28 and 0.64
    drawn = [
        diversity.gradient_seeds(columns(4), 2, seen_by(network, seed)) for seed in range(4000)
    ]
    assert {items[0].region.left for items in drawn} == {1}
    shares = np.bincount([items[1].region.left for items in drawn], minlength=4) / len(drawn)
    assert shares == pytest.approx(np.array([0.18, 0.0, 1.28, 0.64]) / 2.1, abs=0.03)


def plain_badge(items, budget_px, network, rng):
    """All outer products in memory, all distances from all chosen in each step."""
    gradients = []
    for item in items:
        view, region = network.predict(item.region.image_id, 1), item.region
        p = view.under(region, view.logits.values).double().softmax(0).numpy()
        residual = np.zeros(len(p))
        for y, x in np.ndindex(p.shape[1:]):
            residual += p[:, y, x]
            residual[p[:, y, x].argmax()] -= 1.0
        residual /= p[0].size
        gradients.append(np.outer(residual, view.embedding(region).double().numpy()))
    chosen = [int(np.argmax([np.linalg.norm(g) for g in gradients]))]
    while sum(items[number].new_px for number in chosen) < budget_px:
        weights = np.array(
            [min(np.square(g - gradients[other]).sum() for other in chosen) for g in gradients]
        )
        chosen.append(int(rng.choice(len(items), p=weights / weights.sum())))
    return [items[number] for number in chosen]


@pytest.mark.parametrize("seed", range(4))
def test_badge_is_what_outer_products_give(seed):
    from harness.testing import ToyNetwork

    items = [
        Candidate(Region(f"image_{number % 6}", top, left, 12, 20), 0.0, 240)
        for number, (top, left) in enumerate((y, x) for y in (0, 12, 36) for x in (0, 8, 21, 44))
    ]
    ours = QueryContext(LabelledPool({}), ToyNetwork(), np.random.default_rng(seed))
    assert diversity.gradient_seeds(items, 7 * 240, ours) == plain_badge(
        items, 7 * 240, ToyNetwork(), np.random.default_rng(seed)
    )


def test_badge_goes_by_rank_where_all_gradients_are_equal():
    same = Seen(torch.zeros(3, 1, 5), torch.ones(2, 1, 5))
    chosen = diversity.gradient_seeds(columns(5), 4, seen_by(same))
    assert [item.region.left for item in chosen] == [0, 1, 2, 3]
    assert diversity.gradient_seeds([], 4, seen_by(same)) == []


class Placed(QueryContext):
    """Embeddings and labelled windows that are given: ``pool`` maps regions to points."""

    def embeddings(self, regions, level=-1):
        points = [self.pool[region] for region in regions]
        return torch.tensor(points, dtype=torch.float32) if points else torch.empty((0, 0))

    @property
    def labelled(self):
        return self.predictor


def placed(*windows):
    """Return candidates and the points of their regions, from (image, left, score, point)."""
    items = [
        Candidate(Region(image, 0, left, 10, 10), score, 100) for image, left, score, _ in windows
    ]
    points = {item.region: point for item, (*_, point) in zip(items, windows, strict=True)}
    return sorted(items, key=lambda item: item.rank_key), points


def plain_spatial(items, budget_px, points, labelled, within, across):
    """Each gain anew from all pairs."""
    mean = np.mean([points[item.region] for item in items], axis=0)
    unit = {
        region: (np.array(point) - mean) / np.linalg.norm(np.array(point) - mean)
        for region, point in points.items()
    }
    chosen = []
    while sum(item.new_px for item in chosen) < budget_px:
        gains = {}
        for item in items:
            if item in chosen:
                continue
            close, like = 0.0, 0.0
            for other in [*labelled, *(item.region for item in chosen)]:
                if other.image_id == item.region.image_id:
                    d = math.hypot(other.top - item.region.top, other.left - item.region.left)
                    close = max(close, math.exp(-d / 10))
                else:
                    like = max(like, float(unit[other] @ unit[item.region]))
            gains[item] = item.score - within * close - across * like
        chosen.append(max(gains, key=gains.get))
    return chosen


def test_spatial_diversity_by_hand():
    windows = [
        ("a", 0, 1.00, (1.0, 0.0)),
        ("a", 10, 0.95, (0.0, 1.0)),  # beside the first: less 0.5 / e = 0.18
        ("a", 90, 0.90, (-2.0, 0.0)),  # far away in the image; the mean of all points is 0
        ("b", 0, 0.93, (1.0, 0.0)),  # looks like the first: less 0.5
        ("b", 50, 0.80, (0.0, -1.0)),  # looks like nothing else
    ]
    items, points = placed(*windows)
    for weights, expected in {
        (0.0, 0.0): [("a", 0), ("a", 10), ("b", 0), ("a", 90)],
        (0.5, 0.0): [("a", 0), ("b", 0), ("a", 90), ("b", 50)],
        (0.5, 0.5): [("a", 0), ("a", 90), ("b", 50), ("a", 10)],
    }.items():
        context = Placed(points, [], np.random.default_rng(0))
        chosen = diversity.spatially_diverse(items, 400, context, *weights)
        assert [(item.region.image_id, item.region.left) for item in chosen] == expected
    bought = Region("a", 0, 80, 10, 10)
    context = Placed({**points, bought: (-1.0, 0.0)}, [bought], np.random.default_rng(0))
    chosen = diversity.spatially_diverse(items, 300, context)
    assert ("a", 90) not in {(item.region.image_id, item.region.left) for item in chosen}


@pytest.mark.parametrize("seed", range(4))
def test_spatial_diversity_is_what_all_pairs_give(seed):
    rng = np.random.default_rng(seed)
    windows = [
        ("abc"[number % 3], 7 * number, float(rng.random()), tuple(rng.normal(size=4).tolist()))
        for number in range(24)
    ]
    items, points = placed(*windows)
    labelled = [Region("a", 0, 300, 10, 10), Region("z", 0, 0, 10, 10)]
    points |= {region: tuple(rng.normal(size=4).tolist()) for region in labelled}
    for within, across in ((0.5, 0.5), (2.0, 0.1)):
        context = Placed(points, labelled, np.random.default_rng(0))
        chosen = diversity.spatially_diverse(items, 1200, context, within, across)
        assert chosen == plain_spatial(items, 1200, points, labelled, within, across)
    assert diversity.spatially_diverse([], 1200, context) == []


def test_spatial_without_weights_is_entropy():
    strategy = strategies.make("spatial[within=0,across=0]")
    assert strategy.name == "spatial[across=0.0,within=0.0]"
    items, points = placed(*[("a", 10 * k, k / 9, (1.0 * k, 1.0)) for k in range(9)])
    assert strategy.select(items, 500, Placed(points, [], None)) == items[:5]
    with pytest.raises(InputError, match="within"):
        strategies.make("spatial[within=-1]")


# ------------------------------------------------------------------------------------ modifiers


MAPS = {
    "information": torch.rand((4, 5), dtype=torch.float64),
    "cost": torch.rand((4, 5), dtype=torch.float64),
}


def scores(name: str, seed: int = 0) -> torch.Tensor:
    strategy, rng = strategies.make(name), np.random.default_rng(seed)
    if strategy.score is not None:
        return strategy.score(MAPS, rng)
    return strategy.fuse(MAPS["information"], MAPS["cost"], rng)


@pytest.mark.parametrize("fusion", ["g1", "g2"])
def test_a_cost_behind_entropy_is_cereals(fusion):
    changed, paper = strategies.make(f"entropy-region+{fusion}"), f"cereals-{fusion}-entropy"
    assert torch.equal(scores(changed.name), scores(paper))
    assert (changed.cost, changed.measure) == ("predicted", strategies.make(paper).measure)
    assert torch.equal(
        scores("entropy-region+g3[alpha=0.3]"), scores("cereals-g3-entropy[alpha=0.3]")
    )


def test_names_keep_what_is_not_default_and_read_back():
    name = "ripu[radius=2]+g3[alpha=0.4,cost=whole]"
    assert strategies.make(name).name == name
    assert strategies.make("bald[passes=4]+g2[cost=predicted]").name == "bald[passes=4]+g2"
    listed = strategies.parse_list("bald+g2, margin+ratio,ripu+g3[alpha=0.4,cost=whole]")
    assert [item.name for item in listed] == [
        "bald+g2",
        "margin+ratio",
        "ripu+g3[alpha=0.4,cost=whole]",
    ]
    assert strategies.make("bald+g2[cost=oracle]").is_bound


def test_the_ratio_is_of_sums_that_are_not_scaled():
    strategy = strategies.make("margin+ratio")
    assert (strategy.scaled, strategy.cost) == (False, "whole")
    information, cost = MAPS["information"] * 50, MAPS["cost"] * 90 + 4
    made = strategy.fuse(information, cost, np.random.default_rng(0))
    assert torch.equal(made, information / cost)


def test_power_sampling_draws_in_proportion_to_the_score():
    strategy = strategies.make("entropy-region+power")
    maps = {"information": torch.tensor([[0.1, 0.3, 0.6]], dtype=torch.float64)}
    rng = np.random.default_rng(0)
    first = [int(strategy.score(maps, rng).argmax()) for _ in range(20_000)]
    assert np.bincount(first, minlength=3) / len(first) == pytest.approx([0.1, 0.3, 0.6], abs=0.015)
    sharp = strategies.make("entropy-region+power[beta=200]")
    assert int(sharp.score(maps, rng).argmax()) == 2


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("bald+g9", "unknown modifier"),
        ("bald+", "cannot read strategy"),
        ("+g2", "cannot read strategy"),
        ("bald+g2+g1", "must follow a strategy without a cost"),
        ("margin+power+g1", r"\+g1 must follow scores in \[0, 1\]"),
        ("balanced-random+g2", r"\+g2 must follow scores in \[0, 1\]"),
        ("balanced-random+power", "must follow scores that are not drawn already"),
        ("margin+power+power", "must follow scores that are not drawn already"),
        ("cereals-g2-entropy+g1", "must follow a strategy without a cost"),
        ("random-region+ratio", "ranks by its information alone"),
        ("cereals-g2-entropy+ratio", "ranks by its information alone"),
        ("margin+ratio[cost=constant]", "needs a cost"),
        ("random-region+power", "a strategy with a measure"),
        ("bald+g3[alpha=2]", "alpha"),
        ("bald+g2[alpha=0.4]", "parameters of g2: cost"),
        ("ripu[radius=0]", "radius"),
        ("bald+power[beta=0]", "beta"),
    ],
)
def test_modifiers_that_make_no_sense_get_one_line(name, said):
    with pytest.raises(InputError, match=said) as caught:
        strategies.make(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["bald+g2", "ripu+g3[alpha=0.4]", "margin+ratio", "entropy-spread+g1", "bald+power"]
)
def test_changed_strategies_keep_the_contract(name):
    from harness.testing import check_strategy

    check_strategy(strategies.make(name))


def test_information_alone_is_what_a_ratio_stands_on():
    assert strategies.make("margin").fuse is information_alone
