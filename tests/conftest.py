"""What all tests share: Hypothesis's settings, the reduced demo survey, and which tests run on one worker."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from demo_chain import Survey

# The same examples each time, no deadline on a busy host.
settings.register_profile("campaign", derandomize=True, deadline=None, database=None, max_examples=60)
settings.load_profile("campaign")

LONG = ("slurm", "e2e", "wms")
"""Folders whose tests take longest; handed out first, so that no worker ends long after the others."""


@pytest.fixture(scope="session")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    """A demo repository in which every step ran once, without faults; write to collections of your own."""
    from demo_chain import DRP_STEPS, Survey  # noqa: PLC0415 - imports lsst

    survey = Survey(tmp_path_factory.mktemp("survey"))
    survey.run_calibration()
    for step in DRP_STEPS:
        survey.run_or_fail(step)
    return survey


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put tests that share something costly on one worker, and the longest first, under pytest-xdist."""
    if not hasattr(config, "workerinput"):
        return
    for item in items:
        group = _group(item)
        if group:
            item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=_rank)


def _group(item: pytest.Item) -> str:
    """Return the group of a test; empty for one that shares nothing and may run anywhere."""
    fixtures = getattr(item, "fixturenames", ())
    folder = item.path.parent.name
    if folder == "slurm":
        return "slurm"
    if "demo" in fixtures or "survey" in fixtures:
        return "demo"
    return "" if item.get_closest_marker("e2e") else str(Path(folder) / item.path.name)


def _rank(item: pytest.Item) -> int:
    """Return how early a test is handed out, lowest first; those of one rank keep their order."""
    folder = item.path.parent.name
    first = "demo" in getattr(item, "fixturenames", ())
    if first or folder not in LONG:
        return 1 if first else len(LONG) + 2
    return 0 if folder == "slurm" else 2 + LONG.index(folder)
