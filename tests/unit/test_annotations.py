import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from harness.data.annotations import rasterise, read_recording
from harness.errors import InputError
from tests.examples import examples


def write(folder: Path, objects, height=8, width=10) -> Path:
    path = folder / "a_polygons.json"
    path.write_text(json.dumps({"imgHeight": height, "imgWidth": width, "objects": objects}))
    return path


def test_oddities_of_real_files_are_taken_as_they_are(tmp_path):
    recording = read_recording(
        write(
            tmp_path,
            [
                {
                    "label": "road",
                    "polygon": [[0, 4], [10, 4], [10, 8], [0, 8], [0, 4]],
                },  # closed, on x = W and y = H
                {
                    "label": "cargroup",
                    "polygon": [[1.5, 1.5], [4.25, 1.0], [4, 3], [4, 3]],
                },  # floats, a repeated vertex
                {"label": "license plate", "polygon": [[2, 2], [3, 2], [3, 3]]},
                {
                    "label": "spaceship",
                    "polygon": [[-4, -4], [99, 99]],
                },  # unknown, two vertices, outside
                {"label": "pole", "polygon": [[5, 5]]},
                {"label": "sky", "polygon": []},
                {"label": "car", "polygon": [[0, 0], [1, 0], [1, 1]], "deleted": 1},
            ],
        )
    )
    assert [item.label for item in recording.objects] == [
        "road",
        "cargroup",
        "license plate",
        "spaceship",
        "pole",
        "sky",
    ]
    vertices = recording.vertices()
    assert len(vertices) == 5 + 4 + 3 + 2 + 1
    assert vertices[:, 0].max() == 9
    assert vertices[:, 1].max() == 7
    assert vertices.min() == 0
    labels = rasterise(recording)
    assert labels[7, 9] == 7
    assert labels[2, 3] == 26  # the license plate has no id and covers nothing


def test_an_empty_list_of_objects(tmp_path):
    recording = read_recording(write(tmp_path, []))
    assert recording.vertices().shape == (0, 2)
    assert recording.visible_vertices(np.zeros((8, 10), np.uint8)).shape == (0, 2)


def test_hidden_vertices_can_be_left_out(tmp_path):
    recording = read_recording(
        write(
            tmp_path,
            [
                {"label": "road", "polygon": [[0, 0], [9, 0], [9, 7], [0, 7]]},
                {"label": "car", "polygon": [[5, 0], [10, 0], [10, 8], [5, 8]]},
            ],
        )
    )
    labels = rasterise(recording)
    visible = recording.visible_vertices(labels)
    assert len(recording.vertices()) == 8
    assert sorted(map(tuple, visible.tolist())) == [(0, 0), (0, 7), (5, 0), (5, 7), (9, 0), (9, 7)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"imgHeight": 8}',
        '{"imgHeight": 8, "imgWidth": 10}',
        '{"imgHeight": 8.5, "imgWidth": 10, "objects": []}',
        '{"imgHeight": true, "imgWidth": 10, "objects": []}',
        '{"imgHeight": -8, "imgWidth": 10, "objects": []}',
        '{"imgHeight": 8, "imgWidth": 10, "objects": 3}',
        '{"imgHeight": 8, "imgWidth": 10, "objects": {}}',
        '{"imgHeight": 8, "imgWidth": 10, "objects": [], "objects": []}',
        '{"imgHeight": 8, "imgWidth": 10, "objects": [{"label": "car", "polygon": [[3e9, 2]]}]}',
        '{"imgHeight": 8, "imgWidth": 10, "objects": [3]}',
        '{"imgHeight": 8, "imgWidth": 10, "objects": [{"label": "car"}]}',
        '{"imgHeight": 8, "imgWidth": 10, "objects": [{"polygon": []}]}',
        '{"imgHeight": 8, "imgWidth": 10, "objects": [{"label": 3, "polygon": []}]}',
        '{"imgHeight": 8, "imgWidth": 10, "objects": [{"label": "car", "polygon": [[1, 2, 3]]}]}',
        '{"imgHeight": 8, "imgWidth": 10, "objects": [{"label": "car", "polygon": [[1, NaN]]}]}',
        '{"imgHeight": 8, "imgWidth": 10, "objects": [{"label": "car", "polygon": [[1, "x"]]}]}',
        '{"imgHeight": 8, "imgWidth": 10, "objects": [{"label": "car", "polygon": [[1], [1, 2]]}]}',
    ],
)
def test_malformed_files_get_one_line_that_names_them(tmp_path, text):
    path = tmp_path / "bad_polygons.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"bad_polygons\.json") as caught:
        read_recording(path)
    assert "\n" not in str(caught.value)


anything = st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["imgHeight", "imgWidth", "objects", "label", "polygon", "x"]), inner, max_size=5), max_leaves=12)  # fmt: skip


@examples(200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    anything
    | st.fixed_dictionaries({"imgHeight": st.just(4), "imgWidth": st.just(4), "objects": anything})
)
def test_no_json_at_all_breaks_the_reader(tmp_path, document):
    path = tmp_path / "fuzz_polygons.json"
    path.write_text(json.dumps(document))
    complaint = ""
    try:
        assert read_recording(path).vertices().shape[1] == 2
    except InputError as error:
        complaint = str(error)
    assert "\n" not in complaint
