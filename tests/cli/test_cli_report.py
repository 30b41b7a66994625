"""Reports on the command line: what is written, what is refused, what fits a screen."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from cli_help import Cli

from merian_campaign.cli.watch import Pace, pulse
from merian_campaign.domain.execution.counts import Counts
from merian_campaign.domain.record.board_row import BoardRow
from merian_campaign.domain.report.lines import CompletenessLine
from merian_campaign.reports.completeness import completeness_view
from merian_campaign.reports.status import Status, progress_words, status_json, status_view


def test_a_page_says_what_changed_since_the_last_one(cli: Cli, tmp_path: Path) -> None:
    name, folder = cli.applied(), tmp_path / "page"
    assert cli("report", name, "-o", str(folder)).fine() == f"{folder}/index.html\n"
    first = (folder / "index.html").read_text()
    assert "Since " not in first
    cli("report", name, "-o", str(folder)).fine()
    moment = first.partition('report" content="')[2][:16].replace("T", " ")
    assert f"Since {moment}" in (folder / "index.html").read_text()


def test_tables_json_and_an_earlier_moment(cli: Cli, tmp_path: Path) -> None:
    name = cli.applied()
    cli("report", name, "--tables", str(tmp_path / "t")).fine()
    assert (tmp_path / "t" / "groups.csv").read_text().startswith("step,group,")
    assert (tmp_path / "t" / "groups.parquet").read_bytes().startswith(b"PAR1")
    now = json.loads(cli("report", name, "--json").fine())
    assert now["campaign"] == name
    assert now["headline"]["groups"] == len(now["groups"]) > 0
    applied = now["revisions"][0]["applied_at"]
    then = json.loads(cli("report", name, "--json", "--at", applied).fine())
    assert then["headline"]["groups"] == len(now["groups"])
    assert then["headline"]["past"]
    board = json.loads(cli("status", name, "--at", applied, "--json").fine())
    assert len(board["groups"]) == len(now["groups"])


def test_what_cannot_be_is_refused(cli: Cli, tmp_path: Path) -> None:
    name = cli.applied()
    (tmp_path / "index.html").write_text("<p>of somebody else</p>")
    cli("report", name).refused(2, "nothing to write")
    for command in (("report", name, "--json"), ("status", name), ("status", name, "--eta")):
        cli(*command, "--at", "yesterday").refused(2, "--at: found 'yesterday'; write 30m, 6h, 2d")
        cli(*command, "--at", "2020-01-01").refused(2, "--at: found '2020-01-01', before the campaign")
        cli(*command, "--at", "999999d").refused(2, "--at: found '999999d'")
        cli(*command, "--at", "2099-01-01").refused(2, "--at: found '2099-01-01', which is to come")
    cli("report", name, "--json", "--since", "2099-01-01").refused(2, "--since", "is not before the report")
    cli("report", name, "-o", str(tmp_path)).refused(2, "no report of merian-campaign")
    assert (tmp_path / "index.html").read_text() == "<p>of somebody else</p>"


def test_a_folder_that_is_a_file_is_refused_before_anything_is_written(cli: Cli, tmp_path: Path) -> None:
    name, file, folder = cli.applied(), tmp_path / "file", tmp_path / "folder"
    file.write_text("of somebody else")
    for option in ("-o", "--tables", "--figures"):
        cli("report", name, option, str(file)).refused(2, f"{option}: {file} is a file, and no folder")
        cli("report", name, option, str(file / "below")).refused(2, f"{option}: {file} is a file")
    cli("report", name, "-o", str(folder), "--tables", str(file)).refused(2, f"--tables: {file}")
    assert not folder.exists()
    assert file.read_text() == "of somebody else"


def test_without_what_writes_parquet_no_table_is_written(cli: Cli, tmp_path: Path) -> None:
    name = cli.applied()
    (tmp_path / "pyarrow.py").write_text("raise ModuleNotFoundError(name='pyarrow')")
    words = ("report", name, "-o", str(tmp_path / "page"), "--tables", str(tmp_path / "tables"))
    cli(*words, PYTHONPATH=str(tmp_path)).refused(69, "needs pyarrow", "merian-campaign[report]")
    assert not (tmp_path / "tables").exists()
    assert not (tmp_path / "page").exists()


def test_what_a_campaign_has_not_does_not_fail(cli: Cli) -> None:
    name = cli.applied()
    for words in (("failures", name), ("failures", name, "--quanta"), ("status", name)):
        cli(*words, "--step", "nosuch").refused(2, f"campaign {name!r} has no step 'nosuch'; it has ")
    assert "no quantum of task nosuch has failed" in cli("failures", name, "--task", "nosuch").stderr
    assert "no quantum of tract 7 has failed" in cli("failures", name, "--quanta", "--tract", "7").stderr
    assert "'--verdict': 'nosuch' is not one of" in cli("failures", name, "--verdict", "nosuch").stderr


def test_without_the_extra_it_says_what_to_install(cli: Cli, tmp_path: Path) -> None:
    name = cli.applied()
    for module in ("jinja2", "markupsafe", "vl_convert"):
        (tmp_path / f"{module}.py").write_text(f"raise ModuleNotFoundError(name={module!r})")
    done = cli("report", name, "-o", str(tmp_path / "page"), PYTHONPATH=str(tmp_path))
    done.refused(69, "pip install 'merian-campaign[report]'")
    assert not (tmp_path / "page").exists()


def test_looks_of_the_terminal(cli: Cli) -> None:
    name = cli.applied()
    cli("status", name, "--watch").refused(2, "--watch draws on a terminal")
    assert "no group is in state needs_review" in cli("status", name, "--needs-you").stderr
    assert "no quantum of a tract" in cli("completeness", name).stderr
    assert "no quantum has run" in cli("usage", name).stderr
    assert json.loads(cli("usage", name, "--json").fine())["usage"] == []
    cli("completeness", name, "--step", "nosuch").refused(2, "has no step 'nosuch'")
    assert "no forecast (nothing runs" in cli("status", name, "--eta").fine()
    told = json.loads(cli("status", name, "--eta", "--json").fine())
    assert [step["low"] for step in told["outlook"]["steps"]] == [None] * len(told["outlook"]["steps"])


def board(tracts: int) -> Status:
    rows = [
        BoardRow(
            step=step,
            group=f"tract{tract}",
            ordinal=place,
            tract=tract,
            state="needs_review" if tract % 9 == 4 and place == 1 else "done" if place < 2 else "waiting",
            reason="deblend: algorithm x1; " + "very long " * 30,
            submissions=1,
            counts=Counts(succeeded=1234, failed=1),
        )
        for place, step in enumerate(("step2b", "step3", "step4"))
        for tract in range(8000, 8000 + tracts)
    ]
    return Status(campaign="wide", campaign_state="active", rows=tuple(rows))


@pytest.mark.parametrize("height", [24, 40])
@pytest.mark.parametrize("width", [80, 120])
def test_the_status_of_many_tracts_fits_a_screen(height: int, width: int) -> None:
    from rich.console import Console  # noqa: PLC0415 - of this test alone

    screen = Console(width=width, height=height, color_system=None)
    with screen.capture() as captured:
        screen.print(status_view(board(400), width=width, height=height))
    lines = captured.get().splitlines()
    assert len(lines) < height  # the prompt takes one
    assert max(len(line) for line in lines) <= width
    text = "\n".join(lines)
    asking = sum(tract % 9 == 4 for tract in range(8000, 8400))
    assert f"{asking} tracts ✘ needs review at step3: 8005, 8014" in text
    assert f"{400 - asking} tracts · waiting at step4: 8000, 8001" in text
    assert "more need review; --needs-you lists them" in text


def test_no_word_of_what_needs_a_person_is_cut_unsaid() -> None:
    from rich.console import Console  # noqa: PLC0415

    few = board(400)
    rows = [
        replace(row, state="blocked") if row.step == "step4" and row.tract and row.tract % 9 == 4 else row
        for row in few.rows
    ]
    worst = next(row for row in reversed(rows) if row.state == "needs_review")
    rows[rows.index(worst)] = replace(worst, counts=Counts(failed=7, blocked=70))
    screen = Console(width=80, height=24, color_system=None)
    with screen.capture() as captured:
        screen.print(status_view(replace(few, rows=tuple(rows)), width=80, height=24))
    lines = [line.rstrip() for line in captured.get().splitlines()]
    asking = [line for line in lines if line.startswith("✘")]
    assert asking[0].startswith(f"✘ {worst.step}/{worst.group} ")
    assert all(line.endswith("…") for line in asking)
    assert re.search(r"and \d+ more need review, \d+ are blocked; --needs-you lists them$", "\n".join(lines))


def test_what_failed_goes_before_what_is_only_to_come() -> None:
    from rich.console import Console  # noqa: PLC0415

    some = {"band": "i", "caveats": 0, "accepted": 0}
    behind = [
        CompletenessLine(
            tract=tract,
            step="step4",
            expected=9,
            succeeded=0,
            failed=0,
            blocked=0,
            open=9,
            estimated=9,
            **some,
        )
        for tract in range(9000, 9100)
    ]
    broken = CompletenessLine(
        tract=9500, step="step3", expected=9, succeeded=7, failed=1, blocked=1, open=0, **some
    )
    screen = Console(width=80, color_system=None)
    with screen.capture() as captured:
        screen.print(completeness_view([*behind, broken], (), everything=False, width=80))
    tracts = [words[0] for line in captured.get().splitlines() if (words := line.split())]
    assert tracts[2:4] == ["9500", "9000"]


def test_how_much_is_done_counts_what_has_no_graph_yet() -> None:
    # A quarter of the groups are nearly through: that is not nearly all.
    some = [
        BoardRow(
            step="step3", group=f"tract{n}", ordinal=0, tract=n, state="running" if n < 5 else "waiting",
            reason="", submissions=1, counts=Counts(succeeded=98, pending=2) if n < 5 else Counts(),
        )
        for n in range(20)
    ]  # fmt: skip
    after = BoardRow(
        step="step4", group="all", ordinal=1, tract=None, state="waiting", reason="", submissions=0,
        counts=Counts(),
    )  # fmt: skip
    status = Status(campaign="made", campaign_state="active", rows=tuple(some))
    assert (status.estimated, status.fraction) == (1500, 490 / 2000)
    assert progress_words(status) == "24% of some 2,000 quanta"
    assert status_json(status)["fraction"] == 0.245
    # Nobody knows of how much it would be a part.
    unsized = replace(status, rows=(*some, after))
    assert progress_words(unsized) == "490 of some 2,000 quanta, without step4"
    later = replace(after, step="step5")
    assert progress_words(replace(status, rows=(*some, after, later))).endswith("quanta, without 2 steps")
    known = status_json(unsized)
    assert (known["estimated"], known["of_unknown_size"], known["fraction"]) == (1500, ["step4"], None)


@pytest.mark.parametrize(
    ("succeeded", "words", "fraction"),
    [
        (0, "0% of 10,000,000 quanta", 0.0),
        (9_999, "0% of 10,000,000 quanta", 0.000999),
        (100_000, "1% of 10,000,000 quanta", 0.01),
        (9_900_000, "99% of 10,000,000 quanta", 0.99),
        (9_999_999, "99% of 10,000,000 quanta", 0.999999),
        (10_000_000, "100% of 10,000,000 quanta", 1.0),
    ],
)
def test_all_is_done_when_nothing_is_missing(succeeded: int, words: str, fraction: float) -> None:
    row = BoardRow(
        step="step3", group="all", ordinal=0, tract=None, state="running", reason="", submissions=1,
        counts=Counts(succeeded=succeeded, pending=10_000_000 - succeeded),
    )  # fmt: skip
    status = Status(campaign="made", campaign_state="active", rows=(row,))
    assert (progress_words(status), status_json(status)["fraction"]) == (words, fraction)


def test_all_tracts_are_there_where_there_is_no_screen() -> None:
    from rich.console import Console  # noqa: PLC0415

    screen = Console(width=200, color_system=None)
    with screen.capture() as captured:
        screen.print(status_view(board(400), width=200))
    assert all(str(tract) in captured.get() for tract in range(8000, 8400))


def test_completeness_in_80_columns_names_step_and_band() -> None:
    from rich.console import Console  # noqa: PLC0415

    made = CompletenessLine(
        tract=15898, step="step3detect", band="N708", expected=84100, succeeded=74300, caveats=1234,
        failed=2222, blocked=5000, open=2000, accepted=578,
    )  # fmt: skip
    screen = Console(width=80, color_system=None)
    with screen.capture() as captured:
        screen.print(completeness_view([made], (), everything=True, width=80))
    lines = captured.get().splitlines()
    assert any(
        line.split() == "15898 step3detect N708 74300/84100 88% 1234 2222 5000 2000 578".split()  # noqa: SIM905
        for line in lines
    ), lines


def test_the_pace_of_a_board() -> None:
    pace = Pace()
    pace.add(0.0, 100)
    assert pace.per_hour is None
    pace.add(360.0, 150)
    assert pace.per_hour == 500
    # What ran before somebody looked counts, too.
    pace = Pace()
    pace.begin(7200.0, succeeded=1000, lately=100)
    pace.add(7200.0, 1000)
    assert pace.per_hour == 200
    counts = Counts(running=3, pending=997)
    # The end is that of all groups, those without a graph too.
    assert pulse(counts, blocks=1, per_hour=500, ends="after 28 Nov") == (
        "3 quanta run, 1 block, 500 quanta an hour, ends after 28 Nov"
    )
    assert pulse(counts, blocks=2, per_hour=None) == "3 quanta run, 2 blocks"
