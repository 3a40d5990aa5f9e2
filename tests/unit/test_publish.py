"""Boards from run files written by hand, with figures worked out by hand."""

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from harness.cli.publish import publish
from harness.errors import InputError, RunError
from harness.provenance import collect
from harness.publish.board import Crossing, build_board
from harness.publish.columns import columns_of
from harness.publish.document import DOCUMENT, build_document, schema, to_json
from harness.publish.figures import draw_curves
from harness.publish.latex import to_tex
from harness.publish.notes import notes, work_done
from harness.publish.page import to_page
from harness.publish.significance import compare_strategies
from harness.publish.tables import to_csv, to_markdown, to_rich
from harness.publish.write import write_files
from harness.results import SCHEMA_VERSION, RunFolder, RunInfo, run_path
from harness.types import Clicks, ClickTotals, CostQuality, ImageAreas, Receipt, RoundRecord

PROVENANCE = replace(collect(1), dirty=False)
TRAIN_PX, WINDOW_PX = 10_000, 100
IMAGES = 12
LABEL_PX = 10**9


def info(strategy: str, seed: int, **changes) -> RunInfo:
    values = {
        "schema_version": SCHEMA_VERSION,
        "strategy": strategy,
        "equation": "x",
        "is_bound": strategy.endswith("oracle-cost"),
        "seed": seed,
        "data_fingerprint": "data",
        "totals": ClickTotals(1000, 200),
        "train_images": 10,
        "train_px": TRAIN_PX,
        "val_images": IMAGES,
        "config_sha256": "config",
        "config": {"name": "toy", "harness": {"rounds": 2}, "remark": "A toy."},
        "provenance": PROVENANCE,
        "class_names": ["road", "sidewalk"],
    }
    return RunInfo(**{**values, **changes})


def areas(miou: float) -> list[ImageAreas]:
    """Two classes, each with this IoU in every image; all runs have the same labels."""
    hit = round(2 * LABEL_PX * miou / (1 + miou))
    both = [LABEL_PX, LABEL_PX]
    return [ImageAreas(f"v{number}", [hit, hit], both, both) for number in range(IMAGES)]


def record(
    number: int,
    miou: float,
    clicks: int,
    *,
    bought: bool = True,
    labelled_px: int | None = None,
    before: tuple[int, int] | None = None,
    seed: int = 0,
) -> RoundRecord:
    """One round; ``before``: pixels and clicks of the round before, so that the bill adds up."""
    budget_px = 1000 + 1000 * number
    labelled_px = budget_px if labelled_px is None else labelled_px
    known_px, spent = before or (0, 0)
    windows = (labelled_px - known_px) // WINDOW_PX if bought else 0
    query = [
        Receipt(f"a{seed}", 0, 10 * n, 10, 10, WINDOW_PX, 0, 0, 0, 0, 0.5, 1.0, 2.0)
        for n in range(windows)
    ]
    if query:
        query[0] = query[0]._replace(polygon=clicks - spent)
    return RoundRecord(
        number,
        query,
        labelled_px,
        budget_px,
        Clicks(polygon=clicks),
        areas(miou),
        CostQuality(4, 0.5, 0.25, 0.1),
        "key",
    )


def write(
    out: Path, strategy: str, seed: int, mious: list[float], clicks: list[int], **changes
) -> None:
    folder = RunFolder(run_path(out, strategy, seed))
    folder.open(info(strategy, seed, **changes))
    before = None
    for number, (miou, spent) in enumerate(zip(mious, clicks, strict=True)):
        folder.append(record(number, miou, spent, before=before, seed=seed))
        before = 1000 + 1000 * number, spent


@pytest.fixture
def out(tmp_path) -> Path:
    for seed in (0, 1, 2):
        shift = 0.01 * seed
        write(tmp_path, "full-data", seed, [0.80], [1000])
        write(
            tmp_path,
            "random-region",
            seed,
            [0.40 + shift, 0.50 + shift, 0.60 + shift],
            [100, 200, 300],
        )
        write(tmp_path, "good", seed, [0.40 + shift, 0.70 + shift, 0.78 + shift], [100, 150, 200])
        write(
            tmp_path,
            "cheat-oracle-cost",
            seed,
            [0.40 + shift, 0.75 + shift, 0.79 + shift],
            [100, 110, 120],
        )
    return tmp_path


def test_figures_by_hand(out):
    board = build_board(out)
    rows = {row.strategy: row for row in board.rows}
    assert [row.strategy for row in board.rows] == [
        "good",
        "random-region",
        "cheat-oracle-cost",
    ]  # the bound comes last
    assert board.threshold == pytest.approx(0.76)
    assert board.budget_shares == pytest.approx([0.1, 0.2, 0.3])
    good = rows["good"]
    assert good.miou[1].mean == pytest.approx(0.71)
    assert good.miou[1].std == pytest.approx(0.01)
    # between rounds 1 and 2: 0.70 -> 0.78, shifted by 0, 0.01, 0.02: crossed at 0.75, 0.625 and 0.5 of the way
    assert good.p95 == Crossing(
        pytest.approx(0.2 + 0.1 * 0.625), pytest.approx(0.25), None, None, 3, 3
    )
    assert good.c95.value == pytest.approx(0.15 + 0.05 * 0.625)
    assert rows["random-region"].p95 == Crossing(None, None, None, pytest.approx(0.3), 0, 3)
    # 80 % of 0.80 is 0.64: random-region never gets there but for its last seed, at 0.62
    assert [found.reached for found in rows["random-region"].clicks_to] == [0, 0, 0]
    assert board.click_stop == pytest.approx(0.2)
    assert good.aubc_pixels.mean == pytest.approx((0.41 + 2 * 0.71 + 0.79) / 4)
    # clicks end at 0.2 of C_p, which all ranked runs reach
    assert good.aubc_clicks.mean == pytest.approx(
        (0.05 * (0.41 + 0.71) / 2 + 0.05 * (0.71 + 0.79) / 2) / 0.1
    )
    assert good.share_of_full.mean == pytest.approx(0.79 / 0.80)
    assert good.hours.mean == pytest.approx(200 * 3.15 / 3600)
    assert good.cost_spearman.mean == 0.25


CLICKS = {"name": "toy", "harness": {"rounds": 2, "budget_unit": "clicks"}}


def write_equal_clicks(
    out: Path, strategy: str, seed: int, mious: list[float], px: list[int]
) -> None:
    """Two rounds that spend 150 and 200 of 1000 clicks, whatever that is in pixels."""
    folder = RunFolder(run_path(out, strategy, seed))
    folder.open(info(strategy, seed, config=CLICKS))
    before = None
    for number, (miou, labelled_px) in enumerate(zip(mious, px, strict=True)):
        spent = (100, 150, 200)[number]
        made = record(number, miou, spent, labelled_px=labelled_px, before=before, seed=seed)
        if number:  # the last region reaches the budget
            query = [*made.query[1:], made.query[0]]
            made = replace(made, query=query, budget_px=TRAIN_PX, budget_clicks=spent)
        folder.append(made)
        before = labelled_px, spent


def test_a_board_of_equal_clicks_by_hand(tmp_path):
    for seed in (0, 1, 2):
        write(tmp_path, "full-data", seed, [0.80], [1000], config=CLICKS)
        shift = 0.01 * seed
        write_equal_clicks(
            tmp_path, "dear", seed, [0.40 + shift, 0.70 + shift, 0.78 + shift], [1000, 1200, 1500]
        )
        write_equal_clicks(
            tmp_path, "cheap", seed, [0.40 + shift, 0.60 + shift, 0.70 + shift], [1000, 2000, 4000]
        )
    board = build_board(tmp_path)
    rows = {row.strategy: row for row in board.rows}
    assert board.budget_unit == "clicks"
    assert board.budget_shares == pytest.approx([0.1, 0.15, 0.2])
    assert board.click_stop == pytest.approx(0.2)
    # pixels are what happens: all ranked runs reach 15 %, and AUBC over pixels ends there
    assert board.pixel_stop == pytest.approx(0.15)
    assert rows["dear"].aubc_pixels.mean == pytest.approx((0.02 * 0.56 + 0.03 * 0.75) / 0.05)
    assert rows["cheap"].aubc_pixels.mean == pytest.approx((0.41 + 0.51) / 2)
    significance = compare_strategies(board)
    titles = [column.title for column in columns_of(board, significance)]
    assert {"mIoU at the seed set", "mIoU at 15.0 % clicks"} <= set(titles)
    assert not any("% px" in title for title in titles)
    said = " ".join(notes(board, significance))
    assert "EQUAL CLICKS" in said
    assert "Ran out" not in said
    assert "equal clicks" in build_document(board, significance, []).marks


def test_a_strategy_that_ran_out_does_not_end_the_axis_of_equal_clicks(tmp_path):
    for seed in (0, 1, 2):
        write_equal_clicks(tmp_path, "a", seed, [0.4, 0.7, 0.78], [1000, 1200, 1500])
        folder = RunFolder(run_path(tmp_path, "short", seed))
        folder.open(info("short", seed, config=CLICKS))
        first = record(0, 0.4, 100, seed=seed)
        folder.append(first)
        second = record(1, 0.5, 120, labelled_px=1100, before=(1000, 100), seed=seed)
        folder.append(replace(second, budget_px=TRAIN_PX, budget_clicks=150))
        third = record(2, 0.6, 130, labelled_px=1200, before=(1100, 120), seed=seed)
        folder.append(replace(third, budget_px=TRAIN_PX, budget_clicks=200))
    board = build_board(tmp_path)
    assert board.click_stop == pytest.approx(0.2)
    assert any("Ran out of candidates before the budget: short" in n for n in notes(board, None))


def test_who_ends_the_click_axis_early_is_named(out):
    for seed in (0, 1, 2):
        write(out, "frugal", seed, [0.40, 0.45 + seed / 100, 0.5], [100, 102, 104 + seed])
        write(out, "usual", seed, [0.41, 0.55 + seed / 100, 0.6], [100, 200, 290 + seed])
    said = notes(build_board(out), None)
    assert any(
        n.startswith("WARNING: AUBC over clicks ends at 10.5 %") and "frugal" in n for n in said
    )


def test_equal_clicks_and_equal_pixels_cannot_stand_in_one_table(out):
    write_equal_clicks(out, "other", 0, [0.4, 0.5, 0.6], [1000, 1100, 1300])
    with pytest.raises(InputError, match="must have the same unit of their budgets"):
        build_board(out, mixed=True)


def test_planted_differences_are_found_and_bounds_are_not_ranked(out):
    comparisons = compare_strategies(build_board(out)).comparisons
    assert (
        comparisons["good"].clicks.rank,
        comparisons["random-region"].clicks.rank,
        comparisons["cheat-oracle-cost"].clicks.rank,
    ) == (1, 2, None)
    assert comparisons["good"].clicks.gain.low > 0
    assert comparisons["random-region"].clicks.gain is None


def test_what_cannot_be_told_apart_shares_a_rank(tmp_path):
    for seed, (one, other) in enumerate([(0.52, 0.50), (0.49, 0.51), (0.51, 0.505)]):
        write(tmp_path, "random-region", seed, [0.4, 0.45, one], [100, 200, 300])
        write(tmp_path, "other", seed, [0.4, 0.45, other], [100, 200, 300])
    board = build_board(tmp_path)
    significance = compare_strategies(board)
    assert {one.clicks.rank for one in significance.comparisons.values()} == {1}
    assert any("NOT SEPARABLE" in line for line in notes(board, significance))


def test_intervals_of_pairs_and_ranks_say_the_same(out):
    found = compare_strategies(build_board(out))
    assert found.clicks.pairs
    for pair in (*found.clicks.pairs, *found.pixels.pairs):
        assert pair.differs == (not pair.difference.low <= 0.0 <= pair.difference.high)
    places = [found.clicks.places[name] for name in ("good", "random-region")]
    assert [(place.rank, place.worst_rank) for place in places] == [(1, 1), (2, 2)]


def test_a_board_that_cannot_tell_says_what_it_would_take(tmp_path):
    for seed, (one, other) in enumerate([(0.54, 0.50), (0.49, 0.50), (0.53, 0.505)]):
        write(tmp_path, "random-region", seed, [0.4, 0.45, other], [100, 200, 300])
        write(tmp_path, "other", seed, [0.4, 0.45, one], [100, 200, 300])
    board = build_board(tmp_path)
    found = compare_strategies(board)
    assert found.clicks.power.closest == ("other", "random-region")
    assert found.clicks.power.seeds > 3
    said = " ".join(notes(board, found))
    assert (
        f"the next pair, other and random-region, would take about {found.clicks.power.seeds} seeds"
        in said
    )
    assert {(one.clicks.rank, one.clicks.worst_rank) for one in found.comparisons.values()} == {
        (1, 2)
    }


def test_two_seeds_give_no_ranks(tmp_path):
    for seed in (0, 1):
        write(tmp_path, "random-region", seed, [0.4, 0.45, 0.5], [100, 200, 300])
    board = build_board(tmp_path)
    assert compare_strategies(board) is None
    lines = " ".join(notes(board, None))
    assert "No ranks" in lines
    assert "No full-data reference yet" in lines


def test_a_threshold_that_some_seeds_reach_is_censored_and_says_how_many(out, tmp_path_factory):
    write(out, "half", 0, [0.40, 0.60, 0.78], [100, 200, 300])
    write(out, "half", 1, [0.40, 0.60, 0.70], [100, 200, 300])
    write(out, "half", 2, [0.40, 0.60, 0.77], [100, 200, 300])
    board = build_board(out)
    half = next(row for row in board.rows if row.strategy == "half")
    assert (half.p95.value, half.p95.reached, half.p95.seeds) == (
        pytest.approx(0.2 + 0.1 * 0.16 / 0.17),
        2,
        3,
    )
    columns = columns_of(board, compare_strategies(board))
    to_markdown(board, columns, ["a note"], out / "board.md")
    assert "29.4 [28.9, ?] (2/3)" in (out / "board.md").read_text()
    assert "- a note" in (out / "board.md").read_text()


def test_unfinished_runs_are_set_aside_and_named(out):
    folder = RunFolder(run_path(out, "late", 0))
    folder.open(info("late", 0))
    folder.append(record(0, 0.4, 100))
    board = build_board(out)
    assert "late" not in {row.strategy for row in board.rows}
    assert all(len(row.miou) == 3 for row in board.rows)
    assert any("late seed 0 (1 of 3 rounds)" in line for line in notes(board, None))


def test_a_run_without_a_round_is_named(out):
    RunFolder(run_path(out, "late", 0)).open(info("late", 0))
    assert any("late seed 0 (0 of 3 rounds)" in line for line in notes(build_board(out), None))


def test_a_round_that_bought_nothing_is_said(out):
    folder = RunFolder(run_path(out, "starved", 0))
    folder.open(info("starved", 0))
    for number in range(3):
        folder.append(record(number, 0.4, 100, bought=number == 0, labelled_px=1000))
    board = build_board(out)
    assert any(
        "Ran out of candidates before the budget: starved" in line for line in notes(board, None)
    )


@pytest.mark.parametrize(
    "change",
    [{"config_sha256": "x"}, {"data_fingerprint": "x"}, {"device": "cuda"}, {"trainer_version": 2}],
)
def test_runs_of_different_boards_are_refused(out, change):
    write(out, "foreign", 0, [0.4, 0.5, 0.6], [100, 200, 300], **change)
    with pytest.raises(InputError, match=f"have different {next(iter(change))}"):
        build_board(out)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="must be a folder with runs of harness bench"):
        build_board(tmp_path)


def test_warnings_that_a_reader_must_see(out):
    for strategy in ("random-region", "good"):
        write(out, strategy, 7, [0.4, 0.5, 0.6], [100, 200, 300])
    board = build_board(out)
    lines = " ".join(notes(board, compare_strategies(board)))
    assert "A toy." in lines
    assert "Not every strategy has every seed: cheat-oracle-cost" in lines
    assert "they differ in 7" in lines
    assert "hours of work in runs" in work_done(board)


def test_simulated_clicks_and_noise_are_said(tmp_path):
    config = {"name": "toy", "harness": {"rounds": 2}, "annotator": {"missed": 0.1}}
    write(
        tmp_path,
        "random-region",
        0,
        [0.4, 0.5, 0.6],
        [100, 200, 300],
        simulated_clicks=True,
        config=config,
    )
    lines = " ".join(notes(build_board(tmp_path), None))
    assert "SIMULATED CLICKS" in lines
    assert "Annotators who err" in lines


def test_files_are_written_whole(out, tmp_path):
    board = build_board(out)
    to_csv(board, columns_of(board, compare_strategies(board)), tmp_path / "board.csv")
    lines = (tmp_path / "board.csv").read_text().splitlines()
    assert len(lines) == 1 + 3 * 3
    assert lines[0].startswith("strategy,bound,tuned,theirs,round,pixel_share,cost_b")
    for kind in ("png", "svg", "pdf"):
        draw_curves(board, tmp_path / f"board.{kind}")
    assert (tmp_path / "board.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "board.svg").read_text().startswith("<?xml")
    assert (tmp_path / "board.pdf").read_bytes().startswith(b"%PDF")


def test_the_csv_and_the_summary_hold_each_interval_that_the_tables_show(out, tmp_path):
    board = build_board(out)
    found = compare_strategies(board)
    to_csv(board, columns_of(board, found), tmp_path / "board.csv")
    line = pd.read_csv(tmp_path / "board.csv").groupby("strategy").last().loc["good"]
    place, row = (
        found.comparisons["good"].clicks,
        next(r for r in board.rows if r.strategy == "good"),
    )
    assert (line.rank_low, line.rank_high) == (place.rank, place.worst_rank)
    assert line.gain_clicks_low == pytest.approx(place.gain.low, abs=1e-6)
    assert line.gain_clicks_high == pytest.approx(place.gain.high, abs=1e-6)
    assert line.clicks_to_95_low == pytest.approx(row.c95.low, abs=1e-6)
    summary = board.summary().loc["good"]
    assert list(board.summary().index) == [row.strategy for row in board.rows]
    for name in summary.index.drop(["bound", "tuned"]):
        if not name.startswith("miou_"):
            assert summary[name] == pytest.approx(line[name], abs=1e-6, nan_ok=True)


def test_pairs_are_those_of_the_comparison(out, tmp_path):
    board = build_board(out)
    for over in ("clicks", "pixels"):
        axis = getattr(compare_strategies(board), over)
        frame = board.pairs(over=over)
        assert frame["differs"].sum() == axis.separable
        assert list(frame["p"]) == [pair.p_adjusted for pair in axis.pairs]
        excludes_0 = (frame["low"] > 0) | (frame["high"] < 0)
        assert list(excludes_0) == list(frame["differs"])
    with pytest.raises(ValueError, match="over must be 'clicks' or 'pixels', got 'hours'"):
        board.pairs(over="hours")


def test_a_board_without_a_comparison_has_a_summary_and_no_pairs(tmp_path):
    write(tmp_path, "random-region", 0, [0.4, 0.5, 0.6], [100, 200, 300])
    board = build_board(tmp_path)
    assert board.summary()["rank"].isna().all()
    assert board.pairs().empty
    assert "improvement" in board.pairs().columns


def test_who_reaches_the_level_sooner(out):
    found = compare_strategies(build_board(out))
    assert found.comparisons["random-region"].sooner is None
    good = found.comparisons["good"]
    # three of three against none: two of twenty ways to deal them out, and two comparisons
    assert good.sooner == pytest.approx(0.2)
    assert good.lead > 0
    (pair,) = found.clicks.pairs
    assert pair.improvement == 1.0


def test_the_document_fits_its_schema_and_comes_back(out):
    board = build_board(out)
    document = build_document(board, compare_strategies(board), ["a note"])
    to_json(document, out / "board.json")
    again = DOCUMENT.validate_json((out / "board.json").read_bytes())
    assert [entry.strategy for entry in again.entries] == [row.strategy for row in board.rows]
    assert again.entries[0].rounds[1].miou.mean == pytest.approx(0.71)
    assert again.entries[0].iou_by_class["road"] == pytest.approx(0.79, abs=1e-3)
    assert again.entries[0].miou_by_city["v0"] == pytest.approx(0.79, abs=1e-3)
    assert again.notes == ["a note"]
    assert json.loads(schema())["title"] == "Document"


def test_the_schema_in_the_docs_is_the_code_s():
    assert (
        Path(__file__).parent.parent.parent / "docs" / "leaderboard.schema.json"
    ).read_text() == schema()


def test_the_latex_table_has_five_columns_its_rules_and_a_caption(out):
    for seed in (0, 1, 2):
        simulated = {"simulated_clicks": True}
        write(out, "my_own", seed, [0.4, 0.5, 0.6], [100, 200, 300], **simulated)
    board = build_board(out)
    to_tex(board, columns_of(board, compare_strategies(board)), out / "board.tex")
    text = (out / "board.tex").read_text()
    rules = (r"\toprule", r"\midrule", r"\bottomrule")
    assert [text.count(rule) for rule in rules] == [1, 2, 1]
    rows = [line for line in text.splitlines() if line.endswith(r" \\")]
    assert len(rows) == 1 + 4
    assert {line.count("&") for line in rows} == {4}
    assert rows[1].startswith(r"1 & good & 18.1 [17.5, ?] & ")
    assert any(line.startswith(r"2--3 & my\_\allowbreak{}own & \textgreater{} ") for line in rows)
    assert rows[-1].startswith(r"-- & cheat-\allowbreak{}oracle-\allowbreak{}cost (bound) & ")
    caption = next(line for line in text.splitlines() if line.startswith(r"\caption"))
    assert caption.startswith(
        r"\caption{Leaderboard toy. Simulated clicks; 3 seeds. Clicks (cost B)"
    )
    assert r"95 \% interval in brackets; ?: it has no end" in caption
    assert r"mean $\pm$ standard deviation" in caption
    assert "raised" not in caption
    assert "Bounds use what no annotator could know" in text


def test_a_latex_table_of_one_seed_speaks_of_no_interval(tmp_path):
    write(tmp_path, "random-region", 0, [0.4, 0.5, 0.6], [100, 200, 300])
    board = build_board(tmp_path)
    to_tex(board, columns_of(board, None), tmp_path / "board.tex")
    text = (tmp_path / "board.tex").read_text()
    assert "One seed" in text
    for word in ("interval", r"\pm", "Rank:", "Bounds"):
        assert word not in text


def test_the_page_shows_names_as_text(tmp_path):
    hostile = {"name": "</script><b>x", "harness": {"rounds": 2}}
    write(tmp_path, "random-region", 0, [0.4, 0.5, 0.6], [100, 200, 300], config=hostile)
    board = build_board(tmp_path)
    to_page(board, build_document(board, None, []), columns_of(board, None), tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text().count("</script>") == 2
    assert "\\u003c/script>" in (tmp_path / "page.html").read_text()


# ----------------------------------------------------------------------------------------------------------- merging


def copy_of(out: Path, to: Path, *strategies: str) -> Path:
    for strategy in strategies:
        shutil.copytree(out / "runs" / strategy, to / "runs" / strategy)
    return to


def test_folders_of_two_machines_make_one_board(out, tmp_path_factory):
    one = copy_of(out, tmp_path_factory.mktemp("one"), "full-data", "random-region")
    other = copy_of(
        out, tmp_path_factory.mktemp("other"), "good", "random-region", "cheat-oracle-cost"
    )
    merged, whole = build_board(one, other), build_board(out)
    assert merged.rows == whole.rows
    assert merged.full_data == whole.full_data


def test_a_run_that_differs_in_two_places_is_refused(out, tmp_path):
    other = tmp_path / "other"
    write(other, "good", 1, [0.41, 0.71, 0.60], [100, 150, 200])
    with pytest.raises(
        InputError,
        match=r"runs/good/seed-1 and .*other/runs/good/seed-1 are both good seed 1, and they differ",
    ):
        build_board(out, other)


def test_runs_of_another_group_are_marked(out, tmp_path_factory):
    theirs = tmp_path_factory.mktemp("theirs")
    for seed in (0, 1, 2):
        write(theirs, "new-idea", seed, [0.40, 0.72, 0.79], [100, 130, 160])
    board = build_board(out, external=[theirs])
    assert {row.label for row in board.rows if row.origin} == {"new-idea (theirs)"}


def test_mixed_boards_need_a_word(out):
    write(out, "foreign", 0, [0.4, 0.5, 0.6], [100, 200, 300], config_sha256="x")
    assert "foreign" in {row.strategy for row in build_board(out, mixed=True).rows}


def test_runs_of_code_that_was_not_committed_need_a_word(out):
    dirty = replace(PROVENANCE, dirty=True)
    write(out, "edited", 0, [0.4, 0.5, 0.6], [100, 200, 300], provenance=dirty)
    with pytest.raises(
        InputError, match=r"1 runs, such as edited seed 0, are of code that was not committed"
    ):
        publish(
            runs=[out],
            theirs=None,
            out=None,
            photos=None,
            check=False,
            allow_dirty=False,
            allow_mixed=False,
        )
    assert (
        publish(
            runs=[out],
            allow_dirty=True,
            theirs=None,
            out=None,
            photos=None,
            check=False,
            allow_mixed=False,
        )
        == 0
    )


def test_a_stale_file_is_found(out):
    write_files(build_board(out), out)
    given = {
        "runs": [out],
        "theirs": None,
        "out": None,
        "photos": None,
        "allow_dirty": True,
        "allow_mixed": False,
    }
    assert publish(**given, check=True) == 0
    (out / "leaderboard.csv").write_text(
        (out / "leaderboard.csv").read_text().replace("good", "best")
    )
    (out / "leaderboard.tex").unlink()
    with pytest.raises(
        RunError, match=r"leaderboard\.csv, leaderboard\.tex are not what the runs say"
    ):
        publish(**given, check=True)


def test_a_cost_model_no_better_than_a_constant_is_named(out):
    assert not any(
        "hardly better than a constant" in line for line in notes(build_board(out), None)
    )
    folder = RunFolder(run_path(out, "blind", 0))
    folder.open(info("blind", 0))
    quality = CostQuality(4, 0.0, 0.02, 1.0)
    for number in range(3):
        before = (1000 * number, 100 * number)
        bought = record(number, 0.4, 100 * (number + 1), before=before)
        folder.append(replace(bought, cost_quality=quality))
    assert any(
        "hardly better than a constant" in line and "blind (0.02)" in line
        for line in notes(build_board(out), None)
    )


def test_a_board_of_bounds_alone_has_no_ranks(tmp_path):
    for seed in (0, 1, 2):
        write(tmp_path, "cheat-oracle-cost", seed, [0.4, 0.5, 0.6], [100, 200, 300])
    assert compare_strategies(build_board(tmp_path)) is None


def test_our_own_runs_stand_for_a_strategy_that_both_groups_have(out, tmp_path_factory):
    theirs = tmp_path_factory.mktemp("theirs")
    for seed in (3, 4):
        write(theirs, "random-region", seed, [0.4, 0.5, 0.6], [100, 200, 300])
    board = build_board(out, external=[theirs])
    assert not any(row.origin for row in board.rows)
    assert all(len(row.curves) == 3 for row in board.rows)


def test_parameters_of_a_strategy_are_shown_in_the_terminal(tmp_path):
    write(tmp_path, "mine[alpha=0.3]", 0, [0.4, 0.5, 0.6], [100, 200, 300])
    console = Console(width=200, record=True, file=io.StringIO())
    board = build_board(tmp_path)
    console.print(to_rich(board, columns_of(board, None), console.width)[0])
    assert "mine[alpha=0.3]" in console.export_text()
