from pathlib import Path

import pytest
from demo_chain import Survey


@pytest.fixture(scope="session")
def empty_survey(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    """A demo repository in which nothing has run; do not run anything in it."""
    return Survey(tmp_path_factory.mktemp("empty"))


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger"
