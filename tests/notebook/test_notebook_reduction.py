"""merian-9813.yaml against the survey's notes, item by item.

What the notes say is written down here once more, by hand. Two differences are meant: each step has a chain
of its own instead of one for all, which the last step makes; certification searches all RUNs, since there may
be several.
"""

from __future__ import annotations

import shlex

import pytest
from notebook_help import Rendered, loose


def _runs(*pairs: tuple[int, int]) -> list[int]:
    return [number for first, last in pairs for number in range(first, last + 1)]


SCIENCE = _runs((971666, 971685), (1068554, 1068562), (1068713, 1068723))
BIAS = _runs((970488, 970498), (970589, 970599), (970823, 970833), (970924, 970934), (971161, 971166))
FLAT = _runs(
    (970228, 970238),
    (970501, 970511),
    (970836, 970846),
    (971174, 971184),
    (971554, 971559),
    (1052706, 1052716),
    (1053093, 1053103),
    (1053485, 1053495),
    (1053858, 1053868),
    (1054287, 1054292),
)
DATAQUERY = (
    "exposure.day_obs > 20210101 AND exposure.day_obs < 20220630 AND "
    "exposure.observation_type='science' AND detector NOT IN (31,61)"
)
# The notes name no sky map for visits; with two registered, writeRecalibratedSourceTable would run for each.
ON_SKYMAP = "instrument='DECam' AND skymap='decam_rings_v1'"
TRACT = f"{ON_SKYMAP} AND tract=9813"
OUTPUT = "DECam/runs/merian9813/w_2022_26"
DEFAULTS = "DECam/defaults/merian9813"
CALIB = "DECam/calib/merian9813"
CURATED = "DECam/calib/curated/19700101T000000Z"
UNBOUNDED = "DECam/calib/unbounded"

GROUPS = {
    "cpBias/bias": (
        "CP/pipelines/DarkEnergyCamera/cpBias.yaml",
        f"DECam/raw/all,{CURATED},{UNBOUNDED}",
        f"{CALIB}/bias",
        f"instrument='DECam' AND exposure IN ({','.join(map(str, BIAS))})",
    ),
    "step0/flat": (
        "DRP/pipelines/DECam/DRP-Merian.yaml#step0",
        f"DECam/raw/all,{CALIB},{UNBOUNDED}",
        f"{CALIB}/crosstalk",
        f"instrument='DECam' AND exposure IN ({','.join(map(str, FLAT))})",
    ),
    "step0/science": (
        "DRP/pipelines/DECam/DRP-Merian.yaml#step0",
        f"DECam/raw/all,{CALIB},{UNBOUNDED}",
        f"{CALIB}/crosstalk",
        f"instrument='DECam' AND exposure IN ({','.join(map(str, SCIENCE))})",
    ),
    "cpFlat/flat": (
        "CP/pipelines/DarkEnergyCamera/cpFlat.yaml",
        f"DECam/raw/all,{CALIB},{CALIB}/crosstalk,{CURATED},{UNBOUNDED}",
        f"{CALIB}/flat",
        f"instrument='DECam' AND exposure IN ({','.join(map(str, FLAT))})",
    ),
    "step1/all": (
        "DRP/pipelines/DECam/DRP-Merian.yaml#step1",
        DEFAULTS,
        f"{OUTPUT}/step1",
        f"instrument='DECam' AND {DATAQUERY}",
    ),
    "step2a/all": (
        "DRP/pipelines/DECam/DRP-Merian.yaml#step2a",
        f"{OUTPUT}/step1,{DEFAULTS}",
        f"{OUTPUT}/step2a",
        f"{ON_SKYMAP} AND {DATAQUERY}",
    ),
    "step2b/tract9813": (
        "DRP/pipelines/DECam/DRP-Merian.yaml#step2b",
        f"{OUTPUT}/step2a,{OUTPUT}/step1,{DEFAULTS}",
        f"{OUTPUT}/step2b",
        TRACT,
    ),
    "step2c/all": (
        "DRP/pipelines/DECam/DRP-Merian.yaml#step2c",
        f"{OUTPUT}/step2a,{OUTPUT}/step1,{DEFAULTS}",
        f"{OUTPUT}/step2c",
        "instrument='DECam'",
    ),
    "step2d/all": (
        "DRP/pipelines/DECam/DRP-Merian.yaml#step2d",
        f"{OUTPUT}/step2b,{OUTPUT}/step2a,{OUTPUT}/step1,{DEFAULTS}",
        f"{OUTPUT}/step2d",
        f"{ON_SKYMAP} AND {DATAQUERY}",
    ),
    "step3/tract9813": (
        "DRP/pipelines/DECam/DRP-Merian.yaml#step3",
        f"{OUTPUT}/step2d,{OUTPUT}/step2b,{OUTPUT}/step2a,{OUTPUT}/step1,{DEFAULTS}",
        f"{OUTPUT}/step3",
        TRACT,
    ),
}
"""Pipeline, inputs, output chain of the step, data query."""

CAMERA = "lsst.obs.decam.DarkEnergyCamera"
GAIA = "gaia_dr2_20200414"
PS1 = "ps1_pv3_3pi_20170110"


def _catalogue(name: str) -> str:
    table = f"/projects/MERIAN/refcats/{name}.ecsv"
    return (
        f"merian-campaign refcat-table /projects/HSC/refcats/htm/{name} {table} --dimension htm7\n"
        f"butler register-dataset-type REPO {name} SimpleCatalog htm7\n"
        f"butler ingest-files -t link REPO {name} refcats/gen2 {table}"
    )


def _raws(kind: str) -> str:
    return f"butler ingest-raws REPO /projects/MERIAN/raw-merian/{kind}/raw_*.fz --transfer link"


ACTIONS = {
    "create": "mkdir -p REPO\nchmod ug+rw,g+s REPO\nbutler create REPO",
    "registerInstrument": f"butler register-instrument REPO {CAMERA}",
    "filters": "butler query-dimension-records REPO physical_filter",
    "gaia": _catalogue(GAIA),
    "ps1": _catalogue(PS1),
    "refcats": "butler collection-chain REPO refcats refcats/gen2",
    "skymap": "butler register-skymap REPO -C DECAM/config/makeSkyMap.py -c name=decam_rings_v1",
    "skymapHsc": "butler register-skymap REPO -C SUBARU/config/makeSkyMap.py -c name=hsc_rings_v1",
    "curated": f"butler write-curated-calibrations REPO {CAMERA}",
    "ingestScience": _raws("science"),
    "ingestBias": _raws("bias"),
    "ingestFlat": _raws("flat"),
    "visits": f"butler define-visits REPO {CAMERA}",
    "certifyBias": f"butler certify-calibrations REPO {CALIB}/bias {CALIB} bias"
    " --begin-date 2021-01-01T00:00:00 --end-date 2022-06-30T23:59:59 --search-all-inputs",
    "certifyFlat": f"butler certify-calibrations REPO {CALIB}/flat {CALIB} flat"
    " --begin-date 2021-01-01T00:00:00 --end-date 2022-06-30T23:59:59 --search-all-inputs",
    "defaults": f"butler collection-chain REPO {DEFAULTS}"
    f" DECam/raw/all,{CALIB},{CALIB}/crosstalk,{CURATED},{UNBOUNDED},skymaps,refcats",
    "release": f"butler collection-chain REPO {OUTPUT} {OUTPUT}/step3,{OUTPUT}/step2d,{OUTPUT}/step2c,"
    f"{OUTPUT}/step2b,{OUTPUT}/step2a,{OUTPUT}/step1,{DEFAULTS}",
}


def test_it_has_the_exposures_of_the_notes() -> None:
    assert (len(SCIENCE), len(BIAS), len(FLAT)) == (40, 50, 100)


def test_it_has_these_groups_and_no_others(notebook: Rendered) -> None:
    assert set(notebook.files) == set(GROUPS)
    assert {name.partition("/")[0] for name in notebook.commands} - {
        name.partition("/")[0] for name in GROUPS
    } == set(ACTIONS)


@pytest.mark.parametrize("group", GROUPS)
def test_a_rendered_file_has_the_pipeline_collections_and_query_of_the_notes(
    notebook: Rendered, group: str
) -> None:
    pipeline, inputs, output, query = GROUPS[group]
    payload = notebook.payload(group)
    assert notebook.pipeline(group) == pipeline
    assert payload["inCollection"] == inputs
    assert payload["outputRun"].startswith(f"{output}/")
    assert notebook.query(group) == loose(query)
    assert payload["butlerConfig"] == notebook.repository


@pytest.mark.parametrize("group", GROUPS)
def test_a_pipetask_command_says_the_same(notebook: Rendered, group: str) -> None:
    (line,) = notebook.commands[group]
    words = shlex.split(line)
    given = dict(zip(words[4::2], words[5::2], strict=True))
    _, inputs, output, query = GROUPS[group]
    assert words[:4] == ["pipetask", "--long-log", "run", "--register-dataset-types"]
    assert (given["-b"], given["-i"], given["-o"]) == (notebook.repository, inputs, output)
    assert loose(given["-d"]) == loose(query)


@pytest.mark.parametrize("step", ACTIONS)
def test_a_butler_command_is_that_of_the_notes(notebook: Rendered, step: str) -> None:
    assert notebook.command(step) == ACTIONS[step]


def test_steps_come_in_the_order_of_the_notes(notebook: Rendered) -> None:
    order = notebook.order()
    assert order["create"] == set()
    assert order["registerInstrument"] == order["gaia"] == order["ps1"] == order["skymap"] == {"create"}
    assert order["filters"] == order["curated"] == {"registerInstrument"}
    assert order["refcats"] == {"gaia", "ps1"}
    assert order["ingestScience"] == order["ingestBias"] == order["ingestFlat"] == {"filters"}
    assert order["visits"] == {"ingestScience", "curated"}
    assert order["cpBias"] == {"ingestBias", "curated"}
    assert order["certifyBias"] == {"cpBias"}
    assert order["step0"] == {"certifyBias", "ingestFlat", "ingestScience"}
    assert order["cpFlat"] == {"step0"}
    assert order["certifyFlat"] == {"cpFlat"}
    assert order["defaults"] == {"certifyFlat", "refcats", "skymap"}
    assert order["step1"] == {"defaults", "visits"}
    assert order["step2a"] == {"step1"}
    assert order["step2b"] == {"step2a"}
    assert order["step2c"] == {"step2a"}
    assert order["step2d"] == {"step2b"}
    assert order["step3"] == {"step2d"}
