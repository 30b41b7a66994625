"""Short ways to bring a store into a state and to look at it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812

from merian_campaign.domain.execution.counts import Counts
from merian_campaign.domain.execution.process_identity import ProcessIdentity
from merian_campaign.domain.execution.quanta import Attempt, Quantum, canonical_data_id
from merian_campaign.domain.execution.queue_wait import TaskWait
from merian_campaign.domain.record.records import NewGroup
from merian_campaign.domain.record.snapshot import Remedy, SubmissionView
from merian_campaign.domain.selection import Selection
from merian_campaign.domain.states import GroupState, QuantumState, SubmissionOutcome, Verdict
from merian_campaign.store.store import PostgresStore

START = datetime(2026, 11, 22, 15, tzinfo=UTC)
HOLD = """
import sys
import time
from merian_campaign.store.server import locks
from merian_campaign.store.server.connection import open_connection
kind, url, name, *readers = sys.argv[1:]
with getattr(locks, kind)(url, name, **({"readers": int(readers[0])} if readers else {})):
    print("held", flush=True)
    sys.stdin.readline()
"""

DRIVER = ProcessIdentity(host="node1", pid=4711, pid_start=123456)


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def tract_group(tract: int, *, step: str = "step3", ordinal: int = 3) -> NewGroup:
    selection = Selection(dimension="tract", values=(tract,))
    return NewGroup(step=step, key=f"tract{tract}", selection=selection, ordinal=ordinal)


def worked(**changes: object) -> Attempt:
    values: dict[str, Any] = {
        "try_number": 1,
        "state": QuantumState.SUCCEEDED,
        "exit_code": 0,
        "peak_mb": 900,
        "requested_mb": 2048,
        "started": at(1),
        "ended": at(2),
        "host": "node1",
        "log_path": "/logs/one.log",
        "uuid": "0191-1",
    }
    return Attempt(**(values | changes))


def failed(verdict: Verdict = Verdict.INFRASTRUCTURE, **changes: object) -> Attempt:
    values: dict[str, Any] = {
        "state": QuantumState.FAILED,
        "verdict": verdict,
        "evidence": "the log says so",
        "exception_type": "RuntimeError",
        "exception_message": "no luck",
        "exit_code": 1,
    }
    return worked(**(values | changes))


def quantum(
    patch: int,
    *attempts: Attempt,
    task: str = "measure",
    state: QuantumState | None = None,
    **changes: object,
) -> Quantum:
    required: Any = changes.get("dimensions", {"tract": 9813, "patch": patch, "band": "N540"})
    if state is None:
        state = attempts[-1].state if attempts else QuantumState.PENDING
    values: dict[str, Any] = {
        "task": task,
        "data_id": canonical_data_id(required),
        "dimensions": required,
        "state": state,
        "attempts": attempts,
    }
    return Quantum(**(values | changes))


class Given:
    """Makes what a test starts from.

    Parameters
    ----------
    store : `PostgresStore`
        To be filled.
    """

    def __init__(self, store: PostgresStore) -> None:
        self.store = store

    def campaign(self, name: str = "demo", tracts: Sequence[int] = (9813,), **changes: object) -> list[int]:
        """Apply a campaign with a group a tract; return the ids of the groups."""
        values: dict[str, Any] = {
            "name": name,
            "file": f"/campaign/{name}.yaml",
            "text": "name: demo\n",
            "sha256": "abc",
            "spec": {"name": name, "steps": [{"name": "step3", "fraction": 0.5}]},
            "groups": [tract_group(tract) for tract in tracts],
            "dropped": [],
            "actor": "ana",
            "now": at(0),
        }
        self.store.apply(**(values | changes))
        return [group.id for group in self.store.snapshot(name).groups]

    def prepared(self, group_id: int, number: int = 1, **changes: object) -> SubmissionView:
        """Prepare a submission of a group, the first after making it ready."""
        if number == 1:
            self.move(group_id, GroupState.READY)
        return self.store.prepare_submission(**(self.new(group_id, number) | changes))

    def new(self, group_id: int, number: int) -> dict[str, Any]:
        return {
            "group_id": group_id,
            "number": number,
            "run_collection": f"run/{group_id}/{number}",
            "repository": "/repo",
            "directory": f"/submit/{group_id}/{number}",
            "remedy": Remedy(memory_mb=(("measure", 4096),), workers=1),
            "reason": "first",
            "actor": "tick",
            "now": at(1),
        }

    def move(self, group_id: int, state: GroupState, reason: str = "because") -> None:
        self.store.move_group(group_id=group_id, state=state, reason=reason, actor="tick", now=at(1))

    def harvested(
        self,
        submission_id: int,
        *quanta: Quantum,
        outcome: SubmissionOutcome = SubmissionOutcome.PARTIAL,
        minutes: float = 10,
        waits: Sequence[TaskWait] = (),
    ) -> Counts:
        return self.store.harvest(
            submission_id=submission_id,
            quanta=quanta,
            outcome=outcome,
            reason="over",
            actor="tick",
            now=at(minutes),
            waits=waits,
        )

    def again(self, group_id: int, number: int) -> int:
        """Prepare the next submission of a group whose last is over; return its id."""
        self.move(group_id, GroupState.READY)
        return self.prepared(group_id, number).id


def rows(connection: Connection, query: str, *values: object) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        return cursor.fetchall() if cursor.description else []


_STATES = ("pending", "running", "succeeded", "failed", "blocked", "unknown")
_BOARD_KEPT = f"""
SELECT id, {", ".join(f"quanta_{state}" for state in _STATES)}, submissions, no_graph, stack
FROM "group" ORDER BY id
"""
_OF_GROUP = "SELECT {} FROM {} WHERE group_id = g.id"
_BOARD_COUNTED = f"""
SELECT g.id,
       {", ".join(f"({_OF_GROUP.format('count(*)', 'quantum')} AND state = '{state}')" for state in _STATES)},
       ({_OF_GROUP.format("count(*)", "submission")}),
       EXISTS ({_OF_GROUP.format("1", "submission")} AND outcome = 'empty'),
       coalesce(({_OF_GROUP.format("versions ->> 'short'", "submission")} AND versions IS NOT NULL
                 ORDER BY number DESC LIMIT 1), '')
FROM "group" AS g ORDER BY g.id
"""


def assert_rollup_is_right(connection: Connection) -> None:
    counted = rows(
        connection, "SELECT group_id, task, state, count(*) FROM quantum GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    )
    kept = rows(connection, "SELECT group_id, task, state, n FROM quantum_count ORDER BY 1, 2, 3")
    assert kept == counted
    counted = rows(connection, _BOARD_COUNTED)
    assert rows(connection, _BOARD_KEPT) == counted


def database_of(server: str, name: str) -> str:
    """Return the URL of another database of a server."""
    return server.replace("@/merian?", f"@/{name}?")


@contextmanager
def holder(kind: str, url: str, name: str, *readers: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds a lock until it is told to end, or killed."""
    command = [sys.executable, "-c", HOLD, kind, url, name, *readers]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)
