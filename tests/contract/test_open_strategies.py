"""The interface is wide enough: the documented examples, files, maps, score and select."""

import functools
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import strategies
from harness.acquisition import acquire
from harness.errors import InputError, RunError
from harness.logits import Logits
from harness.maps import MemoryMaps, QueryRules
from harness.pool import LabelledPool
from harness.protocols import Strategy
from harness.seeds import Purpose, generator
from harness.testing import ToyNetwork, check_strategy
from harness.types import Region
from harness.views import View
from tests.fakes import FakeNetwork, FakeOracle

EXAMPLES = Path(__file__).parent.parent.parent / "docs" / "examples" / "strategies_in_files.py"
NAMES = ("margin", "bald", "balanced", "ripu", "coreset")


@pytest.fixture
def examples(monkeypatch):
    monkeypatch.setenv(strategies.FILES_VARIABLE, "{}")
    return {name: strategies.parse_list(f"{EXAMPLES}:{name}")[0] for name in NAMES}


@pytest.mark.parametrize("name", strategies.STRATEGIES)
def test_ours_pass_the_kit(name):
    check_strategy(strategies.make(name))


@pytest.mark.parametrize("name", NAMES)
def test_each_documented_example_passes_the_kit(examples, name):
    check_strategy(examples[name])


def test_a_strategy_of_a_file_takes_parameters_and_is_known_by_its_source(monkeypatch, tmp_path):
    monkeypatch.setenv(strategies.FILES_VARIABLE, "{}")
    (made,) = strategies.parse_list(f"{EXAMPLES}:bald[passes=5]")
    assert (made.name, made.n_passes) == ("my-bald[passes=5]", 5)
    assert made.code.startswith("strategies_in_files.py ")
    other = tmp_path / "strategies_in_files.py"
    other.write_text(EXAMPLES.read_text() + "\n# another\n")
    monkeypatch.setenv(strategies.FILES_VARIABLE, "{}")
    (changed,) = strategies.parse_list(f"{other}:bald[passes=5]")
    assert changed.code != made.code


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("", "there is no function 'make'"),
        ("import nowhere_at_all", "cannot be imported"),
        ("def make(): return 3", "must return a Strategy"),
        (
            "from harness.protocols import Strategy\ndef make(): return Strategy('x', '', '')",
            "fuse or score must be a function",
        ),
        (
            "from harness.protocols import Strategy\n"
            "def f(*a): return a[0]\n"
            "def make(): return Strategy('x', '', '', maps={'cost': f}, score=f)",
            "maps must be functions by names other than",
        ),
        (
            "from harness.protocols import Strategy\n"
            "def f(*a): return a[0]\n"
            "def make(): return Strategy('entropy-region', '', '', f, f)",
            "its name entropy-region is taken",
        ),
    ],
)
def test_a_broken_file_is_one_line(monkeypatch, tmp_path, source, said):
    monkeypatch.setenv(strategies.FILES_VARIABLE, "{}")
    (tmp_path / "mine.py").write_text(source)
    with pytest.raises(InputError, match=said) as caught:
        strategies.parse_list(f"{tmp_path / 'mine.py'}:make")
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no such file"):
        strategies.parse_list(f"{tmp_path / 'other.py'}:make")


def entropy(view):
    return view.logits.entropy()


def take_all(information, cost, rng):
    return information


BASE = Strategy("mine", "", "", entropy, take_all)


def first_two(candidates, _budget_px, _context):
    return candidates[:2]


def foreign(candidates, _budget_px, _context):
    return [replace(candidates[0])]


def twice(candidates, _budget_px, _context):
    return [candidates[0], candidates[0]]


@pytest.mark.parametrize("select", [foreign, twice])
def test_select_must_return_its_candidates_each_once(select):
    with pytest.raises(AssertionError, match="must return some of its candidates, each once"):
        check_strategy(replace(BASE, select=select))


def test_what_select_leaves_is_filled_so_that_pixels_stay_equal():
    check_strategy(replace(BASE, select=first_two))


def price(view):
    """Twice as dear where the network sees class 0."""
    return 1.0 + (view.prediction == 0).double()


def against(information, cost, _rng):
    return information - cost


def test_a_strategy_may_bring_a_cost_model_of_its_own():
    """The query holds the window sums of its map."""
    priced = replace(BASE, fuse=against, cost="own", clicks=price)
    check_strategy(priced)
    assert priced.needs_network
    assert not priced.learns_cost
    sizes = {f"img_{number}": (24, 32) for number in range(3)}
    network = FakeNetwork(sizes, "key")
    query = acquire(
        priced,
        4 * 64,
        pool=LabelledPool(sizes),
        predictor=network,
        oracle=FakeOracle(sizes),
        rules=QueryRules(window_px=8),
        cache=MemoryMaps(),
        rng_for=lambda image_id: generator(0, 1, Purpose.SCORES, image_id),
    )
    assert len(query) == 4
    for candidate in query:
        top, left = candidate.region.top, candidate.region.left
        pixels = price(network.predict(candidate.region.image_id, 1))
        assert candidate.cost == float(pixels[top : top + 8, left : left + 8].sum())


class Power:
    """A measure with a state that its name does not tell."""

    def __init__(self, power=1.0):
        self.power = power

    def __call__(self, view):
        return view.logits.entropy() ** self.power

    def measure(self, view):
        return view.logits.entropy() ** self.power


def power_of(view, power=1.0):
    return view.logits.entropy() ** power


@pytest.mark.parametrize("field", ["measure", "learn", "clicks"])
@pytest.mark.parametrize(
    "function",
    [
        Power(2.0),
        Power(2.0).measure,
        lambda view: view.logits.entropy(),
        functools.partial(power_of, power=torch.ones(2000)),
        functools.partial(power_of, power=[1.0]),
        functools.partial(Power(2.0)),
    ],
    ids=["object", "method", "lambda", "tensor", "list", "partial of an object"],
)
def test_a_function_whose_name_does_not_tell_its_state_is_refused(field, function):
    """Two of them would share one map, and one strategy would ask by the other's."""
    cost = "own" if field == "clicks" else "none"
    with pytest.raises(InputError, match=r"(a function of a module|numbers, texts)"):
        replace(BASE, **{field: function}, cost=cost)


def test_a_measure_may_be_told_plain_values():
    check_strategy(replace(BASE, measure=functools.partial(power_of, power=2.0)))


def test_two_files_cannot_give_one_name(monkeypatch, tmp_path):
    monkeypatch.setenv(strategies.FILES_VARIABLE, "{}")
    text = EXAMPLES.read_text()
    for name in ("first.py", "second.py"):
        (tmp_path / name).write_text(text)
    first, second = (f"{tmp_path / name}:margin" for name in ("first.py", "second.py"))
    with pytest.raises(InputError, match="its name my-margin is taken"):
        strategies.parse_list(f"{first},{second}")
    monkeypatch.setenv(strategies.FILES_VARIABLE, "{}")
    strategies.parse_list(first)
    strategies.parse_list(first)  # the same again


@pytest.mark.parametrize("name", ["full-data", "seed-set", "all", "everything"])
def test_a_name_of_the_programs_own_is_refused(monkeypatch, tmp_path, name):
    monkeypatch.setenv(strategies.FILES_VARIABLE, "{}")
    (tmp_path / "mine.py").write_text(
        "from harness.protocols import Strategy\n"
        "def f(*a): return a[0]\n"
        f"def make(): return Strategy({name!r}, '', '', f, f)"
    )
    with pytest.raises(InputError, match=f"its name {name} is taken"):
        strategies.parse_list(f"{tmp_path / 'mine.py'}:make")


def test_a_file_finds_modules_beside_it_and_is_known_by_their_source(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv(strategies.FILES_VARIABLE, "{}")
    beside, further = tmp_path / "my_helper_beside.py", tmp_path / "my_further_one.py"
    further.write_text("POWER = 2\n")
    beside.write_text(
        "import my_further_one\ndef f(view): return view.logits.entropy() ** my_further_one.POWER\n"
    )
    (tmp_path / "mine.py").write_text(
        "from harness.protocols import Strategy\n"
        "import my_helper_beside\n"
        "def by(information, cost, rng): return information\n"
        "def make(): return Strategy('helped', '', '', my_helper_beside.f, by)"
    )
    seen = set()
    for file in (beside, further, tmp_path / "mine.py"):
        seen.add(strategies.parse_list(f"{tmp_path / 'mine.py'}:make")[0].code)
        file.write_text(file.read_text() + "\n# changed\n")
    seen.add(strategies.parse_list(f"{tmp_path / 'mine.py'}:make")[0].code)
    assert len(seen) == 4


def misspelt(view):
    return view.entropyy


def with_gradient(view):
    return view.logits.entropy().requires_grad_()


def test_a_map_with_a_gradient_is_a_map():
    check_strategy(replace(BASE, measure=with_gradient))


def short(view):
    return view.logits.entropy()[:-1]


def negative(view):
    return -view.logits.entropy() - 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"measure": short}, "must have the shape"),
        ({"measure": negative}, "NaN, infinite or negative"),
        ({"measure": misspelt}, "mine failed: AttributeError"),
        ({"cost": "own", "clicks": short}, "must have the shape"),
        ({"cost": "own", "clicks": negative}, "NaN, infinite or negative"),
    ],
)
def test_the_kit_says_what_is_wrong(changes, said):
    with pytest.raises(AssertionError, match=said):
        check_strategy(replace(BASE, **changes))


def test_a_view_gives_what_it_has_and_says_what_it_has_not():
    view = ToyNetwork().predict("image_2", 1)
    assert view.size == (48, 64)
    assert view.probabilities.shape == (5, 48, 64)
    assert view.prediction.shape == (48, 64)
    assert view.image.shape == (48, 64, 3)
    fine, coarse = view.features
    assert view.embedding(Region("image_2", 0, 0, 8, 8), level=0).tolist() == pytest.approx(
        fine[:, 0, 0].tolist()
    )
    whole = view.embedding(Region("image_2", 0, 0, 48, 64))
    torch.testing.assert_close(whole, coarse.mean(dim=(1, 2)))
    bare = View(iter([Logits(torch.zeros(2, 1, 1), (2, 2))]))
    with pytest.raises(ValueError, match="this view has no features"):
        _ = bare.features
    shares = replace(
        view, class_counts=lambda: np.bincount([0, 0, 1, 255], minlength=256)
    ).class_shares
    assert shares.tolist() == pytest.approx([2 / 3, 1 / 3, 0, 0, 0])


def test_maps_see_only_what_was_bought():
    from harness.pool import LabelledPool
    from harness.testing import ToyOracle, _pool

    pool = _pool(ToyOracle())
    assert isinstance(pool, LabelledPool)
    labels = ToyOracle().labels("image_0")
    expected = np.bincount(labels.ravel(), minlength=256)
    expected += np.bincount(ToyOracle().labels("image_1")[:12, :12].ravel(), minlength=256)
    assert np.array_equal(pool.class_counts, expected)


def test_a_second_stage_needs_a_network_to_read_regions():
    from harness.context import QueryContext

    context = QueryContext(None, None, np.random.default_rng(0))
    with pytest.raises(RunError, match="regions are read with a network"):
        context.embeddings([])


@pytest.mark.slow
def test_a_board_of_examples_runs_in_workers(tmp_path):
    """Worker processes find the file's strategies too."""
    (tmp_path / "toy.py").write_text(
        '_base_ = ["harness::streets.py"]\n'
        "data = dict(train=10, val=4)\n"
        "training = dict(steps=2, steps_per_image=0, max_steps=2)\n"
        "cost_model = dict(steps=2)\n"
        "harness = dict(budgets=[], rounds=1, seed_images=2, images_per_round=1, seeds=[0])\n"
    )
    asked = ",".join(f"{EXAMPLES}:{name}" for name in ("ripu", "coreset", "bald[passes=3]"))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "harness", "bench", "--config", "toy.py"),
            *("--strategies", asked, "--workers", "2", "--out", "out"),
        ],
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    entries = json.loads((tmp_path / "out/leaderboard.json").read_text())["entries"]
    assert {entry["strategy"] for entry in entries} == {
        "my-ripu",
        "my-coreset",
        "my-bald[passes=3]",
    }


def test_a_file_runs_once_and_its_functions_may_need_parameters(tmp_path, monkeypatch):
    monkeypatch.setenv(strategies.FILES_VARIABLE, "{}")
    file = tmp_path / "needy.py"
    file.write_text(
        "from pathlib import Path\n"
        "from harness.protocols import Strategy\n"
        "from strategies.baselines import chance\n"
        f"with Path({str(tmp_path / 'runs')!r}).open('a') as stream:\n"
        "    stream.write('x')\n"
        "def needy(k: int) -> Strategy:\n"
        "    return Strategy('needy', f'{k} times', 'k', fuse=chance)\n"
        "def plain() -> Strategy:\n"
        "    return Strategy('plain', 'by chance', 'u', fuse=chance)\n"
    )
    listed = strategies.parse_list(f"{file}:needy[k=3], {file}:plain+g2")
    assert [item.name for item in listed] == ["needy[k=3]", "plain+g2"]
    assert listed[0].summary == "3 times"
    assert (tmp_path / "runs").read_text() == "x"
    with pytest.raises(InputError, match="k must be given"):
        strategies.parse_list(f"{file}:needy")
    file.write_text(file.read_text().replace("times", "fold"))
    assert strategies.parse_list(f"{file}:needy[k=2]")[0].summary == "2 fold"


def test_a_strategy_without_a_score_cannot_be_made():
    with pytest.raises(InputError, match="fuse or score must be a function, and not both"):
        replace(BASE, fuse=None)
