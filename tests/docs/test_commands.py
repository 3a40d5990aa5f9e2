"""Every command in a document is one that the product takes; cheap ones are run."""

import importlib.util
import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer.main

from harness.cli.bench import PRESETS, parse_seeds
from harness.cli.main import app
from harness.config import load_spec
from strategies import FILES_VARIABLE, parse_list
from tests.commands import CommandLine
from tests.docs.pages import PAGES, ROOT, blocks, commands, name, prose, tables

ALL = commands()
SMALL_BYTES = 2_000_000


def of(program):
    """The words behind a program's name in every command, each once."""
    found = {tuple(words[1:]): page for page, words in ALL if Path(words[0]).name == program}
    return [pytest.param(list(words), id=f"{found[words]}: {' '.join(words)}") for words in found]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, pack):
    """A folder as the pages assume it: their files, a pack, the results, the readers' own folders."""
    place = tmp_path_factory.mktemp("pages")
    for block in blocks("python"):
        if file := re.match(r"# (\w+\.py)\n", block.text):
            (place / file[1]).write_text(block.text)
    for _, words in ALL:
        for word in words:
            if re.fullmatch(r"[A-Z]+(?:-[A-Z]+)*", word):
                (place / word).mkdir(exist_ok=True)
    (place / "pack").symlink_to(pack)
    (place / "results").symlink_to(ROOT / "results")
    (place / "configs").symlink_to(ROOT / "configs")
    (place / "tests").symlink_to(ROOT / "tests")
    return place


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv(FILES_VARIABLE, "{}")  # strategies of files stay in this test
    return folder


def command_of(words):
    """Return the click command that words name, its name, and the words behind it."""
    command, rest, names = typer.main.get_command(app), list(words), ["harness"]
    while (inner := getattr(command, "commands", None)) and rest and not rest[0].startswith("-"):
        assert rest[0] in inner, f"{' '.join(names)} has no command {rest[0]}"
        names.append(rest[0])
        command = inner[rest.pop(0)]
    return command, " ".join(names), rest


def test_every_command_is_of_a_program_that_is_known():
    known = {"harness", "make", "python", "pip", "source", "dask", "CUDA_VISIBLE_DEVICES=0"}
    for page, words in ALL:
        assert Path(words[0]).name in known, f"{page}: {words[0]}"


@pytest.mark.parametrize("words", of("harness"))
def test_the_command_line_takes_it(words, here):
    command, title, rest = command_of(words)
    given = command.make_context(title, rest).params
    for key in ("strategies", "strategy", "name"):
        if isinstance(given.get(key), str):
            assert parse_list(given[key])
    if given.get("run"):
        assert parse_list(Path(given["run"]).parent.name)
    if given.get("preset"):
        assert given["preset"] in PRESETS
    if given.get("seeds"):
        assert parse_seeds(given["seeds"])
    if given.get("config") or given.get("changes"):
        root = given.get("data_root")
        spec = load_spec(given.get("config"), data_root=root, changes=given.get("changes") or ())
        assert title != "harness tune" or spec.tune
    for folder in given.get("runs") or ():
        assert not str(folder).startswith("results/") or folder.name == "mine" or folder.is_dir()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_in_sentences_are_real(page):
    for span in re.findall(r"`harness ([a-z][^`]*)`", prose(page)):
        command, title, rest = command_of(span.split())
        options = {flag for item in command.params for flag in (*item.opts, *item.secondary_opts)}
        for word in rest:
            assert not word.startswith("-") or word in {*options, "--help"}, f"{title} {word}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_make_targets_are_there(page):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    asked = re.findall(r"(?:^|`)make ([a-z-]+)\b", page.read_text(), re.MULTILINE)
    for target in asked:
        assert target in targets, f"{name(page)}: make {target}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_modules_and_their_options_are_there(page):
    text = page.read_text()
    for module, rest in re.findall(r"python -m ([\w.]+)([^`\n]*)", text):
        found = importlib.util.find_spec(module)
        assert found is not None, module
        if module.startswith("tests."):
            source = Path(found.origin).read_text()
            for option in re.findall(r"--[a-z-]+", rest):
                assert f'"{option}"' in source, f"{name(page)}: {module} {option}"


@pytest.mark.parametrize("words", of("pip"))
def test_extras_are_there(words):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for package, extra in re.findall(r"([\w-]+)\[(\w+)\]", " ".join(words)):
        assert package == project["name"]
        assert extra in project["optional-dependencies"]


def test_the_cluster_file_is_one(tmp_path):
    pytest.importorskip("distributed")
    from harness.cluster import read_cluster_file

    (block,) = blocks("yaml")
    (tmp_path / "slurm.yaml").write_text(block.text)
    assert read_cluster_file(tmp_path / "slurm.yaml").manager == "slurm"


def cheap():
    """Commands that only look, in the form in which they take seconds."""
    for page, words in ALL:
        text = " ".join(words)
        program = Path(words[0]).name
        small = [
            (ROOT / word / "runs.tar.xz").stat().st_size < SMALL_BYTES
            for word in words
            if word.startswith("results/") and (ROOT / word / "runs.tar.xz").is_file()
        ]
        is_cheap = (
            (program == "harness" and words[1] in ("strategies", "config"))
            or (program == "python" and words[1] == "-c")
            or ("--preset minute" in text)
            or ("--check" in words and small and all(small))
            or ("--data-root pack" in text and words[2] in ("check", "stats"))
        )
        if is_cheap:
            more = ["--dry-run"] if words[1] == "bench" else []
            yield page, [*words, *more]


CHEAP = {(Path(words[0]).name, *words[1:]): page for page, words in cheap()}


@pytest.mark.slow
@pytest.mark.parametrize("words", CHEAP, ids=lambda words: f"{CHEAP[words]}: {' '.join(words)}")
def test_cheap_commands_run(words, here, cache):
    line = CommandLine(here, cache)
    line.environment["PYTHONPATH"] = os.pathsep.join(
        [str(ROOT), str(here), os.environ.get("PYTHONPATH", "")]
    )
    done = line(*words[1:]) if words[0] == "harness" else line.python(*words[1:])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_the_exit_codes_are_those_of_the_command_line(here):
    (table,) = tables(ROOT / "docs/reference/exit-codes.md")
    signals = {signal.SIGHUP, signal.SIGINT, signal.SIGTERM}
    assert [int(row[0]) for row in table.rows] == [0, 1, 2, *sorted(128 + s for s in signals)]
    done = subprocess.run(
        [sys.executable, "-m", "harness", "bench", "--strategies", "no-such"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1


def test_every_kind_of_cheap_command_is_on_some_page():
    text = "\n".join(" ".join(words) for words in CHEAP)
    for kind in ("strategies", "config show", "config list", "--dry-run", "--check", "data check"):
        assert kind in text, kind
