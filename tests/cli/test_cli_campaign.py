"""Commands on an applied campaign, the database, and what is imported for them."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest
from cli_help import PROGRAM, Cli, environment, files, rows
from survey_help import Survey

from merian_campaign.domain.tick.cron_line import launcher_text

COMMANDS = (
    *("validate", "render", "apply", "plan", "tick", "run", "status", "failures", "show", "log", "retry"),
    *("accept", "pause", "resume", "cancel", "db", "schema", "demo", "list", "stack", "tracts", "preflight"),
    *("collections", "clean", "export", "import"),
)
HEAVY = ("lsst", "parsl", "sqlalchemy", "alembic")


@contextmanager
def lock_held(url: str, name: str) -> Iterator[int]:
    """Hold a campaign's lock from another process; give its pid."""
    script = (
        "import sys\n"
        "from merian_campaign.store.server.locks import campaign_lock\n"
        "with campaign_lock(sys.argv[1], sys.argv[2]):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, url, name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        try:
            assert holder.stdout.readline() == "held\n"
            yield holder.pid
        finally:
            if holder.poll() is None:
                holder.send_signal(signal.SIGKILL)


def loaded_by(home: Path, *arguments: str) -> set[str]:
    """Return the top-level packages that a command imports."""
    script = (
        "import sys\n"
        "from merian_campaign.app import main\n"
        "sys.argv = ['merian-campaign', *sys.argv[1:]]\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    sys.stderr.write('\\n' + ' '.join(sorted({name.split('.')[0] for name in sys.modules})))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=environment(home),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return set(done.stderr.splitlines()[-1].split())


def test_help_and_status_import_nothing_heavy(cli: Cli) -> None:
    name = cli.applied()
    for arguments in (["--help"], ["status", name, "--json"], ["failures", name]):
        loaded = loaded_by(cli.home, *arguments)
        assert "typer" in loaded
        # No word of these needs reading by Pydantic, which typer brings in for those that do.
        assert loaded.isdisjoint({*HEAVY, "pydantic"}), arguments


def test_help_names_every_command(cli: Cli) -> None:
    text = cli("--help").fine()
    for command in COMMANDS:
        assert f" {command} " in text


def test_status_is_json_as_documented(cli: Cli) -> None:
    name = cli.applied()
    found = json.loads(cli("status", name, "--json").fine())
    nothing = dict.fromkeys(("expected", "succeeded", "failed", "blocked", "unknown", "pending"), 0)
    assert (found["campaign"], found["state"], found["quanta"]) == (name, "paused", nothing)
    assert [(g["step"], g["group"], g["tract"], g["state"], g["submissions"]) for g in found["groups"]] == [
        ("step1", "all", None, "waiting", 0),
        ("step3", "tract9813", 9813, "waiting", 0),
        ("step3", "tract9814", 9814, "waiting", 0),
    ]
    assert all(group["quanta"] == nothing for group in found["groups"])
    one = json.loads(cli("status", name, "--tract", "9814", "--json").fine())
    assert [group["group"] for group in one["groups"]] == ["tract9814"]
    board = cli("status", name, COLUMNS="wide").fine()
    assert "step3" in board
    assert "9814" in board


def test_a_tick_with_nothing_to_do_writes_no_file_and_updates_no_row(
    cli: Cli, sql: psycopg2.extensions.connection
) -> None:
    name = cli.applied()
    assert cli("tick", name).fine() == "step1/all: ready (all it needs is done)\n"
    before = rows(sql, but=("tick",))
    written = files(cli.survey.folder)
    again = cli("tick", name)
    assert again.fine() == ""
    assert rows(sql, but=("tick",)) == before
    assert files(cli.survey.folder) == written
    assert not (cli.home / "submissions").exists()


def test_plan_says_what_the_next_tick_would_do_and_does_nothing(
    cli: Cli, sql: psycopg2.extensions.connection
) -> None:
    name = cli.applied()
    before = rows(sql)
    first, *lines = cli("plan", name).fine().splitlines()
    assert first.startswith("the campaign is paused: by ")
    assert lines == [
        "step1/all: becomes ready (all it needs is done)",
        "step3/tract9813: stays waiting (waits for step1/all (waiting))",
        "step3/tract9814: stays waiting (waits for step1/all (waiting))",
    ]
    found = json.loads(cli("plan", name, "--json").fine())
    assert found["actions"] == [
        {"step": "step1", "group": "all", "action": "becomes ready", "why": "all it needs is done"}
    ]
    waits = {"step": "step3", "state": "waiting", "why": "waits for step1/all (waiting)"}
    assert {**waits, "group": "tract9813"} in found["waiting"]
    assert found["looks_for_overlaps"] is False
    assert rows(sql) == before


def test_two_ticks_at_the_same_moment(cli: Cli, url: str, sql: psycopg2.extensions.connection) -> None:
    name = cli.applied()
    before = rows(sql)
    with lock_held(url, name) as pid:
        holder = f"process {pid} on {socket.gethostname()}"
        cli("tick", name).refused(75, f"campaign {name} is being worked on by {holder}")
        assert rows(sql) == before
        # What a person orders waits; a killed holder holds nothing for long: the server notices that.
        with subprocess.Popen(
            [str(PROGRAM), "apply", cli.file],
            env=environment(cli.home),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as order:
            assert order.stderr is not None
            assert f"is being worked on by {holder} since 20" in order.stderr.readline()
            assert order.poll() is None
            os.kill(pid, signal.SIGKILL)
            said, _ = order.communicate(timeout=60)
        assert (order.returncode, "nothing changed" in said) == (0, True), said
    assert "step1/all: ready" in cli("tick", name).fine()


def test_a_file_edited_since_it_was_applied(cli: Cli, sql: psycopg2.extensions.connection) -> None:
    name = cli.applied()
    cli.survey.file.write_text(cli.survey.file.read_text() + "# a thought\n")
    before = rows(sql)
    words = f"{cli.file}: edited and not applied; campaign {name} goes on with revision 1"
    planned = cli("plan", name)
    assert ("becomes ready" in planned.fine(), words in planned.stderr) == (True, True)
    assert rows(sql) == before
    ticked = cli("tick", name)
    assert ("step1/all: ready" in ticked.fine(), words in ticked.stderr) == (True, True)
    ended = cli("run", name)
    assert (ended.code, ended.stdout) == (3, "")
    assert f"campaign {name}: paused" in ended.stderr
    assert words in ended.stderr


def test_a_file_that_is_gone(cli: Cli) -> None:
    name = cli.applied()
    cli.survey.file.rename(cli.survey.folder / "moved.yaml")
    done = cli("tick", name)
    assert done.code == 0
    assert f"{cli.file}: cannot be read (No such file or directory); campaign {name} goes on" in done.stderr


def test_names_that_nobody_has_are_answered_with_those_there_are(cli: Cli) -> None:
    name = cli.applied()
    for arguments in (["status", "nope"], ["tick", "nope"]):
        cli(*arguments).refused(2, "'nope'", name)
    cli("show", name, "step3").refused(2, "several groups (tract9813, tract9814", "write step3/KEY")
    cli("show", name, "step9").refused(2, "there is no step 'step9'; steps are step1, step3")
    cli("status", name, "--step", "step9").refused(2, "no step 'step9'; it has step1, step3")
    cli("log", name).refused(2, "no failed quantum", f"failures {name}")


def test_orders_of_a_person(cli: Cli) -> None:
    name = cli.applied()
    cli("retry", name, "step1").refused(2, "step1/all is waiting; there is nothing to retry")
    cli("cancel", name, "step1").fine()
    assert "needs step1/all (cancelled)" in cli("tick", name).fine()
    cli("retry", name, "step1", "-m", "once more").fine()
    shown = json.loads(cli("show", name, "step1", "--json").fine())
    assert "once more" in json.dumps(shown)
    cli("cancel", name).fine()
    states = {group["state"] for group in json.loads(cli("status", name, "--json").fine())["groups"]}
    assert states == {"cancelled"}
    script = cli.home / "cron" / "tick"
    script.parent.mkdir(mode=0o700, exist_ok=True)  # other tests have the same home
    script.write_text(launcher_text(program=["m"], environment={}, umask=0o77, names=("other", name)))
    folder = cli.home / "archived"
    assert "cron" not in cli("archive", name, str(folder), "--keep").fine()
    assert f"its ticks still name {name}, and will fail" in cli("forget", name, "--yes").fine()
    cli("status", name).refused(2, repr(name))
    cli("unarchive", str(script)).refused(2, f"{script}: no folder; name the one that `archive` wrote")
    cli("unarchive", str(folder)).fine()
    script.write_text(launcher_text(program=["m"], environment={}, umask=0o77, names=("other",)))
    assert "cron" not in cli("forget", name, "--yes").fine()
    script.unlink()


def test_usage_errors_are_no_tracebacks(cli: Cli) -> None:
    for arguments in (["bogus"], ["status", "x", "--tract", "y"]):
        done = cli(*arguments)
        assert done.code == 2
        assert "Usage: merian-campaign" in done.stderr
        assert "Traceback" not in done.stderr


# -- the database --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "arguments"), [(69, ["status", "x"]), (2, ["tick", "x"])])
def test_a_database_that_does_not_answer(cli: Cli, code: int, arguments: list[str]) -> None:
    said = cli(*arguments, MERIAN_CAMPAIGN_DATABASE_URL="postgresql://ana:secret@127.0.0.1:1/night").refused(
        code, "postgresql://ana@127.0.0.1:1/night does not answer", "MERIAN_CAMPAIGN_DATABASE_URL"
    )
    assert "secret" not in said


def test_a_url_of_another_kind(cli: Cli) -> None:
    cli("status", "x", MERIAN_CAMPAIGN_DATABASE_URL="sqlite:///x.db").refused(2, "is not a PostgreSQL URL")


def test_a_home_that_cannot_be_one(cli: Cli, survey: Survey) -> None:
    cli("status", "x", MERIAN_CAMPAIGN_HOME=str(survey.file)).refused(69, str(survey.file))


def test_schemas_of_other_versions(cli: Cli, url: str, sql: psycopg2.extensions.connection) -> None:
    with sql.cursor() as cursor:
        cursor.execute("CREATE DATABASE versions")
    other = {"MERIAN_CAMPAIGN_DATABASE_URL": url.replace("/merian?", "/versions?")}
    for arguments in (["status", "x"], ["apply", cli.file]):
        cli(*arguments, **other).refused(78, "no tables of merian-campaign yet", "merian-campaign db upgrade")
    assert cli("db", "upgrade", **other).fine() == "upgraded\n"
    assert cli("db", "upgrade", **other).fine() == "already up to date\n"
    connection = psycopg2.connect(other["MERIAN_CAMPAIGN_DATABASE_URL"])
    with connection, connection.cursor() as cursor:
        cursor.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    for code, arguments in ((78, ["status", "x"]), (2, ["tick", "x"]), (78, ["db", "upgrade"])):
        cli(*arguments, **other).refused(code, "schema version 9999, newer than", "install the newer")
