"""Which nights are complete, and which exposures may be used so far."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from merian_campaign.domain.record.overlaps import Overlaps, SkyExposure
from merian_campaign.domain.record.snapshot import Snapshot
from merian_campaign.domain.spec import CampaignSpec
from merian_campaign.domain.spec.new_data import NightComplete


@dataclass(frozen=True, kw_only=True)
class Arrivals:
    """What a tick saw of new data on the file system.

    Parameters
    ----------
    files : `~collections.abc.Mapping` [`str`, `str`]
        By step that ingests raws, a digest of the files that its patterns match; empty when there is none.
    marked : `frozenset` [`int`]
        Nights that a file marks as complete.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    marked: frozenset[int] = frozenset()


NO_ARRIVALS = Arrivals()
"""Where nobody has looked."""


def night_is_complete(
    rule: NightComplete | None, night: int, rows: Iterable[SkyExposure], *, marked: bool, now: datetime
) -> bool:
    """Say whether all raws of a night are there, by the campaign's rule."""
    if rule is None:
        return True
    if rule.clock is not None:
        hour, minute = rule.clock
        begin = datetime(night // 10_000, night // 100 % 100, night % 100, tzinfo=UTC)
        if now < begin + timedelta(days=1, hours=hour, minutes=minute):
            return False
    if rule.quiet_hours is not None:
        last = max((row.last_at for row in rows if row.last_at is not None), default=None)
        if last is not None and now < last + timedelta(hours=rule.quiet_hours):
            return False
    return rule.marker is None or marked


def incomplete_nights(
    spec: CampaignSpec, overlaps: Overlaps | None, *, arrivals: Arrivals, now: datetime
) -> frozenset[int]:
    """Return the nights of which raws were seen, and more may come."""
    if overlaps is None or spec.night_complete is None:
        return frozenset()
    by_night: dict[int, list[SkyExposure]] = defaultdict(list)
    for row in overlaps.exposures:
        by_night[row.day_obs].append(row)
    return frozenset(
        night
        for night, rows in by_night.items()
        if not night_is_complete(spec.night_complete, night, rows, marked=night in arrivals.marked, now=now)
    )


def usable(spec: CampaignSpec, snapshot: Snapshot, *, without: frozenset[int]) -> Snapshot:
    """Return a snapshot without the exposures of some nights, and without those called bad.

    Of a night of which more comes after it was complete, what was used before is not withdrawn.
    """
    overlaps = snapshot.overlaps
    if overlaps is None or not (without or spec.bad_exposures):
        return snapshot
    bad = frozenset(spec.bad_exposures)
    bases = (group.basis.exposures for group in snapshot.groups if group.basis is not None) if without else ()
    used = frozenset().union(*bases)
    rows = tuple(
        row
        for row in overlaps.exposures
        if row.exposure not in bad and (row.day_obs not in without or row.exposure in used)
    )
    return replace(snapshot, overlaps=replace(overlaps, exposures=rows))
