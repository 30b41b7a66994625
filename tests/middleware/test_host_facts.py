"""Looking at the machine: folders, rights, quotas, passwords, remains of earlier submissions."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from merian_campaign.domain.preflight.facts import HostFacts
from merian_campaign.preflight.host_facts import host_facts, read_lustre_quota


def facts(folder: Path, *, directories: tuple[str, ...] = (), **environ: str) -> HostFacts:
    return host_facts(
        repository=str(folder),
        folders=[str(folder)],
        directories=directories,
        environ={"PATH": "", **environ},
    )


def test_a_folder_that_is_not_there_is_judged_by_what_is_above_it(tmp_path: Path) -> None:
    (found,) = facts(tmp_path / "not" / "yet").folders
    assert found.folder == str(tmp_path / "not" / "yet")
    assert found.free_gb > 0
    assert (found.unwritable, found.quota) == ("", "")


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_what_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    database = tmp_path / "gen3.sqlite3"
    database.touch(0o444)
    assert facts(tmp_path).folders[0].unwritable == str(database)
    tmp_path.chmod(0o555)
    assert facts(tmp_path).folders[0].unwritable == str(tmp_path)


def test_a_directory_counts_as_used_when_something_began_in_it(tmp_path: Path) -> None:
    used, prepared, none = (tmp_path / name for name in ("used", "prepared", "none"))
    used.mkdir()
    (used / "started").touch()
    prepared.mkdir()
    (prepared / "submit.yaml").touch()
    names = (str(used), str(prepared), str(none))
    assert facts(tmp_path, directories=names).remains == {str(used)}


def test_passwords_of_a_repository_on_postgresql(tmp_path: Path) -> None:
    (tmp_path / "butler.yaml").write_text("registry: {db: 'postgresql+psycopg2://host:5432/merian'}\n")
    assert "does not exist" in facts(tmp_path, HOME=str(tmp_path)).credentials
    file = tmp_path / "db-auth.yaml"
    file.touch(0o644)
    assert "chmod 600" in facts(tmp_path, LSST_DB_AUTH=str(file)).credentials
    file.chmod(0o600)
    assert facts(tmp_path, LSST_DB_AUTH=str(file)).credentials == ""


def test_the_quota_command_is_believed_if_it_answers(tmp_path: Path) -> None:
    program = tmp_path / "quota"
    program.write_text("#!/bin/sh\necho 'Disk quotas for user me (uid 1):'\necho 'over on /home'\n")
    program.chmod(0o755)
    found = facts(tmp_path, PATH=f"{tmp_path}:{os.defpath}").folders[0]
    assert found.quota == "Disk quotas for user me (uid 1): over on /home"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ""),
        ("/scratch 100 0 1000 - 5 0 0 -", ""),
        ("/scratch 990* 900 1000 6d 5 0 0 -", "990 of 900 kB"),
        ("/scratch [100] 0 0 - 99 0 100 -", "99 of 100 files"),
    ],
)
def test_what_lfs_prints(text: str, found: str) -> None:
    assert read_lustre_quota(text) == found
