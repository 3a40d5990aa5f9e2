import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.config import ExperimentSpec, config_path, load_spec
from harness.errors import InputError
from harness.experiment import (
    check_seed_sets,
    check_sizes,
    check_whole_images,
    rules_of,
    schedule_of,
)
from harness.loop import draw_seed_set
from strategies import make


def write(folder: Path, text: str) -> Path:
    file = folder / "mine.py"
    file.write_text(f'_base_ = ["{config_path("streets_standard")}"]\n{text}')
    return file


@pytest.mark.parametrize("name", ["streets", "streets_standard", "streets_tune"])
def test_built_in_configs_are_valid(name):
    spec = load_spec(config_path(name))
    assert spec.name == name
    assert spec.data.type == "streets"
    assert schedule_of(spec).rounds == spec.harness.rounds


def test_cityscapes_needs_a_root(monkeypatch, tmp_path):
    monkeypatch.delenv("CITYSCAPES_DATASET", raising=False)
    with pytest.raises(InputError, match="--data-root DIR, or CITYSCAPES_DATASET"):
        load_spec(config_path("cityscapes"))
    monkeypatch.setenv("CITYSCAPES_DATASET", str(tmp_path / "env"))
    assert load_spec(config_path("cityscapes")).data.root == str(tmp_path / "env")
    assert load_spec(config_path("cityscapes"), data_root=tmp_path).data.root == str(tmp_path)


def test_the_digest_ignores_seeds_device_and_place_but_nothing_else(tmp_path):
    base = load_spec(None)
    assert load_spec(None, seeds=(7,)).digest() == base.digest()
    assert load_spec(None, device="cuda").digest() == base.digest()
    assert (
        load_spec(config_path("cityscapes"), data_root=tmp_path).digest()
        == load_spec(config_path("cityscapes"), data_root=tmp_path / "b").digest()
    )
    changed = write(tmp_path, "harness = dict(window=16)\n")
    assert load_spec(changed).digest() != base.digest()


def test_overrides(tmp_path):
    spec = load_spec(write(tmp_path, "harness = dict(window=16, overlap='allow')\n"), seeds=(4, 2))
    assert spec.harness.seeds == (4, 2)
    assert rules_of(spec).allow_overlap
    assert rules_of(spec).window_px == 16


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("windwo = 3\n", "unknown key 'windwo'"),
        ("harnes = dict(a=1)\n", "unknown key 'harnes'"),
        (
            "annotator = dict(missed=2.0)\n",
            r"annotator\.missed must be less than or equal to 1, got 2.0",
        ),
        (
            "harness = dict(windwo=3)\n",
            "unknown key 'harness.windwo'; available there: budget_unit, budgets",
        ),
        ("training = dict(stepz=3)\n", "unknown key 'training.stepz'"),
        ("harness = dict(window='big')\n", "harness.window must be an integer, got 'big'"),
        ("harness = dict(window=0)\n", "harness.window must be greater than or equal to 1, got 0"),
        (
            "harness = dict(overlap='maybe')\n",
            "harness.overlap must be 'forbid' or 'allow', got 'maybe'",
        ),
        ("harness = dict(seeds=[1, 1])\n", "must have each seed once"),
        (
            "harness = dict(committee=1)\n",
            "harness.committee must be greater than or equal to 2, got 1",
        ),
        ("data = dict(_delete_=True, type='street')\n", "data"),
        ("1/0\n", "ZeroDivisionError"),
        ("this is not python\n", "cannot be read"),
    ],
)
def test_a_bad_config_gets_one_line_that_names_it(tmp_path, text, message):
    file = write(tmp_path, text)
    with pytest.raises(InputError, match=message) as caught:
        load_spec(file)
    assert "\n" not in str(caught.value)
    assert str(file) in str(caught.value)


def test_built_in_configs_go_by_their_name():
    assert load_spec(Path("streets_standard")).name == "streets_standard"
    assert load_spec(Path("streets.py")).name == "streets"


def test_options_that_came_later_change_no_board_that_does_not_use_them(tmp_path):
    """Published boards can still be resumed: this digest is that of the first published standard board."""
    assert (
        load_spec(config_path("streets_standard")).digest()
        == "07bedf5c2795e2af0a233603c2865106ff13b0b49f6bd25c12c115f133b7e1c9"
    )
    plain = write(tmp_path, "remark = 'x'\nseconds_per_click = dict(polygon=1.0)\n")
    assert (
        load_spec(plain).digest()
        != load_spec(write(tmp_path, "annotator = dict(missed=0.1)\n")).digest()
    )


def test_a_missing_config():
    with pytest.raises(InputError, match="no such file"):
        load_spec(Path("nowhere.py"))


def test_a_data_root_for_the_embedded_pack_is_refused(tmp_path):
    with pytest.raises(InputError, match="makes its own data"):
        load_spec(None, data_root=tmp_path)


def test_sizes_are_checked_before_anything_is_trained():
    spec = load_spec(config_path("streets_standard"))
    with pytest.raises(InputError, match=r"harness\.window must be at most 32, .* got 64"):
        check_sizes(spec, {str(number): (32, 64) for number in range(120)}, 19, {})
    with pytest.raises(InputError, match=r"harness\.window"):
        check_sizes(spec, {str(number): (128, 256) for number in range(120)}, 19, {"val": (32, 64)})
    with pytest.raises(InputError, match="must be at most 11, the training images, got 14"):
        check_sizes(spec, {str(number): (128, 256) for number in range(11)}, 19, {})
    with pytest.raises(InputError, match="num_classes must be 11"):
        check_sizes(spec, {str(number): (128, 256) for number in range(120)}, 11, {})


MIXED = {**{str(number): (64, 96) for number in range(10)}, "large": (192, 288)}


def test_a_seed_set_of_large_images_may_not_pass_the_first_budget():
    """Seed 0 or another draws the large image, which is more than two of the mean size."""
    changes = ["harness.seed_images=1", "harness.images_per_round=1", "harness.rounds=2"]
    config = config_path("streets_standard")
    spec = load_spec(config, seeds=tuple(range(30)), changes=changes)
    train = SimpleNamespace(index=SimpleNamespace(sizes=MIXED))
    drawn = [draw_seed_set(MIXED, 1, seed)[0].region.image_id for seed in range(30)]
    said = rf"seed {drawn.index('large')}'s has 55296 px, the budget is \d+ px"
    with pytest.raises(InputError, match=said):
        check_seed_sets(spec, train)
    check_seed_sets(load_spec(config, seeds=(drawn.index("3"),), changes=changes), train)


def test_whole_images_that_no_round_can_buy_are_refused():
    changes = ["harness.seed_images=1", "harness.images_per_round=2", "harness.rounds=2"]
    spec = load_spec(config_path("streets_standard"), changes=changes)
    strategies = [make("entropy-region"), make("entropy-image")]
    with pytest.raises(InputError, match=r"largest image for entropy-image, .* large has 55296 px"):
        check_whole_images(spec, strategies, MIXED)
    check_whole_images(spec, strategies[:1], MIXED)
    alike = {str(number): (64, 96) for number in range(10)}
    check_whole_images(spec, strategies, alike)


def test_a_grid_of_windows_without_room_for_the_budget_is_refused():
    """200 images of 128 x 256 px at stride 500 have one window of 64 px each."""
    sizes = {str(number): (128, 256) for number in range(200)}
    spec = load_spec(None, changes=["harness.stride=500"])
    with pytest.raises(InputError, match=r"hold at most 819200 px of the pool"):
        check_sizes(spec, sizes, 19, {})
    check_sizes(load_spec(None, changes=["harness.stride=64"]), sizes, 19, {})


@pytest.mark.parametrize("change", ["device=cuda", "name=other", "imports_sha256=0"])
def test_what_is_no_key_of_a_config_cannot_be_set(change):
    with pytest.raises(InputError, match=f"--set .{change}.: (it cannot be set|--device sets it)"):
        load_spec(None, changes=[change])


def test_a_masks_config_comes_back_from_a_run_description(tmp_path):
    file = tmp_path / "masks.py"
    file.write_text(
        f"_base_ = [{str(config_path('streets'))!r}]\n"
        "data = dict(_delete_=True, type='masks', root='somewhere', images='i', labels='l', classes={7: 'road', 8: 'sidewalk'})\n"
    )
    spec = load_spec(file, data_root=tmp_path)
    again = ExperimentSpec.model_validate({**json.loads(spec.model_dump_json()), "device": "cpu"})
    assert again == spec
