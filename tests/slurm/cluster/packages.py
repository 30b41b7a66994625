"""Which programs are missing, and getting them from the distribution."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from .trouble import ClusterError, MissingProgramsError

# A program of each Debian package. The server-core package brings no service and no system account;
# mariadb-install-db wants a program of the client's.
PACKAGES = {
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "sbatch": "slurm-client",
    "munged": "munge",
    "slurmdbd": "slurmdbd",
    "mariadbd": "mariadb-server-core",
    "my_print_defaults": "mariadb-client-core",
}
POLICY = Path("/usr/sbin/policy-rc.d")
TRIES = 3


def missing_programs() -> list[str]:
    """Return the programs that are not installed."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    return [program for program in PACKAGES if shutil.which(program, path=path) is None]


def install(say: Callable[[str], None]) -> None:
    """Install what is missing, as root with apt.

    Raises
    ------
    MissingProgramsError
        This user or this system cannot install it.
    """
    missing = missing_programs()
    if not missing:
        return
    packages = [PACKAGES[program] for program in missing]
    wanted = f"missing: {', '.join(missing)} (Debian packages: {' '.join(packages)})"
    if os.environ.get("MERIAN_SLURM_INSTALL", "1") == "0":
        raise MissingProgramsError(f"{wanted}; MERIAN_SLURM_INSTALL=0 forbids to install them")
    if os.getuid() != 0 or shutil.which("apt-get") is None:
        raise MissingProgramsError(f"{wanted}; only root can install them, with apt-get")
    say(f"installing {' '.join(packages)}")
    policy = _keep_services_off()
    try:
        _apt(packages)
    finally:
        if policy:
            POLICY.unlink(missing_ok=True)
    if still := missing_programs():
        raise MissingProgramsError(f"still missing after apt-get install: {', '.join(still)}")


def _keep_services_off() -> bool:
    """Forbid installation scripts to start system services, if nothing does so yet; return whether we did."""
    try:
        with POLICY.open("x", encoding="utf-8") as file:
            file.write("#!/bin/sh\nexit 101\n")
    except OSError:
        return False
    POLICY.chmod(0o755)
    return True


def _apt(packages: list[str]) -> None:
    options = ["-q", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        for _ in range(TRIES):
            # A failed update can still leave lists good enough to install from.
            for verb in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
                done = subprocess.run(
                    ["apt-get", *options, *verb],
                    env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False,
                )  # fmt: skip
            if done.returncode == 0:
                return
        log.seek(0)
        tail = "".join(log.readlines()[-8:])
    raise MissingProgramsError(f"apt-get install {' '.join(packages)} failed {TRIES} times:\n{tail}")


def require_tools() -> None:
    """Say at once that this system is not one the cluster can run on."""
    if not Path("/proc/self/stat").exists():
        raise ClusterError("no /proc here: the test cluster runs on Linux only")
