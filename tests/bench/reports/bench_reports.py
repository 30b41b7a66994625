"""What looking at a large campaign costs: seconds, memory and bytes, beside those of a small one.

The ratios are of `status`, which reads the rollup and must not grow with the quanta, and of the page's size.
"""

# ruff: noqa: T201 - a bench prints what it finds

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "bench")]

from bench_results import entry, keep  # noqa: E402 - beside this one
from made_campaign import TICK, MadeCampaign  # noqa: E402 - of the tests

from merian_campaign.store.server import embedded, migrate  # noqa: E402
from merian_campaign.store.server.connection import open_connection  # noqa: E402
from merian_campaign.store.server.rights import VIEWS  # noqa: E402
from merian_campaign.store.store import PostgresStore  # noqa: E402

PROGRAM = Path(sys.executable).with_name("merian-campaign")
DASHBOARD = ROOT / "docs" / "_static" / "grafana-dashboard.json"
LARGEST_PAGE = 3_000_000
AGAIN = 5
MADE_FOR_ALL = "BENCH_CAMPAIGNS"
"""Variable that names a folder for campaigns which several parts of one run measure."""

USUAL = 100_000
"""Quanta, unless this part alone is asked for: among all parts, another one makes the large campaign."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of one command."""

    seconds: float
    cpu: float
    megabytes: float


@contextmanager
def campaign(*, tracts: int, quanta: int) -> Iterator[Path]:
    """A home with the campaign ``wide``, gone afterwards; it is made once for all parts of a run."""
    with new_home() as home:
        folder = os.environ.get(MADE_FOR_ALL)
        if folder is None:
            make(home, tracts=tracts, quanta=quanta)
        else:
            made = made_once(Path(folder), tracts=tracts, quanta=quanta)
            subprocess.run(["cp", "-aT", str(made), str(home)], check=True)
            embedded.ensure_running(home)
        yield home


@contextmanager
def new_home() -> Iterator[Path]:
    """A home for an embedded server, gone afterwards."""
    home = Path(tempfile.mkdtemp(prefix="merian-bench-")).resolve()
    home.chmod(0o711)
    try:
        yield home
    finally:
        embedded.stop(home)
        shutil.rmtree(home, ignore_errors=True)


def made_once(folder: Path, *, tracts: int, quanta: int) -> Path:
    """Return the home of a campaign to copy, which the first that asks for it makes, and others wait for."""
    made = folder / f"{tracts}-{quanta}"
    with made.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            with new_home() as home:
                make(home, tracts=tracts, quanta=quanta)
                embedded.stop(home)
                subprocess.run(["cp", "-a", str(home), str(made)], check=True)
    return made


def make(home: Path, *, tracts: int, quanta: int) -> None:
    """Make the campaign ``wide`` on a server of its own, and say how long that took."""
    begin = time.perf_counter()
    url = embedded.ensure_running(home)
    migrate.upgrade(url)
    with closing(open_connection(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("ALTER SYSTEM SET fsync = off")
            cursor.execute("SELECT pg_reload_conf()")
    with PostgresStore(url) as store:
        # Each look reads all groups: one a night, as by cron.
        MadeCampaign(tracts=tracts, quanta=quanta, every=3 * TICK).fill(store)
    with closing(open_connection(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
    print(f"{quanta:,} quanta of {tracts} tracts made in {time.perf_counter() - begin:.0f} s", flush=True)


def run(home: Path, *words: str) -> Cost:
    """Run a command; return what it cost."""
    begin = time.perf_counter()
    environ = {**os.environ, "MERIAN_CAMPAIGN_HOME": str(home)}
    environ.pop("MERIAN_CAMPAIGN_DATABASE_URL", None)
    silent = os.open(os.devnull, os.O_WRONLY)
    pid = os.posix_spawn(
        str(PROGRAM), [str(PROGRAM), *words], environ, file_actions=[(os.POSIX_SPAWN_DUP2, silent, 1)]
    )
    _, status, used = os.wait4(pid, 0)
    os.close(silent)
    assert status == 0, words
    return Cost(
        seconds=time.perf_counter() - begin,
        cpu=used.ru_utime + used.ru_stime,
        megabytes=used.ru_maxrss / 1024,
    )


def measure(home: Path, *, name: str) -> tuple[float, int]:
    """Print what each command costs; return the seconds of `status` and the bytes of the page."""
    page = home / "page"
    commands = {
        "status": ("status", "wide"),
        "failures": ("failures", "wide"),
        "plan": ("plan", "wide"),
        "completeness": ("completeness", "wide"),
        "usage": ("usage", "wide"),
        "report": ("report", "wide", "-o", str(page)),
    }
    times = {}
    for command, words in commands.items():
        costs = [run(home, *words) for _ in range(AGAIN if command == "status" else 1)]
        times[command] = median(cost.seconds for cost in costs)
        cpu = min(cost.cpu for cost in costs)
        print(
            f"{name:>12} {command:13} {times[command]:7.2f} s {cpu:7.2f} s CPU {costs[-1].megabytes:7.0f} MB"
        )
    size = (page / "index.html").stat().st_size
    print(f"{name:>12} {'page':13} {size / 1e6:7.2f} MB")
    return times["status"], size


def archive(home: Path, *, name: str) -> None:
    """Print what it costs to put the campaign away and to bring it back."""
    # Last: what the others read is gone for a while, and nothing may be under way.
    with closing(open_connection(embedded.url(home))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE submission SET state = 'finished', outcome = 'lost', finished_at = now() "
                "WHERE state <> 'finished'"
            )
    folder = str(home / "archive")
    for command, words in {"archive": ("wide", folder, "--yes"), "unarchive": (folder,)}.items():
        cost = run(home, command, *words)
        print(f"{name:>12} {command:13} {cost.seconds:7.2f} s {cost.megabytes:7.0f} MB")


def queries(url: str, *, name: str) -> None:
    """Print what the views and the dashboard cost that others read."""
    board = json.loads(DASHBOARD.read_text())
    asked = {
        view: f"SELECT * FROM {view} WHERE campaign = 'wide'" for view in VIEWS if view != "quantum_status"
    }
    for panel in board["panels"]:
        for place, target in enumerate(panel["targets"]):
            query = target["rawSql"].replace("$campaign", "wide")
            query = re.sub(r"\$__timeFilter\((\w+)\)", r"\1 BETWEEN '2020-01-01Z' AND '2030-01-01Z'", query)
            asked[f"dashboard: {panel['title']} {place or ''}".strip()] = query
    with closing(open_connection(url)) as connection, connection.cursor() as cursor:
        for what, query in asked.items():
            begin = time.perf_counter()
            cursor.execute(query)
            found = len(cursor.fetchall())
            print(f"{name:>12} {what:45} {time.perf_counter() - begin:7.3f} s {found:7} rows")


def main() -> int:
    """Measure, print, keep; exit 1 if a ratio is below what must hold."""
    asked = int(os.environ.get("BENCH_QUANTA", USUAL))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tracts", type=int, help="as many as are usual, at most 400, unless it is said")
    parser.add_argument("--quanta", type=int, default=asked if os.environ.get("PART") == "reports" else USUAL)
    parser.add_argument("--archive", action=argparse.BooleanOptionalAction, default=True)
    arguments = parser.parse_args()
    with campaign(tracts=4, quanta=400) as home:
        small, _ = measure(home, name="400")
    tracts = arguments.tracts or min(400, max(10, arguments.quanta // 1000))
    with campaign(tracts=tracts, quanta=arguments.quanta) as home:
        large, size = measure(home, name=f"{arguments.quanta:,}")
        queries(embedded.url(home), name=f"{arguments.quanta:,}")
        if arguments.archive:
            archive(home, name=f"{arguments.quanta:,}")
    return keep(
        [
            entry("reports: status, small against large", small / large, 1 / 3, 0.8),
            entry("reports: page within its size", LARGEST_PAGE / size, 1, 2),
        ]
    )


if __name__ == "__main__":
    raise SystemExit(main())
