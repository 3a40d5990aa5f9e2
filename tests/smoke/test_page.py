"""The published page in headless Chromium, where there is one: no console error, sorting, filtering, choosing."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
PAGE = Path(__file__).parent.parent.parent / "results" / "streets" / "index.html"
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
]

SCRIPT = """
<script>
window.found = {};
const rows = () => [...document.querySelectorAll("#board tbody tr")].map(row => row.dataset.strategy);
const buttons = () => document.querySelectorAll("#board th button");
found.first = rows();
buttons()[1].click(); found.byName = rows();
buttons()[1].click(); found.byNameFalling = rows(); found.sorted = document.querySelector("th[aria-sort]").getAttribute("aria-sort");
const filter = document.getElementById("filter");
filter.value = "IMAGE"; filter.dispatchEvent(new Event("input")); found.filtered = rows();
filter.value = ""; filter.dispatchEvent(new Event("input"));
const bounds = document.getElementById("bounds");
bounds.click(); found.withoutBounds = rows(); bounds.click();
document.querySelector("tr[data-strategy=random-region]").dispatchEvent(new KeyboardEvent("keydown", {key: "Enter"}));
found.chosen = document.getElementById("strategy").value;
found.windows = document.querySelectorAll("#windows rect").length - 1;
found.receipts = document.querySelectorAll("#receipts tbody tr").length;
const axis = document.getElementById("axis"), before = document.getElementById("curves").innerHTML;
axis.value = "pixel_share"; axis.dispatchEvent(new Event("change")); found.axisChanged = before !== document.getElementById("curves").innerHTML;
const svg = document.getElementById("curves"), box = svg.getBoundingClientRect();
svg.dispatchEvent(new PointerEvent("pointermove", {clientX: box.left + box.width / 2, clientY: box.top + box.height / 2}));
found.readout = document.getElementById("readout").textContent;
choose("cereals-g2-entropy");
found.layers = [...document.getElementById("layer").options].map(option => option.value);
const layer = document.getElementById("layer");
layer.value = "cost"; layer.dispatchEvent(new Event("change"));
const map = document.querySelector("#windows image");
found.map = map && [map.dataset.layer, map.getAttribute("href").slice(0, 22), document.getElementById("photo").textContent.slice(0, 16)];
found.errors = window.errors;
const out = document.createElement("pre"); out.id = "found"; out.textContent = JSON.stringify(found); document.body.append(out);
</script>
"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_reader_can_sort_filter_and_choose(tmp_path):
    page = PAGE.read_text(encoding="utf-8")
    errors = "<script>window.errors = []; window.onerror = message => { errors.push(String(message)); };</script>"
    (tmp_path / "page.html").write_text(
        page.replace("<style>", errors + "<style>", 1).replace("</body>", SCRIPT + "</body>"),
        encoding="utf-8",
    )
    done = subprocess.run(
        [
            CHROMIUM,
            *QUIET,
            f"--user-data-dir={tmp_path / 'profile'}",
            "--dump-dom",
            (tmp_path / "page.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = json.loads(
        html.unescape(re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)[1])
    )
    entries = json.loads((PAGE.parent / "leaderboard.json").read_text())["entries"]
    everyone = {entry["strategy"] for entry in entries}
    assert found["errors"] == []
    assert set(found["first"]) == everyone
    bounds = {entry["strategy"] for entry in entries if entry["bound"]}
    ranked = everyone - bounds
    assert found["byName"] == [*sorted(ranked), *sorted(bounds)]
    assert found["byNameFalling"] == [
        *sorted(ranked, reverse=True),
        *sorted(bounds, reverse=True),
    ]
    assert found["sorted"] == "descending"
    assert set(found["filtered"]) == {name for name in everyone if "image" in name}
    assert set(found["withoutBounds"]) == {
        entry["strategy"] for entry in entries if not entry["bound"]
    }
    assert found["chosen"] == "random-region"
    assert found["windows"] == found["receipts"] > 0
    assert found["axisChanged"]
    assert found["layers"] == ["information", "cost", "score"]
    assert found["map"] == ["cost", "data:image/png;base64,", "predicted clicks"]
    assert "mIoU" in found["readout"]


def test_the_page_asks_for_nothing_from_a_network():
    page = PAGE.read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", page)
