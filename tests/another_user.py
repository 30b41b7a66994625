"""Being somebody else for a moment: tests as root do to a victim's files what another user could."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable

import pytest

NOBODY = 65534


def as_nobody(do: Callable[[], object], *, umask: int = 0) -> str:
    """Do something in a forked child that is the user nobody; return what came of it, errors included.

    A fork, because this user may not be allowed to run our Python.
    """
    if os.geteuid() != 0:
        pytest.skip("only root can be two users")
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            os.umask(umask)
            os.chdir("/")
            said = str(do())
        except Exception:  # noqa: BLE001 - told to the test
            said = traceback.format_exc()
        finally:
            os.write(writer, said.encode())
            sys.stdout.flush()
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        text = stream.read()
    os.waitpid(pid, 0)
    return text
