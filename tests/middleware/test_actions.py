"""Butler actions on real repositories: done once, seen afterwards, refused in words."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from demo_compare import compare_collections
from demo_repository import copied_repository
from lsst.daf.butler import Butler, CollectionType
from lsst.daf.butler.cli.butler import cli

from merian_campaign.demo.archive import make_archive
from merian_campaign.demo.catalogues import GAIA
from merian_campaign.domain.execution.runs import RunEnd
from merian_campaign.domain.failures.fault_attribution import advised, ran_out
from merian_campaign.domain.spec.actions import ACTIONS
from merian_campaign.middleware.actions.perform import ActionError, perform
from merian_campaign.middleware.actions.runner import RUNNERS, run_command
from merian_campaign.middleware.submission_run import SubmissionRun
from merian_campaign.middleware.submit_in_process import Target

INSTRUMENT = "merian_campaign.demo.instrument.MiniDecam"
RESOURCES = Path(sys.modules["merian_campaign.demo.archive"].__file__ or "").with_name("resources.yaml")

CAMERA = """\
from merian_campaign.demo.instrument import FilterDefinition, MiniDecam


class Camera(MiniDecam):
    filterDefinitions = MiniDecam.filterDefinitions + {new}

    @classmethod
    def getName(cls):
        return "Growing"
"""


@pytest.fixture(scope="module", autouse=True)
def plugins() -> Any:
    """What a campaign's environment gives to its drivers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAF_BUTLER_PLUGINS", str(RESOURCES))
        patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        yield


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    make_archive(folder)
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's repository as Python makes it."""
    return copied_repository(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the instrument registered and nothing else."""
    repository = tmp_path_factory.mktemp("empty") / "repo"
    assert done(repository, "create")
    assert done(repository, "register-instrument", instrument=INSTRUMENT)
    return repository


@pytest.fixture
def repository(empty: Path, tmp_path: Path) -> Path:
    """A copy of the empty repository."""
    copy = tmp_path / "repo"
    shutil.copytree(empty, copy)
    return copy


def done(repository: Path, action: str, /, **arguments: object) -> bool:
    """Do an action twice; return whether the first time changed something, the second must not."""
    first = perform(name=action, repository=str(repository), arguments=arguments)
    second = perform(name=action, repository=str(repository), arguments=arguments)
    assert second["changed"] is False, second
    return bool(first["changed"])


def refused(
    repository: Path, action: str, /, *words: str, may_pass: bool = False, **arguments: object
) -> None:
    with pytest.raises(ActionError) as caught:
        perform(name=action, repository=str(repository), arguments=arguments)
    for word in words:
        assert word in str(caught.value)
    assert caught.value.needs_person is not may_pass


def count(repository: Path, dataset_type: str, collection: str) -> int:
    with Butler.from_config(str(repository)) as butler:
        return len(list(butler.registry.queryDatasets(dataset_type, collections=collection)))


# -- the repository ----------------------------------------------------------------------------------


def test_each_action_has_the_one_runner_that_is_of_its_model() -> None:
    assert set(RUNNERS) == set(ACTIONS.values())
    assert all(name == model.NAME for name, model in ACTIONS.items())


def test_a_creation_that_was_cut_short_is_done_again(tmp_path: Path) -> None:
    repository = tmp_path / "repo"
    repository.mkdir()
    (repository / "butler.yaml").write_text("datastore: {}\n")
    (repository / "gen3.sqlite3").touch()
    assert done(repository, "create", group_writable=True)
    assert repository.stat().st_mode & 0o2060 == 0o2060
    assert (repository / "gen3.sqlite3").stat().st_mode & 0o060 == 0o060


def test_a_repository_that_does_not_open_is_never_removed(tmp_path: Path) -> None:
    repository = tmp_path / "repo"
    (repository / "DECam").mkdir(parents=True)
    (repository / "butler.yaml").write_text("datastore: {}\n")
    # Perhaps its file system is not there for the moment.
    refused(repository, "create", "cannot be opened", may_pass=True)
    assert (repository / "DECam").is_dir()


@pytest.mark.parametrize(
    ("seed", "auth", "words"),
    [
        (None, None, ("seed_config", "does not exist")),
        ("registry: {}\n", None, ("no registry.db",)),
        ("registry: {db: 'postgresql+psycopg2://localhost/merian'}\n", None, ("db-auth.yaml", "mode 0600")),
        ("registry: {db: 'postgresql+psycopg2://localhost/merian'}\n", 0o640, ("mode 0640", "chmod 600")),
    ],
)
def test_a_server_needs_its_seed_file_and_passwords_for_the_owner_only(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    seed: str | None,
    auth: int | None,
    words: tuple[str, ...],
) -> None:
    for name in ("PGPASSFILE", "PGPASSWORD", "LSST_DB_AUTH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    if seed is not None:
        (tmp_path / "seed.yaml").write_text(seed)
    if auth is not None:
        (tmp_path / ".lsst").mkdir()
        (tmp_path / ".lsst/db-auth.yaml").touch(mode=auth)
        (tmp_path / ".lsst/db-auth.yaml").chmod(auth)
    refused(tmp_path / "repo", "create", *words, seed_config=str(tmp_path / "seed.yaml"))
    assert not (tmp_path / "repo").exists()


def test_filters_that_were_added_are_registered_by_an_update(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    module = tmp_path / "growing_camera.py"
    module.write_text(CAMERA.format(new="()"))
    assert done(repository, "register-instrument", instrument="growing_camera.Camera")
    new = "FilterDefinition(physical_filter='N999', band='N999')"
    module.write_text(CAMERA.format(new=f"({new},)"))
    sys.modules.pop("growing_camera")
    assert done(repository, "register-instrument", instrument="growing_camera.Camera")
    assert not perform(name="check-filters", repository=str(repository), arguments={"filters": ["N999"]})[
        "changed"
    ]


def test_plugins_are_those_of_the_environment_now(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The butler's command line remembers the plug-ins that it saw first."""
    with monkeypatch.context() as patch:
        patch.delenv("DAF_BUTLER_PLUGINS")
        cli._getCommands.cache_clear()
        assert "register-skymap" not in cli._getCommands()
    assert done(repository, "register-skymap", name="decam_rings_v1")


def test_an_unknown_filter_is_named_with_what_to_do(repository: Path) -> None:
    refused(repository, "check-filters", "N419", "FOREIGN KEY", "update", filters=["N419 DECam"])
    refused(repository, "register-instrument", "package set up", instrument="lsst.obs.nowhere.Camera")


def test_skymap_and_curated_calibrations_are_written_once(repository: Path) -> None:
    assert done(repository, "register-skymap", name="decam_rings_v1")
    arguments = {"instrument": INSTRUMENT, "expect": ["camera", "defects"]}
    assert done(repository, "write-curated-calibrations", **arguments)
    assert (count(repository, "camera", "DECam/calib/unbounded"), count(repository, "skyMap", "skymaps")) == (
        1,
        1,
    )
    more = {**arguments, "expect": ["camera", "linearizer"]}
    refused(repository, "write-curated-calibrations", "linearizer missing", "remove-runs", **more)
    # A new release of them comes under a new label.
    assert done(repository, "write-curated-calibrations", **arguments, labels=["v2"])
    assert count(repository, "camera", "DECam/calib/v2/unbounded") == 1
    assert done(repository, "register-skymap", name="decam_thirds_v1")
    assert count(repository, "skyMap", "skymaps") == 2
    known = "The demo has the sky maps decam_rings_v1, decam_thirds_v1"
    refused(repository, "register-skymap", known, name="hsc_rings_v1")
    refused(repository, "register-skymap", "config_file", "does not exist", name="x", config_file="/no/file")


# -- reference catalogues ----------------------------------------------------------------------------


def test_shards_that_came_later_are_ingested_alone(repository: Path, archive: Path, tmp_path: Path) -> None:
    shards = sorted((archive / "refcats" / GAIA).iterdir())
    folder = tmp_path / "shards"
    folder.mkdir()
    (folder / "master_schema.parq").touch()
    arguments = {
        "name": GAIA,
        "shards": str(folder),
        "table": str(tmp_path / "gaia.ecsv"),
        "storage_class": "ArrowAstropy",
    }
    refused(repository, "reference-catalogue", "holds no files named by trixel", **arguments)
    for shard in shards[:-2]:
        os.link(shard, folder / shard.name)
    assert done(repository, "reference-catalogue", **arguments)
    for shard in shards[-2:]:
        os.link(shard, folder / shard.name)
    assert done(repository, "reference-catalogue", **arguments)
    assert count(repository, GAIA, "refcats/gen2") == len(shards)
    assert len((tmp_path / "gaia.ecsv").read_text().splitlines()) == 7 + 2


def test_catalogues_of_another_repository_are_transferred(repository: Path, whole: Path) -> None:
    arguments = {"source": str(whole), "collections": ["refcats"]}
    assert done(repository, "transfer-datasets", **arguments)
    assert done(repository, "collection-chain", parent="refcats", children=["refcats/gen2"])
    assert not compare_collections(
        repository=whole, first=["refcats"], second=["refcats"], other_repository=repository
    )
    refused(repository, "transfer-datasets", "has no nowhere", source=str(whole), collections=["nowhere"])


# -- raws and visits ---------------------------------------------------------------------------------


def test_unreadable_raws_are_counted_and_named_and_the_others_ingested(
    repository: Path, archive: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "raw"
    shutil.copytree(archive / "raw" / "science", folder)
    pattern = {"files": [f"{folder}/raw_*.pickle"]}
    refused(repository, "define-visits", "no science exposures", instrument=INSTRUMENT)
    broken = folder / "raw_971021_2.pickle"
    content = broken.read_bytes()
    broken.write_bytes(content[:100])
    words = ("11 of 12 files are ingested", "raw_971021_2.pickle", "Some failures encountered")
    answer = perform(name="ingest-raws", repository=str(repository), arguments=pattern)
    assert answer["unfinished"]
    assert all(word in answer["found"] for word in words)
    refused(repository, "ingest-raws", *words, **pattern)  # now there is nothing that gets in
    answer = perform(
        name="ingest-raws", repository=str(repository), arguments={**pattern, "allow_failures": 1}
    )
    assert "11 of 12 files" in answer["found"]
    broken.write_bytes(content)
    assert done(repository, "ingest-raws", **pattern)
    assert count(repository, "raw", "DECam/raw/all") == 12
    assert done(repository, "define-visits", instrument=INSTRUMENT)
    refused(repository, "ingest-raws", "nothing matches", files=[f"{folder}/none_*.fz"])


def test_a_copy_in_another_folder_is_told_and_nothing_to_ingest(
    repository: Path, archive: Path, tmp_path: Path
) -> None:
    folders = [tmp_path / "first", tmp_path / "second"]
    raws = sorted((archive / "raw" / "science").glob("raw_*.pickle"))[:2]
    for folder in folders:
        folder.mkdir()
    shutil.copy(raws[0], folders[0])
    shutil.copy(raws[0], folders[1])  # both are new at once
    pattern = {"files": [f"{folder}/raw_*.pickle" for folder in folders]}
    answer = perform(name="ingest-raws", repository=str(repository), arguments=pattern)
    assert not answer["unfinished"]
    assert (
        f"1 of 2 files are ingested, 1 is a copy of another: {folders[1] / raws[0].name}" in answer["found"]
    )
    for folder in folders:
        shutil.copy(raws[1], folder)
        answer = perform(name="ingest-raws", repository=str(repository), arguments=pattern)
    assert "2 of 4 files are ingested, 2 are copies of others" in answer["found"]
    assert count(repository, "raw", "DECam/raw/all") == 2
    other = tmp_path / "second" / raws[1].name
    other.write_bytes(
        other.read_bytes() + b" "
    )  # not a copy: the same exposure and detector from another file
    refused(repository, "ingest-raws", "2 of 4 files are ingested", "not: ", **pattern)


# -- collections -------------------------------------------------------------------------------------


def test_an_overlap_of_validity_ranges_is_said_before_anything_is_done(whole: Path, tmp_path: Path) -> None:
    repository = tmp_path / "repo"
    shutil.copytree(whole, repository)
    arguments = {
        "input": "DECam/calib/curated/19700101T000000Z",
        "output": "DECam/calib/merian",
        "dataset_type": "defects",
        "begin": "2021-01-01T00:00:00",
        "end": "2022-06-30T23:59:59",
    }
    assert done(repository, "certify-calibrations", **arguments)
    later = {**arguments, "begin": "2022-01-01T00:00:00", "end": "2023-01-01T00:00:00"}
    words = ("already has 3 defects", "overlaps", "valid 2021-01-01T00:00:00 to 2022-06-30T23:59:59")
    refused(repository, "certify-calibrations", *words, **later)
    assert done(repository, "certify-calibrations", **{**later, "begin": "2022-06-30T23:59:59"})
    nothing = {**arguments, "dataset_type": "bias"}
    refused(repository, "certify-calibrations", "has the step that builds them succeeded?", **nothing)


def test_a_new_generation_of_calibrations_takes_the_place_of_the_old_one(whole: Path, tmp_path: Path) -> None:
    repository = tmp_path / "repo"
    shutil.copytree(whole, repository)
    arguments = {
        "input": "DECam/made",
        "output": "DECam/calib/merian",
        "dataset_type": "defects",
        "begin": "2021-01-01T00:00:00",
        "end": "2022-06-30T23:59:59",
    }
    year_before = {**arguments, "begin": "2020-01-01T00:00:00", "end": "2021-01-01T00:00:00"}

    def show(run: str, *, detectors: int) -> set[Any]:
        """Let a step's chain show another RUN, of copies of so many calibrations."""
        with Butler.from_config(str(repository), writeable=True) as butler:
            curated = sorted(
                butler.registry.queryDatasets("defects", collections="DECam/calib/curated/19700101T000000Z"),
                key=lambda ref: ref.dataId["detector"],
            )
            butler.collections.register(run)
            refs = {
                butler.put(butler.get(ref), "defects", ref.dataId, run=run) for ref in curated[:detectors]
            }
            butler.collections.register("DECam/made", CollectionType.CHAINED)
            butler.collections.redefine_chain("DECam/made", [run])
            return refs

    def certified() -> set[tuple[Any, int]]:
        with Butler.from_config(str(repository)) as butler:
            found = butler.registry.queryDatasetAssociations("defects", collections="DECam/calib/merian")
            return {(entry.ref, entry.timespan.begin.datetime.year) for entry in found}

    before = show("DECam/made/all/001", detectors=3)
    assert done(repository, "certify-calibrations", **arguments)
    assert done(repository, "certify-calibrations", **year_before)
    # One is not made any more: nothing may go on to read it.
    after = show("DECam/made/all.g2/002", detectors=2)
    assert done(repository, "certify-calibrations", **arguments)
    assert certified() == {(ref, 2021) for ref in after} | {(ref, 2020) for ref in before}


def test_a_chain_of_what_is_not_there_is_refused(repository: Path) -> None:
    refused(
        repository,
        "collection-chain",
        "no collection DECam/none",
        parent="DECam/defaults",
        children=["DECam/none"],
    )


# -- anything else -----------------------------------------------------------------------------------


def test_a_command_is_done_when_what_it_creates_is_there(tmp_path: Path) -> None:
    made = tmp_path / "made"
    assert done(tmp_path, "command", run=["touch", str(made)], creates=str(made))
    assert made.exists()
    unless = {"unless": ["test", "-d", "{butler}/logs"]}
    assert done(tmp_path, "command", run=["mkdir", "{butler}/logs"], **unless)
    assert (tmp_path / "logs").is_dir()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"run": ["sh", "-c", "echo oh no >&2; exit 3"]}, "oh no"),
        ({"run": ["no-such-program"]}, "cannot be started"),
        ({"run": ["true"], "creates": "/no/such/file"}, "does not show it"),
    ],
)
def test_a_command_that_fails_says_so(tmp_path: Path, arguments: dict[str, Any], words: str) -> None:
    refused(tmp_path, "command", words, may_pass=words == "oh no", **arguments)


# -- what passes by itself -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "needs_person"),
    [
        (("sh", "-c", "echo FOREIGN KEY constraint failed; exit 1"), True),
        (("no-such-program",), True),
        (("sh", "-c", "echo sqlite3.OperationalError: database is locked; exit 1"), False),
        (("false",), False),
    ],
)
def test_a_command_that_fails_may_pass(command: tuple[str, ...], *, needs_person: bool) -> None:
    with pytest.raises(ActionError) as caught:
        run_command(command)
    assert caught.value.needs_person is needs_person


def test_the_driver_hears_whether_another_try_helps(tmp_path: Path) -> None:
    target = Target(repository=str(tmp_path / "nowhere"), run="", chain="")
    work = SubmissionRun(directory=str(tmp_path), epoch=1, target=target, warm=True, environ=os.environ)
    try:
        found = [
            work.act(
                name="collection-chain", arguments={"parent": "a", "children": ["b"]}, go_on=lambda: True
            ),
            work.act(
                name="command",
                arguments={"run": ["sh", "-c", "echo database is locked; exit 1"]},
                go_on=lambda: True,
            ),
            work.act(name="command", arguments={"run": ["echo", "well"]}, go_on=lambda: True),
        ]
    finally:
        work.close()
    assert [(result.end, result.needs_person) for result in found] == [
        (RunEnd.FAILED, True),
        (RunEnd.FAILED, False),
        (RunEnd.RAN, False),
    ]


# -- a repository without room -------------------------------------------------------------------------


@pytest.fixture
def small(empty: Path, tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Gives the empty repository on a file system of its own, (re)mounted as is said."""
    place = tmp_path / "small"
    place.mkdir()

    def mount(options: str) -> Path:
        words = f"remount,{options}" if place.is_mount() else options
        command = ["mount", "-t", "tmpfs", "-o", words, "tmpfs", str(place)]
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
        if mounted.returncode:
            pytest.skip(f"no file system can be mounted: {mounted.stderr.strip()}")
        if not (place / "repo").exists():
            shutil.copytree(empty, place / "repo")
        return place / "repo"

    yield mount
    subprocess.run(["umount", "-l", str(place)], check=False)


@pytest.mark.parametrize(
    ("spare", "advice"), [(40, "free space"), (300, "free space"), (None, "mounted for writing")],
    ids=["registry", "datastore", "read-only"],
)  # fmt: skip
def test_a_repository_whose_disk_is_full_is_told_and_heals(
    small: Callable[[str], Path], empty: Path, archive: Path, tmp_path: Path, spare: int | None, advice: str
) -> None:
    """With little room the registry itself cannot be written, with some more the raws cannot be copied."""
    used = sum(path.stat().st_blocks for path in empty.rglob("*")) // 2
    repository = small(f"size={used + (spare or 0)}k")
    if spare is None:
        small("ro")
    target = Target(repository=str(repository), run="", chain="")
    work = SubmissionRun(directory=str(tmp_path), epoch=1, target=target, warm=True, environ=os.environ)
    asked = {"files": [str(archive / "raw" / "science" / "raw_*.pickle")], "transfer": "copy"}
    try:
        for _ in range(2):
            found = work.act(name="ingest-raws", arguments=asked, go_on=lambda: True)
            assert (found.end, found.needs_person) == (RunEnd.FAILED, False), found
            assert ran_out(found.reason), "no fault of the action: it is waited for"
            assert advice in advised(found.reason)
            assert found.reason.isprintable()
        assert list(repository.rglob("*.pickle")) == [], "no debris"
        small("rw,size=64m")
        # What a full disk left of a dataset type is cleared away by the first try.
        assert [work.act(name="ingest-raws", arguments=asked, go_on=lambda: True).end for _ in range(2)][
            -1
        ] is RunEnd.RAN
    finally:
        work.close()
    assert count(repository, "raw", "DECam/raw/all") == 12
