"""No Python that we start imports what lies in the folder it is started in."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from merian_campaign.host.safe_python import keep_out_current_folder, without_relative
from merian_campaign.middleware import drivers, programs
from merian_campaign.wms.sites.base import POOL_COMMAND

PLANTED = ("psutil", "lsst", "yaml", "merian_campaign", "typer", "parsl", "json", "sitecustomize")
_WORDS = shlex.split(POOL_COMMAND)
COMMANDS = {
    "our own program": programs.own("--help"),
    "our module": [sys.executable, "-m", "merian_campaign", "--help"],
    "the helper": [sys.executable, "-m", "merian_campaign.middleware.butler_helper"],
    "bps": [programs.program("bps"), "--help"],
    "butler": [programs.program("butler"), "--help"],
    "a worker pool": [*_WORDS[: _WORDS.index("-m") + 2], "--help"],
    "a quantum's own Python": [sys.executable, "-c", "import psutil, yaml, json"],
    "a stack that fails": list(drivers.in_stack("/nowhere/stack.sh", words=["stack"], output=os.devnull)),
}


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A folder with modules of the names that are imported, which leave a mark."""
    folder = tmp_path / "trap"
    folder.mkdir()
    mark = str(tmp_path / "sprung")
    for name in PLANTED:
        (folder / f"{name}.py").write_text(f"print({name!r}, file=open({mark!r}, 'a'))\n")
    return folder


@pytest.mark.parametrize(
    ("name", "path"),
    [
        *((name, None) for name in COMMANDS),
        *(("our own program", path) for path in ("", ".", f"{os.pathsep}/nowhere{os.pathsep}.")),
    ],
)
def test_what_lies_in_the_current_folder_is_not_imported(trap: Path, name: str, path: str | None) -> None:
    base = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environ = programs.environment({**base, **({} if path is None else {"PYTHONPATH": path})}, marker="x")
    done = subprocess.run(
        COMMANDS[name], cwd=trap, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert not (trap.parent / "sprung").exists(), (trap.parent / "sprung").read_text()
    assert done.returncode in {0, 1}, done.stderr


def test_a_worker_pool_of_another_environment_does_not_either(trap: Path) -> None:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    subprocess.run(COMMANDS["a worker pool"], cwd=trap, env=environ, capture_output=True, check=False)
    assert not (trap.parent / "sprung").exists()


def test_what_a_person_puts_on_the_path_is_imported(trap: Path) -> None:
    environ = programs.environment({**os.environ, "PYTHONPATH": f"{trap}{os.pathsep}more"}, marker="x")
    assert environ["PYTHONPATH"].split(os.pathsep)[-1] == str(trap)
    subprocess.run([sys.executable, "-c", "import psutil"], env=environ, check=True)
    assert (trap.parent / "sprung").exists()


def test_relative_entries_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), "", *sys.path])
    environ = {"PYTHONPATH": ":/a"}
    keep_out_current_folder(environ)
    assert not {"", str(tmp_path)} & set(sys.path)
    assert environ == {"PYTHONPATH": "/a", "PYTHONSAFEPATH": "1"}
    assert without_relative("/a::.:b:/c") == ["/a", "/c"]
