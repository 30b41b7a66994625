"""Of pictures and tables of the page: nothing is cut or covered, and what is not known is not told."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from report_help import opened

from merian_campaign.domain.report.numbers import Report
from merian_campaign.reports.causes import behind_words, evidence_words
from merian_campaign.reports.page.charts import pictures
from merian_campaign.reports.page.html import PageText, page
from merian_campaign.reports.page.submission_bars import submission_bars

_PLAIN = PageText(version="0.1.0", logs={})

_WORK = """
  const cut = (one) => one.scrollWidth > one.clientWidth + 1;
  const tracts = (name) => $$(`#pic-${name} path`).filter((one) => one.__data__?.datum?.tract);
  const skies = $$("[id^=pic-sky-]").map((one) => one.id.slice(4)).filter((name) => name !== "sky-all");
  const bare = (one) => ["none", "transparent"].includes(one.getAttribute("fill"));
  const ringed = (name) => {
    const all = tracts(name);
    const last = Math.max(...all.map((one, place) => bare(one) ? -1 : place));
    const asks = (one) => one.__data__.datum.state === "needs_review";
    return all.filter((one, place) => place > last && bare(one) && asks(one)).length;
  };
  const out = { rings: skies.reduce((sum, name) => sum + ringed(name), 0) };
  const whole = [".fact .big", "#you .wide", "#resources .wide", "#steps .wide"];
  out.cut = whole.filter((query) => $$(query).some(cut));
  out.broken = $$("#you td:first-child, #tracts-table td:nth-child(2)").filter((one) => {
    const range = document.createRange();
    range.selectNodeContents(one.lastChild);
    const boxes = range.getClientRects();
    return boxes.length > 1 || boxes[0].top >= one.querySelector(".dot").getBoundingClientRect().bottom;
  }).length;
  const table = $("#resources table");
  const names = [...table.querySelectorAll("thead tr:last-child th")];
  const largest = names.findIndex((one) => one.textContent === "Largest");
  names[largest].querySelector("button").click();
  names[largest].querySelector("button").click();
  out.sorted = [...table.tBodies[0].rows].map((row) => Number(row.cells[largest].dataset.v));
  out.nights = $("#only-nights") ? 1 : 0;
  return out;
"""


def test_nothing_is_cut_or_covered(report: Report, tmp_path: Path) -> None:
    plain = [replace(line, reason="deblend: algorithm x1") for line in report.groups]
    # Ten million quanta, and more to come than anybody knows.
    head = replace(
        report.headline, succeeded=10_123_456, expected=10_234_567, foreseen=9_000_000, unsized=("step9",)
    )
    made = page(replace(report, headline=head, groups=tuple(plain)), _PLAIN)
    found, said = opened(made, _WORK, folder=tmp_path)
    assert said == []
    assert found["cut"] == []
    assert found["broken"] == 0
    # What a neighbour overlaps is outlined all the same.
    assert found["rings"] == sum(line.state == "needs_review" for line in report.tracts) > 0
    assert found["sorted"] == sorted((row.peak_mb or 0 for row in report.usage), reverse=True)
    assert 'id="only-nights"' not in made or found["nights"] == 1


def test_causes_say_how_sure_they_are_and_what_they_block(report: Report) -> None:
    one = replace(
        report.causes[0], groups=1, tracts=1, blocked=1, patches=2, held=3, held_tracts=1,
        evidence="OSError: file system trouble", certainty="inferred",
    )  # fmt: skip
    assert evidence_words(one) == "OSError: file system trouble (inferred)"
    assert evidence_words(replace(one, certainty="measured")) == "OSError: file system trouble"
    assert behind_words(one) == (
        "1 group in 1 tract, 1 quantum blocked behind, 2 patches incomplete, holds 3 later groups of 1 tract"
    )
    made = page(replace(report, causes=(one,) * 26), _PLAIN)
    assert "OSError: file system trouble (inferred). In 1 group in 1 tract, 1 quantum blocked behind" in made
    assert "and 1 more cause: <code>merian-campaign failures wide --all</code>" in made


def test_what_nobody_knows_has_no_end_and_no_percentage(report: Report) -> None:
    head = report.headline
    soon = head.at + timedelta(days=2)
    known = replace(head, eta_low=soon, eta_high=soon + timedelta(days=1), unsized=(), eta_words="")
    some = replace(
        known, eta_high=None, unsized=("step8", "step9"), eta_words="step8 and step9 are not counted"
    )
    made = page(replace(report, headline=some), _PLAIN)
    assert f">after {soon.day} {soon:%b}<" in made
    assert "2 steps are of unknown size" in made
    assert 'class="meter"' not in made
    whole = page(replace(report, headline=known), _PLAIN)
    assert "of unknown size" not in whole
    assert 'class="meter"' in whole
    layers = {one.name: len(one.spec.get("layer", ())) for one in pictures(replace(report, headline=some))}
    full = {one.name: len(one.spec.get("layer", ())) for one in pictures(replace(report, headline=known))}
    assert layers["progress"] == full["progress"] - 1


def test_progress_and_throughput_agree_on_the_time(report: Report) -> None:
    made = {one.name: one.spec for one in pictures(report)}
    progress = made["progress"]["layer"][0]["encoding"]["x"]
    assert made["throughput"]["encoding"]["x"] == progress
    low, high = progress["scale"]["domain"]
    assert low < high


def test_bars_too_low_for_an_outline_have_none(report: Report) -> None:
    line = replace(report.submissions[0], number=2)
    few = submission_bars(replace(report, submissions=(line,) * 2), axis={})
    assert [row.get("outlined") for row in few.spec["data"]["values"]] == [1, 1]
    many = submission_bars(replace(report, submissions=(line,) * 60), axis={})
    assert {row.get("outlined") for row in many.spec["data"]["values"]} == {None}
    assert many.spec["height"] < 100
