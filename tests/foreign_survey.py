"""A survey of an instrument that nothing of the package knows: its class, its pipeline, and its archive.

``python -m foreign_survey REPOSITORY`` stands for the program that brings its data into a butler.
"""

# mypy: disallow-subclassing-any=False
# lsst ships no types that mypy may follow here, so every base class is Any.

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import yaml
from astropy.time import Time
from lsst.daf.butler import Butler, DatasetRef, DatasetType, Timespan
from lsst.pipe.base import Instrument
from mock_survey import DEC, RA, STORAGE, box, put, write_pipeline

NAME = "NirMosaic"
SKYMAP = "strips"
TRACTS = (3, 4)
NIGHTS = (20300101, 20300102)
DETECTORS = (10, 11, 12)
FIRST = 77_000

TABLE = {
    "pipeline": "nir/pipelines/Mosaic.yaml",
    "subsets": {
        "reduction": ["dither"],
        "astrometry": ["pointing", "nightReport"],
        "mosaics": ["stack"],
        "tables": ["everything"],
    },
    "tasks": {
        "dither": {"dimensions": ["exposure", "detector"], "reads": ["raw"], "makes": ["dithered"]},
        "pointing": {"dimensions": ["visit", "detector"], "reads": ["dithered"], "makes": ["pointed"]},
        "nightReport": {"dimensions": ["visit"], "reads": ["pointed*"], "makes": ["nightReport"]},
        "stack": {
            "dimensions": ["skymap", "tract", "patch", "band"],
            "reads": ["pointed*"],
            "makes": ["mosaic"],
        },
        "everything": {"dimensions": ["instrument", "skymap"], "reads": ["mosaic*"], "makes": ["everything"]},
    },
    "types": {
        "raw": ["exposure", "detector"],
        "dithered": ["exposure", "detector"],
        "pointed": ["visit", "detector"],
        "nightReport": ["visit"],
        "mosaic": ["skymap", "tract", "patch", "band"],
        "everything": ["instrument", "skymap"],
    },
}

CAMPAIGN = """\
campaign: foreign
butler: nir
instrument: NirMosaic
skymap: strips
site: {folder}/site.yaml
environment: {{PYTHONPATH: "{tests}"}}
collections: {{output: nir/first, inputs: nir/raw}}
tracts: [3, 4]
steps:
  - {{name: repository, action: create}}
  - name: camera
    action: register-instrument
    arguments: {{instrument: foreign_survey.NirMosaic}}
    after: [repository]
  - name: archive
    action: command
    arguments: {{run: ["{python}", -m, foreign_survey, "{{butler}}"], creates: {folder}/archive-is-in}}
    after: [camera]
  - name: dithers
    pipeline: {folder}/nir/pipelines/Mosaic.yaml#reduction
    scope: exposure
    group_by: {{kind: exposure, ids: ["77000-77003"], size: 2}}
    after: [archive]
  - name: pointings
    pipeline: {folder}/nir/pipelines/Mosaic.yaml#astrometry
    scope: visit
    group_by: {{kind: day_obs, nights: ["20300101-20300102"]}}
    after: [dithers]
  - name: stacks
    pipeline: {folder}/nir/pipelines/Mosaic.yaml#mosaics
    scope: tract
    group_by: tract
    after: [pointings]
  - name: tables
    pipeline: {folder}/nir/pipelines/Mosaic.yaml#tables
    scope: global
    after: [stacks]
"""
SITE = """\
computeSite: here
site:
  here: {class: lsst.ctrl.bps.parsl.sites.Local, cores: 2, retries: 0}
"""


@dataclass(frozen=True, kw_only=True)
class Filter:
    """A filter as instruments of obs packages define it."""

    physical_filter: str
    band: str


class NirMosaic(Instrument):
    """A mosaic of near-infrared detectors, numbered from ten."""

    filterDefinitions: ClassVar[tuple[Filter, ...]] = (  # noqa: N815 - as obs packages name it
        Filter(physical_filter="WIRCam-Ks", band="Ks"),
    )

    @classmethod
    def getName(cls) -> str:  # noqa: N802 - name set by the base class
        return NAME

    def register(self, registry: Any, *, update: bool = False) -> None:
        own = {"instrument": NAME}
        with registry.transaction():
            registry.syncDimensionData(
                "instrument",
                {"name": NAME, "class_name": "foreign_survey.NirMosaic", "detector_max": 20,
                 "visit_max": 10**6, "exposure_max": 10**6, "visit_system": 7},
                update=update,
            )  # fmt: skip
            for number in DETECTORS:
                record = {"id": number, "full_name": f"H{number}", "purpose": "SCIENCE", "raft": "H"}
                registry.syncDimensionData("detector", own | record, update=update)
            for entry in self.filterDefinitions:
                record = {"name": entry.physical_filter, "band": entry.band}
                registry.syncDimensionData("physical_filter", own | record, update=update)

    def getRawFormatter(self, dataId: Any) -> Any:  # noqa: N802, N803 - names set by the base class
        raise NotImplementedError


def labels(folder: Path) -> dict[str, str]:
    """Return the environment in which the repository has its label."""
    return {"DAF_BUTLER_REPOSITORIES": yaml.safe_dump({"nir": str(folder / "repo")})}


def write_survey(folder: Path) -> Path:
    """Write site, pipeline and campaign file; return the last."""
    table = folder / "tables" / "nir.yaml"
    table.parent.mkdir(parents=True)
    table.write_text(yaml.safe_dump(TABLE, sort_keys=False), encoding="utf-8")
    write_pipeline(table, folder)
    (folder / "site.yaml").write_text(SITE, encoding="utf-8")
    file = folder / "foreign.yaml"
    tests = Path(__file__).resolve().parent
    text = CAMPAIGN.format(folder=folder, tests=tests, python=sys.executable)
    file.write_text(text, encoding="utf-8")
    return file


def exposures() -> Iterator[tuple[int, int, Timespan]]:
    """Yield number, night and time of each exposure, two a night."""
    for at, night in enumerate(night for night in NIGHTS for _ in range(2)):
        begin = datetime.strptime(f"{night}+0000", "%Y%m%d%z") + timedelta(hours=26, minutes=at)
        begin = begin.replace(tzinfo=None)
        span = Timespan(Time(begin, scale="tai"), Time(begin + timedelta(seconds=30), scale="tai"))
        yield FIRST + at, night, span


def bring_in(repository: str) -> None:
    """Bring the archive into a repository: sky map, exposures, visits, raws."""
    with Butler.from_config(repository, writeable=True) as butler:
        with butler.transaction():
            insert_sky(butler.registry)
            insert_exposures(butler.registry)
        raw = DatasetType("raw", {"exposure", "detector"}, f"_mock_{STORAGE}", universe=butler.dimensions)
        butler.registry.registerDatasetType(raw)
        butler.registry.registerRun("nir/raw")
        for number, _, _ in exposures():
            for detector in DETECTORS:
                data_id = butler.registry.expandDataId(
                    instrument=NAME, exposure=number, detector=detector, dimensions=raw.dimensions
                )
                put(butler, DatasetRef(raw, data_id, "nir/raw"))
    Path(repository).with_name("archive-is-in").touch()


def insert_sky(registry: Any) -> None:
    sky = {"name": SKYMAP, "hash": b"s" * 40, "tract_max": 10, "patch_nx_max": 1, "patch_ny_max": 1}
    registry.insertDimensionData("skymap", sky)
    for at, tract in enumerate(TRACTS):
        own = {"skymap": SKYMAP, "region": box(RA + 0.2 * at, DEC)}
        registry.insertDimensionData("tract", own | {"id": tract})
        registry.insertDimensionData("patch", own | {"tract": tract, "id": 0, "cell_x": 0, "cell_y": 0})


def insert_exposures(registry: Any) -> None:
    own = {"instrument": NAME}
    registry.insertDimensionData("visit_system", own | {"id": 7, "name": "dithers"})
    for night in NIGHTS:
        registry.insertDimensionData("day_obs", own | {"id": night})
    for number, night, span in exposures():
        both = own | {
            "id": number, "physical_filter": "WIRCam-Ks", "day_obs": night, "seq_num": number,
            "exposure_time": 30.0, "target_name": "strip", "science_program": "first",
            "observation_reason": "science", "timespan": span,
        }  # fmt: skip
        registry.insertDimensionData("group", own | {"name": str(number)})
        registry.insertDimensionData(
            "exposure",
            both
            | {"group": str(number), "obs_id": f"nir{number}", "observation_type": "object",
               "seq_start": number, "seq_end": number, "dark_time": 30.0, "can_see_sky": True},
        )  # fmt: skip
        region = box(RA + 0.05, DEC + 0.05, width=0.3, height=0.1)
        registry.insertDimensionData("visit", both | {"name": f"nir{number}", "region": region})
        key = own | {"visit": number}
        registry.insertDimensionData("visit_definition", key | {"exposure": number})
        registry.insertDimensionData("visit_system_membership", key | {"visit_system": 7})
        for at, detector in enumerate(DETECTORS):
            part = box(RA + 0.05 + 0.1 * at, DEC + 0.05, width=0.1, height=0.1)
            registry.insertDimensionData(
                "visit_detector_region", key | {"detector": detector, "region": part}
            )


if __name__ == "__main__":
    bring_in(sys.argv[1])
