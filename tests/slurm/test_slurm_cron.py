"""Ticks from Slurm's own cron."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import pytest
from cluster.running import Cluster
from manager_support import Toy, action, wait_for

OTHERS = "# of somebody else\n0 0 1 1 * true\n"
INSTALL = ("cron", "install", "--with", "scrontab", "--every", "1", "--yes")


def table() -> str:
    return subprocess.run(["scrontab", "-l"], capture_output=True, text=True, check=False).stdout


@pytest.fixture
def others(cluster: Cluster) -> Iterator[None]:
    """An entry of somebody else in the table."""
    subprocess.run(["scrontab", "-"], input=OTHERS, text=True, check=True)
    yield
    subprocess.run(["scrontab", "-r"], check=True)


@pytest.mark.soak
@pytest.mark.skipif(not shutil.which("scrontab"), reason="there is no scrontab (Debian has none)")
@pytest.mark.usefixtures("others")
def test_slurms_cron_does_a_campaign(toy: Toy, cluster: Cluster) -> None:
    name = toy.apply("scron", action("first"), {**action("then"), "after": ["first"]}, driver={})
    refused = toy.run(*INSTALL, "--option=--partition=nosuch")
    assert (refused.returncode, "scrontab refused: " in refused.stderr, table()) == (69, True, OTHERS)
    assert not (toy.home / "cron" / "tick").exists()
    done = toy.run(*INSTALL, "--option=--partition=debug", "--option=--account=lsst", "--option=--mem=800M")
    assert done.returncode == 0, done.stdout + done.stderr
    assert table().startswith(OTHERS)
    wait_for(lambda: toy.states(name) == {"first": "done", "then": "done"}, what="the end", seconds=400)
    shown = toy.run("cron", "show", "--with", "scrontab")
    assert "#SCRON --job-name=merian-campaign --output=" in shown.stdout
    # Who cancels its job disables the entry; it is found and removed all the same.
    (job,) = [job for job, _, called in cluster.squeue() if called == "merian-campaign"]
    cluster.output("scancel", job)
    assert "#DISABLED: #SCRON" in table()
    assert toy.run("cron", "remove", "--with", "scrontab").returncode == 0
    assert table() == OTHERS
