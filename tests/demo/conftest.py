from pathlib import Path

import pytest
from demo_chain import DRP_STEPS, Survey


@pytest.fixture(scope="session")
def empty_survey(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    """A demo repository in which nothing has run; do not run anything in it."""
    return Survey(tmp_path_factory.mktemp("empty"))


@pytest.fixture(scope="session")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    """A demo repository in which every step ran once, without faults; write to collections of your own."""
    survey = Survey(tmp_path_factory.mktemp("survey"))
    survey.run_calibration()
    for step in DRP_STEPS:
        survey.run_or_fail(step)
    return survey


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger"
