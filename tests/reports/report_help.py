"""Words that want to act, and a browser."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from made_campaign import MadeCampaign

HOSTILE = (
    " </script><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
    " {{ 7*7 }} \x1b[31mred\x1b[0m \u202egnp.exe =cmd|' /C calc'!A0 'quoted' \"twice\" & <b>bold</b>"
)

MADE = MadeCampaign(tracts=18, quanta=2500, nights=4, text=HOSTILE)
"""The campaign ``wide`` of the database that these tests share."""

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_RESULT = re.compile(r'<pre id="result">(.*?)</pre>', re.DOTALL)
_NOISE = re.compile(r"INFO:CONSOLE")

_SCRIPT = """
<script type="module">
const violations = [];
addEventListener("securitypolicyviolation", (event) => violations.push(event.blockedURI));
const wait = (fits) => new Promise((done) => {
  const look = () => { const found = fits(); if (found) done(found); else setTimeout(look, 20); };
  look();
});
const settled = () => new Promise((done) => setTimeout(done, 120));
const made = document.createElement("pre");
made.id = "result";
try {
  await wait(() => document.documentElement.dataset.drawn);
  const $ = (query) => document.querySelector(query);
  const $$ = (query) => [...document.querySelectorAll(query)];
  const result = await (async () => { WORK })();
  result.requests = performance.getEntriesByType("resource").map((entry) => entry.name);
  result.violations = violations;
  made.textContent = btoa(unescape(encodeURIComponent(JSON.stringify(result))));
} catch (error) { made.textContent = btoa(JSON.stringify({ error: String(error) })); }
document.body.append(made);
if (parent !== window) parent.postMessage(made.textContent, "*");
</script>
"""

_NARROW = """<!doctype html><title>a narrow screen</title>
<iframe src="inner.html" style="border:0;width:WIDTHpx;height:844px"></iframe>
<script>
addEventListener("message", (event) => {
  const made = document.createElement("pre");
  made.id = "result";
  made.textContent = event.data;
  document.body.append(made);
});
</script>
"""


def browser() -> str:
    """Return the path of a browser, or skip."""
    found = next((path for name in _BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        if os.environ.get("MERIAN_CHROMIUM_REQUIRED"):
            pytest.fail("no Chromium, which is required here")
        pytest.skip("no Chromium: the page is not opened in a browser")
    return found


def opened(
    page: str, work: str, *, folder: Path, width: int | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Open a page from a file, do something there; return its result and what was said on the console.

    With a ``width``, as on a screen of so many pixels.
    """
    import base64  # noqa: PLC0415

    file = folder / "index.html"
    # The last one: Vega has such words, too.
    before, end, after = page.rpartition("</body>")
    inner = file if width is None else folder / "inner.html"
    inner.write_text(before + _SCRIPT.replace("WORK", work) + end + after, encoding="utf-8")
    if width is not None:
        file.write_text(_NARROW.replace("WIDTH", str(width)), encoding="utf-8")
    done = subprocess.run(
        [
            browser(), "--headless=new", "--no-sandbox", "--disable-gpu",
            f"--user-data-dir={folder / 'profile'}",
            "--window-size=1300,2400", "--virtual-time-budget=60000", "--enable-logging=stderr", "--dump-dom",
            file.as_uri(),
        ],
        capture_output=True, text=True, check=False, timeout=300, errors="replace",
    )  # fmt: skip
    found = _RESULT.search(done.stdout)
    assert found, done.stderr[-2000:]
    result = json.loads(base64.b64decode(found[1]))
    assert "error" not in result, result
    return result, [line for line in done.stderr.splitlines() if _NOISE.search(line)]


def number(connection: psycopg2.extensions.connection, query: str, *values: object) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        (row,) = cursor.fetchall()
    return row[0] if len(row) == 1 else row


def rows_of(connection: psycopg2.extensions.connection, query: str, *values: object) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        return cursor.fetchall()
