import functools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import strategies
from harness.clicks import count_region
from harness.errors import InputError
from harness.logits import Logits
from harness.maps import DiskMaps, MapRequest, MapSource, MemoryMaps, QueryRules, requests_of
from harness.pool import LabelledPool
from harness.types import Region
from harness.views import View
from strategies.measures import entropy
from tests.examples import examples


def powered(prediction, *, power=1):
    return entropy(prediction) ** power


def key(measure) -> str:
    return MapRequest(measure, "", 1, whole_image=False).key


def test_measures_with_other_parameters_have_other_maps():
    keys = {
        key(powered),
        key(functools.partial(powered, power=1)),
        key(functools.partial(powered, power=4)),
        key(entropy),
    }
    assert len(keys) == 4
    assert key(functools.partial(powered, power=4)) == key(functools.partial(powered, power=4))


def test_a_measure_without_a_name_of_its_own_is_refused():
    with pytest.raises(InputError, match="must be a function of a module"):
        key(lambda prediction: 2 * entropy(prediction))


@examples(60)
@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_no_flipped_bit_goes_unseen(tmp_path_factory, place, bit):
    maps = DiskMaps(tmp_path_factory.mktemp("maps"))
    region_map = torch.arange(12, dtype=torch.float64).reshape(3, 4)
    maps.put("a/b", region_map, (0.0, 11.0))
    assert torch.equal(maps.get("a/b"), region_map)
    (file,) = maps._folder.rglob("*.map")
    content = bytearray(file.read_bytes())
    content[place % len(content)] ^= 1 << bit
    file.write_bytes(content)
    assert maps.get("a/b") is None
    assert maps.bounds("a/b") in {None, (0.0, 11.0)}


def test_memory_maps_keep_bounds_beyond_their_room():
    maps = MemoryMaps(limit_bytes=100)
    for name in ("a", "b"):
        maps.put(name, torch.zeros((3, 4), dtype=torch.float64), (0.0, 1.0))
    assert maps.get("a") is not None
    assert maps.get("b") is None
    assert maps.bounds("b") == (0.0, 1.0)


def test_the_whole_cost_of_a_window_is_its_clicks_its_crossings_and_its_box():
    """Against ``count_region`` on the predicted label map, window by window; the image's frame costs nothing."""
    size, window = (24, 36), 10
    rng = np.random.default_rng(0)
    scores = torch.from_numpy(rng.normal(size=(4, 3, 5))).float()
    clicks = torch.from_numpy(rng.random(size))

    class Net:
        def predict(self, image_id, n_passes):
            assert n_passes == 1
            return View(iter([Logits(scores, size)]), clicks)

    source = MapSource(LabelledPool({"a": size}), Net(), None, QueryRules(window, stride_px=2))
    (request,) = requests_of(strategies.make("cheapest-region[cost=whole]"), source.rules)
    found = source.region_map(request, "a")
    labels = Logits(scores, size).winners().numpy()
    for row, top in enumerate(range(0, size[0] - window + 1, 2)):
        for column, left in enumerate(range(0, size[1] - window + 1, 2)):
            bill = count_region(
                np.empty((0, 2), np.int32), labels, Region("a", top, left, window, window)
            )
            inside = float(clicks[top : top + window, left : left + window].sum())
            assert float(found[row, column]) == pytest.approx(inside + bill.intersection + bill.box)
    plain = requests_of(strategies.make("cheapest-region"), source.rules).cost
    assert plain.key != request.key
