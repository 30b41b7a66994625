"""When a repository has to be asked for overlaps of visits and tracts, what for, and what the answer means.

Snapshots here are those `in_force`: without the groups that the file has no more.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

from merian_campaign.domain.clock_skew import is_recent
from merian_campaign.domain.record.overlaps import Overlaps, SkyExposure
from merian_campaign.domain.record.records import NewGroup
from merian_campaign.domain.record.snapshot import GroupView, Snapshot, SubmissionView
from merian_campaign.domain.rendering.render import data_query
from merian_campaign.domain.selection import OF_EXPOSURES, Selection
from merian_campaign.domain.spec import ActionStep, BpsStep, CampaignSpec
from merian_campaign.domain.spec.campaign import steps_before
from merian_campaign.domain.spec.grouping import where_clause
from merian_campaign.domain.spec.steps import effective_scope
from merian_campaign.domain.spec.tracts_and_nights import Discover
from merian_campaign.domain.states import CampaignState, GroupState, SubmissionOutcome

LOOK_AGAIN = timedelta(minutes=10)
"""How soon a look is repeated that did not find all nights, exposures or visits that groups name."""

_FORM = 2
"""What a look tells of an exposure; what was seen before it told so much is out of date."""

_AT_ONCE = 500
"""Ids in one data query."""

_PREPARING = frozenset(
    {"create", "register-instrument", "register-skymap", "transfer-datasets", "ingest-raws", "define-visits"}
)
"""Actions before whose end nothing is looked up: they make what is looked for."""

_BRINGING = _PREPARING | {"command"}
"""Actions after whose end it is looked up anew."""


@dataclass(frozen=True, kw_only=True)
class OverlapQuery:
    """What to ask a repository.

    Parameters
    ----------
    instrument : `str`
        Its name.
    skymap : `str` or `None`
        Which tracts; `None` when only exposures, visits and nights are matched.
    steps : `~collections.abc.Mapping` [`str`, `tuple` [`str`, ...]]
        By step, data queries for the exposures it takes.
    others : `tuple` [`str`, ...]
        Data queries for all exposures of the nights, exposures and visits that groups name.
    raws : `tuple` [`str`, ...]
        RUN collections of raws, or patterns of their names.
    """

    instrument: str
    skymap: str | None
    steps: Mapping[str, tuple[str, ...]]
    others: tuple[str, ...]
    raws: tuple[str, ...] = ("*/raw/all",)


@dataclass(frozen=True, kw_only=True)
class OverlapRefresh:
    """The answer: exposures, and by step the ids of those it takes."""

    exposures: tuple[SkyExposure, ...]
    taken: Mapping[str, frozenset[int]]


@dataclass(frozen=True, kw_only=True)
class OverlapRefreshFailed:
    """Why there is no answer.

    Parameters
    ----------
    reason : `str`
        In words.
    lasting : `bool`
        Whether only a person can change that.
    """

    reason: str
    lasting: bool = False


def tracts_of(spec: CampaignSpec, overlaps: Overlaps | None) -> tuple[int, ...]:
    """Return the campaign's tracts: those it lists, or those that enough of its visits overlap.

    Parameters
    ----------
    spec : `CampaignSpec`
        The campaign.
    overlaps : `Overlaps` or `None`
        What was seen; without it, nothing is discovered.
    """
    if not isinstance(spec.tracts, Discover):
        return spec.tracts
    if overlaps is None:
        return ()
    least = spec.tracts.min_visits
    return tuple(tract for tract, visits in overlaps.tract_visits.items() if visits >= least)


def cut_of(spec: CampaignSpec, name: str) -> str:
    """Return the dimension by which a step is cut into groups.

    Empty for everything, for actions, and for steps of scope global: those are about everything, however cut.
    """
    step = spec.step(name)
    if not isinstance(step, BpsStep) or effective_scope(step) in {"global", "instrument"}:
        return ""
    return step.group_by.cut_by


def needs_overlaps(spec: CampaignSpec) -> bool:
    """Say whether anything depends on what the registry has: steps over exposures, and what overlaps."""
    return bool(over_visits(spec)) or any(_matches_overlaps(spec, step) for step in spec.steps)


def _matches_overlaps(spec: CampaignSpec, step: BpsStep | ActionStep) -> bool:
    mine = cut_of(spec, step.name)
    gates = (cut_of(spec, gate.step) for gate in step.after if gate.match == "auto")
    return spec.discovers(step) or (bool(mine) and any(other and other != mine for other in gates))


def question(spec: CampaignSpec, groups: Iterable[GroupView | NewGroup]) -> OverlapQuery:
    """Return what to ask for a campaign with these groups."""
    by_step: dict[str, list[Selection]] = {}
    for group in groups:
        by_step.setdefault(group.step, []).append(group.selection)
    steps: dict[str, tuple[str, ...]] = {}
    others: set[Selection] = set()
    for step in over_visits(spec):
        merged = tuple(_merged(by_step.get(step.name, [])))
        steps[step.name] = (
            (_discovering(spec, step),)
            if spec.discovers_nights(step)
            else tuple(data_query(spec=spec, step=step, selection=one) for one in merged)
        )
        others.update(one for one in merged if one.dimension)
    instrument = f"instrument = '{spec.instrument}'"
    return OverlapQuery(
        instrument=spec.instrument,
        skymap=spec.skymap,
        steps=steps,
        others=tuple(sorted(f"{instrument} AND {where_clause(one)}" for one in others)),
        raws=_runs_of_raws(spec),
    )


def _runs_of_raws(spec: CampaignSpec) -> tuple[str, ...]:
    given = [step.arguments.get("run") for step in _ingests(spec)]
    return ("*/raw/all", *sorted({run for run in given if isinstance(run, str)}))


def _ingests(spec: CampaignSpec) -> list[ActionStep]:
    return [step for step in spec.steps if isinstance(step, ActionStep) and step.action == "ingest-raws"]


def _discovering(spec: CampaignSpec, step: BpsStep) -> str:
    """Return the data query for all exposures of a step whose nights are discovered."""
    query = data_query(spec=spec, step=step, selection=Selection())
    nights = spec.nights_discovered(step)
    if nights is not None:
        query += "" if nights.first is None else f" AND exposure.day_obs >= {nights.first}"
        query += "" if nights.last is None else f" AND exposure.day_obs <= {nights.last}"
    return query


def defines_visits(spec: CampaignSpec) -> bool:
    """Say whether the campaign itself defines visits: then exposures without one wait for it."""
    return any(isinstance(step, ActionStep) and step.action == "define-visits" for step in spec.steps)


def nights_of(spec: CampaignSpec, step: BpsStep | ActionStep, overlaps: Overlaps | None) -> tuple[int, ...]:
    """Return the nights of which a step takes exposures, where it discovers them; else none.

    Of groups of exposures or visits it is those, in order of arrival. Exposures that wait for their visits do
    not count: nothing could be made of them yet.
    """
    nights = spec.nights_discovered(step)
    if overlaps is None or nights is None:
        return ()
    waits = defines_visits(spec)
    rows = [
        row
        for row in overlaps.exposures
        if step.name in row.steps and (row.tracts is not None or not waits) and nights.has(row.day_obs)
    ]
    dimension = cut_of(spec, step.name)
    if dimension == "day_obs":
        return tuple(sorted({row.day_obs for row in rows}))
    rows.sort(key=lambda row: (_arrival(row), row.exposure))
    return tuple(dict.fromkeys(value for row in rows for value in discovered_values(dimension, row)))


def discovered_values(dimension: str, row: SkyExposure) -> tuple[int, ...]:
    """Return what an exposure is of, in groups by night, exposure or visit."""
    match dimension:
        case "day_obs":
            return (row.day_obs,)
        case "visit":
            return row.visits
    return (row.exposure,)


def _arrival(row: SkyExposure) -> float:
    return 0.0 if row.seen_at is None else row.seen_at.timestamp()


def over_visits(spec: CampaignSpec) -> tuple[BpsStep, ...]:
    """Return the steps over exposures or visits."""
    return tuple(
        step
        for step in spec.steps
        if isinstance(step, BpsStep) and effective_scope(step) in {"exposure", "visit"}
    )


def _merged(selections: Iterable[Selection]) -> Iterator[Selection]:
    values: dict[str, set[int]] = {}
    for one in selections:
        values.setdefault(one.dimension, set()).update(one.values)
    for dimension, found in values.items():
        ordered = sorted(found)
        for start in range(0, max(1, len(ordered)), _AT_ONCE):
            yield Selection(dimension=dimension, values=tuple(ordered[start : start + _AT_ONCE]))


def basis(spec: CampaignSpec, snapshot: Snapshot) -> str | None:
    """Return what a look now would rest on; `None` while actions that make what is looked for are not done.

    Another revision, other nights, another ingest: another basis.
    """
    done: list[tuple[str, int]] = []
    for step in spec.steps:
        if not isinstance(step, ActionStep) or step.action not in _BRINGING or _behind_tracts(spec, step):
            continue
        for group in snapshot.groups:
            if group.step != step.name:
                continue
            last = last_success(group)
            if last is not None:
                done.append((step.name, last))
            elif step.action in _PREPARING:
                return None
    asked = asdict(question(spec, snapshot.groups))
    text = json.dumps([_FORM, snapshot.campaign.revision, asked, done], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def brought_in(submission: SubmissionView) -> bool:
    """Say whether a submission of an action did what it was for, but for what a person has to see to."""
    partly = submission.outcome is SubmissionOutcome.PARTIAL and submission.needs_person
    return partly or submission.outcome is SubmissionOutcome.SUCCEEDED


def last_success(group: GroupView) -> int | None:
    """Return the number of the last submission of an action that went well; `None` while none has.

    An action that is run again for new data has brought in what was there before, and one that could not
    bring in all has brought in the rest; 0 is for one that a person accepted.
    """
    well = [one.number for one in group.submissions if brought_in(one)]
    if well:
        return well[-1]
    return 0 if group.state is GroupState.DONE else None


def _behind_tracts(spec: CampaignSpec, step: ActionStep) -> bool:
    """Say whether an action waits itself for what overlaps decide: nothing may wait for it in turn."""
    return any(_matches_overlaps(spec, spec.step(name)) for name in steps_before(spec, step.name))


def settled(spec: CampaignSpec, snapshot: Snapshot) -> Overlaps | None:
    """Return the overlaps if they were seen and are not out of date."""
    found = snapshot.overlaps
    return found if found is not None and found.basis == basis(spec, snapshot) else None


def refresh_due(spec: CampaignSpec, snapshot: Snapshot, *, now: datetime, asked: bool = False) -> str | None:
    """Return the basis of the look that is due now; `None` when none is.

    Something has to depend on it, and all that brings data in has to be done. Then it is due when the last
    look rested on something else, when a person asks for it, and every ten minutes as long as the last one
    did not find all that groups name.
    """
    if snapshot.campaign.state is not CampaignState.ACTIVE or not needs_overlaps(spec):
        return None
    current = basis(spec, snapshot)
    seen = snapshot.overlaps
    if current is None or seen is None or seen.basis != current or asked:
        return current
    waits = any(group.state in {GroupState.WAITING, GroupState.BLOCKED} for group in snapshot.groups)
    named = (group.selection for group in snapshot.groups if group.selection.dimension in OF_EXPOSURES)
    if is_recent(seen.seen_at, within=LOOK_AGAIN, now=now):
        return None
    return current if comes_from_elsewhere(spec) or (waits and not seen.covers(named)) else None


def comes_from_elsewhere(spec: CampaignSpec) -> bool:
    """Say whether somebody else brings in raws: only a look can tell that there are new ones."""
    return not _ingests(spec)


def overlaps_of(spec: CampaignSpec, look: OverlapRefresh, *, basis: str, now: datetime) -> Overlaps:
    """Return the overlaps that an answer stands for."""
    taken: set[int] = set()
    with_visit = {row.exposure for row in look.exposures if row.visits}
    usable = {name: ids & with_visit for name, ids in look.taken.items()}
    for step in spec.steps:
        if cut_of(spec, step.name) == "tract":
            taken |= reaching(spec, usable, step.name)
    by_exposure: dict[int, set[str]] = {}
    for name, ids in look.taken.items():
        for exposure in ids:
            by_exposure.setdefault(exposure, set()).add(name)
    rows = tuple(
        replace(
            row,
            taken=row.exposure in taken,
            steps=frozenset(by_exposure.get(row.exposure, ())),
            seen_at=now,
        )
        for row in sorted(look.exposures, key=lambda row: row.exposure)
    )
    return Overlaps(exposures=rows, basis=basis, seen_at=now)


def reaching[Item](spec: CampaignSpec, taken: Mapping[str, AbstractSet[Item]], name: str) -> set[Item]:
    """Return what reaches a step along the gates: taken by every step on the way that takes any.

    Steps that take nothing of the kind (biases, flats, actions) let through what comes from before them.

    Parameters
    ----------
    spec : `CampaignSpec`
        The campaign.
    taken : `~collections.abc.Mapping`
        By step, what its data query selects.
    name : `str`
        The step.
    """
    known: dict[str, set[Item]] = {}

    def through(step: str) -> set[Item]:
        if step not in known:
            before: set[Item] = set().union(*(through(gate.step) for gate in spec.step(step).after))
            own = set(taken.get(step, ()))
            known[step] = (own & before if before else own) if own else before
        return known[step]

    return through(name)
