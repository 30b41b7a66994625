"""A wheel and an sdist built from the checkout's files, installed away from the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
DEPENDENCIES = Path(sysconfig.get_paths()["purelib"])
PARTS = ("merian_campaign", "campaign", "bps_configs", "site", "pyproject.toml", "README.md", "LICENSE")
_BUILD = "import sys; from setuptools import build_meta as b; b.build_{kind}(sys.argv[1])"
_NOT_LINKED = ("merian", "__editable__", "pip", "_virtualenv", "distutils-precedence")


@dataclass(frozen=True)
class Built:
    """The sdist, the wheel made of the unpacked sdist, and one made of the checkout's files."""

    sdist: Path
    wheel: Path
    wheel_of_checkout: Path

    def sdist_names(self) -> set[str]:
        """Return the files of the sdist, without the folder around them."""
        with tarfile.open(self.sdist) as archive:
            return {entry.name.partition("/")[2] for entry in archive.getmembers() if entry.isfile()}


def contents(wheel: Path) -> dict[str, bytes]:
    """Return the files of a wheel, but for its own list of them."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("RECORD")}


def build(folder: Path) -> Built:
    """Build in copies: nothing is left in the checkout."""
    source = folder / "source"
    source.mkdir()
    for name in PARTS:
        if (CHECKOUT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(CHECKOUT / name, source / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(CHECKOUT / name, source / name)
    sdist = _built(source, "sdist", folder / "dist")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    return Built(
        sdist=sdist,
        wheel=_built(unpacked, "wheel", folder / "dist"),
        wheel_of_checkout=_built(source, "wheel", folder / "of_checkout"),
    )


def _built(source: Path, kind: str, into: Path) -> Path:
    into.mkdir(exist_ok=True)
    before = set(into.iterdir())
    command = [sys.executable, "-c", _BUILD.format(kind=kind), str(into)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = set(into.iterdir()) - before
    return made


@dataclass(frozen=True)
class Place:
    """A virtual environment with the wheel and links to its dependencies, a home, an empty folder."""

    root: Path

    @property
    def bin(self) -> Path:
        return self.root / "venv" / "bin"

    @property
    def empty(self) -> Path:
        return self.root / "empty"

    @property
    def package(self) -> Path:
        (found,) = (self.root / "venv" / "lib").glob("python3.*/site-packages/merian_campaign")
        return found

    @property
    def environ(self) -> dict[str, str]:
        return {"PATH": f"{self.bin}:/usr/bin:/bin", "HOME": str(self.root / "home"), "COLUMNS": "100"}

    def run(self, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        """Run `merian-campaign` in the empty folder."""
        return subprocess.run(
            [str(self.bin / "merian-campaign"), *arguments],
            cwd=self.empty, env=self.environ | changes, capture_output=True, text=True, check=False,
        )  # fmt: skip

    @contextmanager
    def without(self, *names: str) -> Iterator[None]:
        """Take dependencies away for a while, by the beginnings of their names."""
        taken = [path for path in (self.root / "packages").iterdir() if path.name.startswith(names)]
        assert taken
        targets = {path: path.readlink() for path in taken}
        for path in taken:
            path.unlink()
        try:
            yield
        finally:
            for path, target in targets.items():
                path.symlink_to(target)


def install(wheel: Path, root: Path) -> Place:
    """Install a wheel, with nothing from the network."""
    for name in ("home", "empty", "packages"):
        (root / name).mkdir()
    for entry in DEPENDENCIES.iterdir():
        if not entry.name.startswith(_NOT_LINKED):
            (root / "packages" / entry.name).symlink_to(entry)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(root / "venv")], check=True)
    made = Place(root)
    command = [
        sys.executable, "-m", "pip", "--python", str(made.bin / "python"), "install", "--quiet",
        "--disable-pip-version-check", "--no-index", "--no-deps", str(wheel),
    ]  # fmt: skip
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (made.package.parent / "packages.pth").write_text(f"{root}/packages\n")
    return made
