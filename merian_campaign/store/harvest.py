"""Take in what a submission shows of its quanta: live progress, and the harvest at its end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import Connection, RowMapping, null, or_, text, update
from sqlalchemy.dialects.postgresql import Insert

from merian_campaign.domain.execution.busy_blocks import BusyBlock, busy_values
from merian_campaign.domain.execution.counts import Counts
from merian_campaign.domain.execution.quanta import Quantum
from merian_campaign.domain.execution.queue_wait import TaskWait
from merian_campaign.domain.record.records import Event, JobRecord
from merian_campaign.domain.record.wall_time import WallTime
from merian_campaign.domain.states import SubmissionOutcome, SubmissionState, advance_submission
from merian_campaign.store import events, schema
from merian_campaign.store.groups import keep_submissions
from merian_campaign.store.many_rows import inserting, many
from merian_campaign.store.quanta import merge_quanta
from merian_campaign.store.quanta.group_summaries import FORGET_SUMMARY, SUMMARISE
from merian_campaign.store.quanta.memory_use import ADD_MEMORY_USE
from merian_campaign.store.quanta.stage_quanta import FOUND, stage
from merian_campaign.store.rows import counts_of
from merian_campaign.store.server.database import Database, raw
from merian_campaign.store.server.storable import dumps
from merian_campaign.store.slurm_jobs import put_jobs
from merian_campaign.store.submissions import lock_submission, lock_with_group

_GROUP = text('SELECT * FROM "group" WHERE id = :group_id')

_WHOSE = text("""
    SELECT g.campaign_id, s.directory FROM submission AS s JOIN "group" AS g ON g.id = s.group_id
    WHERE s.id = :submission_id
""")

_WALL = text(
    "UPDATE submission SET wall = CAST(:wall AS jsonb) WHERE id = :submission_id AND finished_at IS NULL"
)

_FOLLOWED = text(
    "UPDATE submission SET followed = :followed, busy = CAST(:busy AS jsonb) WHERE id = :submission_id"
)

# Of a group without statistics the planner thinks that it is small, and would compare each with each.
_LOOPS = "SET LOCAL enable_nestloop = {}"

# Of its graph, of which a harvest that found nothing says nothing.
_COMBINES = text("""
    UPDATE submission AS s SET combines = q.combines, gathers = q.gathers
    FROM (
        SELECT bool_or(visit IS NULL AND exposure IS NULL) AS combines, bool_or(detector IS NULL) AS gathers
        FROM stage_quantum
    ) AS q
    WHERE s.id = :submission_id AND q.combines IS NOT NULL
        AND (s.combines, s.gathers) IS DISTINCT FROM (q.combines, q.gathers)
""")


def _putting_waits() -> Insert:
    table = schema.queue_wait
    new = inserting(table, [column.name for column in table.columns])
    into = {column.name: new.excluded[column.name] for column in table.columns if not column.primary_key}
    differs = or_(*(table.c[name].is_distinct_from(value) for name, value in into.items()))
    return new.on_conflict_do_update(index_elements=list(table.primary_key), set_=into, where=differs)


_PUT_WAITS = _putting_waits()


class HarvestStore(Database):
    """The part of the store that takes in quanta."""

    def record_progress(
        self,
        *,
        submission_id: int,
        quanta: Iterable[Quantum],
        now: datetime,
        jobs: Sequence[JobRecord] = (),
        followed: int | None = None,
        busy: Mapping[str, BusyBlock] | None = None,
    ) -> int:
        """Upsert live states of quanta; never turns a succeeded quantum into anything else: a harvest may.

        Attempts that have ended are put on record too. Progress of a submission that was already
        harvested is ignored: it comes from a driver that has been given up. ``followed`` is how far its
        journal is on record by that, and ``busy`` how long its blocks worked up to there.

        Returns
        -------
        changed : `int`
            Rows inserted or updated; 0 when nothing changed (then nothing is written).
        """
        with self._transaction() as connection:
            staged = _stage(connection, quanta, submission_id=submission_id)
            submission, current = _lock(connection, submission_id)
            put_jobs(connection, submission_id=submission_id, jobs=jobs, now=now)
            if submission["state"] == SubmissionState.FINISHED:
                return 0
            worked = None if busy is None else busy_values(busy)
            if (followed, worked) != (submission["followed"], submission["busy"]):
                values = {"submission_id": submission_id, "followed": followed}
                connection.execute(_FOLLOWED, {**values, "busy": None if worked is None else dumps(worked)})
            if not staged:
                return 0
            return _merge(connection, submission, current=current, now=now, final=False)

    def harvest(
        self,
        *,
        submission_id: int,
        quanta: Iterable[Quantum],
        outcome: SubmissionOutcome,
        reason: str,
        actor: str,
        now: datetime,
        jobs: Sequence[JobRecord] = (),
        needs_person: bool = False,
        wall: WallTime | None = None,
        waits: Sequence[TaskWait] = (),
    ) -> Counts:
        """Store a finished submission's quanta, attempts and Slurm jobs, finish it, and recount its group.

        One transaction; idempotent. Harvesting again may correct quanta and outcome. ``wall`` is where its
        time went; the first harvest has it. ``waits`` is how long its quanta waited for their turn.

        Returns
        -------
        counts : `Counts`
            Of the whole group, afterwards.
        """
        with self._transaction() as connection:
            _stage(connection, quanta, submission_id=submission_id)
            submission, current = _lock(connection, submission_id)
            put_jobs(connection, submission_id=submission_id, jobs=jobs, now=now)
            connection.execute(_COMBINES, {"submission_id": submission_id})
            if wall is not None:
                values = {"submission_id": submission_id, "wall": dumps(asdict(wall))}
                connection.execute(_WALL, values)
            _merge(connection, submission, current=current, now=now, final=True)
            _put_waits(connection, waits, submission_id=submission_id)
            _finish(
                connection,
                submission,
                outcome=outcome,
                reason=reason,
                actor=actor,
                now=now,
                needs_person=needs_person,
            )
            found = connection.execute(_GROUP, {"group_id": submission["group_id"]}).mappings()
            return counts_of(found.one())


def _stage(connection: Connection, quanta: Iterable[Quantum], *, submission_id: int) -> int:
    """Stage quanta of a submission before anything is locked; return how many."""
    found = connection.execute(_WHOSE, {"submission_id": submission_id}).first()
    if found is None:
        lock_submission(connection, submission_id)  # says that there is none
        return 0
    return stage(raw(connection), quanta, campaign_id=found.campaign_id, directory=found.directory)


def _lock(connection: Connection, submission_id: int) -> tuple[RowMapping, bool]:
    """Return a submission, locked, and whether it is of the generation that its group has now."""
    submission, group = lock_with_group(connection, submission_id)
    return submission, group is not None and submission["generation"] == group["generation"]


def _merge(
    connection: Connection, submission: RowMapping, *, current: bool, now: datetime, final: bool
) -> int:
    first_harvest = final and submission["state"] != SubmissionState.FINISHED
    values = {
        "group_id": submission["group_id"],
        "submission_id": submission["id"],
        "correcting": first_harvest,
        "within": f"{submission['directory']}/",
        "now": now,
    }
    with raw(connection).cursor() as cursor:
        cursor.execute(FOUND, values)
        blocked, known = cursor.fetchone()
        values["known"] = known
        statements = [merge_quanta.MERGE_ATTEMPTS]
        if current:
            statements[:0] = [_merging(known=known, again=final and not first_harvest)]
            statements[1:1] = [merge_quanta.POINT] if blocked else []
        if first_harvest and known:
            statements.append(merge_quanta.SETTLE)
        if final:
            cursor.execute(_LOOPS.format("off"))
        changed = 0
        for statement in statements:
            cursor.execute(statement, values)
            changed += cursor.rowcount
        if final:
            cursor.execute(_LOOPS.format("on"))
        if first_harvest:
            cursor.execute(ADD_MEMORY_USE, values)
        # A harvest counts in any case: whatever made the rollup wrong does not outlast it.
        if changed or final:
            for statement in (*merge_quanta.COUNT_ANEW, *(SUMMARISE if final else FORGET_SUMMARY)):
                cursor.execute(statement, values)
    return changed


def _merging(*, known: bool, again: bool) -> str:
    if not known:
        return merge_quanta.FIRST_QUANTA
    return merge_quanta.MERGE_AGAIN if again else merge_quanta.MERGE_QUANTA


def _put_waits(connection: Connection, waits: Sequence[TaskWait], *, submission_id: int) -> None:
    """Write how long quanta waited where that differs; of a journal that is gone, what is known stays."""
    if not waits:
        return
    rows = [
        {
            "submission_id": submission_id,
            "task": wait.task,
            "n": wait.executions,
            "seconds": wait.seconds,
            "seconds_longest": wait.longest,
            "waits": list(wait.bins),
            "waits_n": list(wait.bins.values()),
        }
        for wait in waits
    ]
    connection.execute(_PUT_WAITS, many(rows))


def _finish(
    connection: Connection,
    submission: RowMapping,
    *,
    outcome: SubmissionOutcome,
    reason: str,
    actor: str,
    now: datetime,
    needs_person: bool,
) -> None:
    current = SubmissionState(submission["state"])
    if current is not SubmissionState.FINISHED:
        advance_submission(current, SubmissionState.FINISHED)
    elif (submission["outcome"], submission["reason"]) == (outcome, reason):
        return
    table = schema.submission
    connection.execute(
        update(table)
        .where(table.c.id == submission["id"])
        .values(
            state=SubmissionState.FINISHED,
            outcome=outcome,
            reason=reason,
            needs_person=needs_person,
            finished_at=submission["finished_at"] or now,
            lease_expires_at=None,
            busy=null(),
        )
    )
    keep_submissions(connection, group_id=submission["group_id"])
    said = f"{outcome}: {reason}" if reason else str(outcome)
    events.record(
        connection,
        Event(
            kind="submission",
            actor=actor,
            reason=said,
            submission_id=submission["id"],
            from_state=current,
            to_state=SubmissionState.FINISHED,
        ),
        at=now,
    )
