"""Where the data lie: the command line, then the config's own folder, then Cityscapes' variable."""

import pytest

from harness.config import config_path, load_spec
from harness.errors import InputError
from tests.edges.conftest import masks_config


def test_the_variable_of_cityscapes_moves_no_other_data(tmp_path, monkeypatch):
    monkeypatch.setenv("CITYSCAPES_DATASET", str(tmp_path / "elsewhere"))
    assert load_spec(masks_config(tmp_path, "data")).data.root == str(tmp_path / "data")
    without = masks_config(tmp_path, extra="data['root'] = None")
    with pytest.raises(InputError) as caught:
        load_spec(without)
    assert "CITYSCAPES_DATASET" not in str(caught.value)


def city_config(folder, root):
    file = folder / "city.py"
    file.write_text(
        f'_base_ = ["{config_path("streets_standard")}"]\n'
        f"data = dict(_delete_=True, type='cityscapes', root={root!r})\n"
    )
    return file


def test_the_command_line_goes_before_the_config_and_the_config_before_the_variable(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("CITYSCAPES_DATASET", "/of-the-variable")
    assert load_spec(city_config(tmp_path, None)).data.root == "/of-the-variable"
    named = city_config(tmp_path, "/of-the-config")
    assert load_spec(named).data.root == "/of-the-config"
    asked = tmp_path / "asked"
    assert load_spec(named, data_root=asked).data.root == str(asked)


def test_a_relative_root_is_taken_from_the_configs_folder(tmp_path, monkeypatch):
    (tmp_path / "configs").mkdir()
    (tmp_path / "other").mkdir()
    file = masks_config(tmp_path / "configs", "../data")
    monkeypatch.chdir(tmp_path / "other")
    assert load_spec(file).data.root == str(tmp_path / "configs" / "../data")


@pytest.mark.parametrize("root", [7, "", "  ", ["a"], {"a": 1}, True])
def test_a_root_that_is_no_folder_is_one_line(tmp_path, root):
    file = masks_config(tmp_path, extra=f"data['root'] = {root!r}")
    with pytest.raises(InputError, match=r"data\.root must be a folder") as caught:
        load_spec(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "pattern"),
    [
        ("images", "{city}/img"),
        ("images", "{stem}.png"),
        ("images", "{split"),
        ("images", "{split!r}"),
        ("images", "{split:>9}"),
        ("images", "{0}"),
        ("images", ""),
        ("images", "/absolute/{split}"),
        ("images", "../{split}"),
        ("images", "a\nb"),
        ("labels", "{stem}/{split}.png"),
        ("labels", "{split}/{stem}{stem}.png"),
        ("labels", "{stem}/{stem}.png"),
        ("lists", "{stem}.txt"),
    ],
)
def test_patterns_that_are_none_are_one_line(tmp_path, key, pattern):
    file = masks_config(tmp_path, extra=f"data[{key!r}] = {pattern!r}")
    with pytest.raises(InputError) as caught:
        load_spec(file)
    assert f"data.{key} " in str(caught.value)
    assert "\n" not in str(caught.value)
