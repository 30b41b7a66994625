"""One made campaign with hostile words in it, on a server of its own, and its report."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from report_help import HOSTILE, MADE

from merian_campaign.domain.report.numbers import Report, report_of
from merian_campaign.domain.report.rows import ReportRows
from merian_campaign.reports.page.html import PageText, page
from merian_campaign.store.reading.reader import Reader
from merian_campaign.store.server import embedded, migrate
from merian_campaign.store.server.connection import open_connection
from merian_campaign.store.store import PostgresStore


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    """URL of a database with the campaign ``wide``."""
    home = Path(tempfile.mkdtemp(prefix="merian-reports-")).resolve()
    home.chmod(0o711)
    try:
        found = embedded.ensure_running(home)
        with closing(open_connection(found)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("ALTER SYSTEM SET fsync = off")
                cursor.execute("SELECT pg_reload_conf()")
        migrate.upgrade(found)
        with PostgresStore(found) as store:
            MADE.fill(store)
        yield found
    finally:
        embedded.stop(home)
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def sql(url: str) -> Iterator[psycopg2.extensions.connection]:
    with closing(open_connection(url)) as connection:
        connection.autocommit = True
        yield connection


@pytest.fixture(scope="session")
def rows(url: str) -> ReportRows:
    """What the campaign's report is made of."""
    with Reader(url) as reader:
        return reader.report("wide", at=MADE.now, since=MADE.now.replace(day=12))


@pytest.fixture(scope="session")
def report(rows: ReportRows) -> Report:
    return report_of(rows)


@pytest.fixture(scope="session")
def text(report: Report) -> str:
    """The page."""
    logs = {report.causes[0].example: f"last words{HOSTILE}"}
    return page(report, PageText(version="0.1.0", logs=logs, no_sky="no sky"))
