"""What all tests share: Hypothesis's settings, the reduced demo survey, and which tests run on one worker."""

from __future__ import annotations

import fcntl
import gc
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from demo_chain import Survey

# The same examples each time, no deadline on a busy host.
settings.register_profile("campaign", derandomize=True, deadline=None, database=None, max_examples=60)
settings.load_profile("campaign")

# Hundreds of programs are started; none shall compile this package anew because its caller keeps no bytecode.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Whoever starts the tests in the background has them ignore the interrupt that some send to a program.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED = {
    "tests/slurm/": "slurm",
    "tests/e2e/test_db_rebuild.py": "demo",
    "tests/e2e/test_demo.py": "demo",
    "tests/e2e/test_housekeeping.py": "demo",
    "tests/e2e/test_same_outputs.py": "demo",
    "tests/demo/test_chain.py": "demo",
    "tests/demo/test_faults.py": "demo",
    "tests/docs/": "docs",
    "tests/reports/": "reports",
}
"""Tests that share what takes long to make (a cluster, a finished demo), and so a worker, by their path."""

ALONE = ("tests/e2e/", "tests/wms/")
"""Tests that share nothing; of all others, those of one file share a worker."""

ORDER = (
    "slurm", "demo", "tests/services/test_six_weeks.py", "tests/e2e/", "tests/wms/", "tests/surveys/",
    "tests/product/", "tests/cli/", "docs", "tests/middleware/", "tests/housekeeping/", "tests/notebook/",
    "tests/store/", "reports",
)  # fmt: skip
"""What is handed out first, by group or path: what takes longest, so that all workers end together.

A process that has drawn the pictures of a report forks no commands any more (`forked_program`), so that the
reports come after all that do.
"""

NO_SLURM = "no Slurm: "
"""How the reason begins for which tests on a cluster are skipped."""


@pytest.fixture(scope="session")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    """A demo repository in which every step ran once, without faults; write to collections of your own.

    Made by the worker that asks first; each has a copy.
    """
    from demo_chain import DRP_STEPS, Survey  # noqa: PLC0415 - imports lsst

    base = tmp_path_factory.getbasetemp()
    first = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "first-survey"
    with first.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not first.exists():
            making = Survey(tmp_path_factory.mktemp("making"))
            making.run_calibration()
            for step in DRP_STEPS:
                making.run_or_fail(step)
            making.directory.rename(first)
    own = Path(shutil.copytree(first, tmp_path_factory.mktemp("survey") / "own"))
    survey = Survey(own)
    survey.graphs |= {graph.stem: graph for graph in own.glob("*.qg")}
    return survey


def group_of(nodeid: str) -> str:
    """Return what a test is run together with, one worker after the other."""
    for path, group in SHARED.items():
        if nodeid.startswith(path):
            return group
    return nodeid if nodeid.startswith(ALONE) else nodeid.partition("::")[0]


def rank_of(item: pytest.Item) -> int:
    """Return how early a test is handed out."""
    group = group_of(item.nodeid)
    return next((at for at, start in enumerate(ORDER) if group.startswith(start)), len(ORDER))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order the tests where several workers run them."""
    if hasattr(config, "workerinput"):
        items.sort(key=rank_of)


def pytest_collection_finish() -> None:
    """Let no collection of garbage walk through thousands of tests, here and in each forked child."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly that there was no cluster; with several workers, only their reports tell."""
    skipped = terminalreporter.stats.get("skipped", [])
    why = next((text for each in skipped if NO_SLURM in (text := str(each.longrepr))), None)
    if why is not None:
        terminalreporter.section("SLURM WAS NOT TESTED", sep="!", red=True, bold=True)
        terminalreporter.write_line(why[why.index(NO_SLURM) :], red=True)
        terminalreporter.write_line("Nothing that needs a cluster was run. tests/slurm/README.md says more.")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand out tests group by group, in the order above."""
    from xdist.scheduler import LoadScopeScheduling  # noqa: PLC0415 - only with that plug-in

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    config.option.loadscopereorder = False
    return Groups(config, log)
