import functools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import InputError
from harness.maps import DiskMaps, MapRequest, MemoryMaps
from strategies.measures import entropy


def powered(prediction, *, power=1):
    return entropy(prediction) ** power


def key(measure) -> str:
    return MapRequest(measure, "", 1, whole_image=False).key


def test_measures_with_other_parameters_have_other_maps():
    keys = {key(powered), key(functools.partial(powered, power=1)), key(functools.partial(powered, power=4)), key(entropy)}
    assert len(keys) == 4
    assert key(functools.partial(powered, power=4)) == key(functools.partial(powered, power=4))


def test_a_measure_without_a_name_of_its_own_is_refused():
    with pytest.raises(InputError, match="has no name of its own"):
        key(lambda prediction: 2 * entropy(prediction))


@settings(max_examples=60, deadline=None)
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
