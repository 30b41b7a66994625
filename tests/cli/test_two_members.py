"""Two members of a group work on one campaign: what failed for one is retried, and ended, by the other."""

from __future__ import annotations

import grp
import json
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from another_user import Account, accounts_of_one_group
from cli_help import PROGRAM, Done, environment
from postgresql_help import need_server, private_registry
from survey_help import make_survey

STEPS = """
steps:
  - name: c1
    action: command
    max_submissions: 1
    arguments: {{run: [bash, -c, "echo ValueError: it is not there >&2; test -e {folder}/flag"]}}
"""


@dataclass(frozen=True)
class Member:
    """One of them: a home of their own, and a database that both reach."""

    account: Account
    folder: Path
    url: str

    def __call__(self, *arguments: str) -> Done:
        home = self.folder / self.account.name
        environ = environment(home / "home", HOME=str(home), MERIAN_CAMPAIGN_DATABASE_URL=self.url)
        done = self.account.run(str(PROGRAM), *arguments, environ=environ, cwd=home)
        return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def members(tmp_path: Path) -> Iterator[tuple[Member, Member]]:
    need_server()
    accounts = accounts_of_one_group(2)
    folder = Path(tempfile.mkdtemp(prefix="merian-members-")).resolve()
    folder.chmod(0o755)
    survey = make_survey(folder)
    group = grp.getgrgid(accounts[0].entry.pw_gid).gr_name
    text = survey.file.read_text().partition("\nsteps:")[0].partition("\ntracts:")[0]
    survey.file.write_text(f"{text}\nwork_dir: {folder}/work\n{STEPS.format(folder=folder)}")
    site = folder / "site" / "local.yaml"
    site.write_text(f"trusted_groups: [{group}]\n{site.read_text()}")
    for account in accounts:
        (folder / account.name).mkdir()
        shutil.chown(folder / account.name, account.name)
    (folder / "work").mkdir()
    for shared in ("work", "repo"):
        shutil.chown(folder / shared, accounts[0].name, group)
        (folder / shared).chmod(0o2775)
    try:
        with private_registry(tmp_path) as server:
            known = folder / "server.crt"
            shutil.copyfile(server.certificate, known)
            proven = f"{server.tracking}?sslmode=verify-full&sslrootcert={known}"
            first, second = map(Member, accounts, (folder, folder), (server.tracking, proven))
            first("db", "upgrade").fine()
            yield first, second
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_what_failed_for_one_is_retried_by_the_other(members: tuple[Member, Member]) -> None:
    first, second = members
    first("apply", str(first.folder / "night.yaml")).fine()
    assert first("run", "night").code == 3
    assert "it is not there" in second("show", "night", "c1").fine()
    (first.folder / "flag").touch()
    strange = Path(__file__)
    doubtful = replace(second, url=second.url.replace(str(second.folder / "server.crt"), str(strange)))
    assert doubtful("retry", "night", "c1", "--yes").refused(69).count("\n") <= 1, "another's certificate"
    second("retry", "night", "c1", "--yes").fine()
    second("run", "night").fine()
    (group,) = json.loads(first("status", "night", "--json").fine())["groups"]
    assert (group["state"], group["submissions"]) == ("done", 2)
    place = first.folder / "work" / "night" / "c1" / "all"
    left = [(place / number / "outcome.json").stat() for number in ("001", "002")]
    assert [found.st_uid for found in left] == [one.account.entry.pw_uid for one in members]
    assert all(found.st_mode & stat.S_IWGRP for found in left)
    orders = {
        event["kind"]: event["actor"]
        for event in json.loads(first("events", "night", "--json").fine())["events"]
    }
    assert orders["applied"].startswith(f"{first.account.name}@")
    assert orders["retry"].startswith(f"{second.account.name}@")
