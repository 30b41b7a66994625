"""The whole reduction of the demo survey, through the real pipetask and butler."""

import numpy as np
import pytest
from demo_chain import ALL_STEPS, CALIB, DEFAULTS, GOOD, OUTPUT, STEP0, Step, Survey
from demo_count import count_quanta
from lsst.daf.butler import Butler

from merian_campaign.demo.sky import reference_stars


@pytest.mark.parametrize("step", ALL_STEPS, ids=lambda step: step.name)
def test_every_predicted_quantum_succeeds(survey: Survey, step: Step) -> None:
    counts = count_quanta(repository=survey.repository, graphs=[survey.graphs[step.name]])
    assert sum(count.expected for count in counts.values()) == step.quanta
    assert sum(count.succeeded for count in counts.values()) == step.quanta


def test_the_campaign_is_small() -> None:
    assert sum(step.quanta for step in ALL_STEPS) == 153


def test_a_quantum_of_two_graphs_counts_once(survey: Survey) -> None:
    graph = survey.graphs["step2a"]
    counts = count_quanta(repository=survey.repository, graphs=[graph, graph])
    assert sum(count.expected for count in counts.values()) == 8


def test_nothing_counts_as_succeeded_before_it_ran(survey: Survey) -> None:
    step = Step(
        name="step0", pipeline=STEP0.pipeline, inputs=STEP0.inputs, output="u/never", where=GOOD, quanta=0
    )
    assert survey.build(step, name="never").exit_code == 0
    counts = count_quanta(repository=survey.repository, graphs=[survey.graphs["never"]])
    assert counts["isrForCrosstalkSources"].expected == 16
    assert counts["isrForCrosstalkSources"].succeeded == 0


def test_both_tracts_see_every_visit(survey: Survey) -> None:
    with Butler.from_config(str(survey.repository), collections=OUTPUT) as butler:
        refs = butler.query_datasets("jointcalPhotoCalibCatalog")
    seen = {(ref.dataId["tract"], ref.dataId["visit"]) for ref in refs}
    assert seen == {(t, v) for t in (9813, 9814) for v in (970612, 970613, 971020, 971021)}


def test_detector_31_is_left_out(survey: Survey) -> None:
    with Butler.from_config(str(survey.repository), collections=OUTPUT) as butler:
        assert {ref.dataId["detector"] for ref in butler.query_datasets("calexp")} == {1, 2}


def test_a_tract_constraint_on_step1_gives_partial_visits(survey: Survey) -> None:
    where = f"skymap = 'decam_rings_v1' AND tract = 9813 AND {GOOD}"
    step = Step(
        name="partial",
        pipeline="DRP-Merian.yaml#step1",
        inputs=(DEFAULTS,),
        output="u/partial",
        where=where,
        quanta=28,
    )
    assert survey.build(step).exit_code == 0
    counts = count_quanta(repository=survey.repository, graphs=[survey.graphs["partial"]])
    assert sum(count.expected for count in counts.values()) == step.quanta


def test_the_pipeline_resolves_as_a_whole(survey: Survey) -> None:
    step = Step(
        name="whole",
        pipeline="DRP-Merian.yaml",
        inputs=(DEFAULTS,),
        output="u/whole",
        where="visit = 970612 AND tract = 9813 AND skymap = 'decam_rings_v1'",
        quanta=0,
    )
    assert survey.build(step).exit_code == 0


def test_calibration_recovers_what_the_camera_did(survey: Survey) -> None:
    with Butler.from_config(str(survey.repository), collections=f"{CALIB}/flat") as butler:
        flat = butler.get(
            "flat", instrument="DECam", detector=1, physical_filter="N708 DECam c0012 7080.0 400.0"
        )
    assert flat.shape == (64, 56)
    assert np.mean(flat) == pytest.approx(1.0, abs=0.01)
    assert flat[:, -5:].mean() - flat[:, :5].mean() == pytest.approx(0.09, abs=0.02)


@pytest.mark.parametrize("tract", [9813, 9814])
def test_objects_lie_where_the_stars_are(survey: Survey, tract: int) -> None:
    with Butler.from_config(str(survey.repository), collections=OUTPUT) as butler:
        objects = butler.get("objectTable_tract", skymap="decam_rings_v1", tract=tract)
    stars = reference_stars()
    x, y = np.asarray(objects["x"]), np.asarray(objects["y"])
    distance = np.hypot(x[:, np.newaxis] - stars["x"], y[:, np.newaxis] - stars["y"])
    assert len(objects) > 20
    assert np.median(distance.min(axis=1)) < 0.3
    ratio = np.asarray(objects["N708_flux"]) / stars["i_flux"][distance.argmin(axis=1)]
    assert np.median(ratio) == pytest.approx(1.0, abs=0.15)
    assert np.isfinite(objects["N540_flux"]).any()


def test_the_last_patch_has_no_n540(survey: Survey) -> None:
    with Butler.from_config(str(survey.repository), collections=OUTPUT) as butler:
        coadds = butler.query_datasets("deepCoadd")
    assert len(coadds) == 7
    assert (9814, 1, "N540") not in {(r.dataId["tract"], r.dataId["patch"], r.dataId["band"]) for r in coadds}
