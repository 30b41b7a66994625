"""Passwords go out of the environment of what is started, into files that one user can read."""

from __future__ import annotations

import getpass
import os
import pwd
import stat
from pathlib import Path
from urllib.parse import unquote

import pytest
from another_user import as_nobody

from merian_campaign.context import CommandContext
from merian_campaign.domain.errors import UnavailableError
from merian_campaign.host.home import (
    HOME_VARIABLE,
    URL_VARIABLE,
    expanded,
    give_account,
    hide_passwords,
    home_directory,
)
from merian_campaign.host.ownership import UntrustedError


def test_a_password_moves_into_a_private_file(tmp_path: Path) -> None:
    home = tmp_path / "a home"
    environ = {HOME_VARIABLE: str(home), URL_VARIABLE: "postgresql://ana:s3:c\\ret@db/merian?sslmode=require"}
    hide_passwords(environ)
    url, _, file = environ[URL_VARIABLE].partition("&passfile=")
    assert url == "postgresql://ana@db/merian?sslmode=require"
    assert Path(unquote(file)).read_text() == "*:*:*:*:s3\\:c\\\\ret\n"
    for path, mode in ((home, 0o700), (Path(unquote(file)).parent, 0o700), (Path(unquote(file)), 0o600)):
        assert stat.S_IMODE(path.stat().st_mode) == mode
    again = dict(environ)
    hide_passwords(again)
    assert again == environ
    home.parent.chmod(0o711)
    assert "PermissionError" in as_nobody(lambda: Path(unquote(file)).read_text())


def test_pgpassword_becomes_a_passfile(tmp_path: Path) -> None:
    environ = {HOME_VARIABLE: str(tmp_path), "PGPASSWORD": "s3cret", "PGPASSFILE": "/other"}
    hide_passwords(environ)
    assert "PGPASSWORD" not in environ
    assert Path(environ["PGPASSFILE"]).read_text() == "*:*:*:*:s3cret\n"


@pytest.mark.parametrize("url", ["", "postgresql://ana@db/merian", "host=db password=s3cret", "nonsense"])
def test_nothing_is_made_where_there_is_nothing_to_hide(tmp_path: Path, url: str) -> None:
    environ = {HOME_VARIABLE: str(tmp_path / "home"), URL_VARIABLE: url}
    hide_passwords(environ)
    assert environ[URL_VARIABLE] == url
    assert not (tmp_path / "home").exists()


def test_a_planted_folder_for_passwords_is_refused(tmp_path: Path) -> None:
    (tmp_path / "passfiles").mkdir(mode=0o755)
    with pytest.raises(UntrustedError, match="has mode 0755"):
        hide_passwords({HOME_VARIABLE: str(tmp_path), "PGPASSWORD": "s3cret"})
    assert not list((tmp_path / "passfiles").iterdir())


def test_an_account_without_a_name_or_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for name in ("LOGNAME", "HOME"):
        monkeypatch.setenv(name, "")  # put back at the end, also where it was not set
    for name in ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME", HOME_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    assert expanded("~/x") == Path("~/x")
    with pytest.raises(UnavailableError, match=f"has no home directory.*set {HOME_VARIABLE}"):
        home_directory()
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    monkeypatch.setenv(URL_VARIABLE, "postgresql://ana@db/merian")
    assert CommandContext().runtime.actor.startswith(f"user {os.getuid()}@")
    give_account(os.environ)
    assert expanded("~") == tmp_path == home_directory()
    assert getpass.getuser() == f"user{os.getuid()}"
