"""Programs of this environment, and the variables that they are started with."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from merian_campaign.host import processes
from merian_campaign.host.home import hide_passwords
from merian_campaign.host.safe_python import SAFE_PATH, without_relative
from merian_campaign.wms import zipfix


def program(name: str) -> str:
    """Return the path of a program: beside this Python, else on the PATH, as those of an LSST stack are."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name) or str(beside)


def own(*words: str) -> list[str]:
    """Return a command line of this package for this very Python, whatever else the PATH has of that name."""
    beside = Path(sys.executable).parent / "merian-campaign"
    return (
        [str(beside), *words] if beside.exists() else [sys.executable, "-P", "-m", "merian_campaign", *words]
    )


def environment(base: Mapping[str, str], *, marker: str) -> dict[str, str]:
    """Return the environment of a submission's processes.

    Console scripts of this environment come first on the PATH: Parsl looks its own ones up there. No Python
    imports from the folder that it is started in. The database's password is in a file that it names.
    """
    made = dict(base)
    hide_passwords(made)
    folder = str(Path(sys.executable).parent)
    entries = [entry for entry in made.get("PATH", "").split(os.pathsep) if entry and entry != folder]
    made["PATH"] = os.pathsep.join([folder, *entries])
    made[processes.SUBMISSION_MARK] = marker
    made.setdefault("OMP_NUM_THREADS", "1")
    made[SAFE_PATH] = "1"
    paths = without_relative(made.pop("PYTHONPATH", ""))
    if zipfix.is_broken_at_start():
        # For the programs of the middleware that start a Python of their own.
        compat = str(Path(zipfix.__file__).parent / "compat")
        paths = [compat, *(entry for entry in paths if entry != compat)]
    if paths:
        made["PYTHONPATH"] = os.pathsep.join(paths)
    return made


@contextmanager
def in_environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Have a campaign's variables in this process, as its drivers have them from the start; undone after."""
    before = {name: os.environ.get(name) for name in variables}
    path = list(sys.path)
    os.environ.update(variables)
    # Python reads it when it starts.
    sys.path[:0] = without_relative(variables.get("PYTHONPATH", ""))
    try:
        yield
    finally:
        sys.path[:] = path
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
