"""Superpixels in the place of windows: partition, sums, clicks, labels, query, resumption."""

import zlib

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import strategies
from harness.acquisition import Counters, acquire
from harness.blocks import LabelNoise
from harness.clicks import count_components, count_segment, outline_crossings
from harness.data.annotators import NoisyOracle
from harness.data.cityscapes import ClickOracle
from harness.errors import InputError, RunError
from harness.loop import run_strategy
from harness.maps import MemoryMaps, QueryRules
from harness.pool import LabelledPool
from harness.regions import segment_sum, window_sum
from harness.results import _RECORD, accounting, dump_record
from harness.schedule import ClickSchedule, Schedule
from harness.superpixels import Superpixels, boxes, partition
from harness.testing import check_strategy
from harness.types import Clicks, Region, Segment
from tests.examples import examples
from tests.fakes import FakeNetwork, FakeNetworks, MemoryWriter, no_stage

PX = 200


def grid(height: int, width: int, side: int) -> np.ndarray:
    """Squares, as a partition."""
    rows, columns = np.arange(height) // side, np.arange(width) // side
    return (rows[:, None] * (-(-width // side)) + columns).astype(np.int32)


def segment(number: int, segments: np.ndarray, *, dominant: bool = False) -> Segment:
    return Segment("a", *boxes(segments)[number].tolist()[:4], number, PX, 0, dominant)


def test_every_pixel_is_in_one_superpixel_and_the_numbers_have_no_gap(train_split):
    photo = train_split.photo(next(iter(train_split.files)))
    segments = partition(photo, PX)
    assert segments.shape == photo.shape[:2]
    sizes = np.bincount(segments.ravel())
    assert sizes.min() > 0
    assert 0.5 * PX < sizes.mean() < 2 * PX
    assert np.array_equal(segments, partition(photo, PX))
    assert set(np.unique(partition(photo[:9, :9], PX))) == {0}


@pytest.mark.parametrize("noise", [0.0, 10.0, 25.0])
def test_grain_changes_neither_their_number_nor_their_size(noise):
    height, width = 180, 240
    rows, columns = np.mgrid[:height, :width]
    photo = np.stack([rows, columns, rows + columns], 2) % 256 + noise * np.random.default_rng(
        0
    ).standard_normal((height, width, 3))
    sizes = np.bincount(partition(photo.clip(0, 255).astype(np.uint8), PX).ravel())
    assert 0.7 * height * width / PX < len(sizes) < 1.3 * height * width / PX
    assert sizes.max() < 4 * PX


def test_superpixels_are_connected(train_split):
    segments = partition(train_split.photo(next(iter(train_split.files))), PX)
    assert count_components(segments) == segments.max() + 1


def test_a_damaged_file_is_made_again(tmp_path, train_split):
    image_id = next(iter(train_split.files))
    made = []

    def photo(name):
        made.append(name)
        return train_split.photo(name)

    first = Superpixels(photo, tmp_path).of(image_id, PX)
    assert np.array_equal(Superpixels(photo, tmp_path).of(image_id, PX), first)
    assert len(made) == 1
    file = next(tmp_path.rglob("*.segments"))
    good = file.read_bytes()
    flipped = good[:20] + bytes([good[20] ^ 1]) + good[21:]
    for bad in (b"", good[:-3], b"y" + good[1:], flipped, zlib.compress(b"x")):
        file.write_bytes(bad)
        assert np.array_equal(Superpixels(photo, tmp_path).of(image_id, PX), first)
        assert file.read_bytes() == good
    assert len(made) == 6


def test_boxes_by_hand():
    segments = np.array([[0, 0, 1], [0, 2, 1], [2, 2, 1]], np.int32)
    assert boxes(segments).tolist() == [[0, 0, 2, 2, 3], [0, 2, 3, 1, 3], [1, 0, 2, 2, 3]]


@examples(50)
@given(st.integers(2, 20), st.integers(2, 20), st.integers(1, 7), st.integers(0, 2**31))
def test_sums_under_squares_are_those_under_windows(rows, columns, side, seed):
    rng = np.random.default_rng(seed)
    rows, columns = rows * side, columns * side
    values = torch.from_numpy(rng.random((rows, columns)) * 10.0 ** rng.integers(-8, 8))
    found = segment_sum(values, grid(rows, columns, side))
    assert torch.equal(found.reshape(rows // side, -1), window_sum(values, side, stride=side))
    counts = torch.from_numpy(rng.integers(0, 9, (rows, columns)))
    sums = np.bincount(grid(rows, columns, side).ravel(), weights=counts.numpy().ravel())
    assert segment_sum(counts, grid(rows, columns, side))[0].tolist() == sums.tolist()


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf")])
def test_sums_refuse_what_windows_refuse(bad):
    with pytest.raises(ValueError, match="NaN, infinite or negative"):
        segment_sum(torch.tensor([[1.0, bad]]), np.zeros((1, 2), np.int32))


@examples(50)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(3, 9), st.integers(0, 2**31))
def test_changes_along_the_outline_of_a_square_are_those_of_a_window(rows, columns, side, seed):
    from harness.clicks import _border_crossings

    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, (rows * side, columns * side))
    found = outline_crossings(labels, grid(rows * side, columns * side, side))
    wanted = [
        _border_crossings(labels, Region("a", row * side, column * side, side, side))
        for row in range(rows)
        for column in range(columns)
    ]
    assert found.tolist() == wanted


def test_changes_along_an_outline_by_hand():
    # an L of five pixels in the corner: its inner side is an outline, the image's frame is none
    segments = np.array([[0, 1, 1], [0, 1, 1], [0, 0, 0]], np.int32)
    labels = np.array([[1, 7, 7], [2, 7, 7], [2, 2, 3]])
    # of the L's pairs 1-2, 2-2, 2-2, 2-3 all touch the square but the corner, (2, 0)
    assert outline_crossings(labels, segments).tolist() == [2, 0]


def test_changes_along_a_diagonal_outline_are_counted_across_corners():
    rows, columns = np.mgrid[:7, :7]
    diamond = (abs(rows - 3) + abs(columns - 3) <= 2).astype(np.int32)
    labels = np.where(columns < 3, 5, np.where(columns > 3, 6, 7))
    # its outline has eight pixels, each across a corner of the next; left, middle and right differ:
    # the steps into and out of its top and its bottom pixel are four changes
    assert outline_crossings(labels, diamond)[1] == 4
    halves = np.where(columns < 3, 5, 6)
    assert outline_crossings(halves, diamond)[1] == 2


@examples(25)
@given(st.integers(0, 2**31))
def test_changes_along_an_outline_are_those_of_the_traced_contour(seed):
    """Blobs without thin parts, traced by OpenCV pixel by pixel."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:40, :40]
    turn = np.arctan2(rows - 19.5, columns - 19.5)
    radius = 12 + 2 * np.sin(2 * turn + rng.uniform(0, 6))
    blob = (np.hypot(rows - 19.5, columns - 19.5) < radius).astype(np.int32)
    labels = (columns // int(rng.integers(5, 12))).astype(np.uint8)
    contour = cv2.findContours(blob.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    along = contour[0][:, 0]
    seen = labels[along[:, 1], along[:, 0]]
    assert outline_crossings(labels, blob)[1] == np.count_nonzero(seen != np.roll(seen, -1))


def test_clicks_of_superpixels_by_hand():
    segments = np.array([[0, 0, 1, 1], [0, 0, 1, 1]], np.int32)
    labels = np.array([[1, 1, 2, 1], [1, 1, 2, 2]])
    vertices = np.array([[0, 0], [1, 1], [2, 0], [3, 0]], np.int32)
    left, right = segment(0, segments), segment(1, segments)
    assert count_segment(vertices, labels, segments, left) == Clicks(2, 0, 0, 1)
    # the pixels (0, 2) and (1, 2) touch the left one, and have the same label
    assert count_segment(vertices, labels, segments, right) == Clicks(2, 0, 0, 2)
    one = count_segment(vertices, labels, segments, segment(1, segments, dominant=True))
    assert one == Clicks(polygon=1)
    assert one.billed == 1


def asked(split, image_id: str, segments: np.ndarray, *, dominant: bool = False) -> list[Segment]:
    return [
        Segment(image_id, *box[:4].tolist(), number, PX, int(box[4]), dominant)
        for number, box in enumerate(boxes(segments))
    ]


def test_the_parts_of_an_image_add_up_and_hold_no_hidden_label(train_split):
    superpixels = Superpixels(train_split.photo)
    oracle, sizes = ClickOracle(train_split, superpixels), train_split.index.sizes
    image_id = next(iter(sizes))
    segments, truth = superpixels.of(image_id, PX), train_split.train_ids(image_id)
    regions = asked(train_split, image_id, segments)
    pool = LabelledPool(sizes)
    for number, region in enumerate(regions):
        answer = oracle.annotate([region], pool)[0]
        inside = segments[region.slices] == number
        assert np.array_equal(answer.is_new, inside)
        assert np.array_equal(answer.labels[inside], truth[region.slices][inside])
        assert (answer.labels[~inside] == 255).all()
        pool.add([answer])
        known = segments <= number
        assert np.array_equal(pool.is_labelled(image_id), known)
        assert np.array_equal(pool.labels(image_id), np.where(known, truth, 255))
        assert pool.labelled_px == known.sum()
    whole = oracle.annotate([Region(image_id, 0, 0, *sizes[image_id])], LabelledPool(sizes))[0]
    answers = oracle.annotate(regions, LabelledPool(sizes))
    assert sum(answer.clicks.polygon for answer in answers) == whole.clicks.polygon
    assert sorted(map(tuple, pool.vertices(image_id).tolist())) == sorted(
        map(tuple, whole.vertices.tolist())
    )
    assert np.array_equal(pool.class_counts, np.bincount(truth.ravel(), minlength=256))


def test_a_dominant_label_is_the_most_frequent_one_and_one_click(train_split):
    superpixels = Superpixels(train_split.photo)
    oracle, sizes = ClickOracle(train_split, superpixels), train_split.index.sizes
    image_id = next(iter(sizes))
    segments, truth = superpixels.of(image_id, PX), train_split.train_ids(image_id)
    regions = asked(train_split, image_id, segments, dominant=True)
    for region, answer in zip(regions, oracle.annotate(regions, LabelledPool(sizes)), strict=True):
        own = truth[segments == region.number].tolist()
        wanted = max(sorted(set(own)), key=own.count)
        assert set(answer.labels[answer.is_new].tolist()) == {wanted}
        assert answer.clicks == Clicks(polygon=1)


def test_annotators_who_err_give_their_own_dominant_label(train_split):
    superpixels, noise = Superpixels(train_split.photo), LabelNoise(missed=1.0, small_px=10**6)
    oracle, sizes = NoisyOracle(train_split, noise, superpixels), train_split.index.sizes
    image_id = next(iter(sizes))
    whole = oracle.annotate([Region(image_id, 0, 0, *sizes[image_id])], LabelledPool(sizes))[0]
    segments = superpixels.of(image_id, PX)
    for dominant in (False, True):
        regions = asked(train_split, image_id, segments, dominant=dominant)
        for region, answer in zip(
            regions, oracle.annotate(regions, LabelledPool(sizes)), strict=True
        ):
            own = whole.labels[segments == region.number]
            wanted = np.full(own.shape, np.bincount(own).argmax()) if dominant else own
            assert np.array_equal(answer.labels[answer.is_new], wanted)


NAMES = [
    "random-region+superpixels",
    "entropy-region+superpixels[px=100]",
    "entropy-region+superpixels[label=dominant]",
    "cereals-g2-entropy[cost=whole]+superpixels",
    "coreset+superpixels",
]


def query(name: str, split, images: list[str], budget_px: int):
    sizes = {image_id: split.index.sizes[image_id] for image_id in images}
    superpixels = Superpixels(split.photo)
    oracle, pool = ClickOracle(split, superpixels), LabelledPool(sizes)
    first = min(images[-1], images[0])
    pool.add(oracle.annotate([Region(first, 0, 0, 20, 30)], pool))
    rules = QueryRules(window_px=24, committee=3, superpixels=superpixels)
    strategy = strategies.make(name)
    network = FakeNetwork(sizes, "key")
    found = acquire(
        strategy,
        budget_px,
        pool=pool,
        predictor=network,
        oracle=oracle,
        rules=rules,
        cache=MemoryMaps(),
        rng_for=lambda image_id: np.random.default_rng(zlib.crc32(image_id.encode())),
    )
    return found, pool, rules, network


@pytest.mark.parametrize("name", NAMES)
def test_a_query_is_disjoint_within_the_budget_and_the_same_for_any_order(name, train_split):
    images = list(train_split.files)[:4]
    found, pool, rules, _ = query(name, train_split, images, 6000)
    assert sum(candidate.new_px for candidate in found) <= 6000
    assert len({candidate.region.place for candidate in found}) == len(found) > 3
    for candidate in found:
        segments = rules.segments(candidate.region.image_id, candidate.region.mean_px)
        own = segments == candidate.region.number
        assert own.sum() == candidate.new_px == candidate.region.area_px
        assert not (own & pool.is_labelled(candidate.region.image_id)).any()
    assert query(name, train_split, images[::-1], 6000)[0] == found


def test_the_best_superpixels_of_the_pool_are_asked_for(train_split):
    """The slow form: all superpixels of all images, one sort."""
    images = list(train_split.files)[:3]
    found, pool, rules, network = query("entropy-region+superpixels", train_split, images, 5000)
    every = []
    for image_id in images:
        p = next(network.predict(image_id, 1).passes)
        entropy = -(p * p.log()).sum(0).numpy().astype(np.float64)
        known, segments = pool.is_labelled(image_id), rules.segments(image_id, 144)
        every += [
            (-entropy[segments == number].sum(), image_id, number, int((segments == number).sum()))
            for number in range(segments.max() + 1)
            if not known[segments == number].any()
        ]
    left, wanted = 5000, []
    for _, image_id, number, size in sorted(every):
        if size > left:
            break
        left -= size
        wanted.append((image_id, number))
    assert [(item.region.image_id, item.region.number) for item in found] == wanted


def run(split, name: str, finished=(), schedule=None, superpixels=None) -> MemoryWriter:
    sizes, writer = split.index.sizes, MemoryWriter(keeps_maps=True)
    superpixels = superpixels or Superpixels(split.photo)
    run_strategy(
        strategies.make(name),
        1,
        schedule=schedule or Schedule(1, 1, 2),
        rules=QueryRules(window_px=24, committee=3, superpixels=superpixels),
        oracle=ClickOracle(split, superpixels),
        sizes=sizes,
        networks=FakeNetworks(sizes),
        writer=writer,
        finished=finished,
        stage=no_stage,
        counters=Counters(),
    )
    return writer


@pytest.mark.parametrize("name", NAMES)
def test_a_run_goes_on_where_it_stopped(name, train_split):
    whole = run(train_split, name)
    assert not list(accounting(whole.records))
    assert whole.records[0].segments is None
    assert len(whole.records[1].segments) == len(whole.records[1].query)
    read = [_RECORD.validate_json(dump_record(record)) for record in whole.records]
    assert read == whole.records
    assert run(train_split, name, finished=read[:2]).records == whole.records[2:]


def test_other_superpixels_than_those_recorded_are_refused(train_split):
    done = run(train_split, NAMES[0]).records[:2]
    with pytest.raises(RunError, match="cuts the photograph otherwise now"):
        run(
            train_split,
            NAMES[0],
            done,
            superpixels=Superpixels(lambda name: train_split.photo(name)[::-1]),
        )


def test_superpixels_under_a_budget_of_clicks(train_split):
    totals = train_split.index.totals
    schedule = ClickSchedule(1, 0, 1, (0.5,))
    records = run(
        train_split, "random-region+superpixels[label=dominant]", schedule=schedule
    ).records
    assert records[1].clicks.billed == records[1].budget_clicks == round(0.5 * totals.polygon) or (
        records[1].labelled_px == sum(h * w for h, w in train_split.index.sizes.values())
    )


def test_pictures_of_superpixels_are_of_whole_images(train_split):
    maps = run(train_split, "cereals-g2-entropy+superpixels").maps[1]
    height, width = next(iter(train_split.index.sizes.values()))
    assert all(thumbnail.box == (0.0, 0.0, float(height), float(width)) for thumbnail in maps)


@pytest.mark.parametrize("name", NAMES)
def test_they_pass_the_contract_that_strategies_of_others_are_held_to(name):
    check_strategy(strategies.make(name))


def test_a_dominant_label_with_a_cost_is_refused_however_it_is_made(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from harness.protocols import Strategy, SuperpixelQuery\n"
        "def mine():\n"
        "    return Strategy('mine', 's', 'e', fuse=lambda i, c, r: -c, cost='predicted',\n"
        "                    superpixels=SuperpixelQuery(None, True))\n"
    )
    with pytest.raises(InputError, match="must have no cost"):
        strategies.make(strategies.add_file(f"{tmp_path}/mine.py:mine"))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("entropy-image+superpixels", "a strategy that asks for windows"),
        ("margin+superpixels+superpixels", "must be the last modifier"),
        ("cereals-g2-entropy+superpixels[label=dominant]", "without a cost"),
        ("margin+superpixels+g2", "must be the last modifier"),
        ("margin+ratio+superpixels[label=dominant]", "without a cost"),
        ("margin+superpixels[px=2]", "px"),
        ("margin+superpixels[label=best]", "label"),
    ],
)
def test_what_superpixels_cannot_be_is_one_line(name, said):
    with pytest.raises(InputError) as caught:
        strategies.make(name)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_the_library_it_is_one_line(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"install harness-al\[superpixels\]"):
        strategies.make("margin+superpixels")
