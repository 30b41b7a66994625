"""Tables of cron and units of systemd, through programs that stand for the host's."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from merian_campaign.domain.cron_line import Entry, entry_lines, timer_units, with_entry
from merian_campaign.domain.errors import UnavailableError
from merian_campaign.host.cron_tables import disable_timer, enable_timer, read_table, write_table

SLURM = Entry(home="/h", launcher="/h/tick", every=1, options=("--time=00:30:00", "--mem=2G"))


def program(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def test_tables_and_units_go_through_the_programs_of_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, table = tmp_path / "bin", tmp_path / "table"
    quoted = shlex.quote(str(table))
    program(own, "scrontab", f'[ "$1" = -l ] && exec cat {quoted}; cp "$1" {quoted}')
    program(own, "systemctl", f'echo "$@" >> {tmp_path}/asked')
    monkeypatch.setenv("PATH", f"{own}:/usr/bin:/bin")
    table.write_text("")
    write_table("scrontab", with_entry(read_table("scrontab"), SLURM))
    assert read_table("scrontab") == "".join(f"{line}\n" for line in entry_lines(SLURM))
    environ = {"HOME": str(tmp_path / "me")}
    enable_timer(timer_units(SLURM), environ=environ)
    there = tmp_path / "me" / ".config" / "systemd" / "user"
    assert {file.name for file in there.iterdir()} == {"merian-campaign.service", "merian-campaign.timer"}
    assert [disable_timer(environ=environ), disable_timer(environ=environ)] == [True, False]
    assert list(there.iterdir()) == []
    assert (tmp_path / "asked").read_text().splitlines() == [
        "--user daemon-reload", "--user enable --now merian-campaign.timer",
        "--user disable --now merian-campaign.timer", "--user daemon-reload",
    ]  # fmt: skip
    program(own, "scrontab", "echo scrontab: error: scrontab is disabled on this cluster >&2; exit 1")
    with pytest.raises(UnavailableError, match=r"scrontab refused: .*is disabled on this cluster"):
        read_table("scrontab")
    program(own, "scrontab", "echo no crontab for me >&2; exit 1")
    assert read_table("scrontab") == ""
    with pytest.raises(UnavailableError, match="there is no nosuchcron on this host; say --with"):
        read_table("nosuchcron")
