"""Logs that pipeline tasks wrote, shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from merian_campaign.domain.safe_text.text import clean
from merian_campaign.files.log_reader import read_log
from merian_campaign.host.regular_files import DamagedFileError


def test_colours_go_and_all_else_is_spelled_out(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"\x1b[1;31mERROR\x1b[0m bad\r\n10%\r20%\n\x1b]52;c;eA==\x07\x1b[2J\xff\x00\n\n")
    text, left_out = read_log(log, size=1000)
    assert text == "ERROR bad\n10%\n20%\n\\x1b]52;c;eA==\\x07\\x1b[2J\ufffd\\x00"
    assert left_out == 0


def test_a_huge_log_is_shown_from_its_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as stream:
        stream.truncate(1 << 40)
        stream.seek(0, os.SEEK_END)
        stream.write(b"the end\n")
    text, left_out = read_log(log, size=8)
    assert (text, left_out) == ("the end", 1 << 40)


def test_any_bytes_can_be_shown(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(bytes(range(256)) * 8)
    text, _ = read_log(log, size=10_000)
    assert clean(text, limit=len(text)) == text


def test_what_is_no_log_is_said_in_a_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for place in (tmp_path, tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises(DamagedFileError, match="expected a regular file") as caught:
            read_log(place, size=10)
        assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError):
        read_log(tmp_path / "none", size=10)
