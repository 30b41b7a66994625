"""How books grow: bytes a quantum, and commands on a large campaign against a tenth of it.

``BENCH_QUANTA`` is the size of the large one, a quarter of a million unless it is said; 100,000 at least.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parents[1] / "reports"), str(HERE.parents[2])]

from bench_reports import campaign  # noqa: E402 - beside this one
from bench_results import draw, entry, keep  # noqa: E402

from merian_campaign.store.reading.reader import Reader  # noqa: E402
from merian_campaign.store.server import embedded  # noqa: E402
from merian_campaign.store.server.connection import open_connection  # noqa: E402

QUANTA = int(os.environ.get("BENCH_QUANTA", "250_000"))
ROUNDS = 3
AGAIN = 5
SIZES = """
SELECT (SELECT count(*) FROM quantum_row) AS n,
       pg_total_relation_size('quantum_row') + pg_total_relation_size('quantum_kind')
       + pg_total_relation_size('quantum_common') + pg_total_relation_size('quantum_host'),
       pg_total_relation_size('quantum_attempt')
"""
SQL = {
    "one visit": "visit = (SELECT max(visit) FROM quantum_row)",
    "one patch": "tract = (SELECT max(tract) FROM quantum_row) AND patch = 1",
    "what runs": "state = 'running'",
    "the last day": "ended > (SELECT max(ended) FROM quantum_row) - interval '1 day'",
}
"""Conditions on the view; of the last one the answer grows with the campaign, so it is not compared."""


def seconds(work: Callable[[], object]) -> float:
    """Return how long something takes: the best of some rounds, for what disturbs only adds."""
    found = []
    for _ in range(AGAIN):
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


def main() -> int:
    """Measure three sizes, print, draw, keep."""
    tracts = max(10, QUANTA // 2500)
    sizes: dict[int, dict[str, float]] = {}
    for part in (10, 3):
        with campaign(tracts=tracts // part, quanta=QUANTA // part) as home:
            sizes[QUANTA // part], _, _ = measured(home)
    small = sizes[QUANTA // 10]
    with campaign(tracts=tracts, quanta=QUANTA) as home:
        rounds = [measured(home) for _ in range(ROUNDS)]
    large = {name: median(times[name] for times, _, _ in rounds) for name in small}
    for name in small:
        print(f"{name:24} {small[name] * 1e3:9.2f} ms, {large[name] * 1e3:9.2f} ms of {QUANTA:,}")  # noqa: T201
    sizes[QUANTA] = large
    draw("growth", {name: {size: times[name] for size, times in sizes.items()} for name in small})
    _, now, history = rounds[-1]
    compared = {
        "log ID": "log ID",
        "failures of a tract": "failures --tract",
        "one visit": "one visit, in SQL",
        "one patch": "one patch, in SQL",
    }
    grown = [
        entry(f"store: {words}, large against a tenth of it", large[name] / small[name], 2, 1.2, less=True)
        for name, words in compared.items()
    ]
    return keep(
        [
            entry("store: bytes a quantum, indexes included", now, 200, 140, less=True),
            entry("store: bytes of history a quantum", history, 6, 4, less=True),
            *grown,
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
