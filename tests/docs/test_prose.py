"""Every page: links that lead somewhere, lines that fit, files that are there."""

import re

import pytest

from tests.docs.pages import PAGES, ROOT, headings, links, name, prose

WIDTH = 100


def github(title):
    """The anchor that a forge gives to a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def is_generated(page):
    """Whether the site fills the page: its anchors are the strict build's to check."""
    return "<!-- generated:" in page.read_text()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page):
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name(page)}: {link}"
        assert target.is_relative_to(ROOT), f"{name(page)}: {link} leaves the repository"
        if anchor and target.suffix == ".md" and not is_generated(target):
            assert anchor in map(github, headings(target)), f"{name(page)}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_lines_fit(page):
    for line in prose(page).splitlines():
        free = line.startswith(("|", "#", "!", "<!--")) or "](" in line
        assert free or len(line) <= WIDTH, f"{name(page)}: {len(line)} characters: {line}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_file_that_is_named_is_there(page):
    named = re.findall(
        r"\b(?:tests|harness|strategies|configs|results|docs)/[\w./-]*\.(?:py|md|pth|json|sh)\b",
        prose(page),
    )
    for path in named:
        assert (ROOT / path).exists(), f"{name(page)}: {path}"


def test_every_document_that_the_code_names_is_there():
    sources = [
        path
        for folder in ("harness", "strategies", "configs", "tests")
        for path in (ROOT / folder).rglob("*.py")
    ]
    named = {
        path
        for source in sources
        for path in re.findall(r"\bdocs/[a-z][\w./-]*\.(?:md|json|py|sh)\b", source.read_text())
    }
    assert len(named) > 10
    for path in sorted(named):
        assert (ROOT / path).exists(), path


def test_every_page_has_one_title():
    for page in PAGES:
        titles = re.findall(r"^# .+$", prose(page), re.MULTILINE)
        assert len(titles) == 1, name(page)
