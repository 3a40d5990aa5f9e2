"""Values that no option can have: one line, exit code 2, before any work."""

import os

import pytest

from harness.config import config_path, load_spec
from harness.data.source import pack_spec
from harness.errors import InputError

BASE = f"""
_base_ = ["{config_path("streets_standard")}"]
data = dict(type="streets", height=32, width=64, train=5, val=2, seed=3)
training = dict(steps=4, steps_per_image=1, max_steps=8, crop=(32, 32))
cost_model = dict(steps=4)
harness = dict(window=8, stride=4, seed_images=1, images_per_round=1, rounds=1, committee=2, seeds=[0])
"""


CONFIGS = {
    "seconds_per_click = dict(polygon=float('inf'))": "seconds_per_click.polygon must be finite",
    "seconds_per_click = dict(box=float('nan'))": "seconds_per_click.box must be finite",
    "seconds_per_click = dict(box=-1.0)": "seconds_per_click.box",
    "seconds_per_click = dict(box=1e300)": "seconds_per_click.box",
    "training = dict(steps=10**30)": "must be below 2^63",
    "training = dict(steps=int('9' * 4000))": "must be below 2^63",
    "training = dict(steps=10**9)": "training.steps",
    "training = dict(steps=True)": "training.steps",
    "training = dict(steps=2.0)": "training.steps",
    "training = dict(steps=-1)": "training.steps",
    "training = dict(brightness=1.0)": "training.brightness",
    "training = dict(shift=float('inf'))": "training.shift must be finite",
    "training = dict(crop=(32,))": "training.crop",
    "training = dict(crop=(0, 32))": "training.crop",
    "training = dict(crop='big')": "training.crop",
    "harness = dict(seeds=[])": "harness.seeds",
    "harness = dict(seeds=[2**31])": "harness.seeds",
    "harness = dict(seeds=[-1])": "harness.seeds",
    "harness = dict(seeds=[0.5])": "harness.seeds",
    "harness = dict(rounds=10**6)": "harness.rounds",
    "harness = dict(window=2**40)": "harness.window",
    "data = dict(seed=2**62)": "data.seed",
    "data = dict(height=10**6)": "height",
    "annotator = dict(seed=2**40)": "annotator.seed",
    "annotator = dict(missed=float('nan'))": "annotator.missed must be finite",
    "annotator = dict(missed=0.7, wrong=0.4)": "must be at most 1 together, got 0.7 and 0.4",
    "remark = {'a': 1, 'b': 2, 'a': 3}['a']": "mine.py:8: a key must stand once, got 'a' twice",
    "cost_model = dict(lr=float('inf'))": "cost_model.lr must be finite",
    "cost_model = dict(lr=0.0)": "cost_model.lr",
    "cost_model = dict(sigma_px=-1.0)": "cost_model.sigma_px",
    "remark = '\\ud800'": "remark must be printable",
    "remark = 'a\\x1b[31m'": "remark must be printable",
    "remark = 7": "remark",
    "remark = 'x' * 10**6; model = 5": "model",
    "model = dict(backbone=dict(pretrained=5))": "model.backbone.pretrained",
    "model = dict(backbone=dict(width=float('nan')))": "model.backbone.width must be finite",
    "optim_wrapper = dict(optimizer=dict(lr=float('inf')))": "optim_wrapper.optimizer.lr must be finite",
    "optim_wrapper = dict(optimizer=dict(lr=10**400))": "must be below 2^63",
    "import numpy; optim_wrapper = dict(optimizer=dict(lr=numpy.float64(0.1) * numpy.inf))": "must be finite",
    "training = dict(steps=print)": "training.steps",
    "a = []; a.append(a); model = dict(loop=a)": "",
    "raise SystemExit(0)": "SystemExit",
    "import sys; sys.exit(0)": "SystemExit",
    "import os; os.nothing": "AttributeError",
    "def f(): return f()\nf()": "RecursionError",
    "raise Exception('a\\nb' * 5000)": "Exception",
}


@pytest.mark.parametrize("text", CONFIGS)
def test_a_config_is_one_line(tmp_path, text):
    file = tmp_path / "mine.py"
    file.write_text(f"{BASE}\n{text}\n", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        pack_spec(load_spec(file).data)
    message = str(caught.value)
    assert CONFIGS[text] in message
    assert "\n" not in message
    assert len(message) < 700
    message.encode("utf-8")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("mine.py", b"\xff\xfe\x00"),
        ("mine.py", b""),
        ("mine.py", b"remark = 'only this'"),
        ("mine.py", b"_base_ = ['mine.py']"),
        ("mine.py", b"_base_ = ['nobody.py']"),
        ("mine.py", b"_base_ = 5"),
        ("mine.json", b"{}"),
        ("mine.txt", b"a"),
    ],
)
def test_a_file_that_is_no_config_is_one_line(tmp_path, name, content):
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_spec(file)
    assert "\n" not in str(caught.value)
    assert name.partition(".")[0] in str(caught.value)


# -------------------------------------------------------------- what a training would stumble over

TRAININGS = {
    "training.update(steps=1, steps_per_image=0, max_steps=1); param_scheduler = [dict(type='OneCycleLR', eta_max=0.1, pct_start=0.25, total_steps=0)]": "param_scheduler[0]",
    "param_scheduler = [dict(type='OneCycleLR', eta_max=6e-3, pct_start=2)]": "param_scheduler[0]",
    "param_scheduler = [dict(eta_max=1.0)]": "such as OneCycleLR, got None",
    "param_scheduler = [dict(type='NoSuchLR')]": "such as OneCycleLR, got 'NoSuchLR'",
    "param_scheduler = [dict(type='LinearLR', start_factor=-3.0)]": "param_scheduler[0]",
    "param_scheduler = [dict(type='MultiStepLR')]": "param_scheduler[0]",
    "optim_wrapper = dict(_delete_=True, type='OptimWrapper', optimizer=dict(type='AdamW', lr=-1.0))": "optim_wrapper cannot be built",
    "optim_wrapper = dict(_delete_=True, type='OptimWrapper', optimizer=dict(type='Nobody', lr=1.0))": "optim_wrapper cannot be built",
    "optim_wrapper = dict(_delete_=True, type='OptimWrapper')": "optim_wrapper cannot be built",
    "model = dict(backbone=dict(type='NoSuchNet'))": "model cannot be built",
    "model = dict(backbone=dict(width=0.0))": "backbone.width",
    "model = dict(decode_head=dict(channels=0))": "model can",
    "model = dict(decode_head=dict(in_channels=[1, 2, 3]))": "model cannot make a step",
    "model = dict(decode_head=dict(loss_decode=dict(type='NoSuchLoss')))": "model cannot be built",
}


@pytest.mark.parametrize("dry", [False, True], ids=["bench", "dry run"])
@pytest.mark.parametrize("text", TRAININGS)
def test_what_would_fail_every_run_is_refused_before_any_work(harness, tmp_path, text, dry):
    (tmp_path / "mine.py").write_text(
        BASE + text.replace("training.update", "training.update") + "\n"
    )
    arguments = ["bench", "--config", "mine.py", "--strategies", "random-region", "--workers", "1"]
    code, out, err = harness(*arguments, *(["--dry-run"] if dry else []))
    lines = err.splitlines()
    assert code == 2, (out, err)
    assert TRAININGS[text] in lines[-1]
    assert len(lines) == 1, err
    assert not list(tmp_path.glob("out/runs/*/*"))


# ------------------------------------------------------------------------------------ command line

MANY = "9" * 5000

COMMANDS = [
    (["bench", "--strategies", "all", "--workers", "1000000000"], "--workers must be from 1"),
    (["bench", "--strategies", "all", "--workers", "0"], "--workers must be from 1"),
    (["bench", "--strategies", "all", "--workers", MANY], ""),
    (["bench", "--strategies", "all", "--disk-gb", "nan"], "--disk-gb must be"),
    (["bench", "--strategies", "all", "--disk-gb", "inf"], "--disk-gb must be"),
    (["bench", "--strategies", "all", "--disk-gb", "-1"], "--disk-gb must be"),
    (["bench", "--strategies", "all", "--seeds", MANY], "--seeds must be"),
    (["bench", "--strategies", "all", "--seeds", "0,0"], "--seeds must be"),
    (["bench", "--strategies", "all", "--seeds", "-1"], "--seeds must be"),
    (["bench", "--strategies", "all", "--seeds", "²"], "--seeds must be"),
    (["bench", "--strategies", "all", "--seeds", "4294967296"], "harness.seeds"),
    (["bench", "--strategies", "all", "--seeds", ""], "--seeds must be"),
    (["bench", "--strategies", "all", "--device", "cuda:1"], "--device must be"),
    (["bench", "--strategies", "all", "--device", ""], "--device must be"),
    (["bench", "--strategies", "all", "--config", ""], "config"),
    (["bench", "--strategies", "all", "--config", "nobody"], "no such file"),
    (["bench", "--strategies", "all", "--config", "."], "no such file"),
    (["bench", "--strategies", ""], "no strategy"),
    (["bench", "--strategies", "a" * 5000], "cannot read strategy"),
    (["bench", "--strategies", f"cereals-g3-entropy[alpha={MANY}]"], "cannot read strategy"),
    (["bench", "--strategies", "cereals-g3-entropy[alpha=1e999]"], "alpha"),
    (["noise", "--repeats", "1"], "--repeats must be"),
    (["noise", "--repeats", "99999999"], "--repeats must be"),
    (["noise", "--seed", "-3"], "--seed must be"),
    (["noise", "--seed", "99999999999"], "--seed must be"),
    (["tune", "--grace", "nan"], "--grace must be"),
    (["tune", "--grace", "1"], "--grace must be"),
    (["tune", "--trials", "0"], "--trials must be"),
    (["tune", "--sampler", "x" * 3000], "--sampler must be"),
    (["tune", "--objective", "speed"], "--objective must be"),
    (["explain", "nowhere"], "run.json"),
    (["doctor", "nowhere"], "no such folder"),
    (["publish", "--runs", "nowhere"], "must be a folder with runs"),
    (["nothing"], "No such command"),
    (["bench", "--preset", "hour"], "--preset must be minute"),
    (["strategies", "random-region,entropy-region"], "one strategy must be named"),
    (["strategies", "all"], "one strategy must be named"),
    (["strategies", "nofile.py:make"], "no such file"),
    (["config", "show", "nowhere"], "no such file"),
    (["config", "show", "--set", "x"], "--set must be"),
]


@pytest.mark.parametrize(
    ("arguments", "said"),
    COMMANDS,
    ids=lambda part: " ".join(part)[:60] if isinstance(part, list) else "",
)
def test_a_command_line_is_one_line(harness, tmp_path, arguments, said):
    code, out, err = harness(*arguments)
    assert code == 2, (out, err[-500:])
    assert said in err
    assert len(err.splitlines()) == 1, err[-500:]
    assert len(err) < 900
    assert not [path for path in tmp_path.iterdir() if path.name == "out"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_one_line(harness, tmp_path):
    (tmp_path / "mine.py").write_text(BASE)
    (tmp_path / "closed").mkdir(mode=0o500)
    code, _, err = harness(
        "bench", "--config", "mine.py", "--strategies", "random-region", "--out", "closed/out"
    )
    assert code == 2
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("out", ["taken", "taken/below", "/dev/null/x", "/proc/x"])
def test_an_output_folder_that_cannot_be_one_is_one_line(harness, tmp_path, out):
    (tmp_path / "mine.py").write_text(BASE)
    (tmp_path / "taken").write_text("mine")
    code, _, err = harness(
        "bench",
        "--config",
        "mine.py",
        "--strategies",
        "random-region",
        "--workers",
        "1",
        "--out",
        out,
    )
    lines = err.splitlines()
    assert code == 2, err
    assert len(lines) == 1
    assert (tmp_path / "taken").read_text() == "mine"


@pytest.mark.parametrize("name", ["cost_$5.py", "a b.py", "ünïcode.py", "_hidden.py", "50%.py"])
def test_a_config_of_an_odd_name_makes_a_board(harness, tmp_path, name):
    (tmp_path / name).write_text(BASE)
    code, _, err = harness(
        "bench", "--config", name, "--strategies", "random-region", "--workers", "1"
    )
    assert code == 0, err[-1000:]
    assert (tmp_path / "out/leaderboard.png").is_file()


def test_a_config_whose_name_is_two_lines_is_refused(tmp_path):
    file = tmp_path / "two\nlines.py"
    file.write_text(BASE)
    with pytest.raises(InputError) as caught:
        load_spec(file)
    assert "\n" not in str(caught.value)
