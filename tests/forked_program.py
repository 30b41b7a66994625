"""The command line in a forked child: what a user runs, without the seconds that its imports take."""

from __future__ import annotations

import functools
import importlib
import logging
import os
import signal
import subprocess
import sys
import tempfile
import traceback
import types
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, NoReturn

from merian_campaign.__main__ import main

NEEDED = (
    "app",
    "context",
    "reports.status",
    "services.campaign_settings",
    "services.tick",
    "store.store",
)
"""Of this package: what most commands import sooner or later, and what these import."""


@functools.cache
def preload() -> None:
    for name in NEEDED:
        importlib.import_module(f"merian_campaign.{name}")


def run_forked(
    *arguments: str, env: Mapping[str, str], cwd: Path | None = None, seconds: int = 300
) -> subprocess.CompletedProcess[str]:
    """Run ``merian-campaign`` to its end, at most so long, in an environment and a folder of its own."""
    if "vl_convert" in sys.modules:
        # Its threads do not sleep: a child that draws waits for them for ever.
        return subprocess.run(
            [str(Path(sys.executable).with_name("merian-campaign")), *arguments],  # it knows its name by that
            env=env, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds,
            check=False,
        )  # fmt: skip
    preload()
    return run_child(main, "merian-campaign", *arguments, env=env, cwd=cwd, seconds=seconds)


def run_child(
    entry: Callable[[], object], *words: str, env: Mapping[str, str], cwd: Path | None = None,
    seconds: int = 300,
) -> subprocess.CompletedProcess[str]:  # fmt: skip
    """Run a program by its function in a forked child; ``words`` are its name and arguments."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with warnings.catch_warnings():
            # Threads that Python warns of are those of numerical libraries, which sleep.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            _become(entry, words, env=env, cwd=cwd, seconds=seconds, out=out, err=err)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert code != -signal.SIGALRM, f"{words} took more than {seconds} s"
        return subprocess.CompletedProcess(words, code, stdout=_text(out), stderr=_text(err))


def _text(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode()


def _become(
    entry: Callable[[], object], words: tuple[str, ...], *, env: Mapping[str, str], cwd: Path | None,
    seconds: int, out: IO[bytes], err: IO[bytes],
) -> NoReturn:  # fmt: skip
    code = 70
    try:
        for number in (signal.SIGALRM, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.alarm(seconds)
        os.chdir(cwd or Path.cwd())
        os.environ.clear()
        os.environ.update(env)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for number, wanted in enumerate((nothing, out.fileno(), err.fileno())):
            os.dup2(wanted, number)
        sys.stdin = sys.__stdin__ = os.fdopen(0, encoding="utf-8", closefd=False)
        sys.stdout = sys.__stdout__ = os.fdopen(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = sys.__stderr__ = os.fdopen(
            2, "w", encoding="utf-8", errors="backslashreplace", closefd=False
        )
        for handler in list(logging.getLogger().handlers):
            logging.getLogger().removeHandler(handler)
        sys.argv = list(words)
        sys.modules["__main__"] = types.ModuleType("__main__")  # by which the program knows its name
        entry()
        code = 0
    except SystemExit as ended:
        if isinstance(ended.code, str):
            sys.stderr.write(f"{ended.code}\n")
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 - nothing may go back into the test's code
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
