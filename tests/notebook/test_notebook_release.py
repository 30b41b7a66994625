"""merian-dr.yaml: hundreds of tracts, today's step names, sensible cuts."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime

from notebook_help import Rendered

from merian_campaign.domain.campaign.plan import plan_groups, reasons
from merian_campaign.domain.execution.counts import Counts
from merian_campaign.domain.readiness.overlap_refresh import basis, over_visits
from merian_campaign.domain.record.overlaps import Overlaps, SkyExposure
from merian_campaign.domain.record.snapshot import CampaignView, GroupView, Snapshot
from merian_campaign.domain.spec import CampaignSpec
from merian_campaign.domain.states import CampaignState, GroupState


def test_several_hundred_tracts_make_a_group_each(release: Rendered) -> None:
    assert len(release.spec.tracts) > 200
    for step in ("isolatedStars", "step2b", "step3"):
        groups = release.groups(step)
        assert len(groups) == len(release.spec.tracts)
        for group in groups:
            tract = group.removeprefix(f"{step}/tract")
            assert release.query(group) == (f"instrument='DECam' AND skymap='hsc_rings_v1' AND tract={tract}")


def test_single_frames_are_cut_by_night_and_never_by_tract(release: Rendered) -> None:
    for step in ("step0", "step1", "step2a", "step2d"):
        groups = release.groups(step)
        assert len(groups) > 20
        for group in groups:
            night = group.removeprefix(f"{step}/night")
            assert f"exposure.day_obs={night}" in release.query(group)
            assert "tract" not in release.query(group)


def test_steps_have_todays_names_and_pipelines(release: Rendered) -> None:
    drp = "DRP/pipelines/DECam/DRP-Merian.yaml"
    expected = {
        "cpBias/all": "CP/pipelines/DECam/cpBias.yaml",
        "step0/night20210318": "DRP/pipelines/DECam/isrForCrosstalkSources.yaml#step0",
        "cpFlat/all": "CP/pipelines/DECam/cpFlat.yaml",
        "step1/night20210318": f"{drp}#step1",
        "step2a/night20210318": f"{drp}#consolidatePreSourceTable,consolidateVisitSummary,skyCorr",
        "isolatedStars/tract9813": f"{drp}#isolatedStarAssociation",
        "step2b/tract9813": f"{drp}#step2b",
        "step2d/night20210318": f"{drp}#step2d",
        "step2e/all": f"{drp}#step2e",
        "step3/tract9813": f"{drp}#step3",
    }
    assert {group: release.pipeline(group) for group in expected} == expected
    assert {name.partition("/")[0] for name in release.files} == {name.partition("/")[0] for name in expected}


def test_a_step_over_everything_names_nothing(release: Rendered) -> None:
    assert release.query("step2e/all") == "instrument='DECam'"


def test_the_order_is_that_of_todays_pipeline(release: Rendered) -> None:
    order = release.order()
    chain = ["defaults", "step1", "step2a", "step2b"]
    for before, after in itertools.pairwise(chain):
        assert order[after] == {before}
    assert order["isolatedStars"] == {"step2a"}
    assert order["step2d"] == {"step2b", "isolatedStars"}
    assert order["step2e"] == order["step3"] == {"step2d"}


def test_memory_is_asked_for_where_it_is_needed(release: Rendered) -> None:
    tasks = release.files["step2b/tract9813"]["pipetask"]["jointcal"]
    assert tasks == {"requestMemory": 21000, "requestMemoryMax": 245760, "requestWalltime": 720}
    includes = [name.rpartition("/")[2] for name in release.files["step3/tract9813"]["includeConfigs"]]
    assert includes == ["base.yaml", "resources.yaml", "clustering.yaml", "tiger.yaml"]


def _at_step_1(spec: CampaignSpec, *, going: int, seen: dict[int, tuple[int, ...]]) -> Snapshot:
    """All nights are through step 2a, but one is still in step 1; each night sees some tracts."""

    def state(step: str, key: str) -> GroupState:
        if step in {"isolatedStars", "step2b", "step2d", "step2e", "step3", "release"}:
            return GroupState.WAITING
        late = {"step1": GroupState.RUNNING, "step2a": GroupState.WAITING}
        return late.get(step, GroupState.DONE) if key == f"night{going}" else GroupState.DONE

    groups = tuple(
        GroupView(
            id=number, step=one.step, key=one.key, selection=one.selection, state=state(one.step, one.key),
            reason="", accepted=False, attempts_from=0, submissions=(), counts=Counts(), open_quanta=(),
        )
        for number, one in enumerate(plan_groups(spec).wanted)
    )  # fmt: skip
    campaign = CampaignView(
        id=1, name="dr", state=CampaignState.ACTIVE, file="", revision=1, sha256="", spec={}
    )
    snapshot = Snapshot(campaign=campaign, groups=groups)
    taking = frozenset(step.name for step in over_visits(spec))
    exposures = tuple(
        SkyExposure(exposure=night, day_obs=night, visits=(night,), tracts=tracts, steps=taking)
        for night, tracts in sorted(seen.items())
    )
    now = datetime(2026, 11, 22, tzinfo=UTC)
    found = basis(spec, snapshot)
    assert found is not None
    return replace(snapshot, overlaps=Overlaps(exposures=exposures, basis=found, seen_at=now))


def test_a_tract_whose_visits_are_done_moves_on_while_another_night_is_in_step_1(release: Rendered) -> None:
    nights = [one.selection.values[0] for one in plan_groups(release.spec).wanted if one.step == "step1"]
    seen = dict.fromkeys(nights, (9813,)) | {20210320: (9813, 9814), 20210321: (9814,)}
    snapshot = _at_step_1(release.spec, going=20210321, seen=seen)
    names = {group.id: f"{group.step}/{group.key}" for group in snapshot.groups}
    found = {
        names[number]: reason
        for number, reason in reasons(release.spec, snapshot, now=datetime(2026, 11, 22, tzinfo=UTC)).items()
    }
    for step in ("isolatedStars", "step2b"):
        assert found[f"{step}/tract9813"] == "all it needs is done"
        assert found[f"{step}/tract9814"] == "waits for step2a/night20210321 (waiting) of its visits"
    assert found["step2a/night20210321"] == "waits for step1/night20210321 (running)"
    assert found["step2d/night20210320"] == (
        "waits for step2b/tract9813 (waiting), step2b/tract9814 (waiting), isolatedStars/tract9813 (waiting) "
        "and 1 more of its tracts"
    )
    assert found["step2d/night20210318"] == (
        "waits for step2b/tract9813 (waiting), isolatedStars/tract9813 (waiting) of its tracts"
    )
    assert found["step3/tract9814"] == (
        "waits for step2d/night20210320 (waiting), step2d/night20210321 (waiting) of its visits"
    )
