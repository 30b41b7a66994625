"""The report of a survey: 400 tracts and a million quanta, each number counted once more."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import psycopg2
import pytest
from independent_counts import PageNumbers, differences
from made_campaign import MadeCampaign
from report_help import opened

from merian_campaign.domain.report.numbers import report_of
from merian_campaign.reports.page.html import PageText, page
from merian_campaign.reports.page.tables import report_json
from merian_campaign.store.reading.reader import Reader
from merian_campaign.store.server import embedded, migrate
from merian_campaign.store.server.connection import open_connection
from merian_campaign.store.store import PostgresStore

pytestmark = pytest.mark.soak

MADE = MadeCampaign(tracts=400, quanta=1_000_000)
LARGEST = 3_000_000


@pytest.fixture(scope="module")
def survey() -> Iterator[str]:
    """URL of a database with the campaign."""
    home = Path(tempfile.mkdtemp(prefix="merian-survey-")).resolve()
    home.chmod(0o711)
    try:
        found = embedded.ensure_running(home)
        migrate.upgrade(found)
        with PostgresStore(found) as store:
            MADE.fill(store)
        with closing(open_connection(found)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("VACUUM ANALYZE")
        yield found
    finally:
        embedded.stop(home)
        shutil.rmtree(home, ignore_errors=True)


def test_every_number_at_a_million_quanta(survey: str, tmp_path: Path) -> None:
    since = MADE.now - timedelta(days=7, hours=3, minutes=41)
    with Reader(survey) as reader:
        report = report_of(reader.report("wide", at=MADE.now, since=since))
    told = report_json(report)
    assert told["headline"]["expected"] > 900_000
    connection: psycopg2.extensions.connection
    with closing(open_connection(survey)) as connection:
        assert differences(connection, told, since=since) == []

    text = page(report, PageText(version="0.1.0", logs={}))
    assert len(text.encode()) < LARGEST
    assert len(PageNumbers(text).tables["tracts"]) == len(told["tracts"]) == MADE.tracts
    found, said = opened(
        text, "return { pictures: Number(document.documentElement.dataset.drawn) };", folder=tmp_path
    )
    assert said == found["requests"] == []
    assert found["pictures"] >= 12
