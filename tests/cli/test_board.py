"""What a terminal shows of a large campaign: no number cut, and what matters always in sight."""

from __future__ import annotations

import io
import re
import sys
from dataclasses import replace

import pytest
from rich.console import RenderableType
from rich.live import Live

from merian_campaign.cli import live, output
from merian_campaign.cli.board import Board
from merian_campaign.cli.screen import Screen
from merian_campaign.domain.execution.counts import Counts
from merian_campaign.domain.record.attempt_rows import FailureRow
from merian_campaign.domain.record.board_row import BoardRow
from merian_campaign.domain.record.records import CampaignRow
from merian_campaign.reports.events import campaign_view
from merian_campaign.reports.failures import failures_view
from merian_campaign.reports.status import Status, status_view
from merian_campaign.reports.steps_table import step_lines

STEPS = tuple(f"step{number}-measure" for number in range(30))
RUNNING, REVIEW = "step17-measure", "step23-measure"


def row(step: str, tract: int, *, state: str, quanta: int) -> BoardRow:
    return BoardRow(
        step=step,
        group=f"tract{tract}",
        ordinal=STEPS.index(step),
        tract=tract,
        state=state,
        reason="it is a long reason " * 5,
        submissions=9,
        counts=Counts(succeeded=quanta, failed=quanta, blocked=quanta, pending=quanta),
    )


def large(*, quanta: int, tracts: int = 400) -> Status:
    """400 tracts in 30 steps, of which one runs and one wants a person in one tract."""
    states = {RUNNING: "running", REVIEW: "waiting"}
    rows = [
        row(step, 9000 + tract, state=states.get(step, "done" if place < 17 else "waiting"), quanta=quanta)
        for place, step in enumerate(STEPS)
        for tract in range(tracts)
    ]
    rows[23 * tracts] = row(REVIEW, 9000, state="needs_review", quanta=quanta)
    return Status(campaign="wide", campaign_state="active", rows=tuple(rows))


def written(view: RenderableType, *, width: int) -> str:
    stream = io.StringIO()
    Screen(file=stream, width=width).print(view)
    return stream.getvalue()


@pytest.mark.parametrize(("width", "quanta"), [(80, 1), (80, 200), (120, 24_999)])
def test_no_number_of_a_status_is_cut(width: int, quanta: int) -> None:
    shown = written(status_view(large(quanta=quanta), width=width), width=width)
    lines = shown.splitlines()
    assert max(map(len, lines)) <= width
    one, whole = 400 * quanta, 12_000 * quanta
    (line,) = [found for found in lines if re.search(rf"[▶].* {one}/{4 * one} ", found)]
    assert line.split()[-5:] == [f"{one}/{4 * one}", *[str(one)] * 3, "3600"]
    assert f" {whole}/{4 * whole} " in shown
    assert [found.split()[0] for found in lines if found.endswith(" 3600")].count("total") == 0
    assert len([found for found in lines if re.search(rf" {one}/{4 * one} ", found)]) == 30
    assert sum(1 for found in lines if re.match(r" *9\d\d\d ", found)) == 400


def test_seven_digits_fit_eighty_columns() -> None:
    whole = 9_999_999
    rows = (row(STEPS[0], 1, state="running", quanta=whole), row(STEPS[1], 1, state="waiting", quanta=0))
    shown = written(status_view(Status(campaign="c", campaign_state="active", rows=rows), width=80), width=80)
    assert f"{whole}/{4 * whole} {whole} {whole} {whole} " in " ".join(shown.split())
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (60, 12), (80, 16)])
def test_the_board_fits_and_shows_what_runs(width: int, height: int) -> None:
    status = large(quanta=200)
    recent = [f"15:00:{number:02d} something was done" for number in range(20)]
    board = Board(status=status, began=0.0, clock=lambda: 61.0, recent=recent)
    stream = io.StringIO()
    screen = Screen(file=stream, width=width)
    screen._height = height
    screen.print(board)
    lines = stream.getvalue().splitlines()
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    steps = [found.split()[0] for found in lines if f" {400 * 200}/" in found]
    assert sum(RUNNING.startswith(found.rstrip("…")) and found.startswith("step17") for found in steps) == 1
    assert sum(found.startswith("step23") for found in steps) == 1
    assert any(found.startswith("total") and f" {12_000 * 200}/" in found for found in lines)
    assert "something was done" in lines[-1]
    if height < 40:
        assert any(re.match(r"\d+ (more|m?o?…)", found) for found in lines)
    if height >= 24:
        assert any(found.startswith(f"✘ {REVIEW}/tract9000") for found in lines)


def test_steps_that_matter_stay_and_the_rest_is_summed_up() -> None:
    rows = large(quanta=1, tracts=1).rows
    lines = step_lines(rows, at_most=4)
    assert [found.name for found in lines] == [RUNNING, "step18-measure", REVIEW, "27 more"]
    assert sum(len(found.rows) for found in lines) == len(rows)
    assert [found.name for found in step_lines(rows)] == list(STEPS)


def test_the_board_follows_the_size_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    board = Board(status=large(quanta=1, tracts=3), began=0.0, clock=lambda: 0.0)
    stream = io.StringIO()
    screen = Screen(file=stream, width=100)
    screen._force_terminal = screen.is_interactive = True
    screen._height = 24
    with Live(board, console=screen, screen=True, auto_refresh=False) as view:
        for width, height in ((100, 24), (70, 14)):
            screen._width, screen._height = width, height
            stream.seek(0)
            stream.truncate()
            view.refresh()
            plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
            lines = plain.splitlines()
            assert len(lines) == height
            assert max(map(len, lines)) <= width
            assert any(found.startswith("step17") for found in lines)


def test_without_a_terminal_a_row_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    values = dict.fromkeys(FailureRow.__dataclass_fields__) | {
        "quantum_id": 7, "step": "s", "group": "g", "task": "t" * 90, "data_id": "visit=1,detector=2",
        "state": "failed", "attempts": 1, "verdict": "unknown", "evidence": "why " * 60,
    }  # fmt: skip
    output.show(status_view(large(quanta=200), width=output.console().width))
    output.show(failures_view([FailureRow(**values)]))
    lines = stream.getvalue().splitlines()
    assert all(found == found.rstrip() for found in lines)
    (found,) = [found for found in lines if "visit=1" in found]
    assert found.endswith("why why")
    (found,) = [found for found in lines if f"{REVIEW}/tract9000" in found]
    assert found.count("it is a long reason") == 5
    assert sum("▶ running 200/800" in found for found in lines) == 400


def test_ctrl_c_says_how_to_go_on_and_how_to_stop() -> None:
    *_, again, _, stop = live.interrupted("wide", again=("run", "wide"))
    assert again.endswith("merian-campaign run wide")
    assert stop.endswith("merian-campaign cancel wide")


def test_campaigns_are_listed_at_any_width_word_by_word() -> None:
    made = CampaignRow(
        name="wide", state="active", revision=2, file="/campaigns/wide.yaml", reason="", groups=1672,
        done=1520, ready=0, running=9, review=56, stale=0, ticked_at=None, error=None,
    )  # fmt: skip
    lines = written(campaign_view([made, made]), width=80).splitlines()
    assert max(map(len, lines)) <= 80
    assert "1520 of 1672 groups done, 56 need you" in lines[0]
    assert lines[1].strip() == "next: 9 under way, /campaigns/wide.yaml"
    assert len(lines) == 4
    done = replace(made, done=1672, running=0, review=0, stale=3)
    words = " ".join(written(campaign_view([done]), width=80).split())
    assert "1672 of 1672 groups done, 3 for older data" in words
    assert "next: 3 for a redo by hand" in words
