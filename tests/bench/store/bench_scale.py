"""How books grow: bytes a quantum, commands, harvests and the board on a large campaign against a small one.

``BENCH_QUANTA`` is the size of the large one, a quarter of a million unless it is said; the small one has
100,000 quanta, or a tenth if that is less, and for the curves there is one of a tenth of that.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve()
sys.path[:0] = [*(str(HERE.parents[1] / one) for one in (".", "reports", "store")), str(HERE.parents[2])]

from bench_reports import MADE_FOR_ALL, campaign, made_once  # noqa: E402 - beside this one
from bench_results import draw, entry, keep, wait_for_turn  # noqa: E402
from bench_store import CPU, Clock, Groups, changed, reports  # noqa: E402

from merian_campaign.domain.execution.liveness import Liveness  # noqa: E402
from merian_campaign.domain.failures.remedy import RequestTable  # noqa: E402
from merian_campaign.domain.record.applied_spec import applied_spec  # noqa: E402
from merian_campaign.domain.tick.decide import decide  # noqa: E402
from merian_campaign.domain.tick.decisions import Situation  # noqa: E402
from merian_campaign.host.collector import collect_seldom  # noqa: E402
from merian_campaign.store.reading.reader import Reader  # noqa: E402
from merian_campaign.store.server import embedded  # noqa: E402
from merian_campaign.store.server.connection import open_connection  # noqa: E402
from merian_campaign.store.store import PostgresStore  # noqa: E402

QUANTA = int(os.environ.get("BENCH_QUANTA", "250_000"))
SMALL = min(100_000, QUANTA // 10)
FAR = 5_000_000
"""So many quanta and more are as good as ten million."""

UNIT = 10_000
NOW = datetime(2026, 12, 1, tzinfo=UTC)
ROUNDS = 3
AGAIN = 5
A_WHILE = 0.1
HARVESTS = 7
SIZES = """
SELECT (SELECT count(*) FROM quantum_row) AS n,
       pg_total_relation_size('quantum_row') + pg_total_relation_size('quantum_kind')
       + pg_total_relation_size('quantum_common') + pg_total_relation_size('quantum_host'),
       pg_total_relation_size('attempt_row') + pg_total_relation_size('quantum_failure')
"""
SQL = {
    "one visit": "visit = (SELECT max(visit) FROM quantum_row)",
    "one patch": "tract = (SELECT max(tract) FROM quantum_row) AND patch = 1",
    "what runs": "state = 'running'",
    "the last day": "ended > (SELECT max(ended) FROM quantum_row) - interval '1 day'",
}
"""Conditions on the view; of the last one the answer grows with the campaign, so it is not compared."""


def seconds(work: Callable[[], object]) -> float:
    """Return how long something takes: the best of some rounds, and of more if it is quick.

    What disturbs only adds.
    """
    found: list[float] = []
    while len(found) < AGAIN or sum(found) < A_WHILE:
        begin = time.perf_counter()
        work()
        found.append(time.perf_counter() - begin)
    return min(found)


def measured(home: Path) -> tuple[dict[str, float], float, float]:
    """Return how long each question takes, and the bytes a quantum, now and of history."""
    url = embedded.ensure_running(home)
    times: dict[str, float] = {}
    with closing(open_connection(url)) as connection, Reader(url) as reader:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(SIZES)
            number, now, history = cursor.fetchone() or (1, 0, 0)
            for name, condition in SQL.items():
                query = f"SELECT task, data_id, state, log_path FROM quantum_status WHERE {condition}"
                times[name] = seconds(lambda q=query: (cursor.execute(q), cursor.fetchall()))
        times["board"] = seconds(lambda: reader.board("wide"))
        (one, *_) = reader.failures("wide")
        key = {"name": "wide", "number": one.quantum_id}
        times["log ID"] = seconds(
            lambda: (reader.quantum(**key), reader.quantum_attempts(quantum_id=key["number"]))
        )
        (row, *_) = [row for row in reader.board("wide") if row.tract is not None]
        times["failures of a tract"] = seconds(lambda: reader.failures("wide", tract=row.tract))
    return times, now / number, history / number


def harvests(*urls: str) -> list[tuple[float, ...]]:
    """Return processor seconds of harvesting 10,000 quanta, and again with 3% changed, for each database.

    They are those of client and server; a tuple is a turn with all of them.
    """
    with ExitStack() as stack:
        stores = [stack.enter_context(PostgresStore(url)) for url in urls]
        ways = [(Groups(store, unit=UNIT), Clock(store)) for store in stores]
        # The first one of a session makes temporary tables.
        turns = [[_harvested(groups, clock) for groups, clock in ways] for _ in range(HARVESTS + 1)][1:]
    return [tuple(time for found in turn for time in found) for turn in turns]


def _harvested(groups: Groups, clock: Clock) -> tuple[float, float]:
    _, submission, found = groups.submission()
    again = changed(found)
    return (
        clock(lambda: groups.harvest(submission, found))[CPU],
        clock(lambda: groups.harvest(submission, again))[CPU],
    )


def deciding(url: str) -> tuple[int, list[tuple[float, float]]]:
    """Return how many groups there are, and seconds of decisions and of lists of failures, in turn."""
    with PostgresStore(url) as store:
        snapshot = store.snapshot("wide")
    spec = applied_spec(snapshot.campaign)
    live = [group.live.id for group in snapshot.groups if group.live is not None]
    situation = Situation(
        drivers=dict.fromkeys(live, Liveness.ALIVE),
        requests={step.name: RequestTable() for step in spec.steps},
        workers=40,
        now=NOW,
    )
    with Reader(url) as reader:
        pairs = [
            (seconds(lambda: decide(spec, snapshot, situation)), seconds(lambda: reader.failures("wide")))
            for _ in range(ROUNDS)
        ]
    return len(snapshot.groups), pairs


def main(arguments: list[str]) -> int:
    """Measure three sizes, print, draw, keep; with ``--make`` only make their campaigns."""
    # As the program has it that decides, stores and shows.
    collect_seldom()
    if arguments == ["--make"]:
        for size in (SMALL // 10, SMALL, QUANTA):
            made_once(Path(os.environ[MADE_FOR_ALL]), tracts=tracts_of(size), quanta=size)
        return 0
    sizes: dict[int, dict[str, float]] = {}
    with (
        campaign(tracts=tracts_of(SMALL // 10), quanta=SMALL // 10) as least,
        campaign(tracts=tracts_of(SMALL), quanta=SMALL) as little,
        campaign(tracts=tracts_of(QUANTA), quanta=QUANTA) as home,
    ):
        wait_for_turn()
        sizes[SMALL // 10], _, _ = measured(least)
        url = embedded.url(home)
        rounds = [(measured(little), measured(home)) for _ in range(ROUNDS)]
        with closing(open_connection(url)) as connection:
            plain, board = reports(connection, url=url, name="wide")
        number, pairs = deciding(url)
        written = harvests(embedded.url(little), url)
    for size, times in zip((SMALL, QUANTA), zip(*rounds, strict=True), strict=True):
        sizes[size] = {name: median(found[name] for found, _, _ in times) for name in times[0][0]}
    small, large = sizes[SMALL], sizes[QUANTA]
    for name in small:
        print(f"{name:24} {small[name] * 1e3:9.2f} ms, {large[name] * 1e3:9.2f} ms of {QUANTA:,}")  # noqa: T201
    decision, failures = (median(each) for each in zip(*pairs, strict=True))
    print(  # noqa: T201
        f"{number:,} groups: decision {decision * 1e3:.0f} ms, list of failures {failures * 1e3:.0f} ms, "
        f"board {board * 1e3:.1f} ms, GROUP BY {plain * 1e3:.0f} ms"
    )
    draw("growth", {name: {size: times[name] for size, times in sizes.items()} for name in small})
    _, now, history = rounds[-1][-1]
    compared = {
        "log ID": "log ID",
        "failures of a tract": "failures --tract",
        "one visit": "one visit, in SQL",
        "one patch": "one patch, in SQL",
    }
    grown = [
        entry(
            f"store: {words}, large against small",
            median(b[name] / a[name] for (a, _, _), (b, _, _) in rounds),
            2,
            1.2,
            less=True,
        )
        for name, words in compared.items()
    ]
    board_at_least, board_aim = (100, 200) if QUANTA >= FAR else (20, 50)
    return keep(
        [
            entry("store: bytes a quantum, indexes included", now, 200, 140, less=True),
            entry("store: bytes of history a quantum", history, 6, 4, less=True),
            *grown,
            *(
                entry(
                    f"store: {what} into small against into large, CPU",
                    median(turn[place] / turn[place + 2] for turn in written),
                    0.85,
                    0.95,
                )
                for place, what in enumerate(("harvest", "second harvest"))
            ),
            entry("store: board of the large against GROUP BY", plain / board, board_at_least, board_aim),
            entry(
                "tick: decision on the large against listing what failed",
                median(ours / theirs for ours, theirs in pairs),
                2,
                1.5,
                less=True,
            ),
        ]
    )


def tracts_of(quanta: int) -> int:
    """Return how many tracts a campaign of so many quanta has: a million are 4,000 groups and more."""
    return min(1000, max(10, quanta // 1000))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
