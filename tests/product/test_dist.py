"""The wheel, with its extras from the index, on each Python: the demo, then a campaign of one's own.

Minutes each and with the network, so not among what CI runs: `make dist-test`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from product_help import Built

pytestmark = pytest.mark.soak

VERSIONS = ("3.12", "3.13", "3.14")
NOT_YET = {"3.14": "lsst-pipe-base wants zstandard 0.23, of which there is no wheel for Python 3.14"}


def interpreter(version: str) -> str | None:
    """Return a Python of a version, of pyenv or on the PATH, where it may be a shim of another one."""
    installed = sorted(Path.home().glob(f".pyenv/versions/{version}*/bin/python3"))
    return next(map(str, reversed(installed)), None) or shutil.which(f"python{version}")


@dataclass(frozen=True)
class Machine:
    """An empty folder, an own home, and a virtual environment with the product."""

    root: Path

    def run(self, *command: str, text: str | None = None) -> str:
        """Run a command that must end well; return what it printed."""
        program = self.root / "venv" / "bin"
        environ = {
            "PATH": f"{program}:{os.environ['PATH']}",
            "HOME": str(self.root / "home"),
            "PAGER": "cat",
            "LANG": "C.UTF-8",
        }
        done = subprocess.run(
            command, cwd=self.root / "work", env=environ, input=text,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(params=VERSIONS)
def machine(request: pytest.FixtureRequest, built: Built) -> Iterator[Machine]:
    if request.param in NOT_YET:
        pytest.skip(NOT_YET[request.param])
    python = interpreter(request.param)
    if python is None:
        pytest.skip(f"there is no Python {request.param} on the PATH or under ~/.pyenv/versions")
    root = Path(tempfile.mkdtemp(prefix="merian-dist-")).resolve()
    # Others may pass through: run as root, the embedded server has an account of its own.
    root.chmod(0o711)
    made = Machine(root)
    try:
        for name in ("home", "work"):
            (root / name).mkdir()
        subprocess.run([python, "-m", "venv", str(root / "venv")], check=True)
        pip = [str(root / "venv" / "bin" / "pip"), "--disable-pip-version-check", "--quiet"]
        subprocess.run([*pip, "install", f"{built.wheel}[middleware,embedded,report]"], check=True)
        subprocess.run([*pip, "check"], check=True)
        yield made
    finally:
        stop = [str(root / "venv" / "bin" / "merian-campaign"), "db", "stop"]
        subprocess.run(stop, env={**os.environ, "HOME": str(root / "home")}, check=False)
        shutil.rmtree(root, ignore_errors=True)


def test_from_an_install_to_a_finished_campaign_of_ones_own(machine: Machine) -> None:
    ended = machine.run("merian-campaign", "demo")
    lines = ended.rstrip().partition("Look further\n")[2]
    assert "mine.yaml" in machine.run("bash", "-e", text=lines)
    file = machine.root / "work" / "mine.yaml"
    assert file.is_file()
    machine.run("merian-campaign", "validate", "mine.yaml")
    machine.run("merian-campaign", "preflight", "mine.yaml")
    machine.run("merian-campaign", "apply", "mine.yaml")
    machine.run("merian-campaign", "run", "mine")
    board = json.loads(machine.run("merian-campaign", "status", "mine", "--json"))
    assert board["state"] == "done"
    tracts = {row["tract"]: row["quanta"] for row in board["groups"] if row["step"] == "step3"}
    assert len(tracts) == 3
    assert all(quanta["succeeded"] == quanta["expected"] > 0 for quanta in tracts.values())
