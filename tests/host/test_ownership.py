"""Whose a file is, and who else may have written it."""

from __future__ import annotations

import grp
import os
from pathlib import Path

import pytest
from another_user import NOBODY

from merian_campaign.host import ownership
from merian_campaign.host.ownership import UntrustedError, doubt, private_folder, require_submission


@pytest.fixture
def submission(tmp_path: Path) -> Path:
    """A submission's directory as a tick makes it."""
    place = tmp_path / "work" / "demo" / "step1" / "all" / "001"
    (place / "bps").mkdir(parents=True)
    (place / "outcome.json").write_text("{}")
    return place


def give_away(path: Path, *, group: int = NOBODY) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    os.chown(path, NOBODY, group, follow_symlinks=False)


def test_our_own_files_are_relied_on(submission: Path) -> None:
    require_submission(str(submission))
    (submission / "outcome.json").chmod(0o666)
    with pytest.raises(UntrustedError, match=r"outcome\.json: everybody may write it.*chmod o-w"):
        require_submission(str(submission))
    assert doubt(submission / "none") == ""


@pytest.mark.parametrize("folder", [".", "..", "../..", "../../..", "../../../.."])
def test_a_folder_that_others_may_write_is_refused(submission: Path, folder: str) -> None:
    (submission / folder).resolve().chmod(0o777)
    with pytest.raises(UntrustedError, match="everybody may write it"):
        require_submission(str(submission), str(submission / "outcome.json"))


@pytest.mark.parametrize("name", ["outcome.json", "bps", "started"])
def test_a_file_of_another_user_is_refused(submission: Path, name: str) -> None:
    if not (submission / name).exists():
        (submission / name).symlink_to("/etc/passwd")
    give_away(submission / name)
    with pytest.raises(UntrustedError, match=f"{name}: belongs to nobody") as caught:
        require_submission(str(submission))
    assert caught.value.exit_code == 77
    assert "trusted_groups" in str(caught.value)


def test_a_place_above_that_everybody_may_write_needs_a_sticky_bit(submission: Path) -> None:
    top = submission.parents[4]
    top.chmod(0o777)
    with pytest.raises(UntrustedError, match="put another folder in the place of"):
        require_submission(str(submission))
    top.chmod(0o1777)
    require_submission(str(submission))


def test_groups_may_write_that_are_trusted_or_private(submission: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    group = grp.getgrgid(NOBODY).gr_name
    os.chown(submission, 0, NOBODY)
    submission.chmod(0o775)
    with pytest.raises(UntrustedError, match=f"the group {group} may write it"):
        require_submission(str(submission))
    require_submission(str(submission), trusted=[group])
    give_away(submission / "outcome.json")
    require_submission(str(submission), trusted=[group])  # nobody is a member
    os.chown(submission, 0, 0)
    with pytest.raises(UntrustedError, match="belongs to nobody"):
        require_submission(str(submission), trusted=["daemon"])
    (submission / "outcome.json").unlink()
    require_submission(str(submission))  # a umask of 0002 and the user's own group


def test_private_groups_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can be two users")
    ownership._is_private.cache_clear()
    monkeypatch.setattr(os, "geteuid", lambda: 1)
    try:
        assert ownership._is_private(1)  # daemon's
        assert not ownership._is_private(NOBODY)
    finally:
        ownership._is_private.cache_clear()


def test_a_private_folder_is_made_or_checked(tmp_path: Path) -> None:
    place = tmp_path / "sockets"
    before = os.umask(0)
    try:
        private_folder(place)
    finally:
        os.umask(before)
    assert place.stat().st_mode & 0o777 == 0o700
    private_folder(place)
    place.chmod(0o750)
    with pytest.raises(UntrustedError, match="has mode 0750"):
        private_folder(place)
    (tmp_path / "link").symlink_to(place)
    with pytest.raises(UntrustedError, match="must be a private folder, and is none"):
        private_folder(tmp_path / "link")
    place.chmod(0o700)
    give_away(place)
    with pytest.raises(UntrustedError, match="belongs to nobody"):
        private_folder(place)
