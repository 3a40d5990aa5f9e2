"""Strategies of other packages: a broken one is named in one line, and the others go on."""

import sys
import textwrap

import numpy as np
import pytest
import torch

import strategies
from harness.acquisition import acquire
from harness.errors import InputError, RunError
from harness.maps import MemoryMaps, QueryRules
from harness.pool import LabelledPool
from tests.fakes import FakeNetworks, FakeOracle

HEAD = """
import torch
from harness.protocols import Strategy
from strategies.measures import entropy

def made(**changed):
    return Strategy(**{"name": "x", "summary": "mine", "equation": "I", "measure": entropy,
                       "fuse": lambda information, cost, rng: information, **changed})

def mine():
    return made()
"""


@pytest.fixture
def plug(tmp_path, monkeypatch):
    """Install a module with entry points; return what they are called."""

    def install(body: str, points: str = "mine = PLUGIN:mine") -> None:
        name = f"plugin_{tmp_path.name.replace('-', '_')}"
        monkeypatch.delitem(sys.modules, name, raising=False)
        (tmp_path / f"{name}.py").write_text(HEAD + textwrap.dedent(body))
        info = tmp_path / "plugin-1.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1.0\n")
        text = points.replace("PLUGIN", name)
        (info / "entry_points.txt").write_text(f"[harness.strategies]\n{text}\n")
        strategies._load.cache_clear()

    monkeypatch.syspath_prepend(str(tmp_path))
    yield install
    strategies._load.cache_clear()


def test_a_good_one_is_a_strategy_like_ours(plug, capsys):
    plug("")
    made = strategies.make("mine")
    assert made.name == "mine"
    assert made.code.startswith("plugin 1.0 ")
    assert "mine" in strategies.available()
    assert "mine" in [strategy.name for strategy in strategies.parse_list("all")]
    assert capsys.readouterr().err == ""


BROKEN = {
    "an import that fails": ("import not_there", "mine = PLUGIN:mine", "ModuleNotFoundError"),
    "no such attribute": ("", "mine = PLUGIN:nothing", "AttributeError"),
    "no such module": ("", "mine = nowhere_at_all:mine", "ModuleNotFoundError"),
    "a syntax error": ("def", "mine = PLUGIN:mine", "SyntaxError"),
    "an exit": ("raise SystemExit(0)", "mine = PLUGIN:mine", "SystemExit"),
    "endless recursion": ("def f(): f()\nf()", "mine = PLUGIN:mine", "RecursionError"),
    "two lines of error": ("raise ValueError('a\\nb')", "mine = PLUGIN:mine", "a b"),
    "no function": ("mine = 7", "mine = PLUGIN:mine", "must be a function"),
    "nothing": (
        "def mine(): return None",
        "mine = PLUGIN:mine",
        "must return a Strategy, got None",
    ),
    "a class": ("def mine(): return Strategy", "mine = PLUGIN:mine", "must return a Strategy"),
    "an error": ("def mine(): 1 / 0", "mine = PLUGIN:mine", "ZeroDivisionError"),
    "no fusion": (
        "def mine(): return made(fuse=None)",
        "mine = PLUGIN:mine",
        "fuse or score must be",
    ),
    "a measure that is a number": (
        "def mine(): return made(measure=3)",
        "mine = PLUGIN:mine",
        "measure must be",
    ),
    "another cost": (
        "def mine(): return made(cost='free')",
        "mine = PLUGIN:mine",
        "cost must be one of",
    ),
    "another scale": (
        "def mine(): return made(cost='predicted', cost_scale='log')",
        "mine = PLUGIN:mine",
        "cost_scale must be one of",
    ),
    "a scale by information, without any": (
        "def mine(): return made(measure=None, cost='predicted', cost_scale='conditional')",
        "mine = PLUGIN:mine",
        "cost_scale conditional needs a measure",
    ),
    "an own cost that is not there": (
        "def mine(): return made(cost='own')",
        "mine = PLUGIN:mine",
        "cost must be own where clicks is a function",
    ),
    "an own cost that nobody asks": (
        "def mine(): return made(cost='predicted', clicks=len)",
        "mine = PLUGIN:mine",
        "cost must be own where clicks is a function",
    ),
    "no passes": ("def mine(): return made(n_passes=0)", "mine = PLUGIN:mine", "n_passes must be"),
    "two lines": (
        "def mine(): return made(equation='a\\nb')",
        "mine = PLUGIN:mine",
        "one printable line",
    ),
    "any arguments": ("def mine(*a): return made()", "mine = PLUGIN:mine", "must have a name"),
    "any names": ("def mine(**a): return made()", "mine = PLUGIN:mine", "must have a name"),
    "an underscore": ("", "my_own = PLUGIN:mine", "lower-case letters, digits and hyphens"),
    "capitals": ("", "Mine = PLUGIN:mine", "lower-case letters, digits and hyphens"),
    "a path": ("", "../mine = PLUGIN:mine", "lower-case letters, digits and hyphens"),
    "a name of ours": ("", "random-region = PLUGIN:mine", "that of a built-in strategy"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_one_is_named_and_left_out(plug, capsys, what):
    body, points, said = BROKEN[what]
    plug(body, points)
    assert [strategy.name for strategy in strategies.parse_list("everything")] == list(
        strategies.STRATEGIES
    )
    strategies.parse_list("random-image, random-region")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1  # once, however often it is asked for
    assert said in lines[0]
    assert "is left out" in lines[0]
    if points.startswith("mine"):
        with pytest.raises(InputError, match="its plug-in is left out"):
            strategies.make("mine")


def test_two_of_one_name_are_both_left_out(plug, tmp_path, capsys):
    plug("def other(): return made()", "mine = PLUGIN:mine\nyours = PLUGIN:other")
    assert {"mine", "yours"} <= set(strategies.available())
    second = tmp_path / "second-1.0.dist-info"
    second.mkdir()
    (second / "METADATA").write_text("Metadata-Version: 2.1\nName: second\nVersion: 1.0\n")
    text = (tmp_path / "plugin-1.0.dist-info/entry_points.txt").read_text()
    (second / "entry_points.txt").write_text(text.replace("yours", "theirs"))
    strategies._load.cache_clear()
    assert {"yours", "theirs"} <= set(strategies.available())
    assert "mine" not in strategies.available()
    assert capsys.readouterr().err.count("two plug-ins have this name") == 2


def test_one_that_needs_a_parameter_is_not_among_all(plug, capsys):
    plug("def mine(k): return made(summary=str(k))")
    assert "mine" not in [strategy.name for strategy in strategies.parse_list("all")]
    assert "a parameter of it must be given" in capsys.readouterr().err
    assert strategies.make("mine[k=5]").name == "mine[k=5]"
    with pytest.raises(InputError, match=r"k must be given, as in mine\[k=\.\.\.\]"):
        strategies.make("mine")


def test_parameters_are_what_their_types_say(plug):
    plug(
        """
        from typing import Annotated, Literal
        from pydantic import Field
        def mine(k: int = 500, share=0.5, flag=False, metric: Literal["l1", "l2"] = "l2",
                 word="mean", many: Annotated[int, Field(ge=1, le=9)] = 3):
            return made(summary=repr((k, share, flag, metric, word, many)))
        """
    )
    made = strategies.make("mine[k=1000,flag=True,metric=l1,word=max,share=1,many=9]")
    assert made.summary == "(1000, 1.0, True, 'l1', 'max', 9)"
    assert made.name == "mine[flag=True,k=1000,many=9,metric=l1,share=1.0,word=max]"
    for value in (
        "k=1.5",
        "k=x",
        "flag=7",
        "metric=l3",
        "share=nan",
        "share=inf",
        "many=10",
        "word=a/b",
        "word=..\x00",
        "k=" + "9" * 5000,
        "word=" + "a" * 200,
    ):
        with pytest.raises(InputError) as caught:
            strategies.make(f"mine[{value}]")
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 600


def test_other_code_is_another_run_and_has_maps_of_its_own(plug):
    plug("")
    before = strategies.make("mine")
    plug("# a change\n")
    after = strategies.make("mine")
    assert before.code != after.code
    rules = QueryRules(window_px=8)
    from harness.maps import requests_of

    keys = [next(iter(requests_of(made, rules))).key for made in (before, after)]
    assert keys[0] != keys[1]
    assert next(iter(requests_of(strategies.make("entropy-region"), rules))).key.endswith("-window")


# ------------------------------------------------------------------------------- what they return

SIZES = {"a": (20, 30), "b": (20, 30)}


def query(strategy):
    networks = FakeNetworks(SIZES)
    trained = networks.get_or_train(LabelledPool(SIZES), 0, 0, with_cost=True)
    return acquire(
        strategy,
        4 * 49,
        pool=LabelledPool(SIZES),
        predictor=trained.network,
        oracle=FakeOracle(SIZES),
        rules=QueryRules(window_px=7),
        cache=MemoryMaps(),
        rng_for=lambda _image_id: np.random.default_rng(0),
    )


RETURNS = {
    "a measure in numpy": (
        "measure=lambda p: entropy(p).numpy()",
        "must be a torch tensor, got ndarray",
    ),
    "a measure of another size": (
        "measure=lambda p: entropy(p)[::2, ::2]",
        "must have the shape (20, 30), got (10, 15)",
    ),
    "a row": ("measure=lambda p: entropy(p)[:1]", "must have the shape (20, 30), got (1, 30)"),
    "a number": ("measure=lambda p: 3.0", "must be a torch tensor, got float"),
    "a truth": ("measure=lambda p: entropy(p) > 0", "must hold real numbers"),
    "a NaN": ("measure=lambda p: entropy(p) * float('nan')", "NaN"),
    "a negative": ("measure=lambda p: entropy(p) - 5", "negative"),
    "scores of another size": (
        "fuse=lambda i, c, r: i[:-3, :-5]",
        "must have the shape (14, 24), got (11, 19)",
    ),
    "scores that would be broadcast": (
        "fuse=lambda i, c, r: i[:1]",
        "must have the shape (14, 24)",
    ),
    "scores in numpy": ("fuse=lambda i, c, r: i.numpy()", "must be a torch tensor"),
    "no scores": ("fuse=lambda i, c, r: None", "must be a torch tensor, got NoneType"),
    "NaN scores": ("fuse=lambda i, c, r: i * float('nan')", "must be finite"),
    "some NaN scores": (
        "fuse=lambda i, c, r: torch.where(torch.arange(i.numel()).reshape(i.shape) % 2 == 0, i, float('nan'))",
        "must be finite",
    ),
    "infinite scores": ("fuse=lambda i, c, r: i + float('inf')", "must be finite"),
    "scores below everything": ("fuse=lambda i, c, r: i - float('inf')", "must be finite"),
}


@pytest.mark.parametrize("what", RETURNS)
def test_what_a_strategy_returns_is_checked(plug, what):
    change, said = RETURNS[what]
    names = "def own_measure(p):\n    return (lambda p: None)(p)\n"
    if change.startswith("measure=lambda p: "):
        names = f"def own_measure(p):\n    return {change.removeprefix('measure=lambda p: ')}\n"
        change = "measure=own_measure"
    plug(f"{names}\ndef mine(): return made({change})")
    with pytest.raises(RunError) as caught:
        query(strategies.make("mine"))
    assert said in str(caught.value)
    assert "image a" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_whole_numbers_and_half_precision_are_numbers(plug):
    plug("def mine(): return made(fuse=lambda i, c, r: (1000 * i).to(torch.int64))")
    whole = query(strategies.make("mine"))
    plug("def mine(): return made(fuse=lambda i, c, r: torch.floor(1000 * i))")
    assert [c.region for c in query(strategies.make("mine"))] == [c.region for c in whole]


def test_a_strategy_that_seeds_global_generators_changes_nothing_of_the_others(plug):
    plug(
        """
        import numpy as np
        def own(p):
            torch.manual_seed(0); np.random.seed(0)
            return entropy(p)
        def mine(): return made(measure=own)
        """
    )
    random = strategies.make("random-region")
    before = query(random)
    query(strategies.make("mine"))
    torch.manual_seed(5)
    assert query(random) == before


def test_the_example_of_the_docs_works(plug):
    from pathlib import Path

    from harness.logits import Logits
    from harness.views import View

    page = (Path(__file__).parent.parent.parent / "docs/guide/strategy.md").read_text()
    plug(page.split("```python")[1].split("```")[0], "my-margin = PLUGIN:margin")
    made = strategies.make("my-margin")
    assert made.name == "my-margin"
    scores = torch.tensor([[[4.0, 0.0]], [[0.0, 0.0]], [[-9.0, 0.0]]])
    margin = made.measure(View(iter([]), plain_pass=lambda: Logits(scores, (1, 2))))
    assert margin.shape == (1, 2)
    # two equal classes are as unsure as can be
    assert float(margin[0, 1]) == pytest.approx(1.0)
    assert float(margin[0, 0]) < 0.1
