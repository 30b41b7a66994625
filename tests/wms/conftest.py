"""Fixtures of the WMS tests: a repository per module, and a check that nothing is left running."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import wms_support as support


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return support.make_repo(tmp_path_factory.mktemp("repo") / "repo", detectors=10)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Return a folder for submissions; no process of any of them may outlive the test."""
    yield tmp_path
    left = [
        process.cmdline() for submit in tmp_path.glob("*-submit") for process in support.marked(str(submit))
    ]
    assert left == []
