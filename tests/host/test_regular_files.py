"""Files that anybody may have put there: read when they are regular and small enough, never waited for."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import pytest

from merian_campaign.domain.failures.fault_attribution import words_of
from merian_campaign.host.atomic_files import open_append, write_atomically, write_if_changed
from merian_campaign.host.regular_files import (
    DamagedFileError,
    read_bytes,
    read_json,
    read_json_object,
    read_lines,
    read_tail,
)


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "device").symlink_to("/dev/zero")
    for name, kind in [("fifo", "a FIFO"), ("folder", "a folder"), ("device", "a device")]:
        with pytest.raises(DamagedFileError, match=f"{name}: expected a regular file, found {kind}"):
            read_bytes(tmp_path / name)
        assert read_tail(tmp_path / name) == ""
    with pytest.raises(FileNotFoundError):
        read_bytes(tmp_path / "none")


def test_size_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 101)
    with pytest.raises(DamagedFileError, match="101 bytes, more than the 100"):
        read_bytes(tmp_path / "big", limit=100)
    assert read_tail(tmp_path / "big", size=3) == "xxx"


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"null", b"\x00\x01", b'{"a": NaN}', b"[" * 50_000])
def test_damaged_objects_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "outcome.json").write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"outcome\.json: "):
        read_json_object(tmp_path / "outcome.json")


def test_no_file_is_no_object(tmp_path: Path) -> None:
    assert read_json(tmp_path / "none") is None
    assert read_json_object(tmp_path / "none") is None


def test_a_link_under_a_name_of_ours_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "planted").symlink_to(victim)
    write_atomically(tmp_path / "planted", "ours")
    assert victim.read_text() == "mine"
    (tmp_path / "planted").unlink()
    (tmp_path / "planted").symlink_to(victim)
    assert write_if_changed(tmp_path / "planted", "mine")
    assert not (tmp_path / "planted").is_symlink()
    (tmp_path / "log").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"):
        open_append(tmp_path / "log")
    assert victim.read_text() == "mine"


def test_appending_refuses_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises((DamagedFileError, OSError)):
        open_append(tmp_path / "fifo")
    os.close(open_append(tmp_path / "new"))
    assert (tmp_path / "new").stat().st_size == 0


def test_modes_follow_the_umask(tmp_path: Path) -> None:
    for mask, mode in [(0o077, 0o600), (0o002, 0o664), (0o022, 0o644)]:
        old = os.umask(mask)
        try:
            write_atomically(tmp_path / f"{mask}", "x")
        finally:
            os.umask(old)
        assert (tmp_path / f"{mask}").stat().st_mode & 0o777 == mode


def test_nothing_is_left_of_what_finds_no_room(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(OSError, match=r"outcome\.json"):
            write_atomically(tmp_path / "outcome.json", "x" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_no_descriptors_is_no_damage(tmp_path: Path) -> None:
    """What the host has run out of is no fault of the file, and is told as what it is."""
    (tmp_path / "sound").write_text("{}")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        with pytest.raises(OSError, match="Too many open files") as caught:
            read_bytes(tmp_path / "sound")
        tail = read_tail(tmp_path / "sound")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert (caught.value.errno, tail) == (errno.EMFILE, "")
    assert str(tmp_path / "sound") in words_of(caught.value)


def test_lines_are_bounded_whatever_size_a_hole_gives_a_file(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b"one\ntwo\xff\r\nthree")
    assert read_lines(path) == ["one", "two\ufffd\r", "three"]
    path.write_text("one\n")
    assert read_lines(path) == ["one", ""]
    path.write_text("")
    assert read_lines(path) == [""]
    os.truncate(path, 3 << 30)
    with pytest.raises(DamagedFileError, match="line 1 has more than"):
        read_lines(path)
    assert read_lines(tmp_path / "none") == []
