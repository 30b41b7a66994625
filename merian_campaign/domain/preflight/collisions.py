"""Findings about outputs: chains, RUN collections and directories that somebody else has taken already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from merian_campaign.domain.campaign.plan import plan_groups
from merian_campaign.domain.preflight.facts import CollectionFacts, Finding, Tracking
from merian_campaign.domain.preflight.inputs import few
from merian_campaign.domain.record.records import NewGroup
from merian_campaign.domain.rendering import naming
from merian_campaign.domain.rendering.naming import RunName
from merian_campaign.domain.safe_text.shell import quoted
from merian_campaign.domain.spec import BpsStep, CampaignSpec
from merian_campaign.domain.states import GroupState

_OVER = frozenset({GroupState.DONE})


def next_submissions(spec: CampaignSpec, tracking: Tracking | None) -> tuple[tuple[NewGroup, int], ...]:
    """Return the groups of BPS steps that may be submitted (again), each with its next number."""
    known = {(group.step, group.key): group for group in (tracking.groups if tracking else ())}
    found = []
    for group in plan_groups(spec, existing=tuple(known.values())).wanted:
        if not isinstance(spec.step(group.step), BpsStep):
            continue
        view = known.get((group.step, group.key))
        if view is None or not view.submissions:
            found.append((group, 1))
        elif view.live is None and view.state not in _OVER:
            found.append((group, view.submissions[-1].number + 1))
    return tuple(found)


def chain_finding(place: str, *, chain: str, collections: Mapping[str, CollectionFacts]) -> list[Finding]:
    """Return whether a name that must become a chain is something else."""
    if chain not in collections or collections[chain].kind == "CHAINED":
        return []
    return [
        Finding(
            place=place,
            message=f"its output {chain} is a {collections[chain].kind} collection already, "
            "and must be a chain",
            fix="give the step another output:",
        )
    ]


def run_finding(place: str, *, run: str, collections: Mapping[str, CollectionFacts]) -> list[Finding]:
    """Return whether a submission's RUN is there before it has run."""
    if run not in collections:
        return []
    return [
        Finding(
            place=place,
            message=f"the collection {run}, which the submission would make, is there already",
            fix="take it over if a lost database had made it (`merian-campaign db rebuild FILE`), "
            f"remove it if it is of no use (`butler remove-runs REPO {quoted(run)}`), "
            "or give another output:",
        )
    ]


def output_findings(
    spec: CampaignSpec,
    *,
    collections: Mapping[str, CollectionFacts],
    tracking: Tracking | None,
    remains: frozenset[str],
    root: str,
) -> list[Finding]:
    """Return outputs that are not the campaign's own.

    Parameters
    ----------
    spec : `CampaignSpec`
        The campaign.
    collections : `~collections.abc.Mapping`
        What the repository has.
    tracking : `Tracking` or `None`
        What is on record; `None` when nothing is known.
    remains : `frozenset` [`str`]
        Directories of next submissions in which something lies.
    root : `str`
        Folder of submissions.
    """
    found: list[Finding] = []
    coming = next_submissions(spec, tracking)
    known = tracking.groups if tracking else ()
    own = {entry.run_collection for group in known for entry in group.submissions}
    generations = {(group.step, group.key): group.generation for group in known}
    for step in spec.steps:
        if not isinstance(step, BpsStep):
            continue
        output = spec.output_of(step)
        groups = [(group, number) for group, number in coming if group.step == step.name]
        runs = [
            naming.run_collection(
                RunName(
                    step_output=output,
                    group=group.key,
                    number=number,
                    generation=generations.get((group.step, group.key), 1),
                )
            )
            for group, number in groups
        ]
        taken = [run for run in runs if run in collections]
        found += chain_finding(step.name, chain=output, collections=collections)
        found += _taken(step.name, taken, collections)
        shared = _used_by_others(spec, step, output, tracking)
        found += shared
        if groups and not shared:
            found += _foreign(step.name, output, collections, ours=own | set(taken))
        found += _remains(spec, step.name, groups, remains=remains, root=root)
    return found


def _taken(place: str, taken: list[str], collections: Mapping[str, CollectionFacts]) -> list[Finding]:
    if len(taken) < 2:  # noqa: PLR2004 - one is told in full
        return [entry for run in taken for entry in run_finding(place, run=run, collections=collections)]
    return [
        Finding(
            place=place,
            message=f"{len(taken)} collections that its submissions would make are there already: "
            f"{few(taken, at_most=2)}",
            fix="take them over if a lost database had made them (`merian-campaign db rebuild FILE`), "
            "remove them if they are of no use (`butler remove-runs REPO RUN`), or give another output:",
        )
    ]


def _used_by_others(
    spec: CampaignSpec, step: BpsStep, output: str, tracking: Tracking | None
) -> list[Finding]:
    users = [
        f"{other.campaign} ({theirs.name})"
        for other in (tracking.others if tracking else ())
        if other.butler == spec.butler and other.campaign != spec.campaign
        for theirs in other.steps
        if isinstance(theirs, BpsStep) and other.output_of(theirs) == output
    ]
    if not users:
        return []
    return [
        Finding(
            place=step.name,
            message=f"its output {output} is also that of campaign {few(users, at_most=3)}",
            fix="give the step another output:, or the campaign another collections.output:",
        )
    ]


def _foreign(
    place: str, output: str, collections: Mapping[str, CollectionFacts], *, ours: set[str]
) -> list[Finding]:
    """Return RUNs in or under an output that no submission of the campaign made."""
    children = collections[output].children if output in collections else ()
    below = [name for name in collections if name.startswith(f"{output}/")]
    runs = [
        name
        for name in dict.fromkeys((*children, *below))
        if name in collections and collections[name].kind == "RUN" and name not in ours
    ]
    if not runs:
        return []
    number = f"{len(runs)} RUN collection{'s' if len(runs) > 1 else ''}"
    return [
        Finding(
            place=place,
            message=f"its output {output} holds {number} that no submission on record made: "
            f"{few(runs, at_most=2)}",
            fix="later steps would read them too; if that is not meant, give another output:",
            fatal=False,
        )
    ]


def _remains(
    spec: CampaignSpec,
    place: str,
    groups: Iterable[tuple[NewGroup, int]],
    *,
    remains: frozenset[str],
    root: str,
) -> list[Finding]:
    found = [
        directory
        for group, number in groups
        if (directory := directory_of(spec, group, number, root=root)) in remains
    ]
    if not found:
        return []
    return [
        Finding(
            place=place,
            message="something was run already in the directory of its next submission: "
            f"{few(found, at_most=1)}",
            fix="move it away, or give the campaign another work_dir:",
        )
    ]


def directory_of(spec: CampaignSpec, group: NewGroup, number: int, *, root: str) -> str:
    """Return the directory of a group's submission."""
    return naming.submission_directory(
        root=spec.work_dir or root, campaign=spec.campaign, step=group.step, group=group.key, number=number
    )
