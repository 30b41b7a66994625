"""One Slurm cluster for the session, real daemons on loopback; after every test nothing may be left on it."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cluster.processes import Process, end, wait_until
from cluster.running import Cluster
from cluster.settings import Settings
from cluster.starting import up
from cluster.stopping import down
from cluster.trouble import ClusterError, MissingProgramsError

if TYPE_CHECKING:
    from manager_support import Toy

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "wms"))  # the toy pipelines of the WMS service's tests
sys.path.append(str(HERE.parent / "e2e"))  # how a user's commands are run is the same there and here
REQUIRED = "MERIAN_SLURM_REQUIRED"
# Blocks and drivers may take a moment to end by themselves; more means that they would have stayed.
GRACE_SECONDS = 60.0


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.slurm)


@pytest.fixture(scope="module")
def toy() -> Iterator[Toy]:
    """Return a campaign manager of its own, on a repository with four detectors."""
    from manager_support import Toy  # noqa: PLC0415 - imports lsst
    from wms_support import make_repo  # noqa: PLC0415 - of the tests of the WMS service

    from merian_campaign.store.server import embedded  # noqa: PLC0415 - for these tests only

    root = Path(tempfile.mkdtemp(prefix="merian-manager-")).resolve()
    root.chmod(0o711)  # as root, the database has an account of its own
    home = root / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MERIAN_CAMPAIGN_DATABASE_URL", raising=False)
        patch.setenv("MERIAN_CAMPAIGN_HOME", str(home))
        yield Toy(folder=root, home=home, repo=make_repo(root / "repo", detectors=4))
        embedded.stop(home)
    shutil.rmtree(root)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Start a cluster, or use the one whose env.sh was sourced before."""
    if given := os.environ.get("MERIAN_SLURM_DIR"):
        yield Cluster(Settings.load(Path(given)))
        return
    root = Path(tempfile.mkdtemp(prefix="merian-slurm-")).resolve()
    root.chmod(0o755)
    try:
        made = up(root, keeper_of=os.getpid())
    except MissingProgramsError as error:
        root.rmdir()
        if os.environ.get(REQUIRED, "") == "1":
            raise
        pytest.skip(f"no Slurm: {error}")
    yield made
    down(made.settings, purge=True)


@pytest.fixture(scope="module", autouse=True)
def slurm_environment(cluster: Cluster) -> Iterator[None]:
    """Let every command these modules start reach the cluster."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in cluster.environment.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(autouse=True)
def nothing_left(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """After a test: the queue empty, every node idle again, no process of the test alive."""
    base = tmp_path_factory.getbasetemp()
    before = set(_running(cluster, base))
    yield
    # Managers of the test that are gone take the butler's process along that each has kept.
    gc.collect()
    cluster.start_controller()
    wait_until(cluster.controller_answers, seconds=60, period=0.2)

    def remaining() -> list[str]:
        try:
            jobs = [f"job {job} {state} {name}" for job, state, name in cluster.squeue()]
        except ClusterError as error:
            jobs = [f"the queue cannot be seen: {error}"]
        alive = [each for each in _running(cluster, base) if each not in before]
        return jobs + [f"process {each.pid} {each.command}" for each in alive]

    wait_until(lambda: not remaining(), seconds=GRACE_SECONDS, period=0.2)
    left = remaining()
    # The next test begins on a sound cluster, whatever this one did.
    end([each for each in _running(cluster, base) if each not in before], patience=5)
    cluster.settle()
    assert not left, f"left behind after {GRACE_SECONDS:.0f} s: {left}"


def _running(cluster: Cluster, base: Path) -> list[Process]:
    found = dict.fromkeys(cluster.client_processes(base))
    # A test's database server may serve the next test too; whoever made it checks that it ends.
    return [each for each in found if not each.name.startswith(("postgres", "pg_ctl"))]
