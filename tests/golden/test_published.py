"""What lies under results/ is what its run files say: anyone can compute it again."""

import json
from pathlib import Path

import pytest

from harness.archive import unpacked
from harness.cli.publish import TEXTS
from harness.config import config_path, load_spec
from harness.publish.board import build_board
from harness.publish.write import write_files
from harness.results import find_runs, read_info
from harness.scoring import aubc

RESULTS = Path(__file__).parent.parent.parent / "results"
BOARDS = {
    "streets-standard": ("streets_standard", 14, 3),
    "streets": ("streets", 28, 20),
    "streets-clicks": ("streets_clicks", 7, 3),
    "streets-low": ("streets_low", 7, 3),
    "streets-high": ("streets_high", 7, 3),
    "streets-redundant": ("streets_redundant", 7, 3),
    "camvid": ("camvid", 11, 10),
    "camvid-finetuned": ("camvid_finetuned", 6, 3),
}
"""Folder -> config, strategies, seeds."""


@pytest.mark.parametrize("folder", BOARDS)
def test_published_files_are_computed_from_their_runs(folder, tmp_path, cache):
    write_files(build_board(RESULTS / folder), tmp_path, kinds=(), home=RESULTS / folder)
    for name in TEXTS:
        assert (tmp_path / name).read_text() == (RESULTS / folder / name).read_text(), name


@pytest.mark.parametrize("folder", BOARDS)
def test_published_runs_are_of_the_committed_configuration(folder, tmp_path):
    config, strategies, seeds = BOARDS[folder]
    root = tmp_path if config.startswith("camvid") else None
    paths = find_runs(unpacked(RESULTS / folder))
    assert len(paths) == (strategies + 1) * seeds
    for path in paths:
        info = read_info(path)
        assert info.config_sha256 == load_spec(config_path(config), data_root=root).digest()
        assert info.provenance.dirty is False
        assert info.provenance.commit


def test_the_tuning_report_is_what_its_runs_say():
    folder = RESULTS / "tuning"
    document = json.loads((folder / "report.json").read_text())
    spec = load_spec(config_path("tuned/streets_tune"))
    assert spec.tuned.strategy == document["choice"]["strategy"]
    rows = {
        row.strategy: row
        for row in build_board(
            folder / "report" / f"window-{spec.harness.window}-stride-{spec.harness.stride}"
        ).rows
    }

    def then(strategy):
        """AUBC over clicks as it was when the study was made: to the pixel budget's share."""
        curves = rows[strategy].curves
        ends = [max(curve.pixel_share[-1], curve.cost_b[0]) for curve in curves]
        areas = [aubc(c.over_clicks(), stop=end) for c, end in zip(curves, ends, strict=True)]
        return sum(areas) / len(areas)

    assert then(spec.tuned.strategy) == pytest.approx(document["tuned"], rel=1e-3)
    assert then("cereals-g3-entropy") == pytest.approx(document["default"], rel=1e-3)
    reporting = set(spec.harness.seeds)
    trials = {read_info(path).seed for path in (folder / "trials").glob("*/runs/*/*/")}
    assert not reporting & trials
