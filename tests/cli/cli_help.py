"""Runs the console script and looks at what it did."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from forked_program import run_forked
from survey_help import Survey

from merian_campaign.context import CommandContext

PROGRAM = Path(sys.executable).with_name("merian-campaign")


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    def refused(self, code: int, *words: str) -> str:
        """Assert that it ended with one clear message and this exit code; return the message."""
        assert self.code == code, self
        assert "Traceback" not in self.stderr
        assert self.stdout == ""
        assert self.stderr.count("merian-campaign: ") == 1
        assert self.stderr.startswith("merian-campaign: ")
        for word in words:
            assert word in self.stderr, self.stderr
        return self.stderr

    def fine(self) -> str:
        """Assert that it ended well; return its output."""
        assert self.code == 0, self
        return self.stdout


def environment(home: Path, **changes: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MERIAN_CAMPAIGN")}
    return {**kept, "MERIAN_CAMPAIGN_HOME": str(home), **changes}


def run_program(*arguments: str, home: Path, cwd: Path | None = None, **changes: str) -> Done:
    """Run a command to its end, in a forked child unless what changes is read when Python starts."""
    environ = environment(home, **changes)
    if not any(name.startswith(("PYTHON", "LC_", "LANG")) for name in changes):
        done = run_forked(*arguments, env=environ, cwd=cwd)
    else:
        done = subprocess.run(
            [str(PROGRAM), *arguments],
            cwd=cwd,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    return Done(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class Cli:
    """The command line on one survey."""

    home: Path
    survey: Survey

    @property
    def name(self) -> str:
        return str(self.survey.file.read_text().partition("campaign: ")[2].partition("\n")[0])

    @property
    def file(self) -> str:
        return str(self.survey.file)

    def __call__(self, *arguments: str, cwd: Path | None = None, **changes: str) -> Done:
        return run_program(*arguments, home=self.home, cwd=cwd, **changes)

    def applied(self) -> str:
        """Apply the survey's file; paused, so that nothing is ever started. Return the name.

        In this process: what the commands themselves do is shown by tests of their own.
        """
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("MERIAN_CAMPAIGN_DATABASE_URL", raising=False)
            patch.setenv("MERIAN_CAMPAIGN_HOME", str(self.home))
            context = CommandContext()
            context.apply(self.file)
            context.control.pause(self.name)
        return self.name


def rows(connection: psycopg2.extensions.connection, *, but: tuple[str, ...] = ()) -> dict[str, list[Any]]:
    """Return every row of every table with the transaction that wrote it."""
    found: dict[str, list[Any]] = {}
    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        for (table,) in cursor.fetchall():
            if table not in but:
                cursor.execute(f'SELECT xmin::text, ctid::text, t::text FROM "{table}" AS t ORDER BY 3')
                found[table] = cursor.fetchall()
    return found


def files(*folders: Path) -> dict[str, tuple[int, int]]:
    """Return every file with what changes when it is written."""
    return {
        str(path): (path.stat().st_ino, path.stat().st_mtime_ns)
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file()
    }


def written(cli: Cli, steps: str, work: Path) -> None:
    """Make the survey's file one of these actions."""
    text = cli.survey.file.read_text().partition("\nsteps:")[0].partition("\ntracts:")[0]
    cli.survey.file.write_text(f"{text}\nwork_dir: {work}\nlimits: {{submissions: 9}}{steps}")
    cli("apply", cli.file).fine()


def submissions(sql: psycopg2.extensions.connection, name: str) -> list[tuple[str, str, int, str]]:
    with sql.cursor() as cursor:
        cursor.execute(
            'SELECT g.step, g.state, count(s.id), g.reason FROM "group" g'
            " JOIN campaign c ON c.id = g.campaign_id LEFT JOIN submission s ON s.group_id = g.id"
            " WHERE c.name = %s GROUP BY g.id ORDER BY g.step",
            [name],
        )
        return cursor.fetchall()
