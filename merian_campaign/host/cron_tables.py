"""The tables of cron, of Slurm's cron, and the units of the user's systemd: read, and written."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from merian_campaign.domain.errors import UnavailableError
from merian_campaign.domain.safe_text.text import one_line
from merian_campaign.host.atomic_files import write_if_changed

__all__ = ["disable_timer", "enable_timer", "read_table", "run_bare", "unit_file", "write_table"]

_PATIENCE_SECONDS: Final = 60


def read_table(program: str) -> str:
    """Return the caller's table; empty when there is none.

    Parameters
    ----------
    program : `str`
        ``crontab`` or ``scrontab``.

    Raises
    ------
    UnavailableError
        Raised if the program is not there, or refuses.
    """
    done = _run((program, "-l"))
    if done.returncode and "no crontab" not in (done.stderr + done.stdout).lower():
        raise _refused(program, done)
    return done.stdout if not done.returncode else ""


def write_table(program: str, text: str) -> None:
    """Put a table in place of the caller's; errors as of `read_table`."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "table"
        file.write_text(text, encoding="utf-8")
        done = _run((program, str(file)))
    if done.returncode:
        raise _refused(program, done)


def unit_file(name: str, suffix: str, *, environ: Mapping[str, str]) -> Path:
    """Return where a unit of the user's systemd lies."""
    base = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME", "~")).expanduser() / ".config")
    return Path(base) / "systemd" / "user" / f"{name}.{suffix}"


def enable_timer(name: str, units: Mapping[str, str], *, environ: Mapping[str, str]) -> None:
    """Write the units and start the timer, or leave all as it was; errors as of `read_table`."""
    files = {unit_file(name, suffix, environ=environ): text for suffix, text in units.items()}
    before = {file: file.read_text(encoding="utf-8") for file in files if file.exists()}
    try:
        for file, text in files.items():
            write_if_changed(file, text)
        _systemctl("daemon-reload")
        _systemctl("enable", f"{name}.timer")
        _systemctl("restart", f"{name}.timer")
    except UnavailableError:
        for file, text in before.items():
            write_if_changed(file, text)
        if not before:
            with suppress(UnavailableError):
                disable_timer(name, environ=environ)
        raise


def disable_timer(name: str, *, environ: Mapping[str, str]) -> bool:
    """Stop the timer and remove the units; return whether there were any."""
    files = [unit_file(name, suffix, environ=environ) for suffix in ("timer", "service")]
    there = [file for file in files if file.exists()]
    if there:
        try:
            _systemctl("disable", "--now", f"{name}.timer")
        finally:
            # Without an answer of systemd its link would stay.
            for file in (*there, there[0].parent / "timers.target.wants" / f"{name}.timer"):
                file.unlink(missing_ok=True)
        _systemctl("daemon-reload")
    return bool(there)


def run_bare(command: str, *, environment: Mapping[str, str]) -> tuple[int, str]:
    """Run a line as cron would; return its exit status and what it said.

    Parameters
    ----------
    command : `str`
        Of a crontab, its ``%`` not escaped any more.
    environment : `~collections.abc.Mapping`
        All that it gets.
    """
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=environment.get("HOME", "/") if os.path.isdir(environment.get("HOME", "/")) else "/",  # noqa: PTH112 - any text
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="backslashreplace",
        check=False,
    )
    return done.returncode, one_line(f"{done.stdout} {done.stderr}".strip(), limit=2000)


def _systemctl(*words: str) -> None:
    done = _run(("systemctl", "--user", *words))
    if done.returncode:
        raise _refused("systemctl --user", done)


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="backslashreplace",
            check=False,
            timeout=_PATIENCE_SECONDS,
        )
    except FileNotFoundError:
        raise UnavailableError(
            f"there is no {command[0]} on this host; say --with crontab, scrontab or systemd, or keep "
            "`merian-campaign tick --all --watch 300` in a screen session"
        ) from None
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"{command[0]} does not answer within {_PATIENCE_SECONDS} s") from None


def _refused(program: str, done: subprocess.CompletedProcess[str]) -> UnavailableError:
    said = one_line((done.stderr or done.stdout).strip()) or f"exit status {done.returncode}"
    return UnavailableError(f"{program} refused: {said}")
