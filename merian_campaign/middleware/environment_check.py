"""Whether a driver could run at all from where a tick runs, told before anything is submitted.

A look-up of a few names, no import: it stands in every tick that starts something.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from merian_campaign.domain.spec.stack import Stack
from merian_campaign.middleware.import_check import folder_of

__all__ = ["unfit"]

_NEEDED = ("lsst.daf.butler", "lsst.ctrl.bps", "lsst.ctrl.bps.parsl", "parsl")
"""Modules without which no driver gets anywhere, in the order in which they are told."""


def unfit(*, stack: Stack, folder: str, environ: Mapping[str, str]) -> str:
    """Return in words why no driver could run from here, with what to do; empty when one can.

    Parameters
    ----------
    stack : `Stack`
        The LSST environment that drivers set up; where there is one, it counts, and not this process's.
    folder : `str`
        Where all submissions lie.
    environ : `~collections.abc.Mapping`
        The environment of drivers.
    """
    return _no_room(Path(folder)) or _no_package(environ) or _no_middleware(stack)


_TO_WRITE = "have it mounted for writing, or name another work_dir"


def _no_room(folder: Path) -> str:
    there = folder
    while not os.path.lexists(there) and there != there.parent:
        there = there.parent
    if not there.is_dir():
        return f"{there} is no folder, but submissions are to lie in {folder}"
    if os.statvfs(there).f_flag & os.ST_RDONLY:
        return f"{there} is on a read-only file system, but submissions are to lie in {folder}; {_TO_WRITE}"
    if not os.access(there, os.W_OK | os.X_OK):
        return f"{there} cannot be written to, but submissions are to lie in {folder}; mend its rights"
    return ""


def _no_package(environ: Mapping[str, str]) -> str:
    """Say if a driver, which begins in another folder, would not find this package."""
    if (Path(sys.executable).parent / "merian-campaign").exists():
        return ""
    home = str(Path(__file__).resolve().parents[2])
    given = environ.get("PYTHONPATH", "").split(os.pathsep)
    found = [Path(entry) for entry in [*sys.path[1:], *given]]
    if any(str(entry.resolve()) == home for entry in found if entry.is_absolute()):
        return ""
    return (
        f"merian-campaign is not installed for {sys.executable}, it was only found in the current folder; "
        "install it there (`pip install --no-deps`), or use the `merian-campaign` of the Python that has it"
    )


def _no_middleware(stack: Stack) -> str:
    if stack.sets_up:
        if stack.load is not None and not os.access(stack.load, os.R_OK):
            return f"the stack cannot be set up: {stack.load} (stack: load) cannot be read"
        return ""
    missing = [name for name in _NEEDED if not _is_there(name)]
    if not missing:
        return ""
    return (
        f"{sys.executable} has no {missing[0]}; set up the LSST stack before the command, or name it under "
        "`stack:` in the campaign or site file (`merian-campaign stack` shows what is missing)"
    )


def _is_there(name: str) -> bool:
    if folder_of(name):
        return True
    try:
        # Some ways to install a package show it to Python's own look-up alone, which imports those around it.
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):  # a package around it is missing, or is no package
        return False
