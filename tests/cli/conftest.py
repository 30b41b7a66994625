"""The real console script, with one embedded database for all tests of the command line."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from cli_help import Cli, run_program
from survey_help import Survey, make_survey


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    """A home directory whose embedded server is stopped at the end."""
    place = Path(tempfile.mkdtemp(prefix="merian-cli-")).resolve()
    try:
        yield place
    finally:
        run_program("db", "stop", home=place)
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="session")
def url(home: Path) -> str:
    """URL of the embedded database."""
    return run_program("db", "url", "--libpq", home=home).stdout.strip()


@pytest.fixture
def survey(tmp_path: Path, request: pytest.FixtureRequest) -> Survey:
    """A folder with a campaign file whose campaign has a name of its own."""
    made = make_survey(tmp_path)
    made.edit("campaign: night", f"campaign: {request.node.name.partition('[')[0][:60]}")
    return made


@pytest.fixture
def cli(home: Path, survey: Survey) -> Cli:
    return Cli(home=home, survey=survey)


@pytest.fixture
def work(cli: Cli) -> Path:
    """The campaign's folder of submissions."""
    return cli.survey.folder / "work"


@pytest.fixture
def sql(url: str) -> Iterator[psycopg2.extensions.connection]:
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        yield connection
