"""A real cron daemon, and the table of who runs the tests, put back at the end."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def cron_daemon() -> Iterator[None]:
    """Give a cron daemon; skip, or fail where one is required, if there can be none."""
    program = shutil.which("cron", path=f"{os.environ['PATH']}:/usr/sbin")
    why = "" if program and shutil.which("crontab") else "there is no cron (Debian: cron)"
    why = why or ("" if os.geteuid() == 0 else "only root may start a cron daemon")
    if why:
        assert "MERIAN_CRON_REQUIRED" not in os.environ, why
        pytest.skip(why)
    before = subprocess.run(["crontab", "-l"], capture_output=True, text=True, check=False)
    # One that runs already does as well: then this one ends by itself.
    daemon = subprocess.Popen([str(program), "-f"], env={"PATH": "/usr/bin:/bin"}, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        daemon.terminate()
        daemon.wait()
        if before.returncode:
            subprocess.run(["crontab", "-r"], stderr=subprocess.DEVNULL, check=False)
        else:
            enter(before.stdout)


def table() -> str:
    """Return the table as it is."""
    return subprocess.run(["crontab", "-l"], capture_output=True, text=True, check=False).stdout


def enter(text: str) -> None:
    """Enter a table in place of the one that is there."""
    subprocess.run(["crontab", "-"], input=text, text=True, check=True)
