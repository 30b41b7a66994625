"""Every number, on the page, the terminal, in JSON and in tables, is that of an independent count."""

from __future__ import annotations

import csv
import io
from typing import Any

import psycopg2
import pytest
from independent_counts import PageNumbers, differences
from report_help import MADE
from rich.console import Console

from merian_campaign.domain.report.numbers import Report
from merian_campaign.domain.report.rows import ReportRows
from merian_campaign.domain.tick.due_notices import notices_of
from merian_campaign.domain.tick.notices import Activity, NoticeKind, NoticeOptions
from merian_campaign.reports.cells import UNBOUNDED
from merian_campaign.reports.completeness import completeness_json, completeness_view
from merian_campaign.reports.page.tables import KINDS, as_csv, report_json
from merian_campaign.reports.status import Status, status_json, status_view
from merian_campaign.reports.usage import usage_json, usage_view
from merian_campaign.store.reading.reader import Reader
from merian_campaign.store.store import PostgresStore

type Connection = psycopg2.extensions.connection
type Row = dict[str, Any]


@pytest.fixture(scope="session")
def told(report: Report) -> dict[str, Any]:
    """The report as JSON has it."""
    return report_json(report)


def test_json_is_what_is_counted(told: dict[str, Any], rows: ReportRows, sql: Connection) -> None:
    assert differences(sql, told, since=rows.since) == []


def test_a_wrong_number_would_be_seen(told: dict[str, Any], rows: ReportRows, sql: Connection) -> None:
    names = {
        "steps": "quanta_blocked", "tracts": "accepted", "completeness": "accepted", "usage": "executions",
        "progress": "done", "blocks": "lost",
    }  # fmt: skip
    for table, name in names.items():
        wrong = [{**told[table][0], name: told[table][0][name] + 1}, *told[table][1:]]
        assert len(differences(sql, {**told, table: wrong}, since=rows.since)) == 1, table
    fewer = {**told, "submissions": told["submissions"][1:]}
    assert differences(sql, fewer, since=rows.since)


def whole(words: str) -> int:
    return int(words or 0)


def test_the_page_is_the_json(text: str, told: dict[str, Any]) -> None:
    seen = PageNumbers(text)
    head = told["headline"]
    facts = seen.facts
    assert facts["Releasable tracts"].startswith(f"{head['releasable']} of {head['tracts']}")
    assert facts["Needs you"].startswith(f"{head['needs_you']} group")
    assert facts["Running"].startswith(f"{head['running']} group")
    assert f"{head['succeeded']} of {head['expected']}" in facts["Quanta done"]
    tracts = seen.tables["tracts"]
    assert [
        (whole(one["Tract"]), one["Steps"], whole(one["Visits"]), whole(one["Quanta"]), whole(one["Failed"]),
         whole(one["Blocked"]), whole(one["Accepted"]))
        for one in tracts
    ] == [
        (line["tract"], f"{line['reached']}/{line['steps']}", line["visits"], line["expected"],
         line["failed"], line["blocked"], line["accepted"])
        for line in told["tracts"]
    ]  # fmt: skip
    assert [one["Done"] for one in tracts] == [_percent(line) for line in told["tracts"]]
    assert [
        (one["Step"], one["Groups done"], whole(one["Running"]), whole(one["Needs review"]),
         whole(one["Blocked"]), whole(one["Waiting"]), whole(one["Quanta"]), whole(one["Failed"]),
         whole(one["Behind them"]), whole(one["Open"]))
        for one in seen.tables["steps"]
    ] == [
        (line["step"], f"{line['done']} / {line['groups']}", line["running"], line["needs_review"],
         line["blocked"], line["waiting"], line["expected"], line["failed"], line["quanta_blocked"],
         line["open"])
        for line in told["steps"]
    ]  # fmt: skip
    assert [
        (one["Task"], one["Step"], whole(one["Executions"]), whole(one["Failed"]), whole(one["MB asked"]),
         whole(one["MB asked, largest"]), whole(one["MB median"]), whole(one["MB 95%"]),
         whole(one["MB largest"]), one["s median"], one["s 95%"], one["s longest"], one["Hours"],
         *(one[f"Queue, {what}"] for what in ("s median", "s 95%", "s longest", "hours")))
        for one in seen.tables["resources"]
    ] == [
        (line["task"], line["step"], line["executions"], line["failed"], line["requested_mb_median"],
         line["requested_mb"], line["peak_mb_median"], line["peak_mb_p95"], line["peak_mb"],
         f"{line['seconds_median']:.1f}", f"{line['seconds_p95']:.1f}", f"{line['seconds_longest']:.1f}",
         f"{line['hours']:.1f}",
         *("" if line[f"wait_{what}"] is None else f"{line[f'wait_{what}']:.1f}"
           for what in ("seconds_median", "seconds_p95", "seconds_longest", "hours")))
        for line in told["usage"]
    ]  # fmt: skip
    asking = [line for line in told["groups"] if line["state"] == "needs_review"]
    assert [one["Quanta"] for one in seen.tables["you"]] == [
        f"{line['succeeded']} / {line['expected']}" for line in asking[:12]
    ]


def _percent(line: Row) -> str:
    if not line["expected"]:
        return ""
    if line.get("foreseen", 0) is None:
        return "—"
    part = 100 * line["succeeded"] / (line["expected"] + line.get("foreseen", 0))
    if part < 100 and f"{part:.1f}" == "100.0":
        return "99.9%"
    return f"{part:.1f}".removesuffix(".0") + "%"


def printed(view: object) -> list[list[str]]:
    """Return the words of what is printed where there is no terminal, by line."""
    screen = Console(width=UNBOUNDED, color_system=None, file=io.StringIO())
    with screen.capture() as captured:
        screen.print(view)
    return [line.split() for line in captured.get().splitlines() if line.strip()]


def test_the_terminal_is_the_json(report: Report, url: str, told: dict[str, Any]) -> None:
    with Reader(url) as reader:
        state, board = reader.campaign_state("wide"), reader.board("wide")
    status = Status(campaign="wide", campaign_state=state, rows=board)
    shown = {words[0]: words for words in printed(status_view(status, width=UNBOUNDED))}
    head = told["headline"]
    for line in told["steps"]:
        numbers = shown[line["step"]]
        assert numbers[1] == f"{line['done']}/{line['groups']}"
        assert f"{line['succeeded']}/{line['expected']}" in numbers
    assert shown["total"][1] == f"{head['done']}/{head['groups']}"
    assert shown["total"][2:5] == [
        f"{head['succeeded']}/{head['expected']}", str(head["failed"]), str(head["blocked"])
    ]  # fmt: skip
    groups = {(one["step"], one["group"]): one for one in status_json(status)["groups"]}
    for line in told["groups"]:
        counts = groups[line["step"], line["group"]]["quanta"]
        assert (counts["expected"], counts["succeeded"], counts["failed"], counts["blocked"]) == (
            line["expected"], line["succeeded"], line["failed"], line["blocked"],
        )  # fmt: skip

    of_json = completeness_json("wide", report.completeness, report.tracts)["completeness"]
    assert [{key: one[key] for key in one if key != "fraction"} for one in of_json] == told["completeness"]
    view = printed(completeness_view(report.completeness, report.tracts, everything=True, width=UNBOUNDED))
    lines = [words for words in view if words[0].isdigit() and words[1].startswith("step")]
    assert [(int(words[0]), words[1]) for words in lines] == [
        (one["tract"], one["step"]) for one in told["completeness"]
    ]
    few = ("caveats", "failed", "blocked", "open", "accepted")
    assert [words[3:] for words in lines] == [
        [
            f"{one['succeeded']}/{'~' if one['estimated'] else ''}{one['expected']}",
            f"{100 * one['succeeded'] // one['expected']}%",
            *(str(one[name]) for name in few if one[name]),
        ]
        for one in told["completeness"]
    ]

    assert usage_json("wide", report.usage, ())["usage"] == told["usage"]
    view = printed(usage_view(report.usage))
    by_task = {words[0]: words for words in view if len(words) > 4 or words[0] == "total"}
    for one in told["usage"]:
        assert by_task[one["task"]][1] == str(one["executions"])
        assert by_task[one["task"]][-1] == f"{one['hours']:.1f}"
        if one["waited"]:
            queue = f"{one['wait_seconds_median']:.0f}"
            assert by_task[one["task"]][-3] == queue
    assert by_task["total"][1] == str(head["executions"])


@pytest.mark.parametrize("table", KINDS)
def test_csv_is_the_json(report: Report, told: dict[str, Any], table: str) -> None:
    read = list(csv.DictReader(io.StringIO(as_csv(report, table))))
    for line, one in zip(read, told[table], strict=True):
        for name, value in one.items():
            words = "" if value is None else str(value)
            assert line[name].removeprefix("'") == words or float(line[name]) == float(value), name


def test_the_digest_is_the_json(url: str, told: dict[str, Any]) -> None:
    head = told["headline"]
    now = MADE.now.replace(hour=23)
    with PostgresStore(url) as store:
        snapshot = store.snapshot("wide")
    activity = Activity(moved_at=now, ended=(("partial", 1),), attempts=1)
    *_, digest = notices_of(snapshot, activity=activity, options=NoticeOptions(digest_hour=0), now=now)
    assert digest.kind is NoticeKind.DIGEST
    assert f": {head['done']} of {head['groups']} groups done, {head['needs_you']} need you" in digest.subject
    assert f"{head['succeeded']} of {head['expected']} quanta succeeded" in digest.body.splitlines()
