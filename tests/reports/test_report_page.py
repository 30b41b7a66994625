"""The page in a browser: it works, asks nobody, and words from outside stay words."""

from __future__ import annotations

import re
from pathlib import Path

from report_help import opened

from merian_campaign.domain.report.lines import SubmissionLine
from merian_campaign.domain.report.numbers import Report, report_of
from merian_campaign.domain.report.rows import ReportRows
from merian_campaign.domain.resources.core_hours import Price
from merian_campaign.reports.page.html import PageText, page

_WORK = """
  const shown = () => $$("#tracts-table tbody tr").filter((row) => !row.hidden).length;
  const rects = (name) => $$(`#pic-${name} path`).length;
  const out = { title: document.title };
  out.drawn = Object.keys(JSON.parse($("#data").textContent).pictures).length;
  out.pictures = Number(document.documentElement.dataset.drawn);
  out.all = shown();
  out.shapes = rects("sky-1");
  // the sky: a click on a tract's polygon
  const polygons = $$("#pic-sky-1 path[aria-label], #pic-sky-1 .mark-shape path");
  const tract = polygons.find((one) => one.__data__ && one.__data__.datum && one.__data__.datum.tract);
  tract.scrollIntoView({ block: "center" });
  await settled();
  const box = tract.getBoundingClientRect();
  // what is said of it where the pointer is: in its middle, where its name will stand
  const under = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
  for (const kind of ["pointerover", "pointermove", "mouseover", "mousemove"])
    under.dispatchEvent(new (kind.startsWith("pointer") ? PointerEvent : MouseEvent)(kind, {
      bubbles: true, clientX: box.x + box.width / 2, clientY: box.y + box.height / 2 }));
  await settled();
  out.under = under.__data__?.datum?.tract;
  out.tip = $("#tip").textContent;
  const where = { bubbles: true, clientX: box.x + box.width / 2, clientY: box.y + box.height / 2 };
  for (const kind of ["pointerdown", "mousedown", "pointerup", "mouseup", "click"])
    tract.dispatchEvent(new (kind.startsWith("pointer") ? PointerEvent : MouseEvent)(kind, where));
  await settled();
  out.chosen = $("#chosen").classList.contains("on") ? $("#chosen h3").textContent : "";
  out.clicked = tract.__data__.datum.tract;
  out.marked = $$("#tracts-table tr.is").map((row) => Number(row.dataset.tract));
  out.lines = $$("#chosen tbody tr").length;
  document.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
  await settled();
  out.cleared = !$("#chosen").classList.contains("on");
  // filters
  $("#only").value = "needs_review";
  $("#only").dispatchEvent(new Event("change"));
  out.asking = shown();
  $("#only").value = "";
  $("#only").dispatchEvent(new Event("change"));
  $("#find").value = String(out.clicked);
  $("#find").dispatchEvent(new Event("input"));
  out.found = shown();
  $("#find").value = "";
  $("#find").dispatchEvent(new Event("input"));
  // sorting
  const heading = $$("#tracts-table thead th").find((one) => one.textContent === "Failed");
  heading.querySelector("button").click();
  heading.querySelector("button").click();
  out.sorted = $$("#tracts-table tbody tr").map((row) => Number(row.cells[7].dataset.v));
  out.sort = heading.getAttribute("aria-sort");
  // what the sky shows
  const shades = () => polygons.map((one) => one.getAttribute("fill")).join();
  const before = shades();
  $("#mode").value = "failures";
  $("#mode").dispatchEvent(new Event("change"));
  await settled();
  out.recoloured = shades() !== before;
  out.legends = $$(".legend[data-mode]").filter((one) => !one.hidden).map((one) => one.dataset.mode);
  out.bars = $$("path").map((one) => one.__data__?.datum).filter((one) => one?.who).map((one) => one.tip);
  out.links = $$("nav a").every((link) => document.getElementById(link.hash.slice(1)));
  out.wider = document.documentElement.scrollWidth > innerWidth;
  $("#theme").click();
  out.theme = document.documentElement.dataset.theme;
  out.unnamed = $$("button, input, select").filter((one) => !(one.textContent.trim() || one.labels?.length
    || one.getAttribute("aria-label"))).length;
  out.images = document.images.length;
  return out;
"""


def told(line: SubmissionLine) -> str:
    """Return what is said of a submission where the pointer is."""
    what, clock = "afterburner" if line.number > 1 else "submission", "%Y-%m-%d %H:%M"
    begin = line.claimed_at or line.created_at
    end = "now" if line.finished_at is None else f"{line.finished_at:{clock}}"
    words = f"{line.step}/{line.group}, {what} {line.number}: {line.outcome or line.state}"
    remedy = f"\nremedy: {line.remedy[:120]}" if line.remedy else ""
    return f"{words}\n{begin:{clock}} to {end} UTC{remedy}"


def test_it_works_and_asks_nobody(text: str, report: Report, tmp_path: Path) -> None:
    found, said = opened(text, _WORK, folder=tmp_path)
    assert said == []
    assert found["requests"] == found["violations"] == []
    assert found["pictures"] == found["drawn"] >= 9
    assert found["all"] == len(report.tracts)
    assert sorted(found["bars"]) == sorted(map(told, report.submissions))
    assert found["shapes"] > len(report.tracts) / 3
    assert found["chosen"].startswith(f"Tract {found['clicked']}: ")
    assert found["under"] == found["clicked"]
    assert found["tip"].startswith(f"Tract {found['clicked']}\n")
    assert found["marked"] == [found["clicked"]]
    assert found["lines"] == sum(line.tract == found["clicked"] for line in report.completeness)
    assert found["cleared"]
    assert found["asking"] == sum(line.state == "needs_review" for line in report.tracts)
    assert 1 <= found["found"] < found["all"]
    assert found["sort"] == "descending"
    assert found["sorted"] == sorted((line.failed for line in report.tracts), reverse=True)
    assert found["recoloured"]
    assert found["legends"] == ["failures"]
    assert found["links"]
    assert not found["wider"]
    assert found["theme"] == "dark"
    assert found["unnamed"] == 0
    # Words from outside did nothing.
    assert found["title"] == "wide · campaign report"
    assert found["images"] == 0


def test_it_fits_a_phone(text: str, tmp_path: Path) -> None:
    work = """
      const wide = $$("body *").filter((one) => {
        if (one.getBoundingClientRect().right <= innerWidth + 1) return false;
        for (let at = one.parentElement; at && at !== document.body; at = at.parentElement)
          if (getComputedStyle(at).overflowX !== "visible") return false;
        return true;
      });
      return { width: innerWidth, scrolls: document.documentElement.scrollWidth,
               wide: wide.map((one) => `${one.tagName} ${one.className}`) };
    """
    found, said = opened(text, work, folder=tmp_path, width=390)
    assert said == []
    assert found["wide"] == []
    assert found["scrolls"] <= found["width"] == 390


def without_scripts(text: str) -> str:
    """Return a page without what is ours to run."""
    return re.sub(r"<script type=\"module\">.*?</script>", "", text, flags=re.DOTALL)


def test_words_from_outside_are_no_markup(text: str) -> None:
    outside = without_scripts(text)
    assert outside.count("<script") == outside.count("</script>") == 1  # the data
    assert "<img" not in outside
    assert "<b>bold" not in outside
    assert "\x1b" not in outside
    assert "\u202e" not in outside
    assert "{{ 7*7 }}" in outside
    assert "document.title=" in outside  # as text


def test_it_names_no_other_place(text: str) -> None:
    outside = without_scripts(text)
    assert not re.findall(r"(?:src|href)=\"(?!#|data:)", outside)
    assert "@import" not in outside
    assert len(text.encode()) < 3_000_000


def test_a_campaign_without_tracts_has_a_page(report: Report, tmp_path: Path) -> None:
    from dataclasses import replace  # noqa: PLC0415

    nothing = dict.fromkeys(("tracts", "completeness", "causes", "usage", "progress", "blocks"), ())
    bare = replace(report, groups=(), steps=(), submissions=(), changes=(), regions=(), **nothing)
    made = page(bare, PageText(version="0.1.0", logs={}))
    found, said = opened(made, "return { title: document.title };", folder=tmp_path)
    assert said == []
    assert found["title"] == "wide · campaign report"


def test_without_regions_it_says_so(report: Report) -> None:
    from dataclasses import replace  # noqa: PLC0415

    made = page(
        replace(report, regions=()), PageText(version="0.1.0", logs={}, no_sky="the butler was not asked")
    )
    assert "the butler was not asked" in made
    assert 'id="pic-tracts"' in made


def test_what_is_done_for_older_data_is_seen(rows: ReportRows, tmp_path: Path) -> None:
    from dataclasses import replace  # noqa: PLC0415

    tract = next(line.tract for line in report_of(rows).tracts if line.releasable)
    old = [group for group in rows.groups if group.tracts == (tract,)][-1]
    anew = next(group for group in rows.groups if group.state != "done" and group is not old)
    changed = {
        old.id: replace(old, reason="stale: 2 new exposures; made from 4 of 6 exposures"),
        anew.id: replace(anew, state="running", remade="2 late exposures"),
    }
    groups = [changed.get(group.id, group) for group in rows.groups]
    price = {f"{old.step}/{old.group}": Price(quanta=40, core_hours=1.0)}
    made = report_of(replace(rows, groups=tuple(groups), prices=price))
    work = f"""
      const row = $('#tracts-table tr[data-tract="{tract}"]');
      const cell = $$("#pic-tracts path").map((one) => one.__data__?.datum).find(
        (one) => one?.tract === {tract} && one.step === "{old.step}");
      $("#only").value = "stale";
      $("#only").dispatchEvent(new Event("change"));
      return {{ state: row.dataset.state, cells: row.textContent, cell: cell.state, tip: cell.tip,
        left: $$("#tracts-table tbody tr").filter((one) => !one.hidden).length,
        stale: $("#stale").textContent, remade: $("#remade").textContent }};
    """
    found, said = opened(page(made, PageText(version="0.1.0", logs={})), work, folder=tmp_path)
    assert said == []
    name = f"{old.step}/{old.group}"
    assert found["stale"] == (
        f"1 group is done for older data, e.g. {name}: 2 new exposures; made from 4 of 6 exposures. "
        "To make all of them anew: 40 quanta, 1.00 core-hours and 0.00 GB-hours, as before."
    )
    assert found["remade"].startswith("1 group is being made anew (1 under way")
    assert found["remade"].endswith(f"e.g. {anew.step}/{anew.group}: 2 late exposures.")
    assert found["state"] == found["cell"] == "stale"
    assert f"{old.step} of older data than there are now" in found["cells"]
    assert "made from 4 of 6 exposures" in found["tip"]
    assert found["left"] == 1
