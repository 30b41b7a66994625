"""Hosts whose clocks differ: times of leases and launches are the database's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from merian_campaign import context
from merian_campaign.context import CommandContext
from merian_campaign.store.store import PostgresStore


class WrongTime(datetime):
    """A host's clock that is three hours ahead."""

    @classmethod
    def now(cls, tz: object = None) -> datetime:
        del tz
        return datetime.now(UTC) + timedelta(hours=3)


def test_a_host_with_a_wrong_clock_goes_by_the_databases(
    store: PostgresStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "datetime", WrongTime)
    monkeypatch.setenv("MERIAN_CAMPAIGN_DATABASE_URL", url)
    here = CommandContext()
    try:
        assert here.clock() - store.now() > timedelta(hours=2)
        for clock in (here.runtime.clock, here.scheduler._clock):
            assert abs(clock() - store.now()) < timedelta(minutes=1)
    finally:
        here.store.close()
