"""The real command line on a very small board."""

import errno
import json
import os
import re
import shutil
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

import strategies
from harness.cli.publish import TEXTS

pytestmark = pytest.mark.slow


def rounds(out: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(out)): file.read_bytes()
        for file in sorted(out.glob("runs/*/*/rounds.jsonl"))
    }


@pytest.fixture(scope="module")
def board(board_of) -> Path:
    """One small board: three strategies, two seeds, one worker."""
    return board_of("random-region,cereals-g2-vote-entropy,entropy-image")


def test_a_board_from_the_first_to_the_last_file(board):
    out = board / "out"
    figures = {f"{name}.png" for name in ("answer", "leaderboard", "cost-model")}
    assert {file.name for file in out.iterdir()} - {".lock", ".harness-work"} == {
        "runs",
        *TEXTS,
        *figures,
    }
    assert len(rounds(out)) == 3 * 2 + 2
    text = (board / "stdout.txt").read_text()
    assert "95 % of it is" in text
    assert (
        "trainings: 20 asked for, 16 run" in text
    )  # 3 strategies x 2 seeds x 3 rounds + 2 references; round 0 once a seed
    table = (out / "leaderboard.md").read_text()
    for name in ("random-region", "cereals-g2-vote-entropy", "entropy-image"):
        assert f" {name} |" in table
    assert (out / "leaderboard.png").read_bytes().startswith(b"\x89PNG")
    header = (out / "leaderboard.csv").read_text().splitlines()
    assert len(header) == 1 + 3 * 3
    info = json.loads((out / "runs/random-region/seed-0/run.json").read_text())
    assert info["schema_version"] == 1
    assert info["config"]["harness"]["window"] == 16
    assert info["provenance"]["versions"]["torch"]
    timings = (out / "runs/random-region/seed-0/timings.jsonl").read_text().splitlines()
    assert [json.loads(line)["round"] for line in timings] == [0, 1, 2]


def test_a_finished_board_is_not_run_again(board, harness, tiny_config):
    shutil.copytree(board / "out", harness.folder / "out")
    before = rounds(harness.folder / "out")
    again = harness(
        "bench",
        "--strategies",
        "random-region,cereals-g2-vote-entropy,entropy-image",
        "--config",
        str(tiny_config),
    )
    assert again.returncode == 0
    assert "trainings: 0 asked for, 0 run" in again.stdout
    assert rounds(harness.folder / "out") == before


def test_two_workers_give_the_same_bytes_as_one(board, harness, tiny_config):
    done = harness(
        "bench",
        "--strategies",
        "cereals-g2-vote-entropy,random-region",
        "--config",
        str(tiny_config),
        "--workers",
        "2",
    )
    assert done.returncode == 0, done.stderr
    expected = rounds(board / "out")
    assert all(
        content == expected[name] for name, content in rounds(harness.folder / "out").items()
    )


@pytest.mark.parametrize("round_done", [0, 1])
def test_a_killed_run_resumes_to_the_same_bytes(board, harness, tiny_config, round_done):
    arguments = (
        "bench",
        "--strategies",
        "cereals-g2-vote-entropy",
        "--config",
        str(tiny_config),
        "--seeds",
        "0",
        "--workers",
        "1",
    )
    file = harness.folder / "out/runs/cereals-g2-vote-entropy/seed-0/rounds.jsonl"

    def reached() -> bool:
        return file.exists() and file.read_bytes().count(b"\n") > round_done

    harness.kill_when(reached, *arguments)
    time.sleep(0.1)
    with file.open("ab") as stream:
        stream.write(b'{"crc32":"0000')  # a line that was being written
    done = harness(*arguments)
    assert done.returncode == 0, done.stderr
    name = "runs/cereals-g2-vote-entropy/seed-0/rounds.jsonl"
    assert rounds(harness.folder / "out")[name] == rounds(board / "out")[name]


def test_publish_computes_the_same_board_from_the_files_alone(board, harness):
    done = harness("publish", "--runs", str(board / "out"), "--out", "again", "--allow-dirty")
    assert done.returncode == 0, done.stderr
    for name in ("leaderboard.md", "leaderboard.csv"):
        assert (harness.folder / "again" / name).read_bytes() == (board / "out" / name).read_bytes()


def test_another_configuration_in_the_same_folder_is_refused(board, harness, tiny_config):
    shutil.copytree(board / "out", harness.folder / "out")
    other = harness.folder / "other.py"
    other.write_text(tiny_config.read_text().replace("steps=6", "steps=7"))
    before = rounds(harness.folder / "out")
    done = harness("bench", "--strategies", "random-region", "--config", str(other))
    assert done.returncode == 2
    assert "another board (config_sha256)" in done.stderr
    assert rounds(harness.folder / "out") == before


def test_overwrite_runs_again(board, harness, tiny_config):
    shutil.copytree(board / "out", harness.folder / "out")
    done = harness(
        "bench",
        "--strategies",
        "entropy-image",
        "--config",
        str(tiny_config),
        "--overwrite",
        "--workers",
        "1",
    )
    assert done.returncode == 0, done.stderr
    assert "trainings: 6 asked for, 4 run" in done.stdout  # the networks of round 0 lie there
    assert rounds(harness.folder / "out") == rounds(board / "out")


def test_overwriting_with_another_configuration_replaces_the_references_too(
    board, harness, tiny_config
):
    shutil.copytree(board / "out", harness.folder / "out")
    other = harness.folder / "other.py"
    other.write_text(tiny_config.read_text().replace("steps=6", "steps=7"))
    partly = harness(
        "bench",
        "--strategies",
        "random-region",
        "--config",
        str(other),
        "--overwrite",
        "--workers",
        "1",
    )
    assert partly.returncode == 2
    assert "with all of its strategies and seeds" in partly.stderr
    assert rounds(harness.folder / "out") == rounds(board / "out")
    whole = harness(
        "bench",
        "--strategies",
        "random-region,cereals-g2-vote-entropy,entropy-image",
        "--config",
        str(other),
        "--overwrite",
        "--workers",
        "1",
    )
    assert whole.returncode == 0, whole.stderr
    assert "Full-data reference" in whole.stdout


def test_bad_input_that_a_worker_finds_is_one_line(harness, tiny_config):
    config = harness.folder / "typo.py"
    config.write_text(tiny_config.read_text() + "model = dict(backbone=dict(widht=1))\n")
    done = harness(
        "bench", "--strategies", "random-region", "--config", str(config), "--workers", "2"
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "cannot be built" in done.stderr


def test_the_users_own_files_in_the_output_folder_stay(board, harness, tiny_config):
    shutil.copytree(board / "out", harness.folder / "out")
    (harness.folder / "out" / "work").mkdir()
    (harness.folder / "out" / "work" / "thesis.tex").write_text("mine")
    assert (
        harness("bench", "--strategies", "entropy-image", "--config", str(tiny_config)).returncode
        == 0
    )
    assert (harness.folder / "out" / "work" / "thesis.tex").read_text() == "mine"


def test_equal_runs_at_the_same_time_do_not_disturb_each_other(harness, tiny_config):
    """alpha = 1 asks exactly what entropy-region asks: the same networks, in two workers at once."""
    done = harness(
        "bench",
        "--strategies",
        "entropy-region,cereals-g3-entropy[alpha=1]",
        "--config",
        str(tiny_config),
        "--seeds",
        "0",
        "--workers",
        "2",
    )
    assert done.returncode == 0, done.stderr


def test_a_dry_run_says_what_would_happen_and_does_nothing(harness, tiny_config):
    done = harness("bench", "--strategies", "all", "--config", str(tiny_config), "--dry-run")
    assert done.returncode == 0, done.stderr
    count = len(strategies.parse_list("all"))
    assert f"{count} strategies x 2 seeds = {2 * count} runs of 3 rounds" in done.stdout
    assert "round 2: 32768 px labelled, 50.00 % of the pool" in done.stdout
    assert re.search(
        r"to label all of it takes \d+ clicks of polygons \(cost_B = 1\) and \d+ of classes, about "
        r"\d+ hours of a person",
        done.stdout,
    )
    assert re.search(
        r"about \d+ (seconds|minutes) with \d+ worker\(s\), and \d\.\d GB of memory: measured here, \d+ ms a training step",
        done.stdout,
    )
    assert not (harness.folder / "out").exists()


def test_a_failing_run_is_recorded_and_the_others_go_on(harness, tiny_config):
    config = harness.folder / "explosive.py"
    config.write_text(
        tiny_config.read_text()
        + "optim_wrapper = dict(_delete_=True, type='OptimWrapper', optimizer=dict(type='SGD', lr=1e30))\nparam_scheduler = []\n"
    )
    done = harness(
        "bench",
        "--strategies",
        "random-region",
        "--config",
        str(config),
        "--seeds",
        "0",
        "--workers",
        "1",
    )
    assert done.returncode == 1
    line = next(
        line for line in done.stderr.splitlines() if line.startswith("harness: random-region")
    )
    assert line.startswith(
        "harness: random-region seed 0: round 0, training: RunError: the segmentation loss is NaN or infinite at step "
    )
    record = (harness.folder / "out/runs/random-region/seed-0/failure.txt").read_text()
    assert line.endswith(record.splitlines()[0])
    assert "Traceback" in record
    again = harness(
        "bench",
        "--strategies",
        "random-region",
        "--config",
        str(config),
        "--seeds",
        "0",
        "--workers",
        "1",
    )
    assert again.returncode == 1
    assert (
        again.stderr.count("(failed before; --retry-failed tries again)") == 2
    )  # the run and its reference
    assert "0 run" in again.stdout
    retried = harness(
        "bench",
        "--strategies",
        "random-region",
        "--config",
        str(config),
        "--seeds",
        "0",
        "--workers",
        "1",
        "--retry-failed",
    )
    assert line in retried.stderr
    assert "failed before" not in retried.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bench", "--strategies", "entrpy-region"], "did you mean 'entropy-region'"),
        (["bench", "--strategies", "cereals-g3-entropy[alpha=2]"], "alpha is '2'"),
        (
            ["bench", "--strategies", "all", "--seeds", "1,x"],
            "--seeds must be distinct whole numbers",
        ),
        (["bench", "--strategies", "all", "--workers", "0"], "--workers must be from 1"),
        (
            ["bench", "--strategies", "all", "--device", "tpu"],
            "--device must be cpu or cuda, got 'tpu'",
        ),
        (["bench", "--strategies", "all", "--config", "missing.py"], "no such file"),
        (["bench", "--strategies", "all", "--config", "cityscapes"], "--data-root DIR"),
        (["bench", "--preset", "hour"], "--preset must be minute"),
        (["bench", "--strategy", "all"], "No such option"),
        (["publish", "--runs", "nowhere"], "must be a folder with runs"),
        (["data", "make", "--out", "x", "--size", "12"], "such as 128x256, got '12'"),
        (["data", "make", "--out", "x", "--pack", "roads"], "--pack must be streets, got 'roads'"),
        (["data", "check", "--data-root", "nowhere"], "no folder leftImg8bit/train"),
    ],
)
def test_bad_input_gets_one_line_and_exit_code_2(harness, arguments, message):
    done = harness(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert list(harness.folder.iterdir()) == []


def test_a_window_larger_than_the_image(harness, tiny_config):
    config = harness.folder / "large.py"
    config.write_text(tiny_config.read_text().replace("window=16", "window=65"))
    done = harness("bench", "--strategies", "all", "--config", str(config))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "harness.window must be at most 64, the smallest side of an image, got 65" in done.stderr


def test_a_full_disk_is_said_in_one_line(harness, tiny_config, monkeypatch):
    """No space: the engine's own answer, with the operating system's error injected where a round is written."""
    from harness.acquisition import Counters
    from harness.bench import Job, Timer, execute

    class Full:
        def claim(self, job):
            return nullcontext(True)

        timer = Timer()
        counters = Counters()

        def turn_to(self, seed):
            """All seeds have the same pool."""

        def open_run(self, job):
            raise OSError(errno.ENOSPC, "No space left on device", "out/runs")

        def record_failure(self, job, text):
            self.text = text

    result = execute(Full(), Job("run", "random-region", 0), lambda event: None)
    assert result.error == "out/runs: No space left on device"
    assert result.is_input


def test_help_is_fast_and_light(harness):
    import subprocess
    import sys

    code = "import sys, harness.cli.main; print([name for name in ('torch', 'mmseg', 'mmengine', 'pandas', 'matplotlib', 'numpy') if name in sys.modules])"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        == "[]\n"
    )
    assert "bench" in harness("--help").stdout
    assert harness("--version").stdout.startswith("harness 0.")


def test_the_strategies_are_listed_with_their_equations(harness):
    done = harness("strategies")
    assert done.returncode == 0
    for name in strategies.STRATEGIES:
        assert name in done.stdout
    assert "I / (1 + C)" in done.stdout


def test_data_make_check_and_stats(harness):
    assert (
        harness(
            "data", "make", "--out", "pack", "--size", "64x128", "--train", "3", "--val", "2"
        ).returncode
        == 0
    )
    checked = harness("data", "check", "--data-root", "pack")
    assert checked.returncode == 0
    assert "train: 3 images" in checked.stdout
    stats = harness("data", "stats", "--data-root", "pack")
    assert "road" in stats.stdout
    again = harness("data", "make", "--out", "pack")
    assert again.returncode == 2
    assert "not an empty folder" in again.stderr


def test_real_layout_through_a_cityscapes_config(harness, tiny_config):
    """The embedded pack read as if it were the real data set: --data-root, no pack of its own."""
    assert (
        harness(
            "data",
            "make",
            "--out",
            "pack",
            "--size",
            "64x128",
            "--train",
            "8",
            "--val",
            "4",
            "--seed",
            "7",
        ).returncode
        == 0
    )
    config = harness.folder / "real.py"
    config.write_text(
        tiny_config.read_text()
        .replace("data = dict(", "data = dict(_delete_=True, ")
        .replace(
            'type="streets", height=64, width=128, train=8, val=4, seed=7',
            'type="cityscapes", root=None',
        )
    )
    done = harness(
        "bench",
        "--strategies",
        "random-region",
        "--config",
        str(config),
        "--data-root",
        "pack",
        "--seeds",
        "0",
        "--workers",
        "1",
    )
    assert done.returncode == 0, done.stderr
    missing = harness("bench", "--strategies", "random-region", "--config", str(config))
    assert missing.returncode == 2
    assert "--data-root DIR" in missing.stderr


def test_workers_die_with_a_killed_parent(harness, tiny_config):
    """SIGKILL to the parent alone: its workers end by themselves, and the folder is free again."""
    process = harness.start(
        "bench",
        "--strategies",
        "random-region,entropy-region",
        "--config",
        str(tiny_config),
        "--workers",
        "2",
    )
    deadline = time.monotonic() + 120
    while not (harness.folder / "out/runs").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    group = os.getpgid(process.pid)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 60
    while _alive(group) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not _alive(group)
    done = harness(
        "bench",
        "--strategies",
        "random-region,entropy-region",
        "--config",
        str(tiny_config),
        "--workers",
        "1",
    )
    assert done.returncode == 0, done.stderr


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_folder_of_masks_runs_and_says_that_its_clicks_are_simulated(harness, tiny_config):
    assert (
        harness(
            "data",
            "make",
            "--out",
            "pack",
            "--size",
            "64x128",
            "--train",
            "8",
            "--val",
            "4",
            "--seed",
            "7",
        ).returncode
        == 0
    )
    for split in ("train", "val"):
        for kind, pattern in (
            ("images", "leftImg8bit/{}/*/*.png"),
            ("labels", "gtFine/{}/*/*labelIds.png"),
        ):
            folder = harness.folder / "masks" / kind / split
            folder.mkdir(parents=True)
            for file in harness.folder.glob("pack/" + pattern.format(split)):
                shutil.copy(
                    file,
                    folder
                    / (file.name.replace("_leftImg8bit", "").replace("_gtFine_labelIds", "")),
                )
    config = harness.folder / "masks.py"
    old = 'data = dict(type="streets", height=64, width=128, train=8, val=4, seed=7)'
    new = (
        'data = dict(_delete_=True, type="masks", images="images/{split}", labels="labels/{split}", classes={7: "road", 26: "car", 11: "building"})\n'
        "model = dict(decode_head=dict(num_classes=3))\n"
        "annotator = dict(missed=0.5, click_noise=0.2)"
    )
    assert old in tiny_config.read_text()
    config.write_text(tiny_config.read_text().replace(old, new))
    done = harness(
        "bench",
        "--strategies",
        "cereals-g1-entropy",
        "--config",
        str(config),
        "--data-root",
        "masks",
        "--seeds",
        "0",
        "--workers",
        "1",
    )
    assert done.returncode == 0, done.stderr
    table = (harness.folder / "out/leaderboard.md").read_text()
    assert "SIMULATED CLICKS" in table
    assert "Annotators who err" in table


def test_two_processes_share_one_output_folder(board, harness, tiny_config):
    """Both are started at the same time on the same matrix; both finish; the bytes are those of one; nothing is done twice."""
    arguments = (
        "bench",
        "--strategies",
        "cereals-g2-vote-entropy,random-region",
        "--config",
        str(tiny_config),
        "--workers",
        "1",
    )
    processes = [harness.start(*arguments) for _ in range(2)]
    ended = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ended
    expected = rounds(board / "out")
    found = rounds(harness.folder / "out")
    assert all(content == expected[name] for name, content in found.items())
    assert len(found) == 6
    run = [int(out.partition("asked for, ")[2].partition(" run")[0]) for out, _ in ended]
    assert sum(run) == 12  # 2 references, 2 seed sets, 2 strategies x 2 seeds x 2 rounds
    left = [
        path.name for path in (harness.folder / "out/.harness-work").rglob("*") if path.is_file()
    ]
    assert (
        sorted(left) == ["validation.json"] * 4 + ["weights.pt"] * 4
    )  # two seed sets, two references
    assert not (harness.folder / "out/.harness-members").exists()


def test_overwriting_under_the_feet_of_another_process_is_refused(harness, tiny_config):
    from harness.claims import Presence

    with Presence(harness.folder / "out"):
        done = harness(
            "bench", "--strategies", "random-region", "--config", str(tiny_config), "--overwrite"
        )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "give --overwrite when it has ended" in done.stderr


def test_noise_repeats_a_run_and_prints_the_spread(harness, tiny_config):
    """On one machine equal runs are equal byte for byte; other crops from the same start are not, and share their seed set."""
    arguments = (
        "noise",
        "--config",
        str(tiny_config),
        "--strategy",
        "random-region",
        "--seed",
        "1",
        "--repeats",
        "2",
    )
    equal = harness(*arguments)
    assert equal.returncode == 0, equal.stderr
    assert "the runs are equal byte for byte" in equal.stdout
    assert equal.stdout.count("± 0.00") == 3
    varied = harness(*arguments, "--vary")
    assert "the runs differ" in varied.stdout
    found = json.loads((harness.folder / "out-noise/random-region-seed-1-varied.json").read_text())
    assert not found["equal"]
    assert any(row["miou"][0] != row["miou"][1] for row in found["rounds"])
    queries = [
        [json.loads(line)["record"]["query"][0][:5] for line in path.read_text().splitlines()]
        for path in sorted(
            (harness.folder / "out-noise").glob("varied-*/runs/random-region/seed-1/rounds.jsonl")
        )
    ]
    assert queries[0] == queries[1]
    assert (
        harness("noise", "--repeats", "1").stderr
        == "harness: --repeats must be from 2 to 10000, got 1\n"
    )


def test_two_processes_with_other_strategies_share_what_is_the_same(board, harness, tiny_config):
    """One strategy each, one with a cost model: neither knows of the other, and both need the networks of the same seed sets."""
    names = ("cereals-g2-vote-entropy", "entropy-image")
    processes = [
        harness.start("bench", "--strategies", name, "--config", str(tiny_config), "--workers", "1")
        for name in names
    ]
    ended = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ended
    expected = rounds(board / "out")
    found = rounds(harness.folder / "out")
    assert len(found) == 6
    assert all(content == expected[name] for name, content in found.items())


def test_a_strategy_that_is_added_later_finds_the_networks_of_the_seed_set(harness, tiny_config):
    """Across invocations: only its own rounds are trained."""
    arguments = ("--config", str(tiny_config), "--seeds", "0", "--workers", "1")
    first = harness("bench", "--strategies", "entropy-region,entropy-image", *arguments)
    assert (
        "trainings: 7 asked for, 6 run" in first.stdout
    )  # a reference and 2 x 3 rounds; round 0 is one training
    later = harness("bench", "--strategies", "vote-entropy-image", *arguments)
    assert later.returncode == 0, later.stderr
    assert "trainings: 3 asked for, 2 run" in later.stdout


def test_presets_are_configs_with_strategies(harness):
    from harness.cli.bench import PRESETS
    from harness.config import config_path

    for config, chosen in PRESETS.values():
        assert config_path(config).is_file()
        assert len(strategies.parse_list(chosen)) == chosen.count(",") + 1
    done = harness("bench", "--preset", "first-look", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["runs_left"] == 9 * 3
