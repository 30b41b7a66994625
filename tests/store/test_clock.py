"""The clock that all hosts share."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from merian_campaign.domain.errors import DatabaseUnavailableError
from merian_campaign.store.server.clock import DatabaseClock
from merian_campaign.store.store import PostgresStore

YEARS_AGO = datetime(2020, 2, 2, tzinfo=UTC)


def test_the_databases_clock_counts_and_is_asked_once(store: PostgresStore) -> None:
    assert abs(store.now() - datetime.now(UTC)) < timedelta(hours=1)
    asked: list[datetime] = []

    def ask() -> datetime:
        if not asked:
            asked.append(YEARS_AGO)
            raise DatabaseUnavailableError("away")
        asked.append(YEARS_AGO)
        return YEARS_AGO

    clock = DatabaseClock(ask)
    assert clock() > YEARS_AGO + timedelta(days=365), "this host's, while the database is away"
    first, second = clock(), clock()
    assert YEARS_AGO <= first <= second < YEARS_AGO + timedelta(hours=1)
    assert len(asked) == 2
