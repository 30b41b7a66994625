"""Which groups by tract a group reads: that there is another one is seen in no exposure of its own.

A tract that is added later, or that enough visits overlap only now, makes older nights out of date which
overlap it, and everything that reads all tracts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet

from merian_campaign.domain.readiness.gates import Needs
from merian_campaign.domain.readiness.overlap_refresh import cut_of
from merian_campaign.domain.record.snapshot import GroupView
from merian_campaign.domain.spec import BpsStep, CampaignSpec
from merian_campaign.domain.spec.campaign import steps_before

__all__ = ["parts_read", "steps_with_parts", "those_before"]


def steps_with_parts(spec: CampaignSpec) -> frozenset[str]:
    """Return the steps whose groups may come to read more tracts: all but those that read their own."""
    return frozenset(step.name for step in spec.steps if isinstance(step, BpsStep) and _has_parts(spec, step))


def _has_parts(spec: CampaignSpec, step: BpsStep) -> bool:
    if cut_of(spec, step.name) != "tract":
        return any(cut_of(spec, name) == "tract" for name in steps_before(spec, step.name))
    return any(gate.match == "all" and cut_of(spec, gate.step) == "tract" for gate in step.after)


def parts_read(
    needs: Needs, *, own: AbstractSet[int] | None, lacks_data: Callable[[GroupView], bool]
) -> frozenset[str]:
    """Return the groups by tract that a group reads, by ``STEP/KEY``.

    Parameters
    ----------
    needs : `Needs`
        What has to be done before it.
    own : set of `int` or `None`
        Tracts that it has to do with; `None` for all. What is waited for besides, as long as it is not known
        what overlaps, is not read.
    lacks_data : callable
        Says of a group that there is nothing to make it from.
    """
    return frozenset(
        f"{group.step}/{group.key}"
        for group, everything in _tracts(needs)
        if (everything or own is None or not own.isdisjoint(group.selection.values)) and not lacks_data(group)
    )


def those_before(needs: Needs, group: GroupView) -> frozenset[str]:
    """Return the groups by tract that had begun when a group's generation did, where nobody wrote it down."""
    begun = [one.created_at for one in group.submissions if one.generation == group.generation]
    return frozenset(
        f"{other.step}/{other.key}"
        for other, _ in _tracts(needs)
        if begun and other.submissions and other.submissions[0].created_at <= begun[0]
    )


def _tracts(needs: Needs) -> Iterator[tuple[GroupView, bool]]:
    for need in needs.groups:
        if need.group.selection.dimension == "tract":
            yield need.group, need.gate.match == "all"
