"""Applying a campaign file: from a checked file to a revision and its groups."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from merian_campaign.domain.campaign.plan import GroupPlan, plan_groups
from merian_campaign.domain.campaign.spec_changes import changes
from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.record.applied_spec import applied_spec
from merian_campaign.domain.record.snapshot import CampaignView, GroupView
from merian_campaign.domain.spec import CampaignSpec
from merian_campaign.domain.states import GroupState
from merian_campaign.files.bounded_yaml import MOST_BYTES
from merian_campaign.host.regular_files import DamagedFileError, read_text
from merian_campaign.services.ports import Store
from merian_campaign.services.runtime import Runtime

_HALF = 32


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What applying a file did: the campaign, the plan of its groups, and whether it is a new revision."""

    campaign: CampaignView
    plan: GroupPlan
    new_groups: int
    changed: bool


def fingerprint(*, text: str, resolved: Mapping[str, Any]) -> str:
    """Return 64 hex digits: half of the file's text, half of what its variables and paths resolved to."""
    parts = (text, json.dumps(resolved, sort_keys=True, default=str))
    return "".join(hashlib.sha256(part.encode()).hexdigest()[:_HALF] for part in parts)


def edited(campaign: CampaignView) -> str:
    """Return in words that a campaign's file is no longer what was applied; empty while it is."""
    goes_on = f"campaign {campaign.name} goes on with revision {campaign.revision}"
    try:
        text = read_text(campaign.file, limit=MOST_BYTES)
    except (OSError, DamagedFileError) as error:
        why = error.found if isinstance(error, DamagedFileError) else error.strerror
        return f"{campaign.file}: cannot be read ({why}); {goes_on}"
    if campaign.sha256[:_HALF] == hashlib.sha256(text.encode()).hexdigest()[:_HALF]:
        return ""
    return f"{campaign.file}: edited and not applied; {goes_on}, see `merian-campaign diff {campaign.name}`"


def _same_file(known: str, file: str) -> bool:
    """Say whether two paths lead to one file, over whatever links."""
    return Path(known).resolve() == Path(file).resolve()


def apply_campaign(
    *,
    store: Store,
    runtime: Runtime,
    spec: CampaignSpec,
    file: str,
    text: str,
    resolved: Mapping[str, Any],
    move: bool = False,
) -> Applied:
    """Create a campaign or give it a new revision.

    Raises
    ------
    BadInputError
        Raised if the name belongs to another file, or the file changes what an existing group selects.
    """
    with store.campaign_lock(spec.campaign):
        return apply_locked(
            store=store, runtime=runtime, spec=spec, file=file, text=text, resolved=resolved, move=move
        )


def apply_locked(
    *,
    store: Store,
    runtime: Runtime,
    spec: CampaignSpec,
    file: str,
    text: str,
    resolved: Mapping[str, Any],
    move: bool = False,
) -> Applied:
    """Do the same for one who holds the campaign's lock."""
    current = store.campaign(spec.campaign)
    if current is not None and not move and not _same_file(current.file, file):
        raise BadInputError(
            f"{file}: campaign: the name {spec.campaign!r} is taken by {current.file}; choose another "
            "name, or say --move if the file was moved"
        )
    existing: tuple[GroupView, ...] = () if current is None else store.snapshot(spec.campaign).groups
    plan = plan_groups(spec, existing=existing)
    check_applicable(file=file, spec=spec, plan=plan, existing=existing)
    digest = fingerprint(text=text, resolved=resolved)
    known = {(group.step, group.key) for group in existing}
    applied = store.apply(
        name=spec.campaign,
        file=file,
        text=text,
        sha256=digest,
        spec=resolved,
        groups=plan.wanted,
        dropped=tuple(group.id for group in plan.dropped),
        actor=runtime.actor,
        now=runtime.clock(),
    )
    return Applied(
        campaign=applied,
        plan=plan,
        new_groups=sum(1 for group in plan.wanted if (group.step, group.key) not in known),
        changed=current is None or current.sha256 != digest,
    )


def changes_of(store: Store, *, spec: CampaignSpec, file: str) -> tuple[str, ...]:
    """Return in words what applying a file would change of its campaign; nothing for a new one.

    Raises
    ------
    BadInputError
        Raised if it cannot be applied.
    """
    campaign = store.campaign(spec.campaign)
    if campaign is None:
        return ()
    groups = store.snapshot(spec.campaign).groups
    plan = plan_groups(spec, existing=groups)
    check_applicable(file=file, spec=spec, plan=plan, existing=groups)
    try:
        before = applied_spec(campaign)
    except BadInputError:  # of another release
        return ()
    return changes(before, spec, groups=groups, plan=plan)


def check_applicable(
    *, file: str, spec: CampaignSpec, plan: GroupPlan, existing: tuple[GroupView, ...]
) -> None:
    """Refuse a file that would give groups that ran another meaning, or lose sight of one that runs.

    Raises
    ------
    BadInputError
        Raised with the step and what to do.
    """
    _check_selections(file=file, plan=plan, existing=existing)
    _check_steps(file=file, spec=spec, existing=existing)


def _check_selections(*, file: str, plan: GroupPlan, existing: tuple[GroupView, ...]) -> None:
    """Refuse to give an existing group another meaning under its old name."""
    before = {(group.step, group.key): group for group in existing}
    for group in plan.wanted:
        old = before.get((group.step, group.key))
        if old is not None and old.selection != group.selection and old.submissions:
            raise BadInputError(
                f"{file}: steps[{group.step}].group_by: the group {group.key!r} has run with other values; "
                "give the new selection a new name"
            )


def _check_steps(*, file: str, spec: CampaignSpec, existing: tuple[GroupView, ...]) -> None:
    """Refuse to take a step out of the file while it runs: nobody could say what became of it."""
    steps = {step.name for step in spec.steps}
    for group in existing:
        if group.step not in steps and group.state is GroupState.RUNNING:
            raise BadInputError(
                f"{file}: steps: {group.step!r} is no longer there, but {group.step}/{group.key} has a "
                "submission under way; put the step back, or wait, or cancel that group first"
            )
