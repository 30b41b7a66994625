"""Whether a driver could run at all from here, told quickly and without an import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from merian_campaign.domain.spec.stack import Stack
from merian_campaign.middleware import environment_check

NO_STACK = Stack()


def test_all_is_there_and_nothing_is_imported(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from merian_campaign.domain.spec.stack import Stack\n"
        "from merian_campaign.middleware.environment_check import unfit\n"
        f"print(unfit(stack=Stack(), folder={str(tmp_path / 'a' / 'b')!r}, environ={{}}))\n"
        "print([name for name in sys.modules if name.partition('.')[0] in ('lsst', 'parsl')])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "\n[]\n"


def test_a_middleware_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment_check, "_NEEDED", ("lsst.nowhere.at_all",))
    found = environment_check.unfit(stack=NO_STACK, folder=str(tmp_path), environ={})
    assert found.startswith(f"{sys.executable} has no lsst.nowhere.at_all; set up the LSST stack")
    # Where a stack is set up, it counts, and not this Python.
    sets_up = Stack(load=str(tmp_path / "loadLSST.sh"))
    assert "loadLSST.sh (stack: load) cannot be read" in environment_check.unfit(
        stack=sets_up, folder=str(tmp_path), environ={}
    )
    (tmp_path / "loadLSST.sh").write_text("")
    assert environment_check.unfit(stack=sets_up, folder=str(tmp_path), environ={}) == ""
    assert (
        environment_check.unfit(stack=Stack(prelude="module load lsst"), folder=str(tmp_path), environ={})
        == ""
    )


def test_folders(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = environment_check.unfit(stack=NO_STACK, folder=str(tmp_path / "file" / "below"), environ={})
    assert found == f"{tmp_path}/file is no folder, but submissions are to lie in {tmp_path}/file/below"


def test_a_package_of_the_current_folder_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -m merian_campaign` in a checkout: a driver begins in another folder."""
    root = str(Path(environment_check.__file__).parents[2])
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    others = [entry for entry in sys.path if str(Path(entry).resolve()) != root]
    monkeypatch.setattr(sys, "path", [root, *others])
    found = environment_check.unfit(stack=NO_STACK, folder=str(tmp_path), environ={})
    assert found.startswith(f"merian-campaign is not installed for {tmp_path}/python")
    assert environment_check.unfit(stack=NO_STACK, folder=str(tmp_path), environ={"PYTHONPATH": root}) == ""
    monkeypatch.setattr(sys, "path", ["", *others, root])
    assert environment_check.unfit(stack=NO_STACK, folder=str(tmp_path), environ={}) == ""
