"""What goes wrong in a bad week: each trouble has a beginning, and all have an end."""

from __future__ import annotations

import os
import random
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import psycopg2
from cluster.running import Cluster
from cluster.trouble import ClusterError
from cron_help import cron_daemon, enter
from manager_support import PROGRAM, Toy, wait_for

from merian_campaign.domain.tick.tick_status import BUSY, CANNOT_START, FAILED, NOTHING, PERSON, RAN_OUT
from merian_campaign.host.atomic_files import write_atomically
from merian_campaign.store.server import embedded

CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
int clock_gettime(clockid_t which, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    const char *off = getenv("CLOCK_OFF_BY");
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int code = real(which, now);
    if (which == CLOCK_REALTIME && off) now->tv_sec += atol(off);
    return code;
}
time_t time(time_t *where) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (where) *where = now.tv_sec;
    return now.tv_sec;
}
int gettimeofday(struct timeval *now, void *zone) {
    struct timespec exact;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}
"""
"""A clock that is off by so many seconds, while what is waited for takes as long as ever."""

KILLED = 128 + signal.SIGKILL
BORNE = frozenset({NOTHING, PERSON, CANNOT_START, RAN_OUT, BUSY, KILLED})
"""How a tick of a bad week may end: well, with a person asked, without a machine, busy, killed."""

WITHOUT_DATABASE = "the tracking database"
"""What a tick that fails speaks of."""

TICK = """\
#!/bin/sh
cd {folder} || exit
test -e over && exit
. ./environment
file="$NUMBER.$$"
touch "$file.begun"
timeout --signal=KILL "$PATIENCE" {program} tick {name} > "$file.out" 2> "$file.err"
echo $? > "$file.made"
rm "$file.begun"
mv "$file.made" "$file.code"
"""
"""What cron runs: a tick, and how it ended; ``timeout`` tells of its own end as a shell does."""

APART = 5
"""Seconds between two ticks: cron itself starts nothing more often than each minute."""

PROFILE = {
    "SBATCH_PARTITION": "short", "SBATCH_TIMELIMIT": "1", "SBATCH_EXPORT": "NONE", "SQUEUE_FORMAT": "%Q",
    "SQUEUE_STATES": "PENDING", "SACCT_FORMAT": "user", "SLURM_TIME_FORMAT": "relative", "TZ": "Asia/Tokyo",
}  # fmt: skip
BANNER = """\
#!/bin/bash
echo "*** $(basename "$0") of a friendly site ***"
"{real}" "$@"
code=$?
echo
exit $code
"""
NO_ACCOUNTING = "#!/bin/sh\necho 'Slurm accounting storage is disabled' >&2\nexit 1\n"


@dataclass
class Server:
    """The tracking database: a server that commands know by its URL only, so that none of them starts it."""

    home: Path

    @property
    def url(self) -> str:
        return embedded.url(self.home)

    def start(self) -> None:
        embedded.ensure_running(self.home)

    def stop(self) -> None:
        embedded.stop(self.home)

    def do(self, statement: str) -> list[tuple[Any, ...]]:
        with closing(psycopg2.connect(self.url)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            cursor.execute("SET default_transaction_read_only = off")
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def end_sessions(self) -> None:
        self.do(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'merian%'"
        )

    def read_only(self, *, on: bool) -> None:
        self.do(f"ALTER DATABASE {self.name} SET default_transaction_read_only = {'on' if on else 'off'}")
        self.end_sessions()

    @property
    def name(self) -> str:
        ((name,),) = self.do("SELECT current_database()")
        return str(name)


@contextmanager
def small_file_system(place: Path) -> Iterator[bool]:
    """Mount one of a few megabytes on a folder, where that is allowed; say whether it was."""
    place.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", str(place)]
    mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(place)], check=True)


type Act = Callable[[], object]


@dataclass(kw_only=True)
class Week:
    """A campaign under way, and what happens to it.

    Parameters
    ----------
    name
        The campaign.
    full
        The folder whose file system can be filled, if there is one.
    """

    name: str
    toy: Toy
    cluster: Cluster
    server: Server
    dice: random.Random
    work: Path
    full: Path | None
    log: list[str] = field(default_factory=list)
    pending: dict[str, tuple[int, Act]] = field(default_factory=dict)
    ticks: int = 0
    odd: dict[int, str | None] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """What cron runs, and what it said."""
        return self.toy.folder / f"{self.name}-cron"

    # ------------------------------------------------------------------ troubles
    @property
    def troubles(self) -> Mapping[str, tuple[Act, Act | None]]:
        """How each begins and, where it lasts, ends."""
        cluster, server = self.cluster, self.server
        node, partition = self.dice.choice(cluster.nodes), self.dice.choice(["low", "debug"])
        here = partial(self.set_partition, partition)
        found: dict[str, tuple[Act, Act | None]] = {
            "slurmctld away": (cluster.stop_controller, cluster.start_controller),
            "slurmdbd away": (cluster.stop_accounting, cluster.start_accounting),
            f"{node} crashed": (lambda: cluster.crash(node), lambda: self.back(node)),
            f"{node} drained": (lambda: self.set_node(node, "DRAIN"), lambda: self.resume(node)),
            f"{partition} drained": (
                partial(here, "State=DRAIN"),
                partial(here, "State=UP"),
            ),
            f"{partition} down": (
                partial(here, "State=DOWN"),
                partial(here, "State=UP"),
            ),
            f"{partition} hidden": (
                partial(here, "Hidden=YES"),
                partial(here, "Hidden=NO"),
            ),
            "a job out of time": (lambda: self.on_a_job(cluster.expire), None),
            "a job cancelled": (lambda: self.on_a_job(lambda job: cluster.output("scancel", job)), None),
            "nodes taken": (self.preempt, lambda: cluster.run("scancel", "--full", "--name=rival")),
            "database restarted": (lambda: (server.stop(), server.start()), None),
            "database away": (server.stop, server.start),
            "sessions ended": (server.end_sessions, None),
            "database read-only": (lambda: server.read_only(on=True), lambda: server.read_only(on=False)),
            "a driver killed": (self.kill_driver, None),
        }
        if self.full is not None:
            found["no room"] = (self.fill, (self.full / "filler").unlink)
        return found

    def set_node(self, node: str, state: str) -> None:
        self.cluster.output("scontrol", "update", f"NodeName={node}", f"State={state}", "Reason=week")

    def resume(self, node: str) -> None:
        try:
            self.set_node(node, "RESUME")
        except ClusterError as error:
            if "Invalid node state" not in str(error):  # it is back already: it crashed since
                raise

    def set_partition(self, partition: str, what: str) -> None:
        self.cluster.output("scontrol", "update", f"PartitionName={partition}", what)

    def back(self, node: str) -> None:
        self.cluster.start(node)
        self.cluster.run("scontrol", "update", f"NodeName={node}", "State=RESUME")

    def on_a_job(self, do: Callable[[str], object]) -> None:
        running = [
            job for job, state, name in self.cluster.squeue() if state == "RUNNING" and name != "rival"
        ]
        if running:
            do(self.dice.choice(running))

    def preempt(self) -> None:
        for _ in range(2):
            self.cluster.sbatch("--partition=high", "--exclusive", "--job-name=rival", wrap="sleep 600")

    def fill(self) -> None:
        assert self.full is not None
        (self.full / "filler").touch()
        with suppress(OSError), (self.full / "filler").open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 65536)

    def kill_driver(self) -> None:
        drivers = []
        for process in psutil.process_iter(["cmdline"]):
            with suppress(psutil.Error):
                words = process.info["cmdline"] or []
                if "drive" in words and str(self.toy.folder) in str(process.environ()):
                    drivers.append(process)
        if drivers:
            self.dice.choice(drivers).kill()

    # ------------------------------------------------------------------ a week
    def happen(self) -> None:
        """Let something begin, and end what has lasted."""
        for name, (until, end) in list(self.pending.items()):
            if until <= self.ticks:
                self.finish(name, end)
        if self.dice.random() < 0.7:
            name, (begin, end) = self.dice.choice(list(self.troubles.items()))
            if name in self.pending or any(one.split()[0] == name.split()[0] for one in self.pending):
                return
            try:
                begin()
            except (ClusterError, psycopg2.Error) as error:  # what it takes is away itself
                self.log.append(f"tick {self.ticks}: {name}: not now: {str(error)[:60]!r}")
                return
            self.log.append(f"tick {self.ticks}: {name}")
            if end is not None:
                self.pending[name] = (self.ticks + self.dice.randint(1, 4), end)

    def finish(self, name: str, end: Act) -> None:
        try:
            end()
        except (ClusterError, psycopg2.Error, FileNotFoundError) as error:
            self.log.append(f"tick {self.ticks}: end of {name}: not yet: {str(error)[:60]!r}")
            return
        self.log.append(f"tick {self.ticks}: end of {name}")
        del self.pending[name]

    @contextmanager
    def ticking(self) -> Iterator[None]:
        """Have cron start ticks, until the last of them has ended."""
        self.folder.mkdir()
        self.surround(None)
        program = self.folder / "tick"
        program.write_text(TICK.format(folder=self.folder, program=shlex.quote(str(PROGRAM)), name=self.name))
        program.chmod(0o755)
        with cron_daemon():
            enter("".join(f"* * * * * sleep {wait}; {program}\n" for wait in range(0, 60, APART)))
            try:
                yield
            finally:
                (self.folder / "over").touch()
                enter("")
                wait_for(lambda: not [*self.folder.glob("*.begun")], what="end of the last tick", seconds=900)

    def calm(self) -> None:
        """End all that goes wrong."""
        self.server.start()
        self.cluster.start_accounting()
        self.cluster.start_controller()
        while self.pending:
            for name, (_, end) in list(self.pending.items()):
                self.finish(name, end)

    def tick(self, *, calm: bool = False) -> int:
        """Wait for the next tick that cron starts, in an environment that is never quite the same."""
        self.ticks += 1
        odd = (
            None
            if calm
            else self.dice.choice([None, "profile", "banner", "clock", "umask", "no sacct", "killed"])
        )
        self.surround(odd)
        wait_for(lambda: self.ended(self.ticks), what=f"end of tick {self.ticks} of cron", seconds=900)
        last = BUSY
        for told in sorted(self.folder.glob("*.code"), key=os.path.getmtime):
            number, status = int(told.name.split(".")[0]), int(told.read_text())
            out, err = (told.with_suffix(f".{kind}").read_text().strip() for kind in ("out", "err"))
            told.unlink()
            self.log.append(f"tick {number} ({self.odd[number]}): {status} {out} | {err}")
            assert "Traceback" not in out + err, err
            assert status in BORNE or (status == FAILED and WITHOUT_DATABASE in err), out + err
            assert status != KILLED or self.odd[number] == "killed", "a tick hangs"
            last = status if number == self.ticks else last
        return last

    def ended(self, number: int) -> list[Path]:
        return list(self.folder.glob(f"{number}.*.code"))

    def surround(self, odd: str | None) -> None:
        """Say what the ticks to come find around them; cron itself gives them next to nothing."""
        path = os.environ["PATH"]
        if odd in {"banner", "no sacct"}:
            path = f"{self.programs(odd)}{os.pathsep}{path}"
        environ = {
            "PATH": path, **self.toy.extra, "MERIAN_CAMPAIGN_HOME": str(self.toy.home),
            "SLURM_CONF": os.environ["SLURM_CONF"],
            **(PROFILE if odd == "profile" else {}),
        }  # fmt: skip
        if odd == "clock" and self.clock.exists():
            off = self.dice.choice(["10800", "-10800", "420", "-420"])
            environ |= {"LD_PRELOAD": str(self.clock), "CLOCK_OFF_BY": off}
        seconds = self.dice.uniform(0.5, 4) if odd == "killed" else 600
        self.odd[self.ticks] = odd
        lines = [
            *(f"export {name}={shlex.quote(value)}" for name, value in environ.items()),
            *(["umask 077"] if odd == "umask" else []),
            f"NUMBER={self.ticks} PATIENCE={seconds:.1f}",
        ]
        write_atomically(self.folder / "environment", "\n".join(lines) + "\n")

    @property
    def clock(self) -> Path:
        """A library that is a wrong clock, where there is a compiler."""
        made = self.toy.folder / "clock.so"
        if not made.exists() and shutil.which("cc"):
            words = ["cc", "-shared", "-fPIC", "-o", str(made), "-x", "c", "-", "-ldl"]
            subprocess.run(words, input=CLOCK, text=True, check=True)
        return made

    def programs(self, kind: str) -> Path:
        """Return a folder with Slurm's commands as some sites have them."""
        folder = self.toy.folder / kind.replace(" ", "-")
        if not folder.exists():
            folder.mkdir()
            names = ("squeue", "sacct", "scontrol", "sinfo") if kind == "banner" else ("sacct",)
            for name in names:
                text = BANNER.format(real=next(self.real(name))) if kind == "banner" else NO_ACCOUNTING
                (folder / name).write_text(text)
                (folder / name).chmod(0o755)
        return folder

    @staticmethod
    def real(name: str) -> Iterator[Path]:
        places = (Path(place) / name for place in os.environ["PATH"].split(os.pathsep))
        return (place for place in places if place.exists())
