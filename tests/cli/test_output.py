"""The door to the terminal, and that there is no other."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import unicodedata
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from merian_campaign.cli import output
from merian_campaign.cli.board import Board
from merian_campaign.cli.screen import Screen
from merian_campaign.domain.campaign.coverage import Coverage, TractCoverage
from merian_campaign.domain.execution.counts import Counts
from merian_campaign.domain.preflight import Finding
from merian_campaign.domain.record.attempt_rows import FailureRow
from merian_campaign.domain.record.board_row import BoardRow
from merian_campaign.domain.resources.core_hours import Price
from merian_campaign.domain.stack.requirements import InstalledModule, Requirement, StackReport
from merian_campaign.domain.stack.stack_versions import Versions
from merian_campaign.housekeeping.cleaning import CleaningPlan, KeptRun, Removal, RunFacts, RunKind
from merian_campaign.housekeeping.collections_report import cleaning_view, collections_view
from merian_campaign.housekeeping.inventory import CollectionRow, CollectionSummary, Origin
from merian_campaign.preflight.preflight_report import preflight_view
from merian_campaign.reports.cells import UNBOUNDED, joined, line, paragraph
from merian_campaign.reports.failures import failures_view
from merian_campaign.reports.stack import stack_view
from merian_campaign.reports.status import Status, status_json, status_view
from merian_campaign.reports.tracts import tracts_table as coverage_table

ROOT = Path(__file__).resolve().parents[2]
BRACKETS = "ValueError: cannot open [/scratch/raw/x.fits] for index [i]"
ACTS = "[/x] [bold]b :smile: \x1b]52;c;eA==\x07\x1b[2J\x1b]8;;http://e\x1b\\z\u202e\x9b2J\x7f\0\ud800"
ANYTHING = st.text(max_size=60) | st.just(ACTS)


def written(view: RenderableType, *, width: int = 80) -> str:
    stream = io.StringIO()
    Screen(file=stream, width=width).print(view)
    return stream.getvalue()


def assert_inert(text: str) -> None:
    for character in set(text) - {"\n", "\t"}:
        assert unicodedata.category(character) not in {"Cc", "Cs", "Zl", "Zp"}, repr(character)
        assert character not in "\u200b\u200e\u200f\u202a\u202d\u202e\u2066\u2067\u2068\u2069\ufeff", repr(
            character
        )


def board(
    reason: str, *, step: str = "c0", tract: int | None = None, state: str = "needs_review"
) -> BoardRow:
    return BoardRow(
        step=step,
        group="all" if tract is None else f"tract{tract}",
        ordinal=1,
        tract=tract,
        state=state,
        reason=reason,
        submissions=1,
        counts=Counts(failed=1),
    )


def failure(message: str | None, **changes: Any) -> FailureRow:
    values: dict[str, Any] = dict.fromkeys(FailureRow.__dataclass_fields__)
    texts = {"step": "s", "group": "g", "task": "t", "data_id": "d", "state": "failed", "verdict": "unknown"}
    values |= texts | {"quantum_id": 1, "attempts": 1, "evidence": "", "exception_message": message}
    return FailureRow(**(values | changes))


def test_an_empty_group_is_never_shown_as_done() -> None:
    made = replace(board("all succeeded", tract=9813, state="done"), counts=Counts(succeeded=3))
    nothing = replace(board("nothing to do", tract=9814, state="done"), counts=Counts(), no_graph=True)
    status = Status(campaign="c", campaign_state="active", rows=(made, nothing))
    assert status.state == "done"
    shown = written(status_view(status, width=100), width=100)
    assert shown.count("\u2714") == 2, "in the table of the steps, and in that of the tracts"
    assert "\u2714 1 done  \u2205 1 empty" in shown
    assert "9814   \u2205 empty" in shown
    told = status_json(status)
    assert [(row["state"], row["empty"]) for row in told["groups"]] == [("done", False), ("done", True)]
    assert told["empty_groups"] == 1
    # An afterburner that found nothing left to do made no empty group, and an empty one may need review.
    assert not replace(made, no_graph=True).empty
    assert not replace(nothing, state="needs_review").empty


def test_what_is_done_for_older_data_is_told() -> None:
    row = replace(board("stale: 2 new exposures; made from 4 of 6 exposures", tract=9813), state="done")
    rows = (row, replace(row, tract=9814, group="b"))
    prices = {f"{one.step}/{one.group}": Price(quanta=40, core_hours=1.0) for one in rows}
    status = Status(campaign="c", campaign_state="active", rows=rows, prices=prices)
    assert status.redo_price == Price(quanta=80, core_hours=2.0)
    assert status.selected(tract=9814).redo_price == Price(quanta=40, core_hours=1.0)
    assert status.selected(state="running").redo_price is None
    shown = written(status_view(status, width=100), width=100)
    assert "2 groups are done for older data, e.g." in shown
    assert "2 new exposures; made from 4 of 6 exposures" in shown
    told = status_json(status)
    assert (told["stale_groups"], [row["stale"] for row in told["groups"]]) == (2, [True, True])
    assert "to make all of them anew: 80 quanta, 2.00 core-hours and 0.00 GB-hours, as before" in shown
    assert told["redo_price"] == {"quanta": 80, "core_hours": 2.0, "gb_hours": 0.0}


def test_brackets_of_an_error_are_shown_as_they_are() -> None:
    shown = written(
        status_view(Status(campaign="c", campaign_state="active", rows=(board(BRACKETS),)), width=80)
    )
    assert BRACKETS in shown
    assert f"«{BRACKETS}»" in written(failures_view([failure(BRACKETS)]), width=120)


@pytest.mark.parametrize("message", ["", " ", " \n\t\n ", "\n\n", "\u3000", None])
def test_a_message_without_words_is_none(message: str | None) -> None:
    assert "«" not in written(failures_view([failure(message)]))


def test_the_first_line_with_words_is_the_message() -> None:
    assert "«two words»" in written(failures_view([failure("\n\n two\twords \nmore")]))


@given(ANYTHING, st.sampled_from([40, 80, 120]))
def test_whatever_is_printed_is_inert(text: str, width: int) -> None:
    table = Table(text, title=text, caption=text, show_footer=True)
    table.add_column(Text(text), footer=text, no_wrap=True)
    table.add_row(text, Text(text, style="bold"), Padding(text, 1))
    linked = Text(text, style="link http://evil")
    for view in (text, Text(text), linked, table, line(text), paragraph(text), joined(text, (text, "red"))):
        assert_inert(written(view, width=width))


def test_links_and_titles_are_never_written() -> None:
    stream = io.StringIO()
    screen = Screen(file=stream, width=80)
    screen._force_terminal = True
    screen.print(Text("x", style="link http://evil"), "[link=http://evil]y[/link]")
    assert "\x1b]" not in stream.getvalue()
    assert "[link=http://evil]y[/link]" in stream.getvalue()


@given(ANYTHING)
def test_a_cell_of_one_line_is_one_line(text: str) -> None:
    assert "\n" not in line(text).plain
    assert "\t" not in line(text).plain
    assert "\t" not in paragraph(text).plain


def test_a_live_view_is_inert() -> None:
    stream = io.StringIO()
    screen = Screen(file=stream, width=80)
    status = Status(campaign=ACTS, campaign_state="active", rows=(board(ACTS, step=ACTS),))
    with Live(console=screen, auto_refresh=False) as view:
        board_ = Board(status=status, began=0.0, clock=lambda: 61.0, recent=[f"15:00:00 {ACTS}"])
        view.update(board_, refresh=True)
        screen.print(board_.whole(width=80))
    assert_inert(stream.getvalue())
    assert "[/x] [bold]b :smile:" in stream.getvalue()


@given(ANYTHING)
def test_findings_are_inert(text: str) -> None:
    finding = Finding(place=text, message=text, fatal=True, fix=text)
    assert_inert(written(preflight_view([finding])))


@given(ANYTHING, st.sampled_from([80, 120]))
def test_collections_and_cleaning_are_inert(text: str, width: int) -> None:
    origin = Origin(name=text, made_by=text, outcome=text, note=text)
    rows = [
        CollectionRow(origin=origin, facts=CollectionSummary(name=text, kind=kind))
        for kind in ("CHAINED", text)
    ]
    assert_inert(written(collections_view(rows, width=width), width=width))
    gone = Removal(
        kind=RunKind.SUPERSEDED,
        reason=text,
        submission_id=1,
        step=text,
        group=text,
        number=1,
        facts=RunFacts(run=text, kind="RUN"),
    )
    stays = KeptRun(step=text, group=text, number=1, run=text, reason=text)
    assert_inert(written(cleaning_view(CleaningPlan(removals=(gone,), kept=(stays,))), width=width))


@given(ANYTHING)
def test_a_stack_and_tracts_are_inert(text: str) -> None:
    wanted = Requirement(name=text, versions=text)
    found = InstalledModule(wanted=wanted, version=text, where=text, error=text)
    report = StackReport(
        python=text, versions=Versions(stack={text: text}), found=(found,), programs=((text, text),)
    )
    assert_inert(written(stack_view(report)))
    tract = TractCoverage(tract=1, visits=1, detectors=1, bands={text: 0.5})
    found_tracts = Coverage(selected=1, summarized=0, tracts=(tract,))
    assert_inert(written(coverage_table(found_tracts, used={})))


@pytest.mark.parametrize("width", [80, 120])
def test_four_hundred_groups_stay_readable(width: int) -> None:
    steps = ("step2c", "step2d", "step2e", "step3a", "step3b", "step4", "step5", "step7")
    reason = "isr: unknown x3: ValueError: cannot read a very long path /" + "x" * 300 + "\nsecond line"
    rows = [
        board(reason, step=step, tract=9000 + tract, state="needs_review" if tract % 40 == 0 else "running")
        for step in steps
        for tract in range(50)
    ]
    shown = written(
        status_view(Status(campaign="c", campaign_state="active", rows=tuple(rows)), width=width), width=width
    )
    lines = shown.splitlines()
    assert max(map(len, lines)) <= width
    for tract in range(9000, 9050):
        assert any(found.split()[:1] == [str(tract)] for found in lines), tract
    for step in steps:
        assert sum(f"✘ {step}/tract" in found for found in lines) == 2


@given(
    st.recursive(
        ANYTHING | st.floats() | st.integers() | st.none(),
        lambda kind: st.lists(kind, max_size=3) | st.dictionaries(ANYTHING, kind, max_size=3),
    )
)
def test_json_is_valid_and_ascii(value: object) -> None:
    stream = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        output.show_json({"value": value})
    assert stream.getvalue().isascii()
    assert "\x7f" not in stream.getvalue()

    def refuse(word: str) -> object:
        raise AssertionError(word)

    found = json.loads(stream.getvalue(), parse_constant=refuse)
    assert_encodes(json.dumps(found, ensure_ascii=False))


def assert_encodes(text: str) -> None:
    text.encode("utf-8")


@given(ANYTHING)
def test_lines_are_inert(text: str) -> None:
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        output.say(text)
        output.say_fields(text, "b")
        output.note(text)
        output.complain(text)
    assert_inert(out.getvalue() + err.getvalue())
    assert out.getvalue().splitlines()[-1].count("\t") == 1


def test_a_result_is_never_cut() -> None:
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        output.say("1" * 1_000_000)
    assert len(out.getvalue()) == 1_000_001


@pytest.mark.parametrize("columns", ["", "0", "7", "x", "²", "-5", "80.5", "9" * 30, "99999"])
def test_any_width_that_is_asked_for_will_do(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:  # pytest itself reads COLUMNS when the test has ended
        patch.setenv("COLUMNS", columns)
        patch.setattr(sys, "stdout", io.StringIO())
        width = output.console().width
    assert 40 <= width <= 1000 or width == UNBOUNDED
    assert (width == UNBOUNDED) == (columns != "7")


def test_what_libraries_print_and_what_nobody_foresaw_is_inert() -> None:
    program = (
        "import logging, sys, warnings\n"
        "from merian_campaign import app\n"
        "def run(**_): logging.getLogger('x').warning(TEXT); warnings.warn(TEXT); raise RuntimeError(TEXT)\n"
        f"TEXT = {ACTS!r}\n"
        "app.app = run\n"
        "app.main()\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, check=False, env={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 1
    said = done.stderr.decode("ascii")
    assert_inert(said)
    assert "RuntimeError: [/x] [bold]b" in said
    assert "UserWarning: [/x]" in said
    assert said.count("[/x] [bold]b :smile:") >= 3


WAYS_AROUND = [
    "import sys\nsys.stdout.write(x)",
    "import sys\nsys.stderr.write(x)",
    "from sys import stdout",
    "from rich.console import Console",
    "from rich.text import Text",
    "import rich.text\nrich.text.Text(x)",
    "import rich\nrich.print(x)",
    "from rich import print",
    "from rich.markup import render",
    "from rich.panel import Panel",
    "from rich.spinner import Spinner",
    "from rich.prompt import Prompt",
    "import typer\ntyper.echo(x)",
    "import typer\ntyper.confirm(x)",
    "import click\nclick.echo(x)",
    "print(x)",
]


@pytest.mark.parametrize("room", ["cli", "reports", "services", "store", "files", "host", "domain"])
def test_the_linter_refuses_every_way_around_the_door(room: str, tmp_path: Path) -> None:
    refused = {}
    for number, text in enumerate(WAYS_AROUND):
        file = tmp_path / "merian_campaign" / room / f"way{number}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
        refused[file.name] = text
    command = [Path(sys.executable).with_name("ruff"), "check", "--config", ROOT / "pyproject.toml"]
    done = subprocess.run(
        [*command, "--select", "TID251,T201", "--no-cache", "--output-format", "concise", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    found = set(re.findall(r"way\d+\.py", done.stdout))
    assert {name: text for name, text in refused.items() if name not in found} == {}


def sources(rooms: Iterable[str]) -> list[Path]:
    return [path for room in rooms for path in (ROOT / "merian_campaign" / room).rglob("*.py")]


def test_nobody_silences_that() -> None:
    allowed = {"cli/output.py", "cli/screen.py", "reports/cells.py"}
    for path in sources(["cli", "reports", "services", "store", "files", "host", "domain"]):
        if str(path.relative_to(ROOT / "merian_campaign")) not in allowed:
            assert not re.search(r"noqa:.*(TID251|T201)|from_markup|from_ansi", path.read_text()), path


def test_closed_streams_are_no_error() -> None:
    program = Path(sys.executable).with_name("merian-campaign")
    for words, code in (("schema >&-", 0), ("bogus 2>&-", 2)):
        done = subprocess.run(["bash", "-c", f'"$0" {words}', str(program)], capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (code, b"")
