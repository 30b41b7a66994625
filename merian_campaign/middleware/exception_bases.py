"""What exceptions are by class, looked up by name: for runs in which nobody noted it when they were raised.

The classes are those of pipelines, whose modules may take long, print, crash or hang when they are imported:
that is done in a process of its own, whose failure means no more than that nothing is known.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Collection
from typing import Final

from merian_campaign.domain.safe_text import json_values

__all__ = ["look_up"]

_SECONDS: Final = 60.0
_MOST: Final = 50
_NAME: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_PROGRAM: Final = """
import json, os, sys
from merian_campaign.wms.exceptions import bases_of
answer = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
for name in json.loads(sys.argv[1]):
    module, _, rest = name.rpartition(".")
    try:
        found = getattr(__import__(module, fromlist=[rest]), rest)
        if isinstance(found, type) and issubclass(found, BaseException):
            answer.write(json.dumps([name, bases_of(found)]) + "\\n")
            answer.flush()
    except Exception:
        continue
os._exit(0)
"""


def look_up(names: Collection[str], *, seconds: float = _SECONDS) -> dict[str, list[str]]:
    """Return names of bases by the full name of a class of exceptions, of those that can be imported.

    Parameters
    ----------
    names : collection of `str`
        Full names, as a provenance graph has them; at most fifty are looked up, built-in ones never.
    seconds : `float`
        How long it may take.
    """
    wanted = [name for name in sorted(names) if _NAME.fullmatch(name)][:_MOST]
    if not wanted:
        return {}
    command = [sys.executable, "-P", "-c", _PROGRAM, json.dumps(wanted)]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=seconds, check=False
        )
        output = done.stdout
    except subprocess.TimeoutExpired as error:
        output = error.stdout or b""
    except OSError:
        return {}
    return dict(filter(None, map(_answer, output.splitlines())))


def _answer(line: bytes) -> tuple[str, list[str]] | None:
    try:
        found = json_values.loads(line)
    except json_values.WrongValueError:
        return None
    match found:
        case [str(name), [*bases]]:
            return name, [str(base) for base in bases]
    return None
