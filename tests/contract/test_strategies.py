"""Every registered strategy, through the real loop with fake networks: budgets, order, repeatability, no leak."""

import functools
import math

import numpy as np
import pytest
import torch

import strategies
from harness.acquisition import Counters, acquire
from harness.errors import InputError, RunError
from harness.logits import Logits
from harness.loop import run_strategy
from harness.maps import MemoryMaps, QueryRules
from harness.pool import LabelledPool
from harness.schedule import Schedule
from harness.seeds import Purpose, generator
from harness.types import Candidate, Region
from harness.views import View
from strategies.baselines import chance
from strategies.field import weighted_chance
from tests.fakes import FakeNetwork, FakeNetworks, FakeOracle, MemoryWriter, no_stage

SIZES = {f"img_{number:02d}": (32, 48) for number in range(16)}
SCHEDULE = Schedule(seed_images=2, images_per_round=1, rounds=4)
RULES = QueryRules(
    window_px=10, committee=3
)  # 32 x 48 px hold 15.36 windows: the remainder has to be carried

NAMES = [
    *strategies.STRATEGIES,
    "cereals-g3-entropy[alpha=0.3]",
    "vote-entropy-region[passes=2]",
    "bald+g2",
    "ripu[radius=2]+g3[alpha=0.4]",
    "margin+ratio",
    "entropy-region+power[beta=4]",
    "margin+g1+power",
]
by_name = pytest.mark.parametrize("name", NAMES)


def run(name, **changes):
    """Return the records of a run; of one without changes those of the first time it was asked for."""
    return run_anew(name, **changes) if changes else _run_once(name)


@functools.cache
def _run_once(name):
    return run_anew(name)


def run_anew(name, *, seed=0, oracle=None, sizes=SIZES, rules=RULES, finished=(), networks=None):
    writer = MemoryWriter()
    run_strategy(
        strategies.make(name),
        seed,
        schedule=SCHEDULE,
        rules=rules,
        oracle=oracle or FakeOracle(sizes),
        sizes=sizes,
        networks=networks or FakeNetworks(sizes),
        writer=writer,
        finished=finished,
        stage=no_stage,
        counters=Counters(),
    )
    return writer.records


@by_name
def test_scores_are_finite_and_of_the_shape_of_the_placements(name):
    strategy = strategies.make(name)
    information, cost = torch.rand(4, 5), None if strategy.cost == "none" else torch.rand(4, 5)
    rng = np.random.default_rng(0)
    if strategy.score is not None:
        maps = {"information": information} | ({} if cost is None else {"cost": cost})
        maps |= {further: torch.rand(4, 5) for further in strategy.maps}
        scores = strategy.score(maps, rng)
    else:
        scores = strategy.fuse(information, cost, rng)
    assert scores.shape == (4, 5)
    assert bool(torch.isfinite(scores).all())


@by_name
def test_the_budget_is_kept_to_within_one_window(name):
    window_px = 32 * 48 if strategies.make(name).whole_image else RULES.window_px**2
    for record in run(name):
        assert record.budget_px == (2 + record.round) * 32 * 48
        assert 0 <= record.budget_px - record.labelled_px < window_px


@by_name
def test_every_pixel_is_billed_once(name):
    bought = {image_id: np.zeros(size, int) for image_id, size in SIZES.items()}
    for record in run(name):
        for receipt in record.query:
            assert receipt.new_px == receipt.region.area_px
            bought[receipt.image_id][receipt.region.slices] += 1
        assert sum(int(count.sum()) for count in bought.values()) == record.labelled_px
    assert max(int(count.max()) for count in bought.values()) == 1


@by_name
def test_clicks_are_the_sum_of_the_receipts(name):
    spent = 0
    for record in run(name):
        spent += sum(
            receipt.polygon + receipt.intersection + receipt.box + receipt.classes
            for receipt in record.query
        )
        clicks = record.clicks
        assert clicks.polygon + clicks.intersection + clicks.box + clicks.classes == spent


@by_name
def test_the_same_seed_asks_the_same(name):
    assert run(name) == run_anew(name)


@by_name
def test_strategies_are_paired_by_seed(name):
    ours, theirs = run(name)[0], run("random-region")[0]
    assert (ours.query, ours.clicks, ours.areas, ours.network) == (
        theirs.query,
        theirs.clicks,
        theirs.areas,
        theirs.network,
    )
    assert run(name, seed=1)[0].query != run(name)[0].query


@by_name
def test_hidden_labels_change_no_query(name):
    """The leak test: flip every label that was never bought; every query stays the same."""
    first = run(name)
    oracle = FakeOracle(SIZES)
    oracle.flip_hidden([receipt.region for record in first for receipt in record.query])
    second = run(name, oracle=oracle)
    assert [[receipt.region for receipt in record.query] for record in second] == [
        [receipt.region for receipt in record.query] for record in first
    ]
    assert any(
        not np.array_equal(labels, FakeOracle(SIZES).labels[image_id])
        for image_id, labels in oracle.labels.items()
    )


@by_name
@pytest.mark.parametrize("rounds_done", [1, 3])
def test_a_resumed_run_is_the_same_run(name, rounds_done):
    whole = run(name)
    assert whole[:rounds_done] + run(name, finished=whole[:rounds_done]) == whole


@by_name
def test_scores_fall_within_a_query(name):
    if strategies.make(name).select is not None:
        pytest.skip("its order is not that of the scores")
    for record in run(name)[1:]:
        scores = [receipt.score for receipt in record.query]
        assert scores == sorted(scores, reverse=True)


@by_name
def test_a_finished_run_needs_no_network(name):
    networks = FakeNetworks(SIZES)
    whole = run(name)
    assert run(name, finished=whole, networks=networks) == []
    assert networks.asked == 0


@by_name
def test_with_overlap_allowed_new_pixels_keep_the_budget(name):
    rules = QueryRules(window_px=10, committee=3, allow_overlap=True)
    for record in run(name, rules=rules):
        assert record.budget_px - record.labelled_px >= 0
        assert all(1 <= receipt.new_px <= receipt.region.area_px for receipt in record.query)


def acquire_once(name, sizes, *, order=None, cache=None, rules=RULES, budget=600, bought=()):
    pool = LabelledPool({image_id: sizes[image_id] for image_id in (order or sizes)})
    pool.add(FakeOracle(sizes).annotate(bought, pool))
    return acquire(
        strategies.make(name),
        budget,
        pool=pool,
        predictor=FakeNetwork(sizes, "key"),
        oracle=FakeOracle(sizes),
        rules=rules,
        cache=cache or MemoryMaps(),
        rng_for=lambda image_id: generator(0, 1, Purpose.SCORES, image_id),
    )


@by_name
def test_the_order_of_the_images_does_not_matter(name):
    assert acquire_once(name, SIZES) == acquire_once(name, SIZES, order=list(reversed(SIZES)))


@pytest.mark.parametrize("name", ["coreset", "badge", "metabox", "spatial"])
def test_the_order_of_the_images_does_not_matter_to_what_labels_teach(name):
    whole = [Region(image_id, 0, 0, 32, 48) for image_id in ("img_09", "img_03")]
    bought = [*whole, Region("img_05", 3, 4, 10, 10)]
    ours = acquire_once(name, SIZES, bought=bought)
    assert ours == acquire_once(name, SIZES, order=list(reversed(SIZES)), bought=bought)


@by_name
def test_candidates_of_one_image_are_disjoint(name):
    query = acquire_once(name, SIZES, budget=32 * 48 * 6)
    for image_id, size in SIZES.items():
        covered = np.zeros(size, int)
        for candidate in query:
            if candidate.region.image_id == image_id:
                covered[candidate.region.slices] += 1
        assert covered.max() <= 1


@by_name
def test_ties_are_broken_by_image_and_place(name):
    """All maps constant: only the tie rule (or the strategy's own chance) decides."""

    class Flat(FakeNetwork):
        def predict(self, image_id, n_passes):
            shape = self._sizes[image_id]
            return View(
                iter([torch.full((5, *shape), 0.2)] * n_passes),
                torch.full(shape, 0.1),
                plain_pass=lambda: Logits(torch.zeros(5, *shape), shape),
                mirrored_pass=lambda: Logits(torch.zeros(5, *shape), shape),
            )

    strategy = strategies.make(name)
    by_chance = strategy.fuse in {chance, weighted_chance} or "+power" in name
    by_chance = by_chance or strategy.select is not None
    if not strategy.needs_network or strategy.is_bound or by_chance:
        pytest.skip("its scores do not come from these maps")
    query = acquire(
        strategy,
        32 * 48,
        pool=LabelledPool(SIZES),
        predictor=Flat(SIZES, ""),
        oracle=FakeOracle(SIZES),
        rules=RULES,
        cache=MemoryMaps(),
        rng_for=lambda image_id: generator(0, 1, Purpose.SCORES, image_id),
    )
    assert query[0].region == Region(
        "img_00", 0, 0, *((32, 48) if strategy.whole_image else (10, 10))
    )
    assert query == sorted(query, key=lambda candidate: candidate.rank_key)


def simple_cost(strategy, cost, info, image_id, scaled):
    """Put an image's costs on [0, 1] over the pool."""
    every = torch.cat([one.flatten() for one in cost.values()])
    if strategy.cost_scale == "conditional":
        known = torch.cat([one.flatten() for one in info.values()])
        edges = known.sort().values[[len(known) * part // 20 for part in range(1, 20)]]
        parts = (known[:, None] >= edges).sum(-1)
        part = (info[image_id][..., None] >= edges).sum(-1)
        like = part[..., None] == parts
        cheaper = (cost[image_id][..., None] > every) & like
        return cheaper.double().sum(-1) / like.sum(-1)
    if strategy.cost_scale == "rank":
        return (cost[image_id][..., None] > every).double().mean(-1)
    if strategy.cost_scale == "robust":
        low, high = np.percentile(every.numpy(), [1, 99])
        return ((cost[image_id] - low) / (high - low)).clamp(0, 1)
    return scaled(cost, image_id)


def simple_form(name, sizes, budget, rules=RULES) -> list[Candidate]:
    """The definition: all maps in memory, full greedy suppression over whole maps, one global sort."""
    strategy, network, oracle = strategies.make(name), FakeNetwork(sizes, "key"), FakeOracle(sizes)
    window = rules.window_px

    def sums(pixels):
        return torch.stack(
            [
                # fsum rounds once, so windows of equal content have equal sums here as well
                torch.tensor(
                    [
                        math.fsum(pixels[y : y + window, x : x + window].flatten().tolist())
                        for x in range(pixels.shape[1] - window + 1)
                    ],
                    dtype=torch.float64,
                )
                for y in range(pixels.shape[0] - window + 1)
            ]
        )

    n_passes = strategy.n_passes or rules.committee
    info = {
        i: sums(strategy.measure(network.predict(i, n_passes))) if strategy.measure else None
        for i in sizes
    }
    further = {
        named: {i: sums(measure(network.predict(i, n_passes))) for i in sizes}
        for named, measure in strategy.maps.items()
    }
    cost = {
        i: sums(network.predict(i, 1).cost_map)
        if strategy.cost == "predicted"
        else sums(torch.from_numpy(oracle.click_map(i)))
        for i in sizes
    }

    def scaled(maps, image_id):
        if not strategy.scaled:
            return maps[image_id]
        low, high = (
            min(float(m.min()) for m in maps.values()),
            max(float(m.max()) for m in maps.values()),
        )
        if low == high:
            return torch.zeros_like(maps[image_id])
        return (maps[image_id] - low) / (high - low)

    found = []
    for image_id in sizes:
        information = (
            scaled(info, image_id) if strategy.measure else torch.zeros_like(cost[image_id])
        )
        rng = generator(0, 1, Purpose.SCORES, image_id)
        own_cost = (
            simple_cost(strategy, cost, info, image_id, scaled) if strategy.cost != "none" else None
        )
        if strategy.score is None:
            scores = strategy.fuse(information, own_cost, rng).clone()
        else:
            maps = {"information": information} | ({} if own_cost is None else {"cost": own_cost})
            maps |= {named: scaled(own, image_id) for named, own in further.items()}
            scores = strategy.score(maps, rng).clone()
        while float(scores.max()) > -math.inf:
            top, left = divmod(int(scores.argmax()), scores.shape[1])
            found.append(
                Candidate(
                    Region(image_id, top, left, window, window), float(scores[top, left]), window**2
                )
            )
            scores[
                max(0, top - window + 1) : top + window, max(0, left - window + 1) : left + window
            ] = -math.inf
    return sorted(found, key=lambda candidate: candidate.rank_key)[: budget // window**2]


SCALED = [
    "cereals-g2-entropy[scale=rank]",
    "cereals-g1-vote-entropy[scale=robust]",
    "cereals-g3-entropy[cost=oracle,scale=rank]",
    "margin+g3[scale=robust]",
    "cereals-g2-entropy[scale=conditional]",
    "margin+g1[cost=oracle,scale=conditional]",
]


@pytest.mark.parametrize(
    "name", [*(name for name in NAMES if not strategies.make(name).whole_image), *SCALED]
)
def test_acquisition_equals_its_simple_form(name):
    strategy = strategies.make(name)
    if strategy.select is not None or strategy.cost == "whole":
        pytest.skip("the simple form sorts by score, and knows recorded clicks alone")
    sizes = dict(list(SIZES.items())[:4])
    fast, simple = acquire_once(name, sizes, budget=1500), simple_form(name, sizes, 1500)
    assert [candidate.region for candidate in fast] == [candidate.region for candidate in simple]
    assert np.allclose(
        [candidate.score for candidate in fast],
        [candidate.score for candidate in simple],
        rtol=0,
        atol=1e-9,
    )


@pytest.mark.parametrize("name", [*SCALED[:2], SCALED[4]])
def test_a_scale_of_costs_depends_on_no_order_of_images_and_no_room_for_maps(name, monkeypatch):
    sizes = dict(list(SIZES.items())[:4])
    kept = acquire_once(name, sizes, budget=1500)
    turned = acquire_once(name, dict(reversed(sizes.items())), budget=1500)
    made_again = acquire_once(name, sizes, budget=1500, cache=MemoryMaps(limit_bytes=0))
    assert kept == turned == made_again
    monkeypatch.setattr("harness.acquisition.MOST_COSTS", 50)
    some = acquire_once(name, sizes, budget=1500)
    assert some == acquire_once(name, dict(reversed(sizes.items())), budget=1500)
    assert [item.score for item in some] != [item.score for item in kept]


def test_a_scale_without_a_cost_is_refused():
    for name in (
        "cereals-g2-entropy[cost=constant,scale=rank]",
        "bald+g1[cost=constant,scale=rank]",
    ):
        with pytest.raises(
            InputError, match="scale must be linear where cost is constant, got rank"
        ):
            strategies.make(name)


def test_shared_maps_are_computed_once():
    cache = MemoryMaps()
    counters = Counters()
    for name in ("entropy-region", "cereals-g2-entropy"):
        acquire(
            strategies.make(name),
            600,
            pool=LabelledPool(SIZES),
            predictor=FakeNetwork(SIZES, "key"),
            oracle=FakeOracle(SIZES),
            rules=RULES,
            cache=cache,
            rng_for=lambda image_id: generator(0, 1, Purpose.SCORES, image_id),
            counters=counters,
        )
    assert (counters.images_asked, counters.images_predicted) == (
        32,
        32,
    )  # the second predicts for its cost maps alone
    again = Counters()
    acquire(
        strategies.make("cereals-g1-entropy"),
        600,
        pool=LabelledPool(SIZES),
        predictor=None,
        oracle=FakeOracle(SIZES),
        rules=RULES,
        cache=cache,
        rng_for=lambda image_id: generator(0, 1, Purpose.SCORES, image_id),
        counters=again,
    )
    assert (again.images_asked, again.images_predicted) == (16, 0)


def test_a_nan_in_a_map_names_the_image():
    class Broken(FakeNetwork):
        def predict(self, image_id, n_passes):
            prediction = super().predict(image_id, n_passes)
            return View(
                iter([next(prediction.passes) * (math.nan if image_id == "img_03" else 1.0)]),
                prediction.cost_map,
            )

    with pytest.raises(RunError, match=r"image img_03: strategies\.measures\.entropy-1-window map"):
        acquire(
            strategies.make("entropy-region"),
            600,
            pool=LabelledPool(SIZES),
            predictor=Broken(SIZES, ""),
            oracle=FakeOracle(SIZES),
            rules=RULES,
            cache=MemoryMaps(),
            rng_for=lambda image_id: generator(0, 1, Purpose.SCORES, image_id),
        )


def test_images_labelled_in_full_are_not_predicted():
    seen = []

    class Watching(FakeNetwork):
        def predict(self, image_id, n_passes):
            seen.append(image_id)
            return super().predict(image_id, n_passes)

    oracle, pool = FakeOracle(SIZES), LabelledPool(SIZES)
    pool.add(oracle.annotate([Region("img_04", 0, 0, 32, 48)], pool))
    acquire(
        strategies.make("entropy-region"),
        600,
        pool=pool,
        predictor=Watching(SIZES, ""),
        oracle=oracle,
        rules=RULES,
        cache=MemoryMaps(),
        rng_for=lambda image_id: generator(0, 1, Purpose.SCORES, image_id),
    )
    assert seen == [image_id for image_id in SIZES if image_id != "img_04"]


@pytest.mark.parametrize("fusion", ["g1", "g2", "g3"])
def test_a_constant_cost_asks_like_information_alone(fusion):
    """With C = 0 each fusion rises with the information alone."""
    ours, theirs = run(f"cereals-{fusion}-entropy[cost=constant]"), run("entropy-region")
    assert [[receipt.region for receipt in record.query] for record in ours] == [
        [receipt.region for receipt in record.query] for record in theirs
    ]


def test_the_oracle_bracket_is_the_bound_that_every_board_shows():
    ours, theirs = run("cereals-g2-entropy[cost=oracle]"), run("cereals-g2-entropy-oracle-cost")
    assert [record.query for record in ours] == [record.query for record in theirs]


def test_the_truly_cheapest_windows_need_no_network():
    assert not strategies.make("cheapest-region[cost=oracle]").needs_network
    records = run("cheapest-region[cost=oracle]")
    assert [record.query for record in records[1:]]
