"""Exports that are interrupted, damaged, changed; and imports of them."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from another_user import NOBODY
from click.testing import CliRunner
from forked_program import run_forked
from house_help import FINAL, SKYMAP, TRACTS, VISITS, House, chain, put, put_tract, register
from lsst.daf.butler import Butler
from lsst.daf.butler.cli.butler import cli as butler_cli

from merian_campaign.context import CommandContext
from merian_campaign.domain.errors import BadInputError, BusyError
from merian_campaign.host.ownership import UntrustedError
from merian_campaign.host.regular_files import DamagedFileError
from merian_campaign.transfer import export_of, exports, received
from merian_campaign.transfer.butler_import import ButlerImport
from merian_campaign.transfer.transfer_service import Exported, Imported, import_export

NAME = "objectTable_tract"


def final_runs(house: House) -> tuple[str, str]:
    first, second = (f"runs/{house.name}/step3/tract{tract}/001" for tract in TRACTS)
    return first, second


def fill(house: House) -> None:
    """Put object tables of two tracts, and a summary of step 1, into their chains."""
    with house.butler() as butler:
        for run, tract in zip(final_runs(house), TRACTS, strict=True):
            put_tract(butler, run, tract, *FINAL)
        put(butler, house.run(1), *VISITS)
        chain(butler, f"runs/{house.name}/step3", *reversed(final_runs(house)))
        chain(butler, house.step, house.run(1))


def export(house: House, folder: Path, **changes: Any) -> Exported:
    wanted = {"types": (), "tracts": (), "where": "", "archive": None} | changes
    service = export_of(CommandContext(environ=house.environ), tell=lambda _: None)
    return service.run(house.name, folder=folder, **wanted)


def bring(place: Path, repository: Path, **changes: Any) -> Imported:
    def opened() -> AbstractContextManager[ButlerImport]:
        return ButlerImport.opened(str(repository))

    wanted = {"chain": None, "transfer": "copy", "skip": ()} | changes
    return import_export(place=place, open_destination=opened, tell=lambda _: None, **wanted)


def empty(folder: Path) -> Path:
    """Make a repository in which nothing is registered."""
    repository = folder / "there"
    Butler.makeRepo(str(repository))
    return repository


def found(repository: Path, collection: str, name: str = NAME) -> dict[int, Any]:
    with Butler.from_config(str(repository)) as butler:
        refs = butler.query_datasets(name, collections=collection, explain=False)
        return {ref.dataId["tract"]: butler.get(ref) for ref in refs}


def content(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".export.lock"
    }


def test_the_final_datasets_arrive_at_a_fresh_repository_once(house: House, tmp_path: Path) -> None:
    fill(house)
    folder, there = tmp_path / "export", empty(tmp_path)
    done = export(house, folder)
    assert (done.copied, done.manifest.dataset_types) == (2, {NAME: 2})
    before = content(folder)
    again = export(house, folder)
    assert (again.copied, again.changed, content(folder)) == (0, False, before)

    parent = f"runs/{house.name}"
    first = bring(folder, there)
    assert (first.datasets, first.known, first.chain, first.chained) == (2, 0, parent, True)
    values = found(there, parent)
    assert values == found(house.repository, f"{parent}/step3")
    shutil.rmtree(folder / "runs")  # what is there already needs no file
    second = bring(folder, there)
    assert (second.datasets, second.known, second.chained) == (0, 2, False)
    with Butler.from_config(str(there)) as butler:
        assert butler.collections.get_info(parent).children == tuple(reversed(final_runs(house)))


def test_the_butlers_own_import_reads_it_too(house: House, tmp_path: Path) -> None:
    fill(house)
    folder, there = tmp_path / "export", empty(tmp_path)
    export(house, folder)
    words = ["import", str(there), str(folder), "--transfer", "copy"]
    done = CliRunner().invoke(butler_cli, words)
    assert done.exit_code == 0, done.output
    assert found(there, final_runs(house)[0]).keys() == {TRACTS[0]}
    # As the notes have it: the chain comes after. Ours finds everything there.
    assert bring(folder, there, chain="DR1").datasets == 0
    assert found(there, "DR1").keys() == set(TRACTS)


def test_an_export_that_is_killed_goes_on_where_it_was(house: House, tmp_path: Path) -> None:
    fill(house)
    last = max((house.repository / final_runs(house)[1]).rglob("*.yaml"), key=lambda path: NAME in path.name)
    with last.open("ab") as stream:
        stream.truncate(150_000_000)  # blanks that take a while
    folder = tmp_path / "export"
    process = house.start("export", house.name, str(folder))
    deadline = time.monotonic() + 120
    # In this order: the part of a second file then, not of the first, which the ledger may not have yet.
    while not list((folder / "runs").rglob("*.yaml")) or not list(folder.rglob("*.part")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.002)  # between two looks at a condition, not in place of one
    process.kill()
    process.wait()
    assert not (folder / "manifest.json").exists()
    with pytest.raises(BadInputError, match="was not finished; run it again"):
        bring(folder, empty(tmp_path))
    (copied,) = (folder / "runs").rglob("*.yaml")
    before = content(folder)[str(copied)]
    assert export(house, folder).copied == 1
    assert content(folder)[str(copied)] == before
    received.verify(folder, exports.read_manifest(folder).files, tell=lambda _: None)
    assert not list(folder.rglob("*.part"))


def test_a_damaged_file_is_named_and_nothing_is_registered(house: House, tmp_path: Path) -> None:
    fill(house)
    folder, there = tmp_path / "export", empty(tmp_path)
    export(house, folder)
    one, other = sorted((folder / "runs").rglob("*.yaml"))
    text = one.read_bytes()
    one.write_bytes(bytes([text[0] ^ 1]) + text[1:])
    other.unlink()
    with pytest.raises(BadInputError, match="the export is damaged") as caught:
        bring(folder, there)
    assert f"{one}: its checksum differs" in str(caught.value)
    assert f"{other}: is not there" in str(caught.value)
    with Butler.from_config(str(there)) as butler:
        assert not list(butler.collections.query("*"))
        assert not list(butler.registry.queryDatasetTypes("*"))
    assert export(house, folder).copied == 2
    assert bring(folder, there).datasets == 2


def test_another_choice_replaces_the_one_before(house: House, tmp_path: Path) -> None:
    fill(house)
    folder = tmp_path / "export"
    assert export(house, folder).copied == 2
    done = export(house, folder, types=(NAME, "deepCoadd_*"), tracts=(9814,))
    assert (done.copied, done.dropped) == (1, 1)
    assert done.manifest.dataset_types == {NAME: 1, "deepCoadd_note": 1}
    assert len(list((folder / "runs").rglob("*.yaml"))) == 2
    assert done.manifest.where == f"skymap = '{SKYMAP}' AND tract IN (9814)"
    summaries = export(house, tmp_path / "more", types=("calexp_summary",), where="visit = 970612")
    assert summaries.manifest.dataset_types == {"calexp_summary": 1}


def test_an_archive_is_imported_and_leaves_nothing_behind(house: House, tmp_path: Path) -> None:
    fill(house)
    there, archive = empty(tmp_path), tmp_path / "packed" / "tables.tar.gz"
    assert export(house, tmp_path / "export", archive=archive).changed
    with tarfile.open(archive) as tar:
        names = tar.getnames()
    assert names[:2] == ["manifest.json", "export.yaml"]
    assert len(names) == 4
    written = content(archive.parent)
    assert not export(house, tmp_path / "export", archive=archive).changed
    assert content(archive.parent) == written
    with pytest.raises(BadInputError, match="symlink"):
        bring(archive, there, transfer="symlink")
    assert bring(archive, there, transfer="move").datasets == 2
    assert found(there, f"runs/{house.name}").keys() == set(TRACTS)
    assert content(archive.parent) == written
    archive.write_bytes(archive.read_bytes()[:300])
    with pytest.raises(BadInputError, match="damaged"):
        bring(archive, there)


def test_what_contradicts_the_repository_is_refused(house: House, tmp_path: Path) -> None:
    fill(house)
    folder = tmp_path / "export"
    export(house, folder)
    there = empty(tmp_path)
    with Butler.from_config(str(there), writeable=True) as butler:
        record = butler.dimensions["skymap"].RecordClass
        butler.registry.insertDimensionData(
            "skymap",
            record(name=SKYMAP, hash=b"other", tract_max=1, patch_nx_max=1, patch_ny_max=1),
        )
    with pytest.raises(BadInputError, match=f"the sky map {SKYMAP} is another one here"):
        bring(folder, there)
    (tmp_path / "bare").mkdir()
    with pytest.raises(BadInputError, match=r"--skip-dimensions skymap: .* does not have"):
        bring(folder, empty(tmp_path / "bare"), skip=("skymap", "tract", "patch"))

    with house.butler() as butler:
        run = final_runs(house)[0]
        (ref,) = butler.query_datasets(NAME, collections=run, explain=False)
        butler.pruneDatasets([ref], purge=True, unstore=True)
        put_tract(butler, run, TRACTS[0], NAME)
    with pytest.raises(BadInputError, match=f"has another {NAME} for"):
        bring(folder, house.repository)
    taken = final_runs(house)[0]
    with pytest.raises(BadInputError, match=f"{taken} is a RUN collection here, and must be a CHAINED one"):
        bring(folder, house.repository, chain=taken)


def test_an_import_that_was_interrupted_is_finished(house: House, tmp_path: Path) -> None:
    """Stop after the registration, before the datasets: what a kill between two transactions leaves."""
    fill(house)
    folder, there = tmp_path / "export", empty(tmp_path)
    export(house, folder)
    with Butler.from_config(str(there), writeable=True) as butler:
        register(butler)
        butler.collections.register(final_runs(house)[0])
    assert bring(folder, there).datasets == 2


def test_folders_that_hold_something_else_are_left_alone(house: House, tmp_path: Path) -> None:
    fill(house)
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "thesis.tex").write_text("mine")
    with pytest.raises(BadInputError, match=r"holds thesis\.tex, which is no export"):
        export(house, folder)
    with pytest.raises(BadInputError, match=r"manifest\.json: there is no such file \(no export\)"):
        bring(folder, house.repository)
    fine = tmp_path / "fine"
    export(house, fine)
    with exports.locked(fine), pytest.raises(BusyError, match="another process is exporting"):
        export(house, fine)
    (fine / ".export.jsonl").write_text(json.dumps({"campaign": "other", "repository": "/r"}) + "\n")
    with pytest.raises(BadInputError, match="holds an export of campaign 'other' from /r"):
        export(house, fine)
    with pytest.raises(BadInputError, match="there is no dataset type nothing"):
        export(house, tmp_path / "none", types=("nothing",))
    with pytest.raises(BadInputError, match="refuses"):
        export(house, tmp_path / "none", where="tract ===")
    assert (folder / "thesis.tex").read_text() == "mine"


# -- what a neighbour may have put there -----------------------------------------------------------
def change_manifest(folder: Path, **changes: Any) -> None:
    file = folder / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_only_files_inside_an_export_are_read(house: House, tmp_path: Path) -> None:
    fill(house)
    folder, there = tmp_path / "export", empty(tmp_path)
    export(house, folder)
    secret = tmp_path / "secret"
    manifest = exports.read_manifest(folder).model_dump()
    first, *others = manifest["files"]
    file = folder / first["path"]
    secret.write_bytes(file.read_bytes())
    for path in ("../secret", str(secret), "runs/../../secret", "./x", "", "a//b", "a\0b"):
        for change in ({"files": [first | {"path": path}, *others]}, {"butler_file": first | {"path": path}}):
            change_manifest(folder, **(manifest | change))
            with pytest.raises(BadInputError, match="is no path inside the export"):
                bring(folder, there, transfer="move")
    change_manifest(folder, **(manifest | {"butler_file": first}))
    with pytest.raises(BadInputError, match=r"butler_file: found .*, it is export\.yaml"):
        bring(folder, there)
    change_manifest(folder, **manifest)
    file.unlink()
    file.symlink_to(secret)
    with pytest.raises(BadInputError, match="is a link"):
        bring(folder, there, transfer="move")
    file.unlink()
    (tmp_path / "elsewhere").mkdir()
    secret.rename(tmp_path / "elsewhere" / file.name)
    file.parent.rmdir()
    file.parent.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadInputError, match="is no folder, or a link to one"):
        bring(folder, there, transfer="move")
    assert (tmp_path / "elsewhere" / file.name).exists()
    with Butler.from_config(str(there)) as butler:
        assert not list(butler.collections.query("*"))


def test_a_second_name_of_a_file_of_another_user_is_refused(house: House, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give folders away")
    fill(house)
    folder, there = tmp_path / "export", empty(tmp_path)
    export(house, folder)
    file = folder / exports.read_manifest(folder).files[0].path
    os.link(file, tmp_path / "mine")
    assert bring(folder, there).datasets == 2  # names of one's own are fine
    os.chown(folder, NOBODY, NOBODY)
    (tmp_path / "other").mkdir()
    with pytest.raises(BadInputError, match="another name of a file that belongs to somebody else"):
        bring(folder, empty(tmp_path / "other"))


def test_an_export_that_others_may_write_is_copied_first_and_never_moved(
    house: House, tmp_path: Path
) -> None:
    fill(house)
    folder, there = tmp_path / "export", empty(tmp_path)
    export(house, folder)
    folder.chmod(0o777)
    with pytest.raises(BadInputError, match=r"--transfer move: .*everybody may write it.*; or use copy"):
        bring(folder, there, transfer="move")
    before = content(folder)
    assert bring(folder, there).datasets == 2
    assert content(folder) == before
    assert found(there, f"runs/{house.name}").keys() == set(TRACTS)
    assert not list(there.glob(".merian-import*"))


@pytest.mark.parametrize("kind", ["symlink", "hardlink", "outside", "device"])
def test_an_archive_holds_files_and_folders_only(house: House, tmp_path: Path, kind: str) -> None:
    fill(house)
    archive = tmp_path / "tables.tar"
    export(house, tmp_path / "export", archive=archive)
    member = tarfile.TarInfo("../planted" if kind == "outside" else "planted")
    member.linkname = "export.yaml" if kind == "hardlink" else "/etc/passwd"
    kinds = {"symlink": tarfile.SYMTYPE, "hardlink": tarfile.LNKTYPE, "device": tarfile.CHRTYPE}
    member.type = kinds.get(kind, tarfile.REGTYPE)
    with tarfile.open(archive, "a") as tar:
        tar.addfile(member)
    with pytest.raises(BadInputError, match=r"neither a file nor a folder|no path inside the export"):
        bring(archive, empty(tmp_path))
    assert not list(tmp_path.glob(".tables*"))
    assert not (tmp_path / "planted").exists()


def test_a_planted_folder_to_unpack_into_is_refused(house: House, tmp_path: Path) -> None:
    fill(house)
    archive, there = tmp_path / "tables.tar", empty(tmp_path)
    export(house, tmp_path / "export", archive=archive)
    (tmp_path / "victim").mkdir()
    (tmp_path / ".tables.tar.unpacked").symlink_to(tmp_path / "victim")
    with pytest.raises(UntrustedError, match="must be a private folder"):
        bring(archive, there)
    assert not list((tmp_path / "victim").iterdir())


def test_an_export_follows_no_link_that_lies_in_its_folder(house: House, tmp_path: Path) -> None:
    fill(house)
    folder = tmp_path / "export"
    export(house, folder)
    victim = tmp_path / "victim"
    victim.write_text("mine\n")
    ledger = folder / ".export.jsonl"
    outside = {"path": "../victim", "dataset": "x", "size": 5, "sha256": "0" * 64}
    with ledger.open("a") as stream:
        stream.write(json.dumps(outside) + "\n")
    export(house, folder)
    (folder / ".export.yaml.part").symlink_to(victim)
    export(house, folder)
    assert victim.read_text() == "mine\n"
    lines = ledger.read_bytes()
    ledger.unlink()
    ledger.symlink_to(victim)
    with pytest.raises(DamagedFileError, match="is a link"):
        export(house, folder)
    ledger.unlink()
    ledger.write_bytes(lines)
    shutil.rmtree(folder / "runs")
    (tmp_path / "elsewhere").mkdir()
    (folder / "runs").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DamagedFileError, match="is a link, and must be a folder"):
        export(house, folder)
    assert victim.read_text() == "mine\n"
    assert not list((tmp_path / "elsewhere").iterdir())


def test_arguments_are_in_the_order_of_the_butlers_import(house: House, tmp_path: Path) -> None:
    fill(house)
    folder = tmp_path / "export"
    export(house, folder)
    done = run_forked("import", str(folder), str(empty(tmp_path)), env=house.environ)
    assert done.returncode == 2
    assert f"{folder}: is an export; write REPO before it, as butler import has them" in done.stderr
    named = {**house.environ, "DAF_BUTLER_REPOSITORIES": json.dumps({"there": str(tmp_path / "there")})}
    done = run_forked("import", "there", str(folder), "-t", "copy", env=named)
    assert done.returncode == 0, done.stderr
    assert "there: 2 datasets imported" in done.stdout
