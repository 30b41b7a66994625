"""Tables of cron and units of systemd, through the real systemd and programs that stand for the host's."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from merian_campaign.domain.errors import UnavailableError
from merian_campaign.domain.tick.cron_line import (
    Entry,
    TickStarter,
    entry_lines,
    timer_units,
    unit_name,
    with_entry,
)
from merian_campaign.host.cron_tables import (
    disable_timer,
    enable_timer,
    read_table,
    unit_file,
    write_table,
)

SLURM = Entry(starter=TickStarter.SCRONTAB, home="/h", launcher="/h/tick", every=1, options=("--mem=2G",))
SYSTEMD = "/lib/systemd/systemd"
# Where systemd did not boot, its manager of a user wants to see a trace of that; no other process sees this.
ALONE = "mount --make-rprivate / && mount -t tmpfs none /run && mkdir -p /run/systemd/system && "
# It takes the control group that it starts in for its own, and all processes there out of other groups: those
# of a Slurm job too, which then run without their limits.
GROUPS = tuple(Path("/sys/fs/cgroup") / kind for kind in ("systemd", "unified", "."))


def program(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def test_tables_go_through_the_programs_of_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, table = tmp_path / "bin", tmp_path / "table"
    quoted = shlex.quote(str(table))
    program(own, "scrontab", f'[ "$1" = -l ] && exec cat {quoted}; cp "$1" {quoted}')
    monkeypatch.setenv("PATH", f"{own}:/usr/bin:/bin")
    table.write_text("")
    write_table("scrontab", with_entry(read_table("scrontab"), SLURM))
    assert read_table("scrontab") == "".join(f"{line}\n" for line in entry_lines(SLURM))
    program(own, "scrontab", "echo scrontab: error: scrontab is disabled on this cluster >&2; exit 1")
    with pytest.raises(UnavailableError, match=r"scrontab refused: .*is disabled on this cluster"):
        read_table("scrontab")
    program(own, "scrontab", "echo no crontab for me >&2; exit 1")
    assert read_table("scrontab") == ""
    with pytest.raises(UnavailableError, match="there is no nosuchcron on this host; say --with"):
        read_table("nosuchcron")


def test_what_systemd_refuses_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "bin", "systemctl", "echo Failed to connect to bus: No medium found >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    environ = {"HOME": str(tmp_path)}
    units = timer_units(SLURM)
    with pytest.raises(UnavailableError, match="systemctl --user refused: Failed to connect to bus"):
        enable_timer("ticks", units, environ=environ)
    there = unit_file("ticks", "timer", environ=environ).parent
    assert list(there.iterdir()) == []
    earlier = there / "ticks.timer"
    earlier.write_text("[Timer]\n")
    with pytest.raises(UnavailableError):
        enable_timer("ticks", {"timer": units["timer"]}, environ=environ)
    assert earlier.read_text() == "[Timer]\n", "the earlier one stays"


@contextmanager
def group_of_its_own(name: str) -> Iterator[str]:
    """Make a control group in each hierarchy that systemd may keep; yield what has a shell enter them."""
    tops = [top for top in GROUPS if os.access(top / "cgroup.procs", os.W_OK)]
    groups = [top / name for top in tops]
    for group in groups:
        group.mkdir()
    try:
        yield "".join(f"echo $$ > {group}/cgroup.procs && " for group in groups)
    finally:
        for group in groups:
            for place, _, _ in os.walk(group, topdown=False):
                Path(place).rmdir()


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """The environment of a user whose systemd runs."""
    if os.geteuid() != 0 or not Path(SYSTEMD).exists() or not shutil.which("unshare"):
        pytest.skip("only root can have a systemd of its own for a test (Debian: systemd, util-linux)")
    with tempfile.TemporaryDirectory(prefix="merian-systemd-") as folder:
        runtime = Path(folder) / "run"
        runtime.mkdir(mode=0o700)
        made = {"HOME": folder, "XDG_RUNTIME_DIR": str(runtime), "PATH": os.environ["PATH"]}
        with (
            group_of_its_own(Path(folder).name) as enter,
            subprocess.Popen(
                ["unshare", "--mount", "sh", "-c", f"{enter}{ALONE}exec {SYSTEMD} --user"],
                env=made,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            ) as manager,
        ):
            try:
                while not (runtime / "systemd" / "private").exists() and manager.poll() is None:
                    time.sleep(0.02)  # between two looks
                if manager.poll() is not None:
                    pytest.skip("this machine lets no systemd run")
                monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
                monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
                # On a machine that systemd has not booted, systemctl itself looks for units, in its own home.
                monkeypatch.setenv("HOME", folder)
                yield made
            finally:
                manager.terminate()


def shown(unit: str, name: str) -> str:
    command = ["systemctl", "--user", "show", "--value", "--property", name, unit]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_real_systemd_starts_ticks(environ: dict[str, str], tmp_path: Path) -> None:
    home = tmp_path / '5% of "$HOME" it\'s \\x'
    program(home, "tick", 'cd "$(dirname "$0")"; sleep 300 & echo $! > started; mv started child; exit 1')
    entry = Entry(starter=TickStarter.SYSTEMD, home=str(home), launcher=str(home / "tick"), every=59)
    name, units = unit_name(entry.home), timer_units(entry)
    enable_timer(name, units, environ=environ)
    files = [str(unit_file(name, suffix, environ=environ)) for suffix in units]
    checked = subprocess.run(
        ["systemd-analyze", "--user", "verify", *files], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")
    assert shown(f"{name}.timer", "ActiveState") == "active"
    assert "*:00/59:00" in shown(f"{name}.timer", "TimersCalendar")
    enable_timer(
        name,
        timer_units(Entry(starter=entry.starter, home=entry.home, launcher=entry.launcher, every=7)),
        environ=environ,
    )
    assert "*:00/7:00" in shown(f"{name}.timer", "TimersCalendar"), "the new one is in force"
    subprocess.run(["systemctl", "--user", "start", f"{name}.service"], check=True)
    child = psutil.Process(int((home / "child").read_text()))
    try:
        assert shown(f"{name}.service", "Result") == "success", "1 says that a person is needed"
        assert child.is_running(), "what a tick starts goes on"
    finally:
        child.kill()
    assert [disable_timer(name, environ=environ), disable_timer(name, environ=environ)] == [True, False]
    assert shown(f"{name}.timer", "ActiveState") == "inactive"
    assert list(Path(files[0]).parent.rglob("*.*")) == []
