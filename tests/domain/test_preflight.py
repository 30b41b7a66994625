"""Findings of a preflight: what is fatal, what is only worth knowing, and what to do about it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from domain_help import action, bps, campaign, finished, group

from merian_campaign.domain.failures.remedy import RequestTable
from merian_campaign.domain.preflight import CheckSettings, Facts, Finding, findings, looks
from merian_campaign.domain.preflight.facts import (
    Certified,
    CollectionFacts,
    Exposure,
    FolderFacts,
    HostFacts,
    InputNeed,
    PipelineFacts,
    Present,
    RepositoryFacts,
    SchedulerFacts,
    Selected,
    TaskFacts,
    Tracking,
)
from merian_campaign.domain.resources.cluster import Blocks, Cluster, Partition
from merian_campaign.domain.resources.site_profile import SiteProfile
from merian_campaign.domain.spec import CampaignSpec
from merian_campaign.domain.spec.actions.calibrations import nanoseconds
from merian_campaign.domain.states import GroupState

N708 = "N708 DECam"
N540 = "N540 DECam"
SITE = SiteProfile(
    name="local",
    file="/site.yaml",
    workers=2,
    workers_key="cores",
    site_class="lsst.ctrl.bps.parsl.sites.Local",
)


def _exposure(number: int, night: int, name: str = N708, **changes: Any) -> Exposure:
    text = str(night)
    begin = nanoseconds(f"{text[:4]}-{text[4:6]}-{text[6:]}T23:00:00")
    return Exposure(
        exposure=number, day_obs=night, physical_filter=name, begin=begin, end=begin + 600 * 10**9, **changes
    )


def _need(name: str, *dimensions: str, **changes: Any) -> InputNeed:
    return InputNeed(name=name, dimensions=frozenset(dimensions), **changes)


RAW = _need("raw", "exposure", "detector")
BIAS = _need("bias", "detector", prerequisite=True, calibration=True)
FLAT = _need("flat", "detector", "physical_filter", prerequisite=True, calibration=True)
ONE = PipelineFacts(
    labels=frozenset({"isr", "calibrate"}), inputs=(RAW, BIAS, FLAT), outputs=frozenset({"calexp"})
)
THREE = PipelineFacts(
    labels=frozenset({"makeWarp"}), inputs=(_need("calexp", "visit"), _need("skyMap", "skymap"))
)
TAKEN = Selected(
    exposures=(_exposure(1, 20210318), _exposure(2, 20210319), _exposure(3, 20210319, N540)), detectors=(1, 2)
)


def _spec(**changes: Any) -> CampaignSpec:
    return campaign(
        action(
            name="chain",
            action="collection-chain",
            arguments={"parent": "DECam/defaults/x", "children": ["DECam/raw/all", "DECam/calib/x"]},
        ),
        bps(
            "one",
            "step1",
            after=["chain"],
            inputs=["DECam/defaults/x"],
            if_empty="needs_review",
            group_by={"kind": "day_obs", "nights": ["20210318-20210319"]},
        )
        | changes.pop("one", {}),
        bps("three", "step3", after=["one"], group_by="tract", inputs=["one", "skymaps"])
        | changes.pop("three", {}),
        **{"tracts": [9813, 9814], **changes},
    )


def _certified(name: str, detector: int, *, filters: str | None = None, **changes: Any) -> Certified:
    values: dict[str, Any] = {
        "dataset_type": name,
        "collection": "DECam/calib/x",
        "begin": nanoseconds("2021-01-01T00:00:00"),
        "end": nanoseconds("2022-06-30T23:59:59"),
        "detector": detector,
        "physical_filter": filters,
    }
    return Certified(**(values | changes))


BIASES = tuple(_certified("bias", detector) for detector in (1, 2))
FLATS = tuple(_certified("flat", detector, filters=name) for detector in (1, 2) for name in (N708, N540))
REPOSITORY = RepositoryFacts(
    collections={
        "DECam/raw/all": CollectionFacts(kind="RUN", holds=frozenset({"raw"})),
        "DECam/calib/x": CollectionFacts(kind="CALIBRATION", holds=frozenset({"bias", "flat"})),
        "skymaps": CollectionFacts(kind="RUN", holds=frozenset({"skyMap"})),
    },
    selected={"one": TAKEN},
    present={("one", "raw"): Present(values=frozenset({20210318, 20210319}))},
    certified=(*BIASES, *FLATS),
    tracts=frozenset({9813, 9814}),
    filters={N708: "N708", N540: "N540"},
)
FINE = Facts(
    pipelines={"one": ONE, "three": THREE},
    repository=REPOSITORY,
    host=HostFacts(cores=8, memory_mb=16_000, folders=(FolderFacts(folder="/repo", free_gb=1000.0),)),
    tracking=Tracking(),
)
SETTINGS = CheckSettings(
    root="/submissions", site=SITE, requests=dict.fromkeys(("one", "three"), RequestTable())
)


def _found(
    facts: Facts = FINE, spec: CampaignSpec | None = None, settings: CheckSettings = SETTINGS
) -> list[Finding]:
    return list(findings(spec or _spec(), facts, settings=settings))


def _with(**changes: Any) -> Facts:
    """Facts with changes to what the repository says."""
    return replace(FINE, repository=replace(REPOSITORY, **changes))


def _only(found: list[Finding]) -> Finding:
    assert len(found) == 1, found
    assert found[0].fix, "each finding says what to do"
    return found[0]


def test_nothing_is_found_where_all_is_well() -> None:
    assert _found() == []


def test_each_step_is_asked_about_once_whatever_the_number_of_its_groups() -> None:
    asked = {look.place: look for look in looks(_spec())}
    assert set(asked) == {"one", "three"}
    assert asked["one"].by == "day_obs"
    assert "exposure.day_obs IN (20210318, 20210319)" in asked["one"].query
    assert not asked["three"].exposures
    many = _spec(tracts=["1-500"])
    assert "tract >= 1 AND tract <= 500" in looks(many)[1].query


# -- selections and inputs -----------------------------------------------------------------------------


def test_a_group_that_selects_nothing_is_named() -> None:
    one_night = Selected(exposures=TAKEN.exposures[:1], detectors=(1, 2))
    finding = _only(_found(_with(selected={"one": one_night})))
    assert (finding.place, finding.fatal) == ("one/night20210319", True)
    assert "no exposure is selected by: instrument = " in finding.message
    finding = _only(_found(_with(selected={"one": Selected()})))
    assert finding.place == "one"
    assert "2 of 2 groups: no exposure is selected (20210318, 20210319)" in finding.message


def test_a_group_that_may_be_empty_is_a_note() -> None:
    spec = _spec(one={"if_empty": "done"})
    assert not _only(_found(_with(selected={"one": Selected()}), spec)).fatal


def test_ids_of_a_list_that_are_not_there_are_named() -> None:
    lists = {"kind": "lists", "dimension": "exposure", "lists": {"good": ["1-3"], "more": ["7-9"]}}
    spec = _spec(one={"group_by": lists})
    facts = _with(selected={"one": Selected(exposures=TAKEN.exposures[:2], detectors=(1,))}, present={})
    found = {finding.place: finding for finding in _found(facts, spec)}
    assert found["one/more"].fatal
    assert found["one/good"].message == "1 of its 3 exposures are not there or not selected: 3"
    assert not found["one/good"].fatal


def test_raws_must_be_in_the_input_collections() -> None:
    facts = _with(present={("one", "raw"): Present(values=frozenset({20210319}))})
    finding = _only(_found(facts))
    assert finding.place == "one/night20210318"
    assert "hold no raw" in finding.message


def test_a_refused_query_and_a_broken_pipeline_say_why() -> None:
    facts = replace(
        _with(selected={"one": Selected(problem="no such column")}),
        pipelines={"one": ONE, "three": PipelineFacts(problem="bad yaml")},
    )
    found = _found(facts)
    assert [(finding.place, finding.fatal) for finding in found] == [("one", True), ("three", True)]
    assert "no such column" in found[0].message
    assert "bad yaml" in found[1].message


def test_inputs_must_be_there_unless_a_step_makes_them() -> None:
    without = {name: facts for name, facts in REPOSITORY.collections.items() if name != "skymaps"}
    finding = _only(_found(_with(collections=without)))
    assert finding.place == "three"
    assert "skymaps is not in the repository" in finding.message


def test_what_a_pipeline_needs_must_be_in_its_inputs_or_be_made() -> None:
    three = replace(THREE, inputs=(*THREE.inputs, _need("gaia", "htm7", prerequisite=True)))
    elsewhere = {**REPOSITORY.collections, "refcats": CollectionFacts(kind="RUN", holds=frozenset({"gaia"}))}
    facts = replace(_with(collections=elsewhere), pipelines={"one": ONE, "three": three})
    finding = _only(_found(facts))
    assert finding.place == "three"
    assert "needs gaia, and none of its input collections holds any; it is in refcats" in finding.message


def test_labels_of_requests_and_overrides_must_be_tasks() -> None:
    spec = _spec(one={"config": ["calibrat:doWrite=True"], "resources": {"isrr": {"memory": 1}}})
    found = _found(spec=spec)
    assert [(finding.fatal, finding.fix) for finding in found] == [
        (False, "did you mean isr?"),
        (True, "did you mean calibrate?"),
    ]


def test_tracts_that_the_sky_map_lacks_are_named() -> None:
    finding = _only(_found(_with(tracts=frozenset({9813}))))
    assert finding.place == "three"
    assert "1 tracts are not in rings: 9814" in finding.message
    assert "is not registered" in _only(_found(_with(tracts=None))).message


def test_a_sky_map_that_drivers_add_to_a_query_must_be_registered() -> None:
    # The query of a step by instrument has the sky map only because one of its tasks works by it.
    spec = campaign(bps("maps", "maps", scope="instrument"))
    by_skymap = TaskFacts(label="maps", dimensions=frozenset({"skymap"}))
    facts = replace(_with(tracts=None), pipelines={"maps": replace(THREE, tasks=(by_skymap,))})
    unregistered = [entry for entry in _found(facts, spec=spec) if "registered" in entry.message]
    finding = _only(unregistered)
    assert (finding.place, finding.fatal) == ("skymap", True)
    assert finding.message == f"the sky map {spec.skymap} is not registered"


def test_tracts_that_are_yet_to_be_discovered_are_not_asked_about() -> None:
    spec = _spec(tracts="discover")
    asked = {look.place: look for look in looks(spec)}["three"]
    assert not asked.groups
    assert "tract" not in asked.query
    assert _found(_with(tracts=frozenset({9813})), spec) == []
    # Those that were discovered are.
    there = (group("three", tract=9814),)
    facts = replace(_with(tracts=frozenset({9813})), tracking=Tracking(groups=there))
    assert "tract = 9814" in looks(spec, existing=there)[1].query
    assert "9814" in _only(_found(facts, spec)).message


def test_filters_and_bands_must_be_registered() -> None:
    spec = _spec(one={"select": {"band": "N709", "physical_filter": [N708]}})
    finding = _only(_found(spec=spec))
    assert finding.message == "select: band 'N709' is not registered"
    assert finding.fix.startswith("did you mean N708?")


# -- calibrations --------------------------------------------------------------------------------------


def test_calibrations_must_cover_every_exposure() -> None:
    short = tuple(replace(entry, end=nanoseconds("2021-03-19T12:00:00")) for entry in BIASES)
    finding = _only(_found(_with(certified=(*short, *FLATS))))
    assert finding.place == "one"
    assert finding.message == (
        "no bias covers 2 of 3 exposures (night 20210319); there are some for 2021-01-01 to 2021-03-19"
    )


def test_calibrations_must_be_there_for_each_detector_and_filter() -> None:
    flats = tuple(entry for entry in FLATS if (entry.detector, entry.physical_filter) != (2, N540))
    finding = _only(_found(_with(certified=(*BIASES, *flats))))
    assert "no flat covers 1 of 3 exposures in N540 DECam, detector 2 (night 20210319)" in finding.message
    none = tuple(entry for entry in FLATS if entry.physical_filter == N708)
    finding = _only(_found(_with(certified=(*BIASES, *none))))
    assert "1 of 3 exposures in N540 DECam (night 20210319); there are some for N708 DECam" in finding.message


def test_two_calibrations_for_one_exposure_are_one_too_many() -> None:
    finding = _only(_found(_with(certified=(*BIASES, BIASES[0], *FLATS))))
    assert "more than one bias of one collection covers 3 of 3 exposures, detector 1" in finding.message


def test_a_certify_step_is_taken_at_its_word() -> None:
    def spec(end: str) -> CampaignSpec:
        certify = action(
            name="certify",
            action="certify-calibrations",
            arguments={
                "input": "DECam/calib/x/bias",
                "output": "DECam/calib/x",
                "dataset_type": "bias",
                "begin": "2021-01-01T00:00:00",
                "end": end,
            },
        )
        document = _spec().model_dump(exclude_unset=True)
        return CampaignSpec.model_validate(document | {"steps": [certify, *document["steps"]]})

    facts = _with(certified=FLATS)
    assert _found(facts, spec("2022-06-30T23:59:59")) == []
    finding = _only(_found(facts, spec("2021-03-19T00:00:00")))
    assert finding.message.startswith(
        "bias will be certified for too short a time "
        "(certify: 2021-01-01T00:00:00 to 2021-03-19T00:00:00): 2 of 3"
    )
    assert "widen begin and end of certify" in finding.fix
    # What is certified already counts too.
    assert _found(FINE, spec("2021-03-19T00:00:00")) == []


# -- outputs -------------------------------------------------------------------------------------------

OUTPUT = "runs/night/one"


def _having(**collections: CollectionFacts) -> Facts:
    return _with(collections={**REPOSITORY.collections, **collections})


def test_an_output_must_be_free_to_become_a_chain() -> None:
    finding = _only(_found(_having(**{OUTPUT: CollectionFacts(kind="TAGGED")})))
    assert finding.place == "one"
    assert "must be a chain" in finding.message


def test_a_run_of_the_next_submission_must_not_be_there() -> None:
    facts = _having(**{f"{OUTPUT}/night20210318/001": CollectionFacts(kind="RUN")})
    finding = _only(_found(facts))
    assert "is there already" in finding.message
    assert finding.fatal
    done = group(
        "one", "night20210318", submissions=(finished(1, run_collection=f"{OUTPUT}/night20210318/001"),)
    )
    assert _found(replace(facts, tracking=Tracking(groups=(done,)))) == []
    again = replace(done, generation=2, state=GroupState.WAITING)
    taken = _having(**{f"{OUTPUT}/night20210318.g2/002": CollectionFacts(kind="RUN")})
    finding = _only(_found(replace(taken, tracking=Tracking(groups=(again,)))))
    assert f"{OUTPUT}/night20210318.g2/002" in finding.message


def test_runs_of_others_in_an_output_are_a_note() -> None:
    finding = _only(_found(_having(**{f"{OUTPUT}/20260101T000000Z": CollectionFacts(kind="RUN")})))
    assert not finding.fatal
    assert "holds 1 RUN collection that no submission on record made" in finding.message


def test_an_output_belongs_to_one_campaign() -> None:
    other = _spec(campaign="other")
    found = _found(replace(FINE, tracking=Tracking(others=(other,))))
    assert [finding.place for finding in found] == ["one", "three"]
    assert "also that of campaign other (one)" in found[0].message
    elsewhere = _spec(campaign="other", butler="/another")
    assert _found(replace(FINE, tracking=Tracking(others=(elsewhere,)))) == []


def test_a_directory_in_which_something_ran_is_not_used_again() -> None:
    assert FINE.host is not None
    host = replace(FINE.host, remains=frozenset({"/submissions/night/one/night20210319/001"}))
    finding = _only(_found(replace(FINE, host=host)))
    assert finding.place == "one"
    assert "/submissions/night/one/night20210319/001" in finding.message


# -- where it runs -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words", "fatal"),
    [
        ({"free_gb": 1.5}, "only 1.5 GB are free", False),
        ({"free_files": 12}, "only 12 more files", False),
        ({"quota": "99 of 100 kB"}, "99 of 100 kB", False),
        ({"unwritable": "/repo"}, "cannot write to /repo", True),
    ],
)
def test_folders_are_looked_at(changes: dict[str, Any], words: str, fatal: bool) -> None:
    assert FINE.host is not None
    folder = FolderFacts(**({"folder": "/repo", "free_gb": 100.0} | changes))
    finding = _only(_found(replace(FINE, host=replace(FINE.host, folders=(folder,)))))
    assert words in finding.message
    assert finding.fatal is fatal


def test_a_missing_repository_is_a_note_and_a_broken_one_an_error() -> None:
    finding = _only(_found(replace(FINE, repository=RepositoryFacts(there=False))))
    assert not finding.fatal
    assert "not there yet" in finding.message
    assert _only(_found(replace(FINE, repository=RepositoryFacts(problem="no database")))).fatal


def test_a_tracking_database_that_cannot_be_used_is_a_finding() -> None:
    old = Tracking(problem="the database at x has schema version 0001: run `merian-campaign db upgrade`")
    finding = _only(_found(replace(FINE, tracking=old)))
    assert (finding.place, finding.fix) == ("tracking database", "run `merian-campaign db upgrade`")


def test_this_machine_must_have_the_memory_asked_for() -> None:
    requests = dict.fromkeys(("one", "three"), RequestTable(by_task={"calibrate": 20_000, "other": 99_999}))
    finding = _only(_found(settings=replace(SETTINGS, requests=requests)))
    assert finding.place == "one"
    assert (
        finding.message == "calibrate asks for 20000 MB, more than the 16000 MB that this machine shares out"
    )
    small = replace(SITE, memory_mb=1000)
    assert len(_found(settings=replace(SETTINGS, site=small))) == 2
    assert FINE.host is not None
    crowded = _only(_found(replace(FINE, host=replace(FINE.host, cores=1))))
    assert (crowded.fatal, crowded.message) == (False, "2 workers on the 1 cores of this machine")


CLUSTER = Cluster(
    partitions=(
        Partition(
            name="cpu", default=True, max_seconds=3600, max_nodes=4, max_mem_mb=None, accounts=("merian",),
            nodes=4, node_mem_mb=64_000, node_cpus=16,
        ),
    )
)  # fmt: skip


def _slurm(**blocks: Any) -> CheckSettings:
    values = {"partition": "cpu", "walltime": "01:00:00", "mem_mb": 32_000, "shared_mb": 32_000} | blocks
    site = replace(SITE, site_class="merian_campaign.wms.sites.Slurm", blocks=Blocks(**values))
    return replace(SETTINGS, site=site)


def test_slurm_must_be_able_to_run_it() -> None:
    facts = replace(FINE, scheduler=SchedulerFacts(cluster=CLUSTER))
    assert _found(facts, settings=_slurm()) == []
    finding = _only(_found(facts, settings=_slurm(account="other")))
    assert finding.place == "one and 1 more"
    assert "account 'other'" in finding.message
    assert "site.local in /site.yaml" in finding.fix
    huge = replace(_slurm(), requests={"three": RequestTable(default_mb=40_000), "one": RequestTable()})
    finding = _only(_found(facts, settings=huge))
    assert (finding.place, "makeWarp asks for 40000 MB" in finding.message) == ("three", True)


def test_what_sbatch_would_refuse_is_told_and_silence_is_a_note() -> None:
    facts = replace(
        FINE, scheduler=SchedulerFacts(cluster=CLUSTER, refused=("a block would be refused: qos",))
    )
    assert _only(_found(facts, settings=_slurm())).message == "a block would be refused: qos"
    facts = replace(FINE, scheduler=SchedulerFacts(unreachable="no scontrol"))
    assert not _only(_found(facts, settings=_slurm())).fatal


def test_stragglers_that_could_never_share_a_node_are_told() -> None:
    whole = Cluster(partitions=tuple(replace(entry, whole_nodes=True) for entry in CLUSTER.partitions))
    facts = replace(FINE, scheduler=SchedulerFacts(cluster=whole, refused=("a block would be refused: qos",)))
    shared = _slurm(exclusive=True, exact=True)
    note, refused = _found(facts, settings=shared)
    assert (note.place, note.fatal, refused.fatal) == ("afterburner", False, True)
    assert "jobs of partition cpu never share a node" in note.message
    for spec, settings in ((_spec(afterburner={"collect_hours": 0}), shared), (_spec(), _slurm(exact=True))):
        assert _only(_found(facts, spec=spec, settings=settings)) == refused
    facts = replace(FINE, scheduler=SchedulerFacts(cluster=CLUSTER))
    assert _found(facts, settings=shared) == []


def test_words_of_bps_files_that_are_not_used_are_said() -> None:
    table = RequestTable(unused=("numberOfRetries in a.yaml is not used: why",), environment=("OMP",))
    settings = replace(SETTINGS, requests={"one": table, "three": RequestTable()})
    note = _only(_found(settings=settings))
    assert (note.place, note.message, note.fatal) == ("one", table.unused[0], False)
    messages = [entry.message for entry in _found(spec=_spec(wms="stock"), settings=settings)]
    assert "environment of the BPS files (OMP) is not used by the stock service" in messages
    settings = replace(SETTINGS, requests=dict.fromkeys(("one", "three"), table))
    assert [entry.place for entry in _found(settings=settings)] == ["include"]
