"""Database rows into the domain's frozen values; nobody outside the store sees a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import RowMapping

from merian_campaign.domain.execution.busy_blocks import stored_busy
from merian_campaign.domain.execution.counts import Counts
from merian_campaign.domain.execution.process_identity import ProcessIdentity
from merian_campaign.domain.execution.quanta import OpenQuanta
from merian_campaign.domain.readiness.generations import (
    MadeFrom,
    basis_of,
    combines_of,
    gathers_of,
    stored_basis,
)
from merian_campaign.domain.record.snapshot import CampaignView, GroupView, Remedy, SubmissionView
from merian_campaign.domain.selection import Selection
from merian_campaign.domain.states import (
    CampaignState,
    GroupState,
    QuantumState,
    SubmissionOutcome,
    SubmissionState,
    Verdict,
)
from merian_campaign.store.board import BOARD_COUNTS


def campaign_view(row: RowMapping) -> CampaignView:
    """Return a campaign from a row of campaign joined with its revision in force."""
    return CampaignView(
        id=row["id"],
        name=row["name"],
        state=CampaignState(row["state"]),
        file=row["file"],
        revision=row["revision"],
        sha256=row["sha256"],
        spec=row["spec"],
        reason=row["reason"],
        uuid=row["uuid"],
        resumed_at=row["resumed_at"],
    )


_NOTHING = Remedy()
"""Of most submissions, and of groups of which nobody has asked anything."""


def remedy_document(remedy: Remedy) -> dict[str, object]:
    """Return what is stored of a remedy."""
    return {
        "memory_mb": dict(remedy.memory_mb),
        "workers": remedy.workers,
        "blocks": remedy.blocks,
        "walltime": dict(remedy.walltime),
        **({"exclude": list(remedy.exclude)} if remedy.exclude else {}),
        **({"by_inputs": dict(remedy.by_inputs)} if remedy.by_inputs else {}),
    }


def remedy(document: Mapping[str, Any]) -> Remedy:
    """Return a remedy from what was stored."""
    if not any(document.values()):
        return _NOTHING
    return Remedy(
        # Keys are absent from rows of earlier releases, and all are where nobody has asked for anything.
        memory_mb=tuple(sorted(document.get("memory_mb", {}).items())),
        workers=document.get("workers"),
        blocks=document.get("blocks"),
        walltime=tuple(sorted(document.get("walltime", {}).items())),
        exclude=tuple(document.get("exclude", ())),
        by_inputs=tuple(
            (task, tuple((least, request) for least, request in pairs))
            for task, pairs in sorted(document.get("by_inputs", {}).items())
        ),
    )


def submission_view(row: RowMapping) -> SubmissionView:
    """Return a submission from its row."""
    driver = None
    if row["driver_host"] is not None:
        driver = ProcessIdentity(
            host=row["driver_host"], pid=row["driver_pid"], pid_start=row["driver_started"]
        )
    return SubmissionView(
        id=row["id"],
        group_id=row["group_id"],
        number=row["number"],
        state=SubmissionState(row["state"]),
        outcome=None if row["outcome"] is None else SubmissionOutcome(row["outcome"]),
        run_collection=row["run_collection"],
        directory=row["directory"],
        remedy=remedy(row["remedy"]),
        reason=row["reason"],
        driver=driver,
        epoch=row["epoch"],
        created_at=row["created_at"],
        launched_at=row["launched_at"],
        launches=row["launches"],
        lease_expires_at=row["lease_expires_at"],
        finished_at=row["finished_at"],
        cancel_requested=row["cancel_requested"],
        driver_job=row["driver_job"],
        needs_person=row["needs_person"],
        versions_sha=row["versions_sha"],
        versions_short="" if row["versions"] is None else row["versions"]["short"],
        generation=row["generation"],
        followed=row["followed"],
        busy=stored_busy(row["busy"]),
    )


def counts_of(group: RowMapping) -> Counts:
    """Return the counts of a group from its row."""
    return Counts(**{state: group[column] for state, column in BOARD_COUNTS.items()})


def made_from(row: Mapping[str, Any] | RowMapping) -> MadeFrom:
    """Return what a submission was made from, from its row."""
    return MadeFrom(
        number=row["number"],
        generation=row["generation"],
        basis=stored_basis(row["basis"]),
        combines=row["combines"],
        gathers=row["gathers"],
    )


def group_view(
    row: RowMapping,
    *,
    submissions: tuple[SubmissionView, ...],
    made: Sequence[MadeFrom],
    open_quanta: tuple[OpenQuanta, ...],
) -> GroupView:
    """Return a group from its row and what belongs to it."""
    return GroupView(
        id=row["id"],
        step=row["step"],
        key=row["key"],
        selection=Selection(dimension=row["selection_dimension"], values=tuple(row["selection_values"])),
        state=GroupState(row["state"]),
        reason=row["reason"],
        accepted=row["accepted"],
        attempts_from=row["attempts_from"],
        submissions=submissions,
        counts=counts_of(row),
        open_quanta=open_quanta,
        stack_from=row["stack_from"],
        generation=row["generation"],
        published=row["published"],
        basis=basis_of(made, generation=row["generation"]),
        combines=combines_of(made, generation=row["generation"]),
        gathers=gathers_of(made, generation=row["generation"]),
        hold=row["hold"],
        accepted_until=row["accepted_until"],
        asked=remedy(row["asked"]),
    )


def open_quanta(row: RowMapping) -> OpenQuanta:
    """Return open quanta summed, from a row of the query that sums them."""
    return OpenQuanta(
        task=row["task"],
        state=QuantumState(row["state"]),
        verdict=None if row["verdict"] is None else Verdict(row["verdict"]),
        charged_attempts=row["charged_attempts"],
        memory_attempts=row["memory_attempts"],
        requested_mb=row["requested_mb"],
        number=row["number"],
        peak_mb=row["peak_mb"],
        exception_type=row["exception_type"] or "",
        exception_message=row["exception_message"] or "",
        tolerated=bool(row["tolerated"]),
        behind_task=row["behind_task"],
        behind_verdict=None if row["behind_verdict"] is None else Verdict(row["behind_verdict"]),
        rule=row["rule"],
        remedy=row["remedy"],
        seconds=row["seconds"],
        hosts=tuple(row["hosts"] or ()),
        of=row["of_task"],
    )
