"""Two passes, bounded caches and running floors against the definition: all maps in memory, full suppression, one sort."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.acquisition import Counters, acquire
from harness.errors import RunError
from harness.maps import DiskMaps, MemoryMaps, QueryRules
from harness.pool import LabelledPool
from harness.protocols import Strategy
from harness.types import Annotation, Candidate, Clicks, Region
from harness.views import View
from tests.examples import examples


class PlainMaps:
    """A predictor whose maps are given; it counts what it is asked."""

    def __init__(self, information: dict[str, np.ndarray], cost: dict[str, np.ndarray]) -> None:
        self.information, self.cost = information, cost
        self.asked: list[str] = []

    def predict(self, image_id: str, _n_passes: int) -> View:
        self.asked.append(image_id)
        return View(
            iter([torch.from_numpy(self.information[image_id])]),
            torch.from_numpy(self.cost[image_id]),
        )

    def expect(self, image_ids) -> None:
        """Everything is there."""


class NoOracle:
    totals = None


def first_pass(prediction: View) -> torch.Tensor:
    return next(prediction.passes)


STRATEGY = Strategy(
    "test",
    "",
    "",
    measure=first_pass,
    cost="predicted",
    fuse=lambda information, cost, _rng: (1.0 - cost) * information,
)


def pool_of(sizes: dict[str, tuple[int, int]], bought: list[Region]) -> LabelledPool:
    pool = LabelledPool(sizes)
    for region in bought:
        is_new = ~pool.is_labelled(region.image_id)[region.slices]
        shape = region.height, region.width
        pool.add(
            [
                Annotation(
                    region, np.zeros(shape, np.uint8), np.empty((0, 2), np.int32), is_new, Clicks()
                )
            ]
        )
    return pool


def simple_form(
    predictor: PlainMaps, pool: LabelledPool, rules: QueryRules, budget_px: int
) -> list[Candidate]:
    """The definition, with loops."""
    side, stride = rules.window_px, rules.stride_px
    places, sums = [], {}
    for image_id in pool.open_ids:
        free = ~pool.is_labelled(image_id)
        height, width = pool.sizes[image_id]
        for top in range(0, height - side + 1, stride):
            for left in range(0, width - side + 1, stride):
                window = np.s_[top : top + side, left : left + side]
                new_px = int(free[window].sum())
                if new_px == side * side or (rules.allow_overlap and new_px):
                    where = image_id, top, left
                    places.append((where, new_px))
                    # the maps hold whole numbers: sums are exact in any order
                    sums[where] = tuple(
                        float((maps[image_id] * free)[window].sum())
                        for maps in (predictor.information, predictor.cost)
                    )
    if not places:
        return []
    low, high = np.min(list(sums.values()), axis=0), np.max(list(sums.values()), axis=0)
    scaled = {
        where: [
            0.0 if lo == hi else (v - lo) / (hi - lo)
            for v, lo, hi in zip(pair, low, high, strict=True)
        ]
        for where, pair in sums.items()
    }
    scored = sorted(
        (
            (-((1.0 - cost) * information), where, new_px)
            for (where, new_px) in places
            for information, cost in [scaled[where]]
        )
    )
    kept: list[Candidate] = []
    for negative, (image_id, top, left), new_px in scored:
        if all(
            other.region.image_id != image_id
            or abs(other.region.top - top) >= side
            or abs(other.region.left - left) >= side
            for other in kept
        ):
            kept.append(
                Candidate(
                    Region(image_id, top, left, side, side),
                    -negative,
                    new_px,
                    *sums[image_id, top, left],
                )
            )
    query, left_px = [], budget_px
    for candidate in kept:
        if candidate.new_px > left_px:
            break
        query.append(candidate)
        left_px -= candidate.new_px
    return query


@st.composite
def pools(draw):
    count = draw(st.integers(1, 4))
    sizes = {f"i{n}": (draw(st.integers(4, 12)), draw(st.integers(4, 12))) for n in range(count)}
    largest = draw(st.sampled_from([0, 1, 2, 50]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    information, cost = (
        {k: rng.integers(0, largest + 1, size).astype(np.float64) for k, size in sizes.items()}
        for _ in range(2)
    )
    bought = []
    for image_id in draw(st.lists(st.sampled_from(sorted(sizes)), max_size=4)):
        height, width = sizes[image_id]
        top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        bought.append(
            Region(
                image_id,
                top,
                left,
                draw(st.integers(1, height - top)),
                draw(st.integers(1, width - left)),
            )
        )
    rules = QueryRules(draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.booleans()))
    return PlainMaps(information, cost), pool_of(sizes, bought), rules, draw(st.integers(0, 120))


def query(case, cache, *, counters=None) -> list[Candidate]:
    predictor, pool, rules, budget_px = case
    return acquire(
        STRATEGY,
        budget_px,
        pool=pool,
        predictor=predictor,
        oracle=NoOracle(),
        rules=rules,
        cache=cache,
        rng_for=lambda _image_id: np.random.default_rng(0),
        counters=counters,
    )


@examples(150)
@given(pools())
def test_two_passes_equal_the_simple_form(case):
    predictor, pool, rules, budget_px = case
    assert query(case, MemoryMaps()) == simple_form(predictor, pool, rules, budget_px)


@examples(40)
@given(pools(), st.randoms())
def test_the_order_of_images_changes_nothing(case, random):
    predictor, pool, rules, budget_px = case
    shuffled = list(pool.sizes)
    random.shuffle(shuffled)
    other = pool_of(
        {image_id: pool.sizes[image_id] for image_id in shuffled},
        [a.region for some in pool._annotations.values() for a in some],
    )
    assert query((predictor, other, rules, budget_px), MemoryMaps()) == query(case, MemoryMaps())


@examples(40)
@given(pools(), st.sampled_from([0, 200, 2000]))
def test_a_full_cache_changes_nothing_but_the_work(tmp_path_factory, case, limit_bytes):
    folder, counters = tmp_path_factory.mktemp("maps"), Counters()
    assert query(case, DiskMaps(folder, limit_bytes), counters=counters) == query(
        case, MemoryMaps()
    )
    # pass 1 sees each image once, pass 2 those whose maps were not kept
    assert len(case[1].open_ids) <= counters.images_predicted <= 2 * len(case[1].open_ids)
    assert sum(file.stat().st_size for file in folder.rglob("*.map")) <= limit_bytes + 40 * 2 * len(
        case[1].open_ids
    )


def a_case(information=None) -> tuple:
    rng = np.random.default_rng(0)
    sizes = {f"i{n}": (16, 20) for n in range(5)}
    maps = [
        {k: rng.integers(0, 9, size).astype(np.float64) for k, size in sizes.items()}
        for _ in range(2)
    ]
    return (
        PlainMaps({**maps[0], **(information or {})}, maps[1]),
        pool_of(sizes, []),
        QueryRules(4),
        160,
    )


def test_an_interrupted_pass_goes_on_at_the_missing_image(tmp_path):
    case = a_case()
    expected = query(case, DiskMaps(tmp_path / "whole"))
    broken = {"i3": np.full((16, 20), math.nan)}
    with pytest.raises(RunError, match=r"image i3: .* NaN"):
        query(a_case(broken), DiskMaps(tmp_path / "maps"))
    again = a_case()
    assert query(again, DiskMaps(tmp_path / "maps")) == expected
    assert sorted(set(again[0].asked)) == ["i3", "i4"]


@pytest.mark.parametrize(
    "damage",
    [lambda body: body[:-3], lambda body: body[:50] + b"\xff" + body[51:], lambda _body: b""],
)
def test_a_damaged_map_is_made_again(tmp_path, damage):
    case = a_case()
    expected = query(case, DiskMaps(tmp_path))
    for file in tmp_path.rglob("*.map"):
        file.write_bytes(damage(file.read_bytes()))
    assert query(case, DiskMaps(tmp_path)) == expected
