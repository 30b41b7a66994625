"""Where a tick meets trouble: hostile words of a command, no middleware, full disks, no descriptors."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pytest
from cli_help import Cli, Done, environment, submissions, written

STEPS = """
steps:
  - name: c0
    action: command
    max_submissions: 1
    arguments: {run: [bash, -c, "printf 'RuntimeError: nul \\\\0 esc \\\\033[31m x' >&2; exit 1"]}
  - name: c1
    action: command
    arguments: {run: ["true"]}
"""
ONE = """
steps:
  - name: c1
    action: command
    arguments: {run: ["true"]}
"""


def last_error(sql: psycopg2.extensions.connection) -> str | None:
    with sql.cursor() as cursor:
        cursor.execute("SELECT error FROM tick ORDER BY id DESC LIMIT 1")
        return str(cursor.fetchone()[0])


def test_a_nul_in_an_error_stops_nobody_else(
    cli: Cli, work: Path, sql: psycopg2.extensions.connection
) -> None:
    written(cli, STEPS, work)
    ended = cli("run", cli.name)
    assert (ended.code, "Traceback" in ended.stderr) == (3, False), ended
    first, second = submissions(sql, cli.name)
    assert (first[0], first[1], first[2]) == ("c0", "needs_review", 1)
    assert r"RuntimeError: nul \x00 esc \x1b[31m x" in first[3]
    assert (second[0], second[1]) == ("c1", "done")
    for words in (["status"], ["show", "c0"], ["plan"], ["tick"], ["accept", "c0"]):
        done = cli(words[0], cli.name, *words[1:])
        # A tick says once that a person is needed.
        assert done.code == (words == ["tick"]), done
        assert "\x1b" not in done.stdout + done.stderr


@pytest.fixture
def without_middleware(tmp_path: Path) -> Callable[..., Done]:
    """The command line under a Python that has all but the LSST middleware."""
    packages = tmp_path / "packages"
    packages.mkdir()
    for entry in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if not entry.name.startswith("lsst"):
            (packages / entry.name).symlink_to(entry)
    root = Path(__file__).parents[2]

    def run(cli: Cli, *arguments: str) -> Done:
        done = subprocess.run(
            [sys.executable, "-S", "-c", "from merian_campaign.app import main; main()", *arguments],
            env=environment(cli.home, PYTHONPATH=f"{packages}{os.pathsep}{root}"),
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)

    return run


def test_a_tick_without_middleware_submits_nothing(
    cli: Cli, work: Path, sql: psycopg2.extensions.connection, without_middleware: Callable[..., Done]
) -> None:
    written(cli, ONE, work)
    for _ in range(3):
        done = without_middleware(cli, "tick", cli.name)
        assert done.code == 69, done
        (complaint,) = [line for line in done.stderr.splitlines() if line.startswith("merian-campaign: ")]
        assert "nothing was started" in complaint
        assert "has no lsst.daf.butler; set up the LSST stack" in complaint
    assert "nothing was started" in (last_error(sql) or "")
    assert [row[1:3] for row in submissions(sql, cli.name)] == [("ready", 0)]
    assert not work.exists()
    # What needs no driver goes on: here, nothing is started because the campaign is paused.
    cli("pause", cli.name).fine()
    assert without_middleware(cli, "tick", cli.name).code == 0


def test_a_folder_that_is_none(cli: Cli, work: Path, sql: psycopg2.extensions.connection) -> None:
    written(cli, ONE, work)
    work.write_text("a file")
    done = cli("tick", cli.name)
    assert (done.code, f"{work} is no folder" in done.stderr) == (69, True), done
    assert [row[1:3] for row in submissions(sql, cli.name)] == [("ready", 0)]


def test_files_that_stand_in_the_way_of_a_start(
    cli: Cli, work: Path, sql: psycopg2.extensions.connection
) -> None:
    """Neither waited for, nor written through, nor of anybody else's concern."""
    written(cli, STEPS, work)
    c0, c1 = (work / cli.name / step / "all" / "001" for step in ("c0", "c1"))
    c0.mkdir(parents=True)
    os.mkfifo(c0 / "driver.log")
    c1.parent.mkdir(parents=True)
    c1.write_text("a file")
    ended = cli("run", cli.name)
    assert (ended.code, "Traceback" in ended.stderr) == (3, False), ended
    # Where not even a folder can be made, no submission is.
    for row, place, number in zip(submissions(sql, cli.name), (c0, c1), (1, 0), strict=True):
        assert row[1:3] == ("needs_review", number)
        assert str(place) in row[3]
    assert "2 groups were set aside for a person" in ended.stderr


@pytest.fixture
def small(work: Path) -> Iterator[Path]:
    """A file system that can hold nothing more."""
    work.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k,nr_inodes=3", "tmpfs", str(work)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted: {done.stderr.strip()}")
    yield work
    subprocess.run(["umount", "-l", str(work)], check=True)


def test_a_full_disk_is_told_and_heals(cli: Cli, small: Path, sql: psycopg2.extensions.connection) -> None:
    written(cli, ONE, small)
    for _ in range(2):
        done = cli("tick", cli.name)
        assert done.code == 74, done
        (complaint,) = [line for line in done.stderr.splitlines() if line.startswith("merian-campaign: ")]
        assert "No space left on device; free space" in complaint
    assert "No space left" in (last_error(sql) or "")
    assert [row[1:3] for row in submissions(sql, cli.name)] == [("running", 1)]
    with sql.cursor() as cursor:
        cursor.execute("SELECT max(epoch) FROM submission WHERE directory LIKE %s", [f"{small}%"])
        assert cursor.fetchone() == (0,), "no driver was used up"
    assert [path for path in small.rglob("*") if "tmp" in path.name] == []
    subprocess.run(["mount", "-o", "remount,size=16m,nr_inodes=9999", str(small)], check=True)
    assert cli("run", cli.name).code == 0
    assert [row[1:3] for row in submissions(sql, cli.name)] == [("done", 1)]
