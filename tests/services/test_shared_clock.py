"""The database's clock counts, whatever a host's own says."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from merian_campaign.services.shared_clock import SharedClock

THEN = datetime(2026, 11, 25, 12, tzinfo=UTC)


def test_it_goes_on_from_what_the_database_said(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def ask() -> datetime:
        asked.append(1)
        return THEN

    clock = SharedClock(ask)
    first = clock()
    assert timedelta() <= first - THEN < timedelta(minutes=1)
    up = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: up + 3600)
    assert timedelta(minutes=59) < clock() - THEN < timedelta(minutes=62)
    assert len(asked) == 1
