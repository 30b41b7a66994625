"""Installing this package on top of a shared LSST stack: nothing of the stack is replaced, and all works."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
OWN = Path(sysconfig.get_paths()["purelib"])
LEFT_OUT = ("lsst", "merian", "__editable__", "typer", "pip", "_virtualenv", "distutils-precedence")


@dataclass(frozen=True)
class Place:
    """A Python on top of a stack: packages of conda, and those of eups, of which pip knows nothing."""

    root: Path

    @property
    def python(self) -> str:
        return str(self.root / "venv" / "bin" / "python")

    @property
    def environ(self) -> dict[str, str]:
        own = ("PYTHON", "MERIAN")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        programs = os.pathsep.join([str(self.root / "venv" / "bin"), str(self.root / "bin"), kept["PATH"]])
        home = str(self.root / "home")
        return kept | {
            "PATH": programs,
            "PYTHONPATH": str(self.root / "eups"),
            "MERIAN_CAMPAIGN_HOME": home,
            "COLUMNS": "100",
        }

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.root, env=self.environ, capture_output=True, text=True, check=False
        )

    def content(self) -> dict[str, int]:
        """Return what belongs to the stack, with its time of change."""
        folders = (self.root / "eups", self.root / "conda")
        return {str(path): path.lstat().st_mtime_ns for folder in folders for path in folder.iterdir()}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A stack without typer, and a virtual environment on top of it that holds this package alone."""
    root = tmp_path_factory.mktemp("stack")
    for folder in ("eups", "conda", "bin", "home"):
        (root / folder).mkdir()
    (root / "eups" / "lsst").symlink_to(OWN / "lsst")
    for entry in OWN.iterdir():
        if not entry.name.startswith(LEFT_OUT):
            (root / "conda" / entry.name).symlink_to(entry)
    for name in ("bps", "butler", "pipetask", "interchange.py", "process_worker_pool.py"):
        (root / "bin" / name).symlink_to(Path(sys.executable).parent / name)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(root / "venv")], check=True)
    made = Place(root)
    (_packages(made) / "conda.pth").write_text(f"{root}/conda\n")
    source = root / "source"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(CHECKOUT / "merian_campaign", source / "merian_campaign", ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, source / name)
    before = made.content()
    # As the README says; with nothing from the network.
    alone = ("--no-deps", "--no-index", "--no-build-isolation", "--quiet", "--disable-pip-version-check")
    pip = (sys.executable, "-m", "pip", "--python", made.python, "install")
    done = made.run(*pip, *alone, str(source))
    assert done.returncode == 0, done.stderr
    assert made.content() == before
    return made


def _packages(place: Place) -> Path:
    (found,) = (place.root / "venv" / "lib").glob("python3.*/site-packages")
    return found


def test_only_this_package_is_added(place: Place) -> None:
    names = sorted(entry.name for entry in _packages(place).iterdir())
    assert names == ["conda.pth", "merian_campaign", "merian_campaign-0.1.0.dist-info"]


def test_what_is_missing_is_named_with_the_command_for_just_that(place: Place) -> None:
    done = place.run(str(place.root / "venv" / "bin" / "merian-campaign"), "--help")
    assert done.returncode == 1
    assert done.stdout == (
        "typer: no module named typer; to install what is missing, and nothing else: "
        f"{place.python} -m pip install --no-deps 'typer>=0.15'\n"
    )
    assert done.stderr == ""


def test_it_works_on_what_the_stack_has(place: Place, tmp_path: Path) -> None:
    for entry in OWN.glob("typer*"):
        (place.root / "conda" / entry.name).symlink_to(entry)
    program = str(place.root / "venv" / "bin" / "merian-campaign")
    found = place.run(program, "stack", "--json")
    assert found.returncode == 0, found.stdout + found.stderr
    report = json.loads(found.stdout)
    where = {entry["name"]: (entry["verdict"], entry["where"]) for entry in report["requirements"]}
    assert where["lsst-ctrl-bps-parsl"] == ("ok", str(place.root / "eups"))
    assert where["lsst-daf-butler"] == ("ok", str(place.root / "eups"))
    assert where["typer"] == ("ok", str(place.root / "conda"))
    assert report["programs"]["bps"] == str(place.root / "bin" / "bps")
    assert report["versions"]["stack"]["lsst_pipe_base"]

    assert "Run survey reductions" in place.run(program, "--help").stdout
    rendered = place.run(program, "render", str(_campaign(tmp_path)), "-o", str(tmp_path / "rendered"))
    assert rendered.returncode == 0, rendered.stderr
    assert "CampaignParslService" in (tmp_path / "rendered/cpBias/all/001/submit.yaml").read_text()

    script = (
        "import lsst.pipe.base, merian_campaign; from lsst.utils import doImportType;"
        "service = doImportType('merian_campaign.wms.CampaignParslService')({});"
        "print(lsst.pipe.base.__file__, merian_campaign.__file__, service.ping(None))"
    )
    done = place.run(place.python, "-c", script)
    stack, own = place.root / "eups" / "lsst", _packages(place) / "merian_campaign"
    expected = f"{stack}/pipe/base/__init__.py {own}/__init__.py (0, '')\n"
    assert done.stdout == expected, done.stderr


def _campaign(folder: Path) -> Path:
    (folder / "repo").mkdir()
    (folder / "repo" / "butler.yaml").touch()
    (folder / "pipe.yaml").touch()
    file = folder / "night.yaml"
    file.write_text(
        "campaign: night\nbutler: repo\ninstrument: DECam\n"
        f"site: {CHECKOUT}/site/local.yaml\ncollections: {{output: runs/night}}\n"
        "steps: [{name: cpBias, scope: exposure, pipeline: pipe.yaml#cpBias}]\n"
    )
    return file
