"""Every text column of the database holds hostile text; what is shown is inert, and still there to read."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg2
import pytest
from cli_help import PROGRAM, Cli, environment
from psycopg2 import sql as query

from merian_campaign import app
from merian_campaign.context import CommandContext
from merian_campaign.domain.execution.quanta import Attempt, Quantum, canonical_data_id
from merian_campaign.domain.record.records import JobRecord
from merian_campaign.domain.record.snapshot import Remedy
from merian_campaign.domain.slurm.slurm_jobs import SlurmJob
from merian_campaign.domain.states import GroupState, QuantumState, SubmissionOutcome, Verdict
from merian_campaign.store.server import migrate

NOW = datetime(2026, 11, 22, 15, tzinfo=UTC)
MARKS = ["[band]", "[/x]", "[bold]b[/bold]", "[link=http://evil]", ":smile:"]
HOSTILE = {
    "acts": " ".join(MARKS)
    + " \x1b]52;c;ZXZpbA==\x07\x1b[2J\x1b]8;;http://evil\x1b\\z\x1b]0;t\x07"
    + " \u202e\u2066bidi \x9b31m\x7f\r\n\tnext",
    "blank": " \n\t\u3000 ",
    "wide": "星" * 2500 + " 語",
    "combining": "[/x]e" + "\u0301" * 300 + "x" * 2500,
}
NEEDED = {
    *("campaign.file", "group.reason"),
    *(f"submission.{name}" for name in ("reason", "run_collection", "directory")),
    *(f"slurm_job.{name}" for name in ("name", "slurm_state", "reason", "cancelled_by", "nodes")),
    *("quantum_kind.task", "quantum_kind.data_id", "quantum_host.name", "quantum_row.log_path"),
    *(f"quantum_row.{name}" for name in ("evidence", "exception_type", "exception_message")),
    *(
        f"{table}.{name}"
        for table in ("attempt_row", "quantum_failure")
        for name in ("evidence", "exception_message")
    ),
    *(f"event.{name}" for name in ("kind", "actor", "reason", "from_state", "to_state")),
}
"""Columns that must have taken the text; those with a list of allowed words cannot."""

ROWS = {
    "list": "campaigns",
    "status": "groups",
    "failures": "failures",
    "blocks": "jobs",
    "show": "submissions",
    "plan": "actions",
}
"""Under which key the rows of each command are."""


def filled(context: CommandContext, cli: Cli) -> None:
    """Give the campaign a group that needs a person, with quanta, attempts, jobs, events."""
    store = context.store
    (_, group, _) = store.snapshot(cli.name).groups
    store.move_group(group_id=group.id, state=GroupState.READY, reason="r", actor="tick", now=NOW)
    made = store.prepare_submission(
        group_id=group.id,
        number=1,
        run_collection=f"run/{cli.name}",
        repository="/repo",
        directory=f"/nowhere/{cli.name}",
        remedy=Remedy(),
        reason="first",
        actor="tick",
        now=NOW,
    )
    attempt = Attempt(
        try_number=1,
        state=QuantumState.FAILED,
        verdict=Verdict.UNKNOWN,
        evidence="e",
        exception_type="T",
        exception_message="m",
        exit_code=1,
        peak_mb=1,
        requested_mb=2,
        started=NOW,
        ended=NOW,
        host="h",
        log_path="/nowhere",
        uuid="u",
    )
    required = {"tract": 9813, "patch": 1, "band": "r"}
    quantum = Quantum(
        task="t",
        data_id=canonical_data_id(required),
        dimensions=required,
        state=QuantumState.FAILED,
        attempts=(attempt,),
    )
    job = SlurmJob(job_id="1", name="b", state="TIMEOUT", reason="r", nodes="n", submitted=NOW, started=NOW)
    store.harvest(
        submission_id=made.id,
        quanta=[quantum],
        outcome=SubmissionOutcome.FAILED,
        reason="r",
        actor="tick",
        now=NOW,
        jobs=[JobRecord(job=job, role="block", busy_seconds=1.0)],
    )
    store.move_group(group_id=group.id, state=GroupState.NEEDS_REVIEW, reason="r", actor="tick", now=NOW)


# There is no such file; its last lines may be on record all the same.
CODES = {"log": {0, 2, 65}, "log words": {2, 65}, "db check": {65}}


def poison(connection: psycopg2.extensions.connection, text: str) -> set[str]:
    """Write a text into every text column that takes it; return which did."""
    done = set()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE event DISABLE TRIGGER USER")
        cursor.execute(
            "SELECT table_name, column_name FROM information_schema.columns JOIN pg_tables ON tablename = "
            "table_name AND schemaname = table_schema WHERE table_schema = 'public' AND data_type = 'text' "
            "AND (table_name, column_name) NOT IN (('campaign', 'name'), ('group', 'step'), "
            "('group', 'key'), ('alembic_version', 'version_num'))"
        )
        for table, column in cursor.fetchall():
            change = query.SQL("UPDATE {} SET {} = %s").format(
                query.Identifier(table), query.Identifier(column)
            )
            try:
                cursor.execute(change, (text,))
            except psycopg2.IntegrityError:
                continue
            done.add(f"{table}.{column}")
    return done


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def hostile(home: Path, url: str) -> str:
    """URL of a database of this module's own, on the server of all."""
    assert home.is_dir()
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("CREATE DATABASE hostile")
    found = url.replace("/merian?", "/hostile?")
    migrate.upgrade(found)
    return found


@pytest.fixture
def sql(hostile: str) -> Iterator[psycopg2.extensions.connection]:
    with closing(psycopg2.connect(hostile)) as connection:
        connection.autocommit = True
        yield connection


@pytest.fixture(autouse=True)
def environ(cli: Cli, hostile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MERIAN_CAMPAIGN_DATABASE_URL", hostile)
    monkeypatch.setenv("MERIAN_CAMPAIGN_HOME", str(cli.home))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process, as `main` does."""

    def run(*words: str, width: int = 80) -> tuple[int, str, str]:
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr(sys, "argv", ["merian-campaign", *words])
        with pytest.raises(SystemExit) as ended:
            app.main()
        found = capsys.readouterr()
        return int(ended.value.code or 0), found.out, found.err

    return run


def assert_inert(text: str) -> None:
    for character in set(text) - {"\n", "\t"}:
        assert unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}, repr(character)


def commands(name: str, quantum: int) -> dict[str, tuple[str, ...]]:
    return {
        "list": ("list",),
        "status": ("status", name),
        "failures": ("failures", name, "--recovered"),
        "blocks": ("blocks", name),
        "show": ("show", name, "step3/tract9813"),
        "plan": ("plan", name),
        "graph": ("graph", name),
        "db check": ("db", "check", "--quanta"),
        "log": ("log", name, str(quantum)),
        "log words": ("log", name, "nope", "patch=1"),
        "log --path": ("log", name, str(quantum), "--path"),
    }


@contextmanager
def poisoned(
    cli: Cli, connection: psycopg2.extensions.connection, text: str
) -> Iterator[dict[str, tuple[str, ...]]]:
    name = cli.name
    context = CommandContext(clock=lambda: NOW)
    context.apply(cli.file)
    context.control.pause(name)
    filled(context, cli)
    (row,) = context.reader.failures(name)
    assert poison(connection, text) >= NEEDED
    try:
        yield commands(name, row.quantum_id)
    finally:
        # No text keeps a campaign from being forgotten.
        context.control.forget(name)
        context.store.close()


@pytest.mark.parametrize("kind", HOSTILE)
def test_every_view_is_inert(kind: str, cli: Cli, run: Run, sql: psycopg2.extensions.connection) -> None:
    text = HOSTILE[kind]
    with poisoned(cli, sql, text) as given:
        for name, words in given.items():
            for width in (80, 120):
                code, out, err = run(*words, width=width)
                where = (name, width, out[-2000:], err)
                assert_inert(out + err)
                assert code in CODES.get(name, {0}), where
                assert "Traceback" not in err, where
                if kind == "acts" and name not in {"graph", "plan"}:
                    seen = re.sub(r"\s+", "", out + err)
                    assert "[band]" in seen, where
                    assert "[/x]" in seen, where
                if name in {"status", "failures", "blocks", "show"} and kind != "combining":
                    assert all(_width(line) <= width for line in out.splitlines()), where
        for name in ("status", "failures", "blocks", "show", "plan", "list"):
            code, out, _ = run(*given[name], "--json")
            assert code == 0
            assert out.isascii()
            assert_inert(out)
            found = json.loads(out)
            assert (found["schema"], found["campaign"]) == (1, None if name == "list" else cli.name)
            assert isinstance(found[ROWS[name]], list)


def _width(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in line)


def test_a_terminal_gets_colours_and_nothing_else(cli: Cli, sql: psycopg2.extensions.connection) -> None:
    with poisoned(cli, sql, HOSTILE["acts"]) as given:
        for name in ("status", "show"):
            screen = on_terminal(cli.home, *given[name])
            assert "\x1b[" in screen
            assert_inert(re.sub("\x1b\\[[0-9;]*m", "", screen).replace("\r\n", "\n"))
            assert "[band]" in screen


def on_terminal(home: Path, *words: str) -> str:
    """Run a command on a pseudo-terminal; return what it wrote."""
    parent, child = pty.openpty()
    environ = environment(
        home,
        MERIAN_CAMPAIGN_DATABASE_URL=os.environ["MERIAN_CAMPAIGN_DATABASE_URL"],
        TERM="xterm",
        COLUMNS="100",
    )
    with subprocess.Popen(
        [str(PROGRAM), *words], stdin=child, stdout=child, stderr=child, env=environ
    ) as process:
        os.close(child)
        found = b""
        while True:
            ready, _, _ = select.select([parent], [], [], 120)
            assert ready, "it neither wrote nor ended"
            try:
                piece = os.read(parent, 65536)
            except OSError:  # the other side is closed
                break
            if not piece:
                break
            found += piece
        assert process.wait(timeout=120) == 0
    os.close(parent)
    return found.decode("utf-8")


def test_the_log_of_a_task_is_shown_inert(cli: Cli, run: Run, sql: psycopg2.extensions.connection) -> None:
    with poisoned(cli, sql, str(cli.survey.folder / "log")) as given:
        log = cli.survey.folder / "log"
        log.write_bytes(b"\x1b[31mbad\x1b[0m [/x] \x1b]52;c;eA==\x07\xff\x00\nend\n")
        code, out, err = run(*given["log"])
        assert (code, out) == (0, "bad [/x] \\x1b]52;c;eA==\\x07\ufffd\\x00\nend\n")
        assert err == f"{log}\n"
        log.unlink()
        os.mkfifo(log)
        code, out, err = run(*given["log"])
        assert (code, out) == (65, "")
        assert err == f"merian-campaign: {log}: expected a regular file, found a FIFO\n"


@pytest.mark.parametrize(
    "words",
    [
        ("retry", "\x1b[2J"),
        ("\x1b]52;c;x\x07",),
        ("status", "x", "--tract", "\x1b[2J"),
        ("status", "\u202eabc[/x]"),
        ("status", "x", "--\x1b[2J"),
        ("validate", "/nowhere/\x1b[2J\n[/x].yaml"),
        ("graph", "x.yaml\x1b[2J", "-o", "\x1b[2J"),
        ("export", "x", "\x1b[2J"),
    ],
)
def test_wrong_words_are_said_back_inert(words: tuple[str, ...], run: Run) -> None:
    code, out, err = run(*words)
    assert code in {2, 69, 74}
    assert out == ""
    assert "Traceback" not in err
    assert_inert(err)
    assert err
