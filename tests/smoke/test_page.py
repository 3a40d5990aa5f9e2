"""The published page in headless Chromium, where there is one: what it answers, sorting, keys, addresses, widths, axe."""

import base64
import importlib.util
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from harness.archive import ARCHIVE, write_archive
from harness.publish.board import build_board
from harness.publish.write import write_files
from harness.results import RunFolder, run_path
from harness.types import ImageThumbnails, Receipt, Thumbnail
from tests.browser import CHROMIUM, Browser
from tests.unit.test_publish import info, record, write

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]

WIDTHS = (390, 768, 1280, 1920)
CURVES = {
    "random-region": ([0.40, 0.50, 0.60], [100, 200, 300]),
    "cereals-g2-entropy": ([0.40, 0.55, 0.63], [100, 150, 280]),
    "entropy-region": ([0.40, 0.56, 0.64], [100, 220, 320]),
    "entropy-image": ([0.40, 0.44, 0.46], [100, 150, 180]),
    "bald": ([0.40, 0.54, 0.62], [100, 180, 290]),
    "margin": ([0.40, 0.55, 0.625], [100, 190, 300]),
    "coreset": ([0.40, 0.53, 0.61], [100, 170, 290]),
    "ripu": ([0.40, 0.52, 0.62], [100, 190, 310]),
    "cereals-g2-entropy-oracle-cost": ([0.40, 0.60, 0.64], [100, 130, 220]),
    "cereals-g1-entropy-oracle-cost": ([0.40, 0.30, 0.35], [100, 130, 220]),
}
"""Strategy -> mIoU and clicks after each round of seed 0. One bound is the best of all, one the worst."""


def thumbnail(grey: int) -> Thumbnail:
    stream = io.BytesIO()
    Image.new("L", (8, 4), grey).save(stream, "PNG")
    return Thumbnail(base64.b64encode(stream.getvalue()).decode(), 0.5, 12.5)


def write_strategy(folder: Path, strategy: str, seed: int) -> None:
    """Write a run whose windows lie in two images; one of them has maps in the last round."""
    mious, clicks = CURVES[strategy]
    run = RunFolder(run_path(folder, strategy, seed))
    run.open(info(strategy, seed))
    before = None
    for number, (miou, spent) in enumerate(zip(mious, clicks, strict=True)):
        shift = 0.005 * ((seed * 7 + len(strategy)) % 5)
        made = record(number, miou + shift, spent, before=before, seed=seed)
        if number == 0:
            query = [Receipt("whole", 0, 0, 40, 100, 1000, spent, 0, 0, 0, None, None, None)]
        else:
            query = [
                receipt._replace(image_id=f"image-with-a-long-name_00000{place % 2}_000019")
                for place, receipt in enumerate(made.query)
            ]
        run.append(replace(made, query=query))
        before = made.labelled_px, spent
    if not strategy.startswith("random"):
        box = (5.0, 5.0, 30.0, 90.0)
        maps = [
            ImageThumbnails(
                "image-with-a-long-name_000001_000019",
                box,
                thumbnail(90),
                thumbnail(150),
                thumbnail(210),
            )
        ]
        run.keep_maps(2, maps)


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    """A board of ten strategies with three seeds, its run files in an archive beside it."""
    runs, out = tmp_path_factory.mktemp("runs"), tmp_path_factory.mktemp("published")
    for seed in range(3):
        write(runs, "full-data", seed, [0.63 + 0.002 * seed], [1000])
        for strategy in CURVES:
            write_strategy(runs, strategy, seed)
    write_archive(runs, out / ARCHIVE)
    write_files(build_board(runs), out, kinds=())
    return out


@pytest.fixture(scope="module")
def entries(published) -> list[dict]:
    return json.loads((published / "leaderboard.json").read_text())["entries"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    started = Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


@pytest.fixture
def page(browser, published):
    browser.open(published / "index.html")
    yield browser
    assert browser.errors == []
    assert {url.split(":")[0] for url in browser.asked} <= {"about", "file", "data"}
    assert sum(url.startswith("file") for url in browser.asked) == 1


ROWS = '[...document.querySelectorAll("#board tbody tr")].map(row => row.dataset.strategy)'


def text(page, element: str) -> str:
    return page.run(f'document.getElementById("{element}").innerText')


def change(page, element: str, value: str, event: str = "change") -> None:
    page.run(
        f'{{ const node = document.getElementById("{element}"); node.value = "{value}";'
        f' node.dispatchEvent(new Event("{event}")); }}'
    )


def sort_by(page, key: str) -> list[str]:
    page.run(f"document.querySelector('#board [data-key={key}]').click()")
    return page.run(ROWS)


# ------------------------------------------------------------------------------------------- answer


def shown(crossing: dict, unit: str = "") -> str:
    return f"{100 * crossing['value']:.1f}{unit} [{100 * crossing['low']:.1f}"


def test_the_first_screen_says_who_needs_the_fewest_clicks(page, entries):
    ranked = {entry["strategy"]: entry for entry in entries if not entry["bound"]}
    reached = {
        name: entry["clicks_to"]["95"]
        for name, entry in ranked.items()
        if entry["clicks_to"]["95"]["value"] is not None
    }
    best = min(reached, key=lambda name: reached[name]["value"])
    headline = text(page, "headline")
    assert headline.startswith(f"{best} reaches 95 % of the full-data mIoU")
    assert f": {shown(reached[best], ' %')}" in headline
    assert f"random-region needs {shown(reached['random-region'], ' %')}" in headline
    assert f"{len(reached)} of {len(ranked)} strategies reach it" in headline
    told = page.run(
        '[...document.querySelectorAll("#fewest tr")].map(row => [row.cells[0].innerText, row.cells[1].innerText])'
    )
    assert told[0][0] == best
    assert "random-region" in dict(told)
    for name, figures in told:
        assert figures.startswith(shown(reached[name]))
    shares = [reached[name]["value"] for name, _ in told]
    assert shares == sorted(shares)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_answer_stands_on_the_first_screen(browser, published, width):
    browser.open(published / "index.html", width=width)
    places = browser.run(
        '["headline", "equals"].map(id => document.getElementById(id).getBoundingClientRect().bottom)'
    )
    assert max(places) <= browser.run("innerHeight")


def test_the_first_screen_says_who_cannot_be_told_apart(page, published):
    document = json.loads((published / "leaderboard.json").read_text())
    first = document["entries"][0]["strategy"]
    pairs = [pair for pair in document["pairs"] if first in (pair["first"], pair["second"])]
    told = {True: set(), False: set()}
    for pair in pairs:
        told[pair["differs"]] |= {pair["first"], pair["second"]} - {first}
    assert told[True]
    assert told[False]
    names = '[...document.querySelectorAll("#{} strong")].map(name => name.textContent)'
    assert page.run(names.format("equals")) == [first, *page.run(names.format("equals"))[1:]]
    assert set(page.run(names.format("equals"))[1:]) == told[False]
    assert set(page.run(names.format("worse"))) == told[True]
    differing = sum(pair["differs"] for pair in document["pairs"])
    over_pixels = sum(pair["differs"] for pair in document["pixel_pairs"])
    assert text(page, "pairs").startswith(
        f"{differing} of {len(document['pairs'])} pairs differ over clicks, {over_pixels} over"
    )


def board_of(folder: Path, *runs: tuple[str, int, list[float]]) -> Path:
    for strategy, seed, mious in runs:
        write(folder, strategy, seed, mious, [100, 200, 300][: len(mious)])
    write_files(build_board(folder), folder, kinds=())
    return folder / "index.html"


LITTLE = {
    "no reference": (
        [("random-region", 0, [0.4, 0.5, 0.6])],
        "Unknown: the runs hold no full-data reference yet.",
        "There are no two ranked strategies to compare.",
    ),
    "bounds only": (
        [("full-data", 0, [0.6]), ("a-oracle-cost", 0, [0.4, 0.5, 0.6])],
        "Only bounds are on this board.",
        "There are no two ranked strategies to compare.",
    ),
    "one seed": (
        [
            ("full-data", 0, [0.6]),
            ("random-region", 0, [0.4, 0.5, 0.6]),
            ("good", 0, [0.4, 0.55, 0.6]),
        ],
        "good reaches 95 % of the full-data mIoU with the fewest clicks",
        "Who can be told apart was not tested",
    ),
    "out of reach": (
        [("full-data", 0, [0.9]), ("random-region", 0, [0.4, 0.5, 0.6])],
        "Nobody reaches 95 % of the full-data mIoU in half of the seeds",
        "There are no two ranked strategies to compare.",
    ),
}


@pytest.mark.parametrize("name", LITTLE)
def test_a_board_that_can_say_little_says_so(browser, tmp_path, name):
    runs, headline, equals = LITTLE[name]
    browser.open(board_of(tmp_path, *runs))
    assert browser.errors == []
    assert text(browser, "headline").startswith(headline)
    assert text(browser, "equals").startswith(equals)
    assert browser.run(ROWS)
    assert browser.run('document.querySelectorAll("#curves .curve").length') >= 1


# -------------------------------------------------------------------------------------------- table


def test_bounds_come_last_in_every_order(page, entries):
    bounds = {entry["strategy"] for entry in entries if entry["bound"]}
    page.run('document.getElementById("all").click()')
    keys = page.run(
        '[...document.querySelectorAll("#board th button")].map(one => one.dataset.key)'
    )
    keys = [key for key in keys if key]
    assert len(keys) > 15
    for key in keys:
        for _ in range(2):
            rows = sort_by(page, key)
            assert set(rows[-len(bounds) :]) == bounds, key
            assert len(rows) == len(entries)


def test_a_column_is_sorted_both_ways_and_what_has_no_value_comes_last(page, entries):
    ranked = [entry for entry in entries if not entry["bound"]]
    values = {entry["strategy"]: entry["clicks_to"]["95"]["value"] for entry in ranked}
    missing = [name for name, value in values.items() if value is None]
    reached = [name for name, value in values.items() if value is not None]
    assert missing
    rising = sort_by(page, "clicks_to_95")
    assert [values[name] for name in rising[: len(reached)]] == sorted(values[n] for n in reached)
    assert rising[len(reached) : len(ranked)] == missing
    sort = 'document.querySelector("th[aria-sort]").getAttribute("aria-sort")'
    assert page.run(sort) == "ascending"
    falling = sort_by(page, "clicks_to_95")
    assert [values[name] for name in falling[: len(reached)]] == sorted(
        (values[name] for name in reached), reverse=True
    )
    assert falling[len(reached) : len(ranked)] == missing
    assert page.run(sort) == "descending"


def test_names_are_filtered_and_bounds_hidden(page, entries):
    change(page, "find", "IMAGE", "input")
    assert page.run(ROWS) == ["entropy-image"]
    assert page.run('document.querySelectorAll("#curves .curve").length') == 1
    change(page, "find", "no such", "input")
    assert "no strategy of this board has “no such” in its name" in text(page, "board")
    change(page, "find", "", "input")
    page.run('document.getElementById("bounds").click()')
    assert set(page.run(ROWS)) == {e["strategy"] for e in entries if not e["bound"]}


# -------------------------------------------------------------------------------------------- chart


def test_the_chart_has_the_line_bands_and_names_in_colours_that_differ(page, published):
    share = json.loads((published / "leaderboard.json").read_text())["threshold"]
    labels = page.run('[...document.querySelectorAll("#curves text")].map(one => one.textContent)')
    assert f"95 % of full-data mIoU: {100 * share:.1f}" in labels
    named = page.run(
        """[...document.querySelectorAll("#curves .curve:not(.other)")].map(
            one => [one.dataset.strategy, getComputedStyle(one).stroke, one.getAttribute("stroke-dasharray")])"""
    )
    ranked = [row for row in named if "oracle-cost" not in row[0]]
    assert len(ranked) == len({color for _, color, _ in ranked}) == 6
    assert "random-region" in {name for name, _, _ in ranked}
    for name, _, _ in named:
        assert any(label.startswith(name) for label in labels), name
    assert page.run('document.querySelectorAll("#curves .band").length') == len(named)
    assert page.run('document.querySelectorAll("#curves .interval").length') == 1
    assert page.run('document.getElementById("axis").value') == "clicks"


def test_pointing_at_a_curve_shows_its_figures(page, entries):
    page.run('document.getElementById("chart").scrollIntoView()')
    x, y, name = page.run(
        """(() => { const curve = document.querySelector("#curves .curve.lit"), svg = document.getElementById("curves").getBoundingClientRect();
            const [x, y] = curve.getAttribute("points").split(" ").at(-1).split(",").map(Number);
            return [svg.left + x, svg.top + y, curve.dataset.strategy]; })()"""
    )
    page.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    entry = next(entry for entry in entries if entry["strategy"] == name)
    last = entry["rounds"][-1]
    said = text(page, "readout")
    assert said.startswith(f"{name}, round 2: mIoU {100 * last['miou']['mean']:.1f} ±")
    assert f"{100 * last['cost_b']['mean']:.1f}" in said
    lit = '[...document.querySelectorAll("#curves .curve:not(.dim)")].map(one => one.dataset.strategy)'
    assert page.run(lit) == [name]
    page.send("Input.dispatchMouseEvent", type="mouseMoved", x=2, y=2)
    assert set(page.run(lit)) == set(CURVES)


# ------------------------------------------------------------------------------------------ windows


def test_windows_stand_before_the_maps_of_their_image(page):
    assert text(page, "bill").startswith(page.run(ROWS)[0])
    layers = page.run('[...document.getElementById("layer").options].map(one => one.value)')
    assert layers == ["information", "cost", "score"]
    change(page, "layer", "cost")
    assert page.run('document.querySelector("#windows image").dataset.layer') == "cost"
    assert text(page, "behind").startswith("Predicted clicks: dark is 0.5, light is 12.5")
    drawn = page.run('document.querySelectorAll("#windows rect").length')
    assert drawn == page.run('document.querySelectorAll("#receipts tbody tr").length') == 5


def test_a_control_without_a_choice_is_not_shown(page, entries):
    hidden = '[...document.querySelectorAll("select")].filter(one => one.options.length < 2).map(one => one.checkVisibility())'
    for entry in entries:
        change(page, "strategy", entry["strategy"])
        assert not any(page.run(hidden)), entry["strategy"]
    change(page, "strategy", "random-region")
    assert page.run('document.getElementById("layer").checkVisibility()') is False
    assert "neither photograph nor map" in text(page, "behind")


# ----------------------------------------------------------------------------------- keys, addresses


def tab_to(page, where: str) -> None:
    for _ in range(80):
        page.press("Tab")
        if page.run(f"document.activeElement.matches({json.dumps(where)})"):
            return
    raise AssertionError(f"no Tab leads to {where}")


def test_everything_is_done_with_the_keyboard(page):
    tab_to(page, "header nav a[href='#table']")
    page.press("Enter")
    assert page.run("document.activeElement.id") == "table"
    tab_to(page, "#board [data-key=strategy]")
    page.press("Enter")
    rows = page.run(ROWS)
    assert rows[: len(CURVES) - 2] == sorted(name for name in CURVES if "oracle" not in name)
    assert page.run("document.activeElement.dataset.key") == "strategy"
    assert page.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    tab_to(page, "tr[data-strategy=margin] button")
    page.press(" ")
    assert page.run('document.getElementById("strategy").value') == "margin"
    assert page.run("document.activeElement.textContent") == "margin"
    assert page.run("document.activeElement.getAttribute('aria-pressed')") == "true"
    tab_to(page, "#image")
    before = page.run('document.getElementById("image").value')
    page.press("ArrowDown")
    assert page.run('document.getElementById("image").value') != before


def test_a_screen_reader_finds_landmarks_headings_and_row_headers(page, entries):
    nodes = page.send("Accessibility.getFullAXTree")["nodes"]
    found = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node["ignored"]
    ]
    roles = [role for role, _ in found]
    for landmark in ("banner", "main", "contentinfo"):
        assert roles.count(landmark) == 1, landmark
    headings = [name for role, name in found if role == "heading"]
    assert headings[:2] == ["Leaderboard: toy", "Who needs the fewest clicks?"]
    assert {("region", name) for name in headings[1:]} <= set(found)
    headers = [name for role, name in found if role == "rowheader"]
    for entry in entries:
        assert any(name.startswith(entry["strategy"]) for name in headers), entry["strategy"]


STATE = f"""({{
    rows: {ROWS}, axis: document.getElementById("axis").value, find: document.getElementById("find").value,
    columns: document.querySelectorAll("#board thead th").length, picture: document.getElementById("windows").outerHTML,
    chosen: ["strategy", "round", "image", "layer"].map(id => document.getElementById(id).value),
    curves: document.getElementById("curves").outerHTML,
}})"""


def test_an_address_brings_back_what_was_shown(page, published):
    assert page.run("location.hash") == ""
    page.run('document.getElementById("all").click()')
    page.run('document.getElementById("bounds").click()')
    sort_by(page, "hours")
    change(page, "find", "re", "input")
    change(page, "axis", "pixels")
    change(page, "strategy", "cereals-g2-entropy")
    change(page, "round", "2")
    change(page, "image", "image-with-a-long-name_000001_000019")
    change(page, "layer", "score")
    left, state = page.run(STATE), page.run("location.hash")
    assert left["chosen"] == [
        "cereals-g2-entropy",
        "2",
        "image-with-a-long-name_000001_000019",
        "score",
    ]
    page.open(published / "index.html", state=state)
    assert page.run(STATE) == left


def test_an_address_that_asks_for_what_is_not_there_is_passed_over(page, published):
    start = page.run(STATE)
    strange = (
        "#axis=x&sort=x&order=x&strategy=<img>&round=99&image=x&behind=x&bounds=x&columns=x&y=z"
    )
    page.open(published / "index.html", state=strange)
    assert page.run(STATE) == start


# ---------------------------------------------------------------------------- widths, light and dark


@pytest.mark.parametrize("width", [*WIDTHS, 1600])
def test_nothing_is_wider_than_the_screen_and_the_numbers_are_on_it(browser, published, width):
    """1600 is a screen of 1280 at 80 % zoom."""
    browser.open(published / "index.html", width=width)
    assert browser.run("document.documentElement.scrollWidth") == width
    outside = browser.run(
        """[...document.querySelectorAll("#board td, #board th, #fewest td, #fewest th")].filter(cell => {
            const box = cell.getBoundingClientRect();
            return box.left < 0 || box.right > innerWidth || !box.width || cell.scrollWidth > cell.clientWidth + 1;
        }).map(cell => cell.textContent)"""
    )
    assert outside == []
    assert browser.run('document.querySelectorAll("#board tbody td").length') == 4 * len(CURVES)
    smallest = """Math.min(...[...document.querySelectorAll("body *")].filter(one => one.checkVisibility() && one.innerText)
        .map(one => parseFloat(getComputedStyle(one).fontSize)))"""
    assert browser.run(smallest) >= 10


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_axe_finds_no_violation(browser, published, width, dark):
    found = importlib.util.find_spec("axe_core_python")
    if found is None or found.origin is None:
        pytest.skip("needs the package axe-core-python")
    script = Path(found.origin).with_name("axe.min.js").read_text(encoding="utf-8")
    browser.open(published / "index.html", width=width, dark=dark)
    background = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (background != "rgb(255, 255, 255)") is dark
    browser.run(f"{script}; undefined")
    for columns in ("answers", "all"):
        if columns == "all":
            browser.run('document.getElementById("all").click()')
        found = browser.run(
            "axe.run().then(all => [all.passes.length, all.violations.map(one => [one.id, one.nodes.map(node => node.html)])])"
        )
        assert found[0] > 20
        assert found[1] == []


# ------------------------------------------------------------------------------- names, links, files


def test_a_hostile_name_is_shown_as_text(browser, tmp_path):
    name = '"><img src=x onerror="document.title=1"><b>'
    runs = [
        (strategy, seed, [0.4, 0.5, 0.6]) for strategy in (name, "random-region") for seed in (0, 1)
    ]
    browser.open(board_of(tmp_path, *runs), state="#find=<img src=x onerror='document.title=1'>")
    assert browser.errors == []
    assert browser.run("document.title") == "Leaderboard: toy"
    assert browser.run('document.querySelectorAll("img, b").length') == 0
    browser.open(tmp_path / "index.html")
    assert name in browser.run(ROWS)
    assert name in text(browser, "board")


def test_links_lead_to_what_is_there(page, published, tmp_path):
    links = page.run(
        '[...document.querySelectorAll("#links a")].map(one => one.getAttribute("href"))'
    )
    beside = [link for link in links if "://" not in link]
    assert beside == [
        "leaderboard.json",
        "leaderboard.csv",
        "leaderboard.md",
        "leaderboard.tex",
        ARCHIVE,
    ]
    assert all((published / link).is_file() for link in beside)
    assert links[-1] == "https://arxiv.org/abs/1810.09726"
    for name in ("README.md", "docs/guide/leaderboard.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    content = board_of(tmp_path / "results/mine", ("random-region", 0, [0.4, 0.5, 0.6])).read_text()
    assert ARCHIVE not in content
    for name in re.findall(r'"(\.\./[^"]+)"', content):
        assert (tmp_path / "results/mine" / name).is_file()
    assert content.count('"../../') == 2


def test_the_page_holds_nothing_that_would_be_loaded(published):
    content = (published / "index.html").read_text(encoding="utf-8")
    assert "{{" not in content
    assert "default-src 'none'" in content
    assert not re.search(r"""\ssrc\s*=|url\(|@import""", content)
    assert re.findall(r"<link[^>]*>", content) == ['<link rel="icon" href="data:,">']


def test_the_same_runs_give_the_same_bytes(published, tmp_path):
    write_files(build_board(published), tmp_path, kinds=(), home=published)
    assert (tmp_path / "index.html").read_bytes() == (published / "index.html").read_bytes()
