"""The site: built strictly, offline, with every key, column, option and field in it."""

import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from tests.docs.pages import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        any(
            importlib.util.find_spec(name) is None
            for name in ("mkdocs", "material", "mkdocstrings")
        ),
        reason="the site needs the extra [docs]",
    ),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site; a link or an anchor that leads nowhere ends the build."""
    place = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", place],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return place


def text_of(page):
    return re.sub(r"<[^>]+>", "", page.read_text())


class Loaded(HTMLParser):
    """What a browser fetches for a page by itself."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag in ("script", "img", "iframe", "source"):
            self.found.append(given.get("src") or "")
        if tag == "link" and given.get("rel") in ("stylesheet", "preload", "preconnect", "icon"):
            self.found.append(given.get("href") or "")


def test_nothing_is_fetched_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        parser = Loaded()
        parser.feed(page.read_text())
        for address in parser.found:
            assert "//" not in address.removeprefix("data:"), f"{page}: {address}"


def test_every_config_key_is_there_with_its_meaning(site):
    from harness.config import ExperimentSpec

    text = text_of(site / "reference/config/index.html")
    for name, field in ExperimentSpec.model_fields.items():
        assert f"{name}" in text
        assert " ".join(field.description.replace("`", "").split())[:30] in text.replace(
            "&quot;", '"'
        )


def test_every_column_strategy_command_and_field_is_there(site):
    from harness.cli.main import app
    from harness.publish.document import Document
    from strategies import STRATEGIES

    strategies = text_of(site / "reference/strategies/index.html")
    for name in STRATEGIES:
        assert name in strategies
    columns = text_of(site / "reference/columns/index.html")
    for key in ("rank", "clicks_to_95", "sooner_p", "gain_pixels", "miou_2", "hours"):
        assert key in columns
    commands = text_of(site / "reference/commands/index.html")
    for command in app.registered_commands:
        assert f"harness {command.name}" in commands
    assert "--retry-failed" in commands
    files = text_of(site / "reference/files/index.html")
    for field in Document.__dataclass_fields__:
        assert field in files
    python = text_of(site / "reference/python/index.html")
    for name in ("from_config", "load_board", "check_strategy", "class_shares", "register_dataset"):
        assert name in python


def test_published_boards_are_part_of_the_site(site):
    for board in ("streets", "streets-standard", "camvid", "camvid-finetuned"):
        assert (site / "results" / board / "index.html").is_file()
        assert (site / "results" / board / "leaderboard/index.html").is_file()
        assert (site / "results" / board / "leaderboard.json").is_file()


def test_nothing_of_the_machinery_is_published(site):
    assert not (site / "hooks").exists()
    assert not list(site.rglob("*.xz"))
