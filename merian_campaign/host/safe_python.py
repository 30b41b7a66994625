"""Nothing is imported from the folder that a Python happens to be started in."""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping
from typing import Final

__all__ = ["SAFE_PATH", "keep_out_current_folder", "without_relative"]

SAFE_PATH: Final = "PYTHONSAFEPATH"
"""Environment variable that has the effect of ``python -P``, for all Pythons below."""


def without_relative(paths: str) -> list[str]:
    """Return the entries of a ``PYTHONPATH`` that mean the same wherever a Python is started."""
    return [entry for entry in paths.split(os.pathsep) if os.path.isabs(entry)]  # noqa: PTH117 - text


def keep_out_current_folder(environ: MutableMapping[str, str]) -> None:
    """Keep this process, and the Pythons that it starts, from importing from the current folder.

    Parameters
    ----------
    environ : `~collections.abc.MutableMapping`
        This process's environment; a ``PYTHONPATH`` in it loses its relative entries.
    """
    environ[SAFE_PATH] = "1"
    wanted = environ.get("PYTHONPATH")
    kept = without_relative(wanted or "")
    if wanted is None or os.pathsep.join(kept) == wanted:
        return
    if kept:
        environ["PYTHONPATH"] = os.pathsep.join(kept)
    else:
        del environ["PYTHONPATH"]
    # The interpreter has made them absolute by now.
    relative = {os.path.abspath(entry or ".") for entry in wanted.split(os.pathsep)} - set(kept)  # noqa: PTH100
    sys.path[:] = [entry for entry in sys.path if entry and entry not in relative]
