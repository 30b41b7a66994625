"""Short ways to make the values that the domain works on."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from merian_campaign.domain.campaign.plan import GroupReadiness, judge_needs
from merian_campaign.domain.execution.counts import Counts
from merian_campaign.domain.execution.liveness import Liveness
from merian_campaign.domain.execution.quanta import OpenQuanta
from merian_campaign.domain.failures.remedy import RequestTable
from merian_campaign.domain.readiness.gates import Gates
from merian_campaign.domain.readiness.overlap_refresh import basis
from merian_campaign.domain.record.overlaps import Overlaps, SkyExposure
from merian_campaign.domain.record.snapshot import CampaignView, GroupView, Remedy, Snapshot, SubmissionView
from merian_campaign.domain.selection import Selection
from merian_campaign.domain.spec import CampaignSpec
from merian_campaign.domain.states import (
    CampaignState,
    GroupState,
    QuantumState,
    SubmissionOutcome,
    SubmissionState,
    Verdict,
)
from merian_campaign.domain.tick.decisions import Situation

NOW = datetime(2026, 11, 22, 15, tzinfo=UTC)
REQUESTS = RequestTable(default_mb=2048)


SCOPES = {
    **dict.fromkeys(("step0", "step1"), "exposure"),
    **dict.fromkeys(("step2a", "step2d"), "visit"),
    **dict.fromkeys(("step2b", "step3"), "tract"),
    **dict.fromkeys(("step2c", "step2e"), "instrument"),
}
"""What the tests write where they say nothing else."""


def bps(name: str = "step1", subset: str | None = None, **changes: object) -> dict[str, Any]:
    """A BPS step as it is written in a file; a scope of `None` is one that is not."""
    subset = subset or name
    found = {"name": name, "pipeline": f"/pipe.yaml#{subset}", "scope": SCOPES.get(subset)} | changes
    return {key: value for key, value in found.items() if key != "scope" or value is not None}


def by_tract(name: str = "step3", subset: str = "step3", **changes: object) -> dict[str, Any]:
    return bps(name, subset, group_by="tract", **changes)


def action(name: str = "defaults", **changes: object) -> dict[str, Any]:
    arguments = {"parent": "DECam/defaults", "children": ["DECam/raw/all"]}
    return {"name": name, "action": "collection-chain", "arguments": arguments} | changes


def document(*steps: Mapping[str, Any], **changes: object) -> dict[str, Any]:
    """A campaign's document with these steps, paths absolute."""
    return {
        "campaign": "night",
        "butler": "/repo",
        "instrument": "DECam",
        "skymap": "rings",
        "site": "/site/local.yaml",
        "collections": {"output": "runs/night", "inputs": ["DECam/defaults"]},
        "tracts": [9813, 9814],
        "steps": list(steps) or [bps()],
    } | changes


def campaign(*steps: Mapping[str, Any], **changes: object) -> CampaignSpec:
    return CampaignSpec.model_validate(document(*steps, **changes))


def group(
    step: str = "step1",
    key: str = "all",
    *,
    state: GroupState = GroupState.RUNNING,
    tract: int | None = None,
    **changes: object,
) -> GroupView:
    values: dict[str, Any] = {
        "id": _id(step, key),
        "step": step,
        "key": key if tract is None else f"tract{tract}",
        "selection": Selection() if tract is None else Selection(dimension="tract", values=(tract,)),
        "state": state,
        "reason": "all it needs is done",
        "accepted": False,
        "attempts_from": 0,
        "submissions": (),
        "counts": Counts(),
        "open_quanta": (),
    }
    if tract is not None:
        values["id"] = _id(step, f"tract{tract}")
    return GroupView(**(values | changes))


def _id(step: str, key: str) -> int:
    return zlib.crc32(f"{step}/{key}".encode())


def finished(
    number: int = 1, outcome: SubmissionOutcome = SubmissionOutcome.PARTIAL, **changes: object
) -> SubmissionView:
    return submission(number, state=SubmissionState.FINISHED, outcome=outcome, **changes)


def submission(number: int = 1, **changes: object) -> SubmissionView:
    values: dict[str, Any] = {
        "id": 100 + number,
        "group_id": 1,
        "number": number,
        "state": SubmissionState.PREPARED,
        "outcome": None,
        "run_collection": f"runs/night/step1/all/{number:03d}",
        "directory": f"/submissions/night/step1/all/{number:03d}",
        "remedy": Remedy(),
        "reason": "why it ended",
        "driver": None,
        "epoch": 0,
        "created_at": NOW - timedelta(hours=1),
    }
    return SubmissionView(**(values | changes))


def open_quanta(
    verdict: Verdict | None = Verdict.INFRASTRUCTURE,
    *,
    task: str = "calibrate",
    state: QuantumState = QuantumState.FAILED,
    charged: int = 1,
    memory: int = 0,
    **changes: object,
) -> OpenQuanta:
    values: dict[str, Any] = {
        "task": task,
        "state": state,
        "verdict": verdict if state is QuantumState.FAILED else None,
        "charged_attempts": charged,
        "memory_attempts": memory,
        "requested_mb": 2048,
        "number": 1,
    }
    return OpenQuanta(**(values | changes))


def snapshot(*groups: GroupView, state: CampaignState = CampaignState.ACTIVE) -> Snapshot:
    view = CampaignView(
        id=1, name="night", state=state, file="/night.yaml", revision=1, sha256="0" * 64, spec={}
    )
    return Snapshot(campaign=view, groups=groups)


def situation(
    drivers: Mapping[int, Liveness] | None = None,
    *,
    requests: RequestTable = REQUESTS,
    steps: tuple[str, ...] = ("step1", "step2a", "step2b", "step2d", "step3"),
    workers: int = 8,
) -> Situation:
    return Situation(drivers=drivers or {}, requests=dict.fromkeys(steps, requests), workers=workers, now=NOW)


def readiness(spec: CampaignSpec, everything: Snapshot, of: GroupView) -> GroupReadiness:
    """Say of a group that has not started whether it may, by the gates alone."""
    return judge_needs(Gates(spec=spec, snapshot=everything).needs(of))


def over(dimension: str, *values: int) -> Selection:
    return Selection(dimension=dimension, values=values)


def night(step: str, day: int, *, state: GroupState = GroupState.WAITING, **changes: object) -> GroupView:
    """A group of one night of March 2021, by its day."""
    value = 20210300 + day
    return group(step, f"night{value}", state=state, selection=over("day_obs", value), **changes)


def seen(*exposures: SkyExposure, basis: str = "now", at: datetime = NOW) -> Overlaps:
    return Overlaps(exposures=exposures, basis=basis, seen_at=at)


def sky(exposure: int, day: int, *tracts: int, taken: bool = True) -> SkyExposure:
    """A science exposure that is its own visit."""
    return SkyExposure(
        exposure=exposure, day_obs=20210300 + day, visits=(exposure,), tracts=tracts, taken=taken
    )


def with_overlaps(spec: CampaignSpec, everything: Snapshot, *exposures: SkyExposure) -> Snapshot:
    """A snapshot whose overlaps have just been seen."""
    found = basis(spec, everything)
    assert found is not None
    return replace(everything, overlaps=seen(*exposures, basis=found))
