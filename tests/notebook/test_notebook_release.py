"""merian-dr.yaml: hundreds of tracts, today's step names, sensible cuts."""

from __future__ import annotations

import itertools

from notebook_help import Rendered


def test_several_hundred_tracts_make_a_group_each(release: Rendered) -> None:
    assert len(release.spec.tracts) > 200
    for step in ("step2b", "step3"):
        groups = release.groups(step)
        assert len(groups) == len(release.spec.tracts)
        for group in groups:
            tract = group.removeprefix(f"{step}/tract")
            assert release.query(group) == (f"instrument='DECam' AND skymap='hsc_rings_v1' AND tract={tract}")


def test_single_frames_are_cut_by_night_and_never_by_tract(release: Rendered) -> None:
    for step in ("step0", "step1", "step2d"):
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
        "step2a/all": f"{drp}#step2a",
        "step2b/tract9813": f"{drp}#step2b",
        "step2d/night20210318": f"{drp}#step2d",
        "step2e/all": f"{drp}#step2e",
        "step3/tract9813": f"{drp}#step3",
    }
    assert {group: release.pipeline(group) for group in expected} == expected
    assert {name.partition("/")[0] for name in release.files} == {name.partition("/")[0] for name in expected}


def test_global_steps_name_the_sky_map_or_nothing(release: Rendered) -> None:
    assert release.query("step2a/all") == "instrument='DECam' AND skymap='hsc_rings_v1'"
    assert release.query("step2e/all") == "instrument='DECam'"


def test_the_order_is_that_of_todays_pipeline(release: Rendered) -> None:
    order = release.order()
    chain = ["defaults", "step1", "step2a", "step2b", "step2d"]
    for before, after in itertools.pairwise(chain):
        assert order[after] == {before}
    assert order["step2e"] == order["step3"] == {"step2d"}


def test_memory_is_asked_for_where_it_is_needed(release: Rendered) -> None:
    tasks = release.files["step2b/tract9813"]["pipetask"]["jointcal"]
    assert tasks == {"requestMemory": 21000, "requestMemoryMax": 245760, "requestWalltime": 720}
    includes = [name.rpartition("/")[2] for name in release.files["step3/tract9813"]["includeConfigs"]]
    assert includes == ["base.yaml", "resources.yaml", "clustering.yaml", "tiger.yaml"]
