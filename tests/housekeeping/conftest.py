"""One tracking database and one repository to copy, for all tests of housekeeping."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from demo_repository import copied_repository
from house_help import House, environment, register
from lsst.daf.butler import Butler

from merian_campaign.store.server import embedded
from merian_campaign.store.server.server import prepared_url
from merian_campaign.store.store import PostgresStore

_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    """A home directory with a running embedded server."""
    place = Path(tempfile.mkdtemp(prefix="merian-house-")).resolve()
    place.chmod(0o711)
    try:
        prepared_url({"MERIAN_CAMPAIGN_HOME": str(place)})
        yield place
    finally:
        embedded.stop(place)
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's repository before its first step, with dataset types for the tests."""
    repository = copied_repository(tmp_path_factory.mktemp("pristine"))
    with Butler.from_config(str(repository), writeable=True) as butler:
        register(butler)
    return repository


@pytest.fixture
def house(
    home: Path,
    pristine: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[House]:
    """A campaign with nothing submitted yet, in a repository of its own."""
    monkeypatch.delenv("MERIAN_CAMPAIGN_DATABASE_URL", raising=False)
    monkeypatch.setenv("MERIAN_CAMPAIGN_HOME", str(home))
    repository = tmp_path / "repo"
    shutil.copytree(pristine, repository)
    name = f"{request.node.originalname.removeprefix('test_')[:40]}_{next(_NUMBERS)}"
    with PostgresStore(embedded.url(home)) as store:
        made = House(repository=repository, name=name, store=store, environ=environment(home))
        made.apply()
        yield made
