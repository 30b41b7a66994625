"""What is different from what a group was made from, and in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum

from merian_campaign.domain.record.basis import Basis
from merian_campaign.domain.record.overlaps import SkyExposure
from merian_campaign.domain.record.snapshot import GroupView, SubmissionView
from merian_campaign.domain.spec import ActionStep
from merian_campaign.domain.spec.new_data import OnNewData

_READ = frozenset({"certify-calibrations", "collection-chain", "write-curated-calibrations"})
"""Actions with other arguments of which steps read something else: what has read it is stale."""


class Freshness(StrEnum):
    """How a group stands to what there is now."""

    CURRENT = "current"
    """Made from what there is; or nobody can tell."""
    EXTEND = "extend"
    """There is more: the next submission adds it."""
    REDO = "redo"
    """Outputs that exist would change, and are to be made anew."""
    STALE = "stale"
    """Outputs that exist would change, and are left as they are."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """What is different from what a group was made from.

    Parameters
    ----------
    freshness : `Freshness`
        What becomes of it.
    added, removed : `frozenset` [`int`]
        Exposures that came, and that were withdrawn.
    upstream : `tuple` [`str`, ...]
        Groups of which it has read an older generation.
    raws : `int`
        How many more raws there are of the exposures that it was made from.
    edited : `bool`
        Whether the data query of its step is another one in what exposures do not tell.
    parts, lost : `frozenset` [`str`]
        Groups by tract that it would read, which were not there, and those that it has read and would not.
    reason : `str`
        In words; empty when nothing is different. With `Freshness.CURRENT`, what the policy ignores.
    """

    freshness: Freshness = Freshness.CURRENT
    added: frozenset[int] = frozenset()
    removed: frozenset[int] = frozenset()
    upstream: tuple[str, ...] = ()
    raws: int = 0
    edited: bool = False
    parts: frozenset[str] = frozenset()
    lost: frozenset[str] = frozenset()
    reason: str = ""

    @property
    def is_of_groups(self) -> bool:
        """Whether it would read other groups, or other generations of them."""
        return bool(self.upstream or self.parts or self.lost)

    @property
    def is_of_data(self) -> bool:
        """Whether anything is different besides an edited query."""
        return bool(self.added or self.removed or self.is_of_groups)


def in_words(found: Change, *, new: frozenset[int], nights: Mapping[int, int]) -> str:
    """Say what is different.

    Parameters
    ----------
    found : `Change`
        What it is.
    new : `frozenset` [`int`]
        The exposures among those that came of which nothing was there.
    nights : `~collections.abc.Mapping` [`int`, `int`]
        Nights of exposures.
    """
    parts = [f"{found.raws} more raws of exposures that it has"] if found.raws else []
    for words, ids in (("new", new), ("withdrawn", found.removed)):
        if ids:
            number = len({nights.get(exposure) for exposure in ids})
            of = f" of {number} nights" if number > 1 else ""
            parts.append(f"{len(ids)} {words} exposure{'s' if len(ids) > 1 else ''}{of}")
    if found.upstream:
        parts.append(f"a new generation of {_few(found.upstream)}")
    if found.parts:
        parts.append(f"{_few(sorted(found.parts))}, which it has not read")
    if found.lost:
        parts.append(f"{_few(sorted(found.lost))}, which it has read and of which there is nothing any more")
    if found.edited:
        parts.append("an edited data query")
    return ", ".join(parts)


def reads_stale(names: Sequence[str]) -> str:
    """Say what has been read that is stale."""
    return f"reads {_few(names)}, which {'are' if len(names) > 1 else 'is'} stale"


def redo_when(policy: OnNewData, *, exposures: int | None, nights: int, of: int, today: date) -> str:
    """Say what it takes until what is stale is made anew; empty when it is now.

    Parameters
    ----------
    policy : `OnNewData`
        The thresholds.
    exposures : `int` or `None`
        How many changed; `None` for a change that no number of exposures tells.
    nights, of : `int`
        Of how many nights they are, and how many exposures there are.
    today : `datetime.date`
        UTC.
    """
    unmet: list[str] = []
    if exposures is not None:
        unmet += [f"{policy.min_visits} exposures"] if exposures < policy.min_visits else []
        unmet += [f"those of {policy.min_nights} nights"] if nights < policy.min_nights else []
        part = policy.min_fraction
        unmet += [f"{part:.0%} of all"] if exposures < part * max(1, of) else []
    early = policy.not_before is not None and today < policy.not_before
    changed = [f"once {' and '.join(unmet)} have changed"] if unmet else []
    return ", ".join([*changed, *([f"not before {policy.not_before}"] if early else [])])


@dataclass(frozen=True, kw_only=True)
class FirstLooks:
    """When exposures were seen first.

    Parameters
    ----------
    by_exposure : `~collections.abc.Mapping`
        UTC; `None` when that was before such times were kept.
    first : `datetime.datetime` or `None`
        When anything was seen first; `None` where that is not known of all.
    """

    by_exposure: Mapping[int, datetime | None]
    first: datetime | None

    @classmethod
    def of(cls, rows: Sequence[SkyExposure]) -> FirstLooks:
        """Return those of the exposures that there are."""
        times = [row.seen_at for row in rows if row.seen_at is not None]
        return cls(
            by_exposure={row.exposure: row.seen_at for row in rows},
            first=min(times, default=None) if len(times) == len(rows) else None,
        )

    def by(self, exposure: int, until: datetime | None) -> bool:
        """Say whether an exposure had been seen by some moment."""
        if exposure not in self.by_exposure:
            return False
        seen_at = self.by_exposure[exposure]
        return seen_at is None or (until is not None and seen_at <= until)


def inferred(group: GroupView, now: Basis, *, looks: FirstLooks) -> Basis:
    """Return what a group was made from whose submissions say nothing: what had been seen by then.

    What the first look saw had been there before, whenever that was.
    """
    made_at = [one.created_at for one in group.submissions if one.generation == group.generation]
    until = max([*([] if looks.first is None else [looks.first]), *made_at[:1]], default=None)
    then = frozenset(exposure for exposure in now.exposures if looks.by(exposure, until))
    return Basis(exposures=then, raws=now.raws if then == now.exposures else 0)


def older_read(made: Basis, now: Basis) -> tuple[str, ...]:
    """Return the groups of which an older generation was read."""
    return tuple(name for name, number in now.upstream.items() if made.upstream.get(name, 1) != number)


def newer_release(group: GroupView, others: Iterable[GroupView]) -> str:
    """Return the release of the stack that others have first run under since an action last ran."""
    own = [one for one in group.submissions if one.versions_sha]
    if not own:
        return ""
    first: dict[str, SubmissionView] = {}
    ran = (one for other in others for one in other.submissions if one.versions_sha)
    for one in sorted(ran, key=lambda one: one.created_at):
        first.setdefault(one.versions_sha, one)
    new = [one for one in first.values() if one.created_at > own[-1].created_at]
    return new[-1].versions_short if new else ""


def change_of_action(step: ActionStep, *, made: Basis, now: Basis, release: str = "") -> Change:
    """Return what is different for an action; whatever becomes of products, it is done again.

    But for curated calibrations of another release of the stack: others may read those that there are, and
    instruments write new ones under a label of their own.
    """
    older = older_read(made, now)
    if older:
        found = Change(freshness=Freshness.REDO, upstream=older)
        return replace(found, reason=f"a new generation of {_few(older)}")
    if made.asks_otherwise(now):
        changes = Freshness.REDO if step.action in _READ else Freshness.EXTEND
        return Change(freshness=changes, edited=True, reason="edited arguments")
    if step.action == "ingest-raws" and now.files and now.files != made.files:
        return Change(freshness=Freshness.EXTEND, reason="there are other raw files than when it last ran")
    added = now.exposures - made.exposures
    if step.action == "define-visits" and added:
        words = f"{len(added)} exposure{'s' if len(added) > 1 else ''} without a visit"
        return Change(freshness=Freshness.EXTEND, added=added, reason=words)
    if release:
        return Change(reason=f"what {release} may bring, under which others ran since; `labels` bring it in")
    return Change()


def _few(names: Sequence[str]) -> str:
    return f"{', '.join(names[:2])}{f' and {len(names) - 2} more' if len(names) > 2 else ''}"  # noqa: PLR2004
