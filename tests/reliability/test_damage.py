"""Every file that the product writes, cut short and with single bits flipped: noticed, or without effect. docs/project/reliability.md"""

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.config import config_path, load_spec
from harness.data.annotations import read_recording
from harness.doctor import examine
from harness.errors import InputError
from harness.results import read_info, read_maps, read_run, read_timings
from tests.examples import examples
from tests.reliability.conftest import ARGUMENTS, KILLED, assert_ends_the_same

FLIPS = 60


def damaged(content: bytes, seed: int) -> list[bytes]:
    """Return copies that are cut short, empty, or have one bit flipped."""
    rng = random.Random(seed)
    cuts = [content[: rng.randrange(len(content))] for _ in range(10)]
    flips = []
    for _ in range(FLIPS):
        place = rng.randrange(len(content))
        flips.append(
            content[:place]
            + bytes([content[place] ^ (1 << rng.randrange(8))])
            + content[place + 1 :]
        )
    return [b"", *cuts, *flips]


@pytest.fixture
def run(folder, undisturbed, tmp_path):
    source = next((folder / "undisturbed/out/runs").glob("cereals-*/seed-0"))
    return Path(shutil.copytree(source, tmp_path / "runs" / source.parent.name / "seed-0"))


def test_a_damaged_description_is_one_line_or_says_the_same(run):
    file, good = run / "run.json", read_info(run)
    content = file.read_bytes()
    for broken in damaged(content, 0):
        file.write_bytes(broken)
        try:
            assert read_info(run) == good  # a flipped space
        except InputError as error:
            assert str(file) in str(error)
            assert "\n" not in str(error)
            assert any(finding.path == file for finding in examine(run.parents[2]))


def test_damaged_rounds_are_one_line_or_a_shorter_run_never_another(run):
    file, good = run / "rounds.jsonl", read_run(run).rounds
    content = file.read_bytes()
    for broken in damaged(content, 1):
        file.write_bytes(broken)
        try:
            found = read_run(run).rounds
            assert found == good[: len(found)]
        except InputError as error:
            assert str(file) in str(error)
            assert "\n" not in str(error)


def test_damaged_timings_and_maps_never_stop_anything(run):
    for name, read in (
        ("timings.jsonl", read_timings),
        ("maps-1.json", lambda path: read_maps(path, 1)),
    ):
        content = (run / name).read_bytes()
        for broken in damaged(content, 2):
            (run / name).write_bytes(broken)
            read(run)
            list(examine(run.parents[2]))
        (run / name).write_bytes(content)


@pytest.mark.parametrize(
    "pattern", ["**/weights.pt", "**/validation.json", "**/*.map", "**/training/*.ckpt"]
)
def test_damaged_work_files_are_made_again_to_the_same_bytes(
    folder, faults, undisturbed, pattern, tmp_path
):
    """Networks, what was found out about them, maps, checkpoints: killed with them there, all of them damaged, started again."""
    place = folder / f"damage-{pattern.strip('*/').replace('/*', '')}"
    place.mkdir()
    point = ("a training step", 11) if "ckpt" in pattern else ("selecting", 2)
    assert faults.run(place, *ARGUMENTS, point=point[0], call=point[1], tables=False) == KILLED
    files = list((place / "out/.harness-work").glob(pattern))
    assert files, (place / "log.txt").read_text()
    for number, file in enumerate(files):
        content = file.read_bytes()
        file.write_bytes(random.Random(number).choice(damaged(content, number)))
    assert_ends_the_same(place, faults, undisturbed)


# ---------------------------------------------------------------------------------------------------------------- fuzz

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["objects", "polygon", "label", "imgHeight", "imgWidth", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)
POLYGONS = st.fixed_dictionaries(
    {},
    optional={
        "imgHeight": st.integers(-5, 40) | JSON,
        "imgWidth": st.integers(-5, 40) | JSON,
        "objects": st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "label": st.sampled_from(["car", "cargroup", "road", "out of roi"]) | JSON,
                    "polygon": st.lists(
                        st.lists(st.integers(-50, 50) | st.floats(), min_size=0, max_size=3),
                        max_size=6,
                    )
                    | JSON,
                },
            )
            | JSON,
            max_size=4,
        )
        | JSON,
    },
)


@examples(400)
@given(POLYGONS | JSON)
def test_any_json_is_polygons_or_one_line(tmp_path_factory, document):
    check(tmp_path_factory, json.dumps(document).encode())


@examples(200)
@given(st.binary(max_size=200))
def test_any_bytes_are_polygons_or_one_line(tmp_path_factory, content):
    check(tmp_path_factory, content)


def check(tmp_path_factory, content: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "fuzz_gtFine_polygons.json"
    file.write_bytes(content)
    try:
        found = read_recording(file)
    except InputError as error:
        assert file.name in str(error)
        assert "\n" not in str(error)
    else:
        assert min(found.height, found.width) >= 1
        for item in found.objects:
            assert item.vertices.shape[1:] == (2,)
            assert np.isfinite(item.vertices).all()


KEYS = [
    "data",
    "training",
    "cost_model",
    "harness",
    "model",
    "optim_wrapper",
    "tune",
    "annotator",
    "seconds_per_click",
    "remark",
]


@examples(150)
@given(
    st.sampled_from(KEYS),
    st.sampled_from(["steps", "window", "type", "crop", "seeds", "sampler", "head", "x", "height"]),
    JSON,
)
def test_any_value_in_a_config_is_taken_or_one_line(tmp_path_factory, block, key, value):
    file = tmp_path_factory.getbasetemp() / "fuzz.py"
    text = (
        repr(value).replace("inf", "float('inf')").replace("nan", "float('nan')")
        if isinstance(value, float)
        else repr(value)
    )
    file.write_text(
        f'_base_ = ["{config_path("streets_standard")}"]\n{block} = dict({key}={text})\n',
        encoding="utf-8",
    )
    try:
        load_spec(file)
    except InputError as error:
        assert "fuzz.py" in str(error)
        assert "\n" not in str(error)
