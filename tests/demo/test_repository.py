"""The demo's repository: content, idempotence, refusals, and reproducible bits."""

from pathlib import Path

import pytest
from demo_chain import Survey
from demo_compare import compare_collections
from demo_repository import DemoDirectoryError, create_repository
from lsst.daf.butler import Butler

from merian_campaign.demo.survey import (
    SCIENCE_DETECTORS,
    SKYMAPS,
    detector_box,
    science_exposures,
    tract_box,
)

RUNS = [
    "DECam/raw/all",
    "DECam/calib/unbounded",
    "DECam/calib/curated/19700101T000000Z",
    "skymaps",
    "refcats",
]


@pytest.fixture(scope="module")
def butler(empty_survey: Survey):  # noqa: ANN201 (a generator of an untyped class)
    with Butler.from_config(str(empty_survey.repository), writeable=False) as butler:
        yield butler


def test_it_holds_the_exposures_of_two_nights(butler: Butler) -> None:
    exposures = butler.query_dimension_records("exposure")
    assert {record.day_obs for record in exposures} == {20210318, 20210319}
    kinds = [record.observation_type for record in exposures]
    assert {kind: kinds.count(kind) for kind in kinds} == {"zero": 2, "dome flat": 2, "science": 4}
    assert len(butler.query_datasets("raw", collections="DECam/raw/all")) == 24


def test_it_holds_two_tracts_of_two_patches(butler: Butler) -> None:
    patches = {(record.tract, record.id) for record in butler.query_dimension_records("patch")}
    assert patches == {(9813, 0), (9813, 1), (9814, 0), (9814, 1)}


def test_every_visit_touches_both_tracts(butler: Butler) -> None:
    with butler.query() as query:
        where = "instrument = 'DECam' AND skymap = 'decam_rings_v1'"
        rows = query.where(where).data_ids(["visit", "tract"])
        found = {(row["visit"], row["tract"]) for row in rows}
    assert found == {(v, t) for v in (970612, 970613, 971020, 971021) for t in (9813, 9814)}


def test_visits_of_both_bands_reach_the_three_tracts_of_the_other_sky_map() -> None:
    plans = SKYMAPS["decam_thirds_v1"]
    reached = {
        (tract, visit.band)
        for tract in {plan.tract for plan in plans}
        for visit in science_exposures()
        for detector in SCIENCE_DETECTORS
        if detector_box(visit.pointing, detector).overlaps(tract_box(tract, plans))
    }
    assert reached == {(tract, band) for tract in (1, 2, 3) for band in ("N708", "N540")}


def test_filters_and_detectors_are_those_of_merian(butler: Butler) -> None:
    filters = {record.name: record.band for record in butler.query_dimension_records("physical_filter")}
    assert filters["N708 DECam c0012 7080.0 400.0"] == "N708"
    assert filters["N540 DECam c0014 5403.2 210.0"] == "N540"
    assert {record.id for record in butler.query_dimension_records("detector")} == {1, 2, 31}


def test_making_it_again_changes_nothing(empty_survey: Survey) -> None:
    before = {path: path.stat().st_mtime_ns for path in empty_survey.repository.rglob("*")}
    assert create_repository(empty_survey.directory) == empty_survey.repository
    assert {path: path.stat().st_mtime_ns for path in empty_survey.repository.rglob("*")} == before
    assert [path.name for path in empty_survey.directory.iterdir()] == ["repo"]


def test_a_directory_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / "precious").touch()
    with pytest.raises(DemoDirectoryError, match="not a butler repository"):
        create_repository(tmp_path)
    assert (tmp_path / "repo" / "precious").exists()


def test_another_butler_repository_is_refused(tmp_path: Path) -> None:
    Butler.makeRepo(str(tmp_path / "repo"))
    with pytest.raises(DemoDirectoryError, match="not that of the demo survey"):
        create_repository(tmp_path)


def test_two_repositories_hold_the_same_bits(empty_survey: Survey, tmp_path: Path) -> None:
    other = create_repository(tmp_path)
    differences = compare_collections(
        repository=empty_survey.repository, first=RUNS, second=RUNS, other_repository=other
    )
    assert differences == []
