"""Being somebody else for a moment: tests as root do to a victim's files what another user could."""

from __future__ import annotations

import os
import pwd
import resource
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

NOBODY = 65534
READS_ALL = "-all,+dac_read_search"
"""Capabilities that let an account use our Python, wherever that is installed, and nothing else."""


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


@dataclass(frozen=True)
class Account:
    """Another user, who runs programs of ours."""

    name: str

    @property
    def entry(self) -> pwd.struct_passwd:
        return pwd.getpwnam(self.name)

    def processes(self) -> int:
        return sum(one.info["username"] == self.name for one in psutil.process_iter(["username"]))

    def run(
        self,
        *words: str,
        environ: Mapping[str, str],
        cwd: Path,
        at_most: int | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program; ``at_most`` is how many processes more than now there may be, itself included."""

        def begin() -> None:
            os.umask(0o022)
            if at_most is not None:
                number = self.processes() + at_most
                resource.setrlimit(resource.RLIMIT_NPROC, (number, number))

        caps = (f"--inh-caps={READS_ALL}", f"--ambient-caps={READS_ALL}")
        who = (f"--reuid={self.name}", f"--regid={self.entry.pw_gid}", "--clear-groups")
        return subprocess.run(
            ["setpriv", *who, *caps, "--", *words],
            env={**environ, "USER": self.name, "LOGNAME": self.name},
            cwd=cwd, capture_output=True, text=True, check=False, timeout=300, preexec_fn=begin,
        )  # fmt: skip


def accounts_of_one_group(number: int) -> list[Account]:
    """Return accounts that nobody logs in to, of one group; skip the test where there are not so many."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can be two users, with setpriv")
    found: dict[int, list[Account]] = {}
    for entry in pwd.getpwall():
        # The lowest of all numbers belong to the system's own, which run something; 1000 is the first person.
        if entry.pw_uid > 0 and not 1000 <= entry.pw_uid < NOBODY:
            found.setdefault(entry.pw_gid, []).append(Account(entry.pw_name))
    largest = max(found.values(), key=len, default=[])
    if len(largest) < number:
        pytest.skip(f"no {number} accounts are of one group")
    return largest[:number]
