"""Ctrl-C of `run`: what was started goes on, and the commands that it prints work when pasted."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psycopg2
from cli_help import PROGRAM, Cli, environment

STEPS = """
steps:
  - name: c0
    action: command
    max_submissions: 1
    arguments: {run: [bash, -c, "until test -e END; do sleep 0.1; done"]}
"""


def test_what_ctrl_c_leaves_and_how_to_stop_it(cli: Cli, sql: psycopg2.extensions.connection) -> None:
    end = cli.survey.folder / "end"
    text = cli.survey.file.read_text().partition("\nsteps:")[0].partition("\ntracts:")[0]
    cli.survey.file.write_text(
        f"{text}\nwork_dir: {cli.survey.folder / 'work'}\n{STEPS.replace('END', str(end))}"
    )
    cli("apply", cli.file).fine()
    parent, child = pty.openpty()
    path = os.pathsep.join([str(PROGRAM.parent), os.environ["PATH"]])
    environ = environment(cli.home, TERM="xterm", PATH=path)
    # Who runs the tests in the background has Ctrl-C ignored, in all that is started from there.
    call = ["env", "--default-signal=INT", str(PROGRAM), "run", cli.name, "--interval", "0.2"]
    with subprocess.Popen(call, stdin=child, stdout=child, stderr=child, env=environ) as process:
        os.close(child)
        seen = read_until(parent, "▶ c0/all".encode())
        assert b"\x1b[?1049h" in seen
        until(lambda: driver_of(sql, cli.name) is not None, what="a driver took it")
        process.send_signal(signal.SIGINT)
        seen = read_until(parent, None)
        assert process.wait(timeout=120) == 130
    os.close(parent)
    after = seen.rpartition(b"\x1b[?1049l")[2].decode()
    assert "Traceback" not in after
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).strip() for line in after.splitlines()]
    assert any("goes on by itself" in line for line in lines)
    assert f"merian-campaign run {cli.name}" in lines
    (stop,) = [line for line in lines if line.startswith("merian-campaign cancel ")]
    driver = driver_of(sql, cli.name)
    assert driver is not None
    assert alive(driver)
    done = subprocess.run(
        ["bash", "-c", stop], cwd=Path("/"), env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "cancelled" in done.stdout
    end.touch()
    until(lambda: not alive(driver), what="its driver has stopped")


def until(condition: Callable[[], bool], *, what: str) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, f"not in two minutes: {what}"
        time.sleep(0.05)


def driver_of(sql: psycopg2.extensions.connection, name: str) -> int | None:
    """Return the process that drives the campaign's only submission, once there is one."""
    with sql.cursor() as cursor:
        cursor.execute(
            'SELECT s.driver_pid FROM submission AS s JOIN "group" AS g ON g.id = s.group_id'
            " JOIN campaign AS c ON c.id = g.campaign_id WHERE c.name = %s AND s.state <> 'finished'",
            [name],
        )
        found: list[tuple[int | None]] = cursor.fetchall()
    return found[0][0] if found else None


def alive(process: int) -> bool:
    """Say whether a process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def read_until(terminal: int, pattern: bytes | None) -> bytes:
    """Return what a terminal shows until something matches; for no pattern, until it is closed."""
    found = b""
    deadline = time.monotonic() + 300
    while pattern is None or not re.search(pattern, found):
        ready, _, _ = select.select([terminal], [], [], 120)
        assert time.monotonic() < deadline, found[-2000:]
        assert ready, found[-2000:]
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # the other side is closed
            piece = b""
        if not piece:
            assert pattern is None, found[-2000:]
            break
        found += piece
    return found
