"""How programs of this environment are called, in lines to be pasted."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from merian_campaign.domain.safe_text.shell import quoted


def program(name: str) -> str:
    """Return how a program of this environment is called from here: by its name, if that finds it.

    Parameters
    ----------
    name : `str`
        Of a console script.
    """
    beside = Path(sys.executable).with_name(name)
    found = shutil.which(name)
    if not beside.exists() or (found and Path(found).absolute() == beside.absolute()):
        return name
    here = Path.cwd()
    return quoted(str(beside.relative_to(here) if beside.is_relative_to(here) else beside))
