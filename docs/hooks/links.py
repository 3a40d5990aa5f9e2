"""Links that read well both on the site and in the repository.

Pages link to files of the repository by relative paths. On the site, boards (``results/``) and the
documents at the top are pages or files of their own; whatever else lies outside docs/ becomes an
address below ``repo_url``, or plain text where mkdocs.yml names none.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
TOP = ("CONTRIBUTING.md", "CHANGELOG.md")
PUBLISHED = ("leaderboard.md", "index.html", "*.png", "*.csv", "*.json", "*.tex", "tuning.md")

_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^(```.*?^```$)", re.DOTALL | re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the published boards and the documents at the top."""
    names = [
        *TOP,
        *(
            path.relative_to(ROOT).as_posix()
            for pattern in PUBLISHED
            for path in sorted((ROOT / "results").glob(f"*/{pattern}"))
        ),
    ]
    for name in names:
        files.append(
            File(
                name,
                str(ROOT),
                config.site_dir,
                use_directory_urls=config.use_directory_urls,
            )
        )
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn a page's links to files of the repository into links of the site."""
    site = page.file.src_uri
    here = posixpath.dirname(site if _is_outside(site) else f"docs/{site}")

    def turned(link: re.Match[str]) -> str:
        mark, label, address = link.groups()
        path, _, anchor = address.partition("#")
        if not path or ":" in path:
            return link[0]
        target = posixpath.normpath(posixpath.join(here, path))
        inside = target.removeprefix("docs/") if target.startswith("docs/") else target
        if (inside != target or _is_outside(target)) and files.get_file_from_path(inside):
            new = posixpath.relpath(inside, posixpath.dirname(site) or ".")
            return f"{mark}[{label}]({new}{'#' + anchor if anchor else ''})"
        if not (ROOT / target).exists():
            return link[0]
        if config.repo_url:
            return f"{mark}[{label}]({config.repo_url.rstrip('/')}/blob/main/{target})"
        return label if "`" in label else f"`{label}`"

    parts: list[Any] = _FENCE.split(markdown)
    return "".join(part if part.startswith("```") else _LINK.sub(turned, part) for part in parts)


def _is_outside(name: str) -> bool:
    return name in TOP or name.startswith("results/")
