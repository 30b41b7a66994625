"""How close the store comes to what PostgreSQL can do: ratios taken side by side in one run.

Absolute rates depend on the machine and on who else uses it, so only ratios are kept. Limit A is the
fastest way for the same rows into PostgreSQL: the same text, by COPY, into an unlogged table without keys.
"""

# ruff: noqa: T201 - a bench prints what it finds, and takes the store apart to time its parts

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID

from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extras import execute_values
from sqlalchemy import MetaData, Table
from sqlalchemy.dialects.postgresql import insert as upsert

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench_results import entry, keep

from merian_campaign.domain.execution.counts import COUNTED_STATES
from merian_campaign.domain.execution.quanta import (
    ATTEMPT_FACTS,
    COLUMN_DIMENSIONS,
    Attempt,
    Quantum,
    canonical_data_id,
)
from merian_campaign.domain.record.records import NewGroup
from merian_campaign.domain.record.snapshot import Remedy
from merian_campaign.domain.selection import Selection
from merian_campaign.domain.states import GroupState, QuantumState, SubmissionOutcome, Verdict
from merian_campaign.store.quanta import merge_quanta, stage_quanta
from merian_campaign.store.reading import queries
from merian_campaign.store.reading.reader import Reader, campaign_id
from merian_campaign.store.server import embedded, migrate
from merian_campaign.store.server.connection import open_connection
from merian_campaign.store.server.database import raw
from merian_campaign.store.store import PostgresStore

DIRECTORY = "/scratch/merian/u/ana/submissions/wide/step3/tract9813/001"
NOW = datetime(2026, 11, 22, 15, tzinfo=UTC)
FAILED = 0.02
WALL, CPU = 0, 1
CHANGED = 0.03
TASKS = ("makeDirectWarp", "assembleCoadd", "detection", "measure", "forcedPhotCoadd")

KEY = ("group_id", "task", "data_id")
BEFORE = (
    "task",
    "data_id",
    *COLUMN_DIMENSIONS,
    "state",
    "caveats",
    "attempts",
    "charged_attempts",
    "memory_attempts",
    "ran",
)
"""Columns of a line of raw COPY before those of its attempt."""

PLAIN = """
CREATE TABLE plain_quantum AS SELECT * FROM quantum;
ALTER TABLE plain_quantum ADD PRIMARY KEY (group_id, task, data_id)
"""
"""The same rows as one would have them at first: a column each, and their names as the key."""

PLAIN_REPORT = """
SELECT g.step, g.key, q.state, count(*)
FROM quantum AS q JOIN "group" AS g ON g.id = q.group_id
WHERE g.campaign_id = %(campaign_id)s GROUP BY g.step, g.key, q.state
"""

WRITTEN = """
SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0) FROM pg_stat_user_tables
WHERE schemaname = 'public'
"""


def quanta(tract: int, number: int, *, recovered: float = 0.0) -> list[Quantum]:
    """Quanta of one group as a harvest brings them; of those that failed, a part has recovered."""
    made = []
    for i in range(number):
        required = {"tract": tract, "patch": i // len(TASKS), "band": "N540", "skymap": "decam_rings_v1"}
        fails = i % round(1 / FAILED) == 0
        again = fails and (i * FAILED) % 1 / 1 < recovered
        state = QuantumState.FAILED if fails and not again else QuantumState.SUCCEEDED
        made.append(
            Quantum(
                task=TASKS[i % len(TASKS)],
                data_id=canonical_data_id(required),
                dimensions=required,
                state=state,
                attempts=(attempt(state, i),),
            )
        )
    return made


def log(i: int) -> str:
    """Return where the log of a quantum lies, as BPS calls it."""
    task, uuid = TASKS[i % len(TASKS)], UUID(int=(0x0193 << 112) | i)
    return f"{DIRECTORY}/bps/logs/{task}/9813/{uuid}_{task}_9813_{i // len(TASKS)}_N540.stderr"


def attempt(state: QuantumState, i: int) -> Attempt:
    fails = state is QuantumState.FAILED
    return Attempt(
        try_number=1,
        state=state,
        verdict=Verdict.OUT_OF_MEMORY if fails else None,
        evidence="peak 2100 MiB of 2048 MiB" if fails else "",
        exception_type="MemoryError" if fails else None,
        exception_message="cannot allocate 512 MiB" if fails else None,
        exit_code=int(fails),
        peak_mb=500 + i % 1500,
        requested_mb=2048,
        started=NOW + timedelta(seconds=i),
        ended=NOW + timedelta(seconds=i + 60),
        host=f"node{i % 40}",
        inputs=1 + i % 90,
        cpu_seconds=float(i % 600),
        log_path=log(i),
        uuid=str(UUID(int=(0x0193 << 112) | i)),
    )


def changed(before: list[Quantum]) -> list[Quantum]:
    """The same with another peak in a few: what a second look at a submission finds."""
    every = round(1 / CHANGED)
    return [
        Quantum(
            task=one.task,
            data_id=one.data_id,
            dimensions=one.dimensions,
            state=one.state,
            attempts=(attempt(one.state, i + 1),) if i % every == 0 else one.attempts,
        )
        for i, one in enumerate(before)
    ]


def plain_line(one: Quantum) -> str:
    """Return a quantum as a line of COPY with all that it is, as raw COPY needs it."""
    dimensions = "\t".join(str(one.dimensions.get(name, r"\N")) for name in COLUMN_DIMENSIONS)
    text = stage_quanta.text
    return (
        f"{stage_quanta.attempt_fields(one.attempts[0])}\t\\N\t{text(one.task)}\t{text(one.data_id)}\t"
        f"{dimensions}\t{one.state}\t{text(one.caveats)}\t1\t1\t0\tt\n"
    )


class Groups:
    """Groups with a submission each, to harvest.

    Parameters
    ----------
    store : `PostgresStore`
        Where to.
    unit : `int`
        Quanta a group.
    """

    def __init__(self, store: PostgresStore, *, unit: int) -> None:
        self.store = store
        self.unit = unit
        self._tract = 0

    def submission(self) -> tuple[int, int, list[Quantum]]:
        """Make a group with a submission; return their ids and the quanta to come."""
        self._tract += 1
        key = f"tract{self._tract}"
        selection = Selection(dimension="tract", values=(self._tract,))
        group = NewGroup(step="step3", key=key, selection=selection, ordinal=3)
        self.store.apply(
            name="bench", file="/b.yaml", text="", sha256=key, spec={}, groups=[group], dropped=[],
            actor="bench", now=NOW,
        )  # fmt: skip
        group_id = self.store.snapshot("bench").groups[-1].id
        self.store.move_group(group_id=group_id, state=GroupState.READY, reason="", actor="bench", now=NOW)
        made = self.store.prepare_submission(
            group_id=group_id, number=1, run_collection=key, repository="/r", directory=DIRECTORY,
            remedy=Remedy(), reason="", actor="bench", now=NOW,
        )  # fmt: skip
        return group_id, made.id, quanta(self._tract, self.unit)

    def harvest(self, submission_id: int, found: list[Quantum]) -> None:
        self.store.harvest(
            submission_id=submission_id, quanta=found, outcome=SubmissionOutcome.PARTIAL, reason="over",
            actor="bench", now=NOW,
        )  # fmt: skip


class Bench(Groups):
    """One database, which is empty, and the ways to fill it."""

    def __init__(self, store: PostgresStore, *, unit: int) -> None:
        super().__init__(store, unit=unit)
        with closing(open_connection(store.url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(PLAIN)
            cursor.execute(f"CREATE UNLOGGED TABLE limit_a ({stage_quanta.ATTEMPT})")
            cursor.execute(
                "ALTER TABLE limit_a " + ", ".join(f"ADD {name} text" for name in ("key", *BEFORE))
            )

    def limit_a(self, found: list[Quantum]) -> None:
        lines = [plain_line(one) for one in found]
        with self.store._transaction() as connection, raw(connection).cursor() as cursor:
            cursor.copy_expert("COPY limit_a FROM STDIN", stage_quanta.file_of(lines))

    def bare_upsert(self, group_id: int, submission_id: int, found: list[Quantum]) -> None:
        """Quanta and attempts in, without counting anything."""
        values = {"group_id": group_id, "submission_id": submission_id, "correcting": True, "now": NOW}
        values |= {"within": f"{DIRECTORY}/", "known": False}
        with self.store._transaction() as connection:
            stage_quanta.stage(raw(connection), found, campaign_id=1, directory=DIRECTORY)
            with raw(connection).cursor() as cursor:
                cursor.execute(merge_quanta.FIRST_QUANTA, values)
                cursor.execute(merge_quanta.MERGE_ATTEMPTS, values)

    def core_executemany(self, rows: list[dict[str, Any]]) -> None:
        table = Table("plain_quantum", MetaData(), autoload_with=self.store._engine)
        new = upsert(table)
        others = {name: new.excluded[name] for name in rows[0] if name not in KEY}
        statement = new.on_conflict_do_update(
            index_elements=list(KEY), set_=others, where=table.c.state.is_distinct_from(new.excluded.state)
        )
        with self.store._transaction() as connection:
            connection.execute(statement, rows)

    def execute_values(self, rows: list[dict[str, Any]]) -> None:
        names = list(rows[0])
        statement = (
            f"INSERT INTO plain_quantum AS old ({', '.join(names)}) VALUES %s"
            f" ON CONFLICT ({', '.join(KEY)}) DO UPDATE SET "
            + ", ".join(f"{name} = excluded.{name}" for name in names if name not in KEY)
            + " WHERE old.state IS DISTINCT FROM excluded.state"
        )
        with self.store._transaction() as connection, raw(connection).cursor() as cursor:
            execute_values(cursor, statement, [tuple(row.values()) for row in rows], page_size=1000)


def rows_of(group_id: int, submission_id: int, found: list[Quantum]) -> list[dict[str, Any]]:
    """The current state of quanta as rows, for the ways that have nothing of their own to make them."""
    return [
        {
            "group_id": group_id,
            "task": one.task,
            "data_id": one.data_id,
            "tract": one.dimensions["tract"],
            "patch": one.dimensions["patch"],
            "band": one.dimensions["band"],
            "state": one.state.value,
            "attempts": 1,
            "charged_attempts": 1,
            **{name: getattr(one.attempts[0], name) for name in ATTEMPT_FACTS},
            "state_submission_id": submission_id,
            "submission_id": submission_id,
            "updated_at": NOW,
        }
        for one in found
    ]


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


class Clock:
    """Seconds of the wall and of processors, of this process and of the server's, that something takes.

    Parameters
    ----------
    store : `PostgresStore`
        Whose connections are counted.
    """

    def __init__(self, store: PostgresStore) -> None:
        self._look = open_connection(store.url)
        self._look.autocommit = True

    def __call__(self, work: Callable[[], object]) -> tuple[float, float]:
        before, begin = self._cpu(), time.perf_counter()
        work()
        wall = time.perf_counter() - begin
        return wall, self._cpu() - before

    def _cpu(self) -> float:
        with self._look.cursor() as cursor:
            cursor.execute("SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
            files = [Path(f"/proc/{pid}/schedstat") for (pid,) in cursor.fetchall()]
        server = sum(int(file.read_text().split()[0]) for file in files if file.exists())
        return time.process_time() + server / 1e9


def writing(bench: Bench, *, units: int) -> dict[str, list[tuple[float, float]]]:
    """Times of each way to write one unit, one after the other, again and again."""
    times: dict[str, list[tuple[float, float]]] = {
        name: [] for name in ("limit", "harvest", "limit again", "again", "bare", "core", "values")
    }
    seconds = Clock(bench.store)
    # The first one makes temporary tables.
    _, first, some = bench.submission()
    bench.harvest(first, some)
    for i in range(units):
        group_id, submission_id, found = bench.submission()
        second = changed(found)
        times["limit"].append(seconds(lambda found=found: bench.limit_a(found)))
        times["harvest"].append(seconds(lambda s=submission_id, found=found: bench.harvest(s, found)))
        times["limit again"].append(seconds(lambda found=second: bench.limit_a(found)))
        times["again"].append(seconds(lambda s=submission_id, found=second: bench.harvest(s, found)))
        group_id, submission_id, found = bench.submission()
        times["bare"].append(
            seconds(lambda g=group_id, s=submission_id, found=found: bench.bare_upsert(g, s, found))
        )
        bench.harvest(submission_id, found)
        if i < 3:
            for way, name in ((bench.core_executemany, "core"), (bench.execute_values, "values")):
                group_id, submission_id, found = bench.submission()
                rows = rows_of(group_id, submission_id, found)
                times[name].append(seconds(lambda way=way, rows=rows: way(rows)))
                bench.harvest(submission_id, found)
    return times


def _spent(server: int) -> float:
    """Return the processor seconds that this process and one of the server have had so far."""
    told = Path(f"/proc/{server}/schedstat").read_text()
    return time.process_time() + int(told.split()[0]) / 1e9


def reports(connection: Connection, *, url: str, name: str) -> tuple[float, float]:
    """Processor seconds of the plain report of a campaign, and of the board from the rollup.

    They say the same. Of client and server, each one process: how many more would help the plain report is
    the machine's affair.
    """

    def asked(*questions: str) -> float:
        begin = _spent(server)
        for question in questions:
            cursor.execute(question, values)
            cursor.fetchall()
        return _spent(server) - begin

    with connection.cursor() as cursor:
        values = {"campaign_id": campaign_id(connection, name)}
        server = connection.info.backend_pid
        cursor.execute("SET max_parallel_workers_per_gather = 0")
        plain, rolled = [], []
        for _ in range(7):
            plain.append(asked(PLAIN_REPORT))
            rolled.append(asked(queries.BOARD, queries.BOARD_STEPS))
        cursor.execute(PLAIN_REPORT, values)
        counted = {(step, key, state): n for step, key, state, n in cursor.fetchall()}
    with Reader(url) as reader:
        shown = {
            (row.step, row.group, state.value): row.counts.of(state)
            for row in reader.board(name)
            for state in COUNTED_STATES
            if row.counts.of(state)
        }
    assert shown == counted, "the rollup must equal the GROUP BY"
    return median(plain), median(rolled)


def written(store: PostgresStore) -> int:
    """Rows written so far in the tables of the store, as the server counts them."""
    store.close()
    with closing(open_connection(store.url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush(), pg_stat_clear_snapshot()")
        time.sleep(0.5)
        cursor.execute(WRITTEN)
        row = cursor.fetchone()
    assert row is not None
    return int(row[0])


def second_harvest(bench: Bench) -> int:
    """Rows that an identical second harvest writes."""
    _, submission_id, found = bench.submission()
    bench.harvest(submission_id, found)
    before = written(bench.store)
    bench.harvest(submission_id, found)
    return written(bench.store) - before


def measure(store: PostgresStore, *, rows: int, unit: int) -> list[dict[str, Any]]:
    """Run everything; return the entries."""
    bench = Bench(store, unit=unit)
    times = writing(bench, units=max(3, rows // (2 * unit)))
    for name, values in times.items():
        wall, cpu = (median(each) for each in zip(*values, strict=True))
        print(f"{name:12s} {unit / wall:10,.0f} rows/s here and now, {cpu * 1e6 / unit:5.1f} us CPU a row")

    def ratio(fast: str, slow: str, *, of: int = WALL) -> float:
        # Side by side: each pair was taken within a second or two.
        return median(b[of] / a[of] for a, b in zip(times[fast], times[slow], strict=False))

    with closing(open_connection(store.url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
            cursor.execute("SELECT count(*), pg_total_relation_size('quantum_row') FROM quantum_row")
            number, size = cursor.fetchone() or (0, 0)
        plain, rolled = reports(connection, url=store.url, name="bench")
    print(
        f"{number:,} quanta, {size / number:.0f} bytes each; report {plain * 1e3:.1f} ms, "
        f"from the rollup {rolled * 1e3:.2f} ms"
    )
    wrote = second_harvest(bench)
    print(f"an identical second harvest writes {wrote} rows")
    return [
        entry("store: harvest against raw COPY", ratio("harvest", "limit"), 0.35, 0.50),
        entry(
            "store: second harvest, 3% changed, against raw COPY", ratio("again", "limit again"), 0.47, 0.60
        ),
        entry(
            "store: harvest against raw COPY, processor time",
            ratio("harvest", "limit", of=CPU),
            0.35,
            0.50,
        ),
        entry(
            "store: second harvest, 3% changed, against raw COPY, processor time",
            ratio("again", "limit again", of=CPU),
            0.47,
            0.60,
        ),
        entry("store: harvest against Core executemany", ratio("harvest", "core"), 8, 10),
        entry("store: harvest against execute_values", ratio("harvest", "values"), 2, 4),
        entry("store: status from the rollup against GROUP BY", plain / rolled, 20, 50),
        entry("store: bare upsert against harvest with rollup", ratio("harvest", "bare"), 0.5, 0.77),
        entry("store: nothing written by an identical harvest", float(wrote == 0), 1, 1),
    ]


@contextmanager
def database() -> Iterator[PostgresStore]:
    """A store on an embedded server of its own, gone afterwards."""
    home = Path(tempfile.mkdtemp(prefix="merian-bench-")).resolve()
    home.chmod(0o711)
    try:
        url = embedded.ensure_running(home)
        migrate.upgrade(url)
        with PostgresStore(url) as store:
            yield store
    finally:
        embedded.stop(home)
        shutil.rmtree(home, ignore_errors=True)


def main() -> int:
    """Measure, print, keep; exit 1 if a ratio is below what must hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="quanta to harvest, about")
    parser.add_argument("--unit", type=int, default=10_000, help="quanta a group")
    arguments = parser.parse_args()
    with database() as store:
        return keep(measure(store, rows=arguments.rows, unit=arguments.unit))


if __name__ == "__main__":
    raise SystemExit(main())
