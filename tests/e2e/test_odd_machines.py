"""A tiny campaign on machines as they are: odd names, long paths, no locale, no home, no resolver."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml
from e2e_help import BIN, CHECKOUT

pytestmark = [pytest.mark.e2e, pytest.mark.soak]

PAYLOAD = CHECKOUT / "tests" / "wms"
sys.path.append(str(PAYLOAD))  # the toy pipelines of the WMS service's tests

ODD = "Größe日本,a=b@c+d~e:f-" + "l" * 90
"""All marks at once that a path may have, letters of several alphabets, and a long name."""


@pytest.fixture
def root() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="merian-odd-")).resolve()
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


def world(folder: Path) -> Path:
    """Make a repository and a campaign of one step with four quanta; return its file."""
    from wms_support import make_repo, pipeline  # noqa: PLC0415 - imports lsst

    folder.mkdir(parents=True)
    make_repo(folder / "repo", detectors=4)
    (folder / "pipeline.yaml").write_text(yaml.safe_dump(pipeline(tasks={"first": {}})), encoding="utf-8")
    campaign = {
        "campaign": "odd", "butler": str(folder / "repo"), "work_dir": str(folder / "work"),
        "instrument": "Toy", "site": str(CHECKOUT / "site" / "local.yaml"),
        "include": [str(CHECKOUT / "bps_configs" / "base.yaml")],
        "environment": {"PYTHONPATH": str(PAYLOAD)},
        "collections": {"output": "runs/odd", "inputs": ["toy/inputs"]},
        "steps": [
            {
                "name": "one", "pipeline": str(folder / "pipeline.yaml"), "scope": "exposure",
                "where": "detector < 4",
            }
        ],
    }  # fmt: skip
    file = folder / "campaign.yaml"
    file.write_text(yaml.safe_dump(campaign, allow_unicode=True), encoding="utf-8")
    return file


def bare(home: Path, **more: str) -> dict[str, str]:
    """Return an environment with next to nothing in it: neither HOME, USER nor a locale."""
    return {"PATH": "/usr/bin:/bin", "MERIAN_CAMPAIGN_HOME": str(home), **more}


def does_it(file: Path, environ: Mapping[str, str], *before: str) -> None:
    """Go from `validate` to four quanta that succeeded."""
    program = [*before, str(BIN / "merian-campaign")]

    def run(*words: str) -> str:
        done = subprocess.run(
            [*program, *words], env=dict(environ), capture_output=True, text=True, check=False, cwd="/",
            errors="replace",
        )  # fmt: skip
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done.stdout

    try:
        for words in (("validate", str(file)), ("apply", str(file)), ("run", "odd")):
            run(*words)
        assert "4 of 4 quanta succeeded" in run("show", "odd", "one")
    finally:
        run("db", "stop")


def test_odd_names_a_long_tmpdir_and_no_locale(root: Path) -> None:
    long = root / ("t" * 120) / ("u" * 100)
    long.mkdir(parents=True)
    does_it(world(root / ODD), bare(root / "home", LC_ALL="C", TMPDIR=str(long)))


@pytest.mark.parametrize("name", ["a home with blanks", "it's $HOME", "{} %s 100%", "Größe日本"])
def test_a_home_of_any_name(root: Path, name: str) -> None:
    does_it(world(root / "survey"), bare(root / name, LC_ALL="POSIX"))


def test_a_host_without_a_name_and_folders_that_are_private_and_not_for_programs(root: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a host another name for one process")
    file = world(root / "survey")
    work = root / "survey" / "work"
    script = 'hostname nowhere-to-be-found; mount -t tmpfs -o noexec tmpfs "$1"; echo; exec sleep 3600'
    work.mkdir()
    holder = subprocess.Popen(
        ["unshare", "--uts", "--mount", "bash", "-c", script, "bash", str(work)], stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        inside = [
            f"--{kind}=/proc/{holder.pid}/ns/{name}" for kind, name in (("uts", "uts"), ("mount", "mnt"))
        ]
        private = ["bash", "-c", 'umask 077; exec "$@"', "bash"]
        does_it(file, bare(root / "home"), "nsenter", *inside, *private)
        assert not (work / "odd").exists(), "it lies where only the namespace sees it"
    finally:
        holder.kill()
        holder.wait()


def test_a_work_dir_that_is_read_only(root: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    file = world(root / "survey")
    work = root / "survey" / "work"
    work.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(work)], check=True)
    environ = bare(root / "home")

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        program = [str(BIN / "merian-campaign"), *words]
        return subprocess.run(program, env=environ, capture_output=True, text=True, check=False, cwd="/")

    try:
        assert run("apply", str(file)).returncode == 0
        done = run("tick", "odd")
        assert done.returncode in {69, 74}, done
        assert "read-only" in done.stderr.lower()
        assert "Traceback" not in done.stderr
        subprocess.run(["mount", "-o", "remount,rw", str(work)], check=True)
        assert run("run", "odd").returncode == 0
        assert "4 of 4 quanta succeeded" in run("show", "odd", "one").stdout
    finally:
        run("db", "stop")
        subprocess.run(["umount", "-l", str(work)], check=True)
