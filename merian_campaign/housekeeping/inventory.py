"""The collections of a campaign: what each is, and what made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from merian_campaign.domain.record.snapshot import GroupView, Snapshot, SubmissionView
from merian_campaign.domain.rendering.naming import group_output
from merian_campaign.domain.rendering.render import input_collections
from merian_campaign.domain.spec import BpsStep, CampaignSpec
from merian_campaign.domain.spec.actions.calibrations import CertifyCalibrations, CollectionChain
from merian_campaign.housekeeping.cleaning import REMOVED, CleaningPlan
from merian_campaign.housekeeping.cleaning_policy import own_runs


@dataclass(frozen=True, kw_only=True)
class CollectionSummary:
    """What a repository says about a collection.

    Parameters
    ----------
    name : `str`
        Its name.
    kind : `str`
        ``RUN``, ``CHAINED``, ``TAGGED`` or ``CALIBRATION``; empty for a folder that is not registered.
    children : `tuple` [`str`, ...]
        Of a chain.
    datasets : `int` or `None`
        How many it holds; `None` for a chain.
    size : `int` or `None`
        Of its files, bytes; `None` when nobody asked, and for what is not a RUN.
    """

    name: str
    kind: str
    children: tuple[str, ...] = ()
    datasets: int | None = None
    size: int | None = None


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a collection of a campaign comes from.

    Parameters
    ----------
    name : `str`
        The collection.
    made_by : `str`
        Step, group and submission number; or what it is, in words.
    outcome : `str`
        How the submission ended, or its state.
    at : `datetime.datetime` or `None`
        When it ended, or began if it has not; UTC.
    note : `str`
        What is to be known of it: superseded, debris ...
    """

    name: str
    made_by: str
    outcome: str = ""
    at: datetime | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class CollectionRow:
    """A collection as it is listed."""

    origin: Origin
    facts: CollectionSummary


def origins(spec: CampaignSpec, snapshot: Snapshot) -> tuple[Origin, ...]:
    """Return the collections a campaign reads and makes, in the order of its steps, inputs first.

    Whether they exist is for the repository to say.
    """
    found: dict[str, Origin] = {}
    made = _made(spec, snapshot)
    for step in spec.steps:
        if isinstance(step, BpsStep):
            for name in input_collections(spec=spec, step=step):
                if name not in made:
                    found.setdefault(name, Origin(name=name, made_by="input"))
    return (*found.values(), *made.values())


def _made(spec: CampaignSpec, snapshot: Snapshot) -> dict[str, Origin]:
    found: dict[str, Origin] = {}
    groups: dict[str, list[GroupView]] = {}
    for group in snapshot.groups:
        groups.setdefault(group.step, []).append(group)
    for step in spec.steps:
        if isinstance(step, BpsStep):
            output = spec.output_of(step)
            found[output] = Origin(name=output, made_by=f"chain of {step.name}")
            for group in groups.get(step.name, ()):
                found.update(_of_group(group, output))
            continue
        given = step.typed_arguments()
        if isinstance(given, CertifyCalibrations):
            found.setdefault(given.output, Origin(name=given.output, made_by=f"certified by {step.name}"))
        elif isinstance(given, CollectionChain):
            found.setdefault(given.parent, Origin(name=given.parent, made_by=f"chain by {step.name}"))
    for group, submission in own_runs(snapshot):
        # Of steps that the campaign's file no longer has.
        found.setdefault(submission.run_collection, _of(group, submission))
    return found


def _of_group(group: GroupView, output: str) -> dict[str, Origin]:
    """Return the chain of each generation of a group, followed by its RUNs."""
    found: dict[str, Origin] = {}
    for generation in range(1, group.generation + 1):
        chain = group_output(step_output=output, group=group.key, generation=generation)
        which = f", generation {generation}" if generation > 1 else ""
        found[chain] = Origin(name=chain, made_by=f"chain of {group.step}/{group.key}{which}")
        for submission in group.submissions:
            if submission.generation == generation:
                found[submission.run_collection] = _of(group, submission)
    return found


def _of(group: GroupView, submission: SubmissionView) -> Origin:
    return Origin(
        name=submission.run_collection,
        made_by=f"{group.step}/{group.key} {submission.number}",
        outcome=(submission.outcome or submission.state).value,
        at=submission.finished_at or submission.created_at,
    )


def listing(
    found: tuple[Origin, ...],
    facts: Mapping[str, CollectionSummary],
    *,
    snapshot: Snapshot,
    plan: CleaningPlan,
    cleaning: Mapping[int, str],
) -> tuple[CollectionRow, ...]:
    """Return the collections that exist, each with what is to be known of it.

    Parameters
    ----------
    found : `tuple` [`Origin`, ...]
        From `origins`.
    facts : `~collections.abc.Mapping`
        What the repository says, by name.
    snapshot : `Snapshot`
        The campaign.
    plan : `CleaningPlan`
        What `clean` would do.
    cleaning : `~collections.abc.Mapping`
        What it did, by submission id.
    """
    notes = {entry.run: f"stays: {entry.reason}" for entry in plan.kept}
    notes |= {removal.facts.run: removal.kind.value for removal in plan.removals}
    gone = {
        submission.run_collection
        for _, submission in own_runs(snapshot)
        if cleaning.get(submission.id) == REMOVED
    }
    rows = []
    for origin in found:
        there = facts.get(origin.name)
        if there is None and origin.name in gone:
            there, note = CollectionSummary(name=origin.name, kind=""), "removed"
        elif there is None:
            continue
        else:
            note = notes.get(origin.name, "" if there.kind else "not registered")
        rows.append(
            CollectionRow(
                origin=Origin(
                    name=origin.name,
                    made_by=origin.made_by,
                    outcome=origin.outcome,
                    at=origin.at,
                    note=note,
                ),
                facts=there,
            )
        )
    return tuple(rows)
