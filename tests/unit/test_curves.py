"""Figures for a paper: what is in their files, and that no name hides another."""

import re
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from matplotlib.textpath import TextPath

from harness.publish.board import build_board
from harness.publish.curves import SAFE, draw_clicks, named_rows
from harness.publish.write import write_files
from tests.unit.test_publish import out, write  # noqa: F401  (out: a board of toy runs)

FIGURES = ("answer", "leaderboard", "differences", "ranks")


@pytest.fixture
def crowded(out):  # noqa: F811
    """A board of twelve strategies of which many end at the same place."""
    names = [f"cereals-g{number}-vote-entropy[cost=whole]" for number in range(7)]
    for name in [*names, "a" * 60, "two-words (bound)"]:
        for seed in (0, 1, 2):
            write(out, name, seed, [0.4, 0.6, 0.7 + seed / 100 + len(name) / 1e4], [100, 200, 300])
    return build_board(out)


def texts(file) -> list[tuple[str, float, float]]:
    """Every text of an SVG, with where it begins."""
    found = []
    for element in ET.parse(file).getroot().iter("{http://www.w3.org/2000/svg}text"):  # noqa: S314
        place = re.search(r"translate\(([\d.]+) ([\d.]+)\)", element.get("transform", ""))
        x, y = place.groups() if place else (element.get("x"), element.get("y"))
        found.append((element.text, float(x), float(y)))
    return found


def test_a_column_is_as_wide_as_one_and_its_fonts_are_whole(crowded, tmp_path):
    _, _, faults = write_files(crowded, tmp_path, kinds=("pdf",))
    assert faults == []
    for name in FIGURES:
        content = (tmp_path / f"{name}.pdf").read_bytes()
        (width,) = re.findall(rb"/MediaBox \[ 0 0 ([\d.]+) ", content)
        assert 3.25 * 72 <= float(width) <= 3.5 * 72
        assert b"/FontFile2" in content  # TrueType, embedded
        assert b"/Subtype /Type3" not in content
        assert b"/Type3" not in content
        assert b"CreationDate" not in content


def test_the_same_board_gives_the_same_figures(crowded, tmp_path):
    for folder in ("one", "two"):
        write_files(crowded, tmp_path / folder, kinds=("pdf", "svg"))
    for name in FIGURES:
        for kind in ("pdf", "svg"):
            first, second = (tmp_path / f / f"{name}.{kind}" for f in ("one", "two"))
            assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("name", ["answer", "leaderboard", "differences"])
def test_names_stand_beside_the_axes_apart_and_inside_the_figure(crowded, tmp_path, name):
    write_files(crowded, tmp_path, kinds=("svg",))
    found = texts(tmp_path / f"{name}.svg")
    column = next(x for text, x, _ in found if text == "random-region")
    names = sorted((y, text) for text, x, y in found if x == column)
    assert {text for _, text in names} > {"cereals-g0-vote-", "entropy", "[cost=whole]"}
    assert all(below - above > 6.5 for (above, _), (below, _) in pairwise(names))
    height = float(ET.parse(tmp_path / f"{name}.svg").getroot().get("height")[:-2])  # noqa: S314
    assert names[0][0] > 7
    assert names[-1][0] < height
    for text, x, _ in found:
        if text and x == column:
            assert x + TextPath((0, 0), text, size=7).get_extents().width < 3.35 * 72


def test_curves_differ_in_colour_and_in_line_and_the_rest_is_grey(crowded, tmp_path):
    draw_clicks(crowded, tmp_path / "answer.svg")
    content = (tmp_path / "answer.svg").read_text()
    lines = re.findall(r"style=\"fill: none;([^\"]*stroke-width: 1\.3[^\"]*)\"", content)
    assert len(lines) == len(named_rows(crowded)) == len(SAFE)
    assert {re.search(r"#[0-9a-f]{6}", line)[0].upper() for line in lines} == set(SAFE)
    dashes = {re.search(r"stroke-dasharray: ([^;]*)|$", line)[1] for line in lines}
    assert len(dashes) == len(SAFE)
    assert content.count("stroke: #cccccc") == len(crowded.rows) - len(SAFE)
    said = {text for text, _, _ in texts(tmp_path / "answer.svg")}
    assert {"95 % of full data", f"grey: {len(crowded.rows) - 6} others", "toy; 3 seeds"} <= said
    assert {"clicks (cost B), % of the training set", "mIoU on val, %"} <= said
