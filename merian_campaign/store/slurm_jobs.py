"""Slurm jobs of submissions: what was last seen of drivers and blocks, and whether Slurm answers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, or_, select, text
from sqlalchemy.dialects.postgresql import Insert

from merian_campaign.domain.record.records import BadNode, Event, JobRecord, OpenJobs
from merian_campaign.domain.slurm.slurm_jobs import SlurmJob
from merian_campaign.domain.slurm.slurm_states import JobEnd
from merian_campaign.store import events, schema
from merian_campaign.store.campaigns import require_campaign
from merian_campaign.store.many_rows import inserting, many
from merian_campaign.store.server.database import Database

_JOB = schema.slurm_job
_SEEN = (
    "role", "name", "slurm_state", "fate", "reason", "cancelled_by", "exit_code", "signal", "nodes",
    "submitted", "started", "ended", "restarts", "busy_seconds",
)  # fmt: skip
_COLUMNS = ("submission_id", "job_id", *_SEEN, "updated_at")
_NOT_OVER = (JobEnd.ALIVE.value, JobEnd.UNSURE.value)
"""Fates of jobs that are asked about again."""

_KEPT = {"nodes", "reason", "cancelled_by"}
"""Text that a later look, at a queue that no longer says it, does not empty."""

_LAST_WORD = text("""
    SELECT to_state FROM event WHERE campaign_id = :campaign_id AND kind = 'scheduler'
    ORDER BY id DESC LIMIT 1
""")

# Of several nodes nobody can say which it was. What ended well there later says that it works again.
_BAD_NODES = text("""
    SELECT nodes AS node, count(*)::integer AS lost, max(coalesce(ended, updated_at)) AS last
    FROM slurm_job AS j
    WHERE fate = 'node_lost' AND nodes ~ '^[A-Za-z0-9._-]+$' AND coalesce(ended, updated_at) >= :since
      AND NOT EXISTS (
        SELECT 1 FROM slurm_job AS w
        WHERE w.nodes = j.nodes AND w.fate = 'completed' AND w.started > coalesce(j.ended, j.updated_at)
      )
    GROUP BY nodes HAVING count(*) >= :fewest
    ORDER BY nodes LIMIT 200
""")


def put_jobs(connection: Connection, *, submission_id: int, jobs: Sequence[JobRecord], now: datetime) -> int:
    """Insert or update a submission's Slurm jobs; return how many rows changed."""
    changed = 0
    for statement, sure in ((_UPSERT, True), (_ADD, False)):
        rows = [_values(entry, submission_id=submission_id, now=now) for entry in jobs if entry.sure is sure]
        if rows:
            changed += int(connection.execute(statement, many(rows)).rowcount)
    return changed


def _upserting() -> Insert:
    new = inserting(_JOB, _COLUMNS)
    into = {name: _merged(name, new.excluded[name]) for name in _SEEN}
    changed = or_(*(_JOB.c[name].is_distinct_from(value) for name, value in into.items()))
    return new.on_conflict_do_update(
        index_elements=[_JOB.c.submission_id, _JOB.c.job_id],
        set_={**into, "updated_at": new.excluded.updated_at},
        # What has ended stays as it ended, whatever a cache still believes.
        where=changed & (_JOB.c.fate.in_(_NOT_OVER) | new.excluded.fate.not_in(_NOT_OVER)),
    )


def _merged(name: str, value: ColumnElement[Any]) -> ColumnElement[Any]:
    if name in _KEPT:
        return func.coalesce(func.nullif(value, ""), _JOB.c[name])
    if name in {"exit_code", "signal", "submitted", "started", "ended", "busy_seconds"}:
        return func.coalesce(value, _JOB.c[name])
    return value


_UPSERT = _upserting()
_ADD = inserting(_JOB, _COLUMNS).on_conflict_do_nothing()


def _values(entry: JobRecord, *, submission_id: int, now: datetime) -> dict[str, object]:
    job = entry.job
    return {
        "submission_id": submission_id,
        "role": entry.role,
        "job_id": job.job_id,
        "name": job.name,
        "slurm_state": job.state,
        "fate": job.fate.value,
        "reason": job.reason,
        "cancelled_by": job.cancelled_by,
        "exit_code": job.exit_code,
        "signal": job.signal,
        "nodes": job.nodes,
        "submitted": job.submitted,
        "started": job.started,
        "ended": job.ended,
        "restarts": job.restarts,
        "busy_seconds": entry.busy_seconds,
        "updated_at": now,
    }


def _open(campaign_id: int) -> Select[tuple[object, ...]]:
    return (
        select(
            schema.submission.c.id,
            schema.submission.c.directory,
            schema.submission.c.driver_job,
            _JOB.c.job_id,
            _JOB.c.name,
            _JOB.c.role,
            _JOB.c.submitted,
            _JOB.c.started,
            _JOB.c.slurm_state,
        )
        .join(schema.submission, schema.submission.c.id == _JOB.c.submission_id)
        .join(schema.group, schema.group.c.id == schema.submission.c.group_id)
        .where(schema.group.c.campaign_id == campaign_id, _JOB.c.fate.in_(_NOT_OVER))
        .order_by(_JOB.c.id)
    )


class SlurmJobStore(Database):
    """The part of the store that knows Slurm jobs."""

    def record_jobs(self, *, submission_id: int, jobs: Sequence[JobRecord], now: datetime) -> int:
        """Put on record what was seen of a submission's Slurm jobs; return how many rows changed."""
        with self._transaction() as connection:
            return put_jobs(connection, submission_id=submission_id, jobs=jobs, now=now)

    def bad_nodes(self, *, since: datetime, fewest: int) -> tuple[BadNode, ...]:
        """Return the nodes on which at least so many jobs, of whatever campaign, were lost since some moment.

        Only jobs of one node tell which it was; and a job that ended well there later clears it.
        """
        with self._reading() as connection:
            rows = connection.execute(_BAD_NODES, {"since": since, "fewest": fewest}).mappings()
            return tuple(BadNode(node=row["node"], lost=row["lost"], last=row["last"]) for row in rows)

    def open_jobs(self, name: str) -> tuple[OpenJobs, ...]:
        """Return the Slurm jobs of a campaign that were not over when last seen, by submission."""
        with self._reading() as connection:
            campaign = require_campaign(connection, name)
            found: dict[int, OpenJobs] = {}
            for row in connection.execute(_open(campaign.id)).mappings():
                job = SlurmJob(
                    job_id=row["job_id"],
                    name=row["name"],
                    state=row["slurm_state"],
                    submitted=row["submitted"],
                    started=row["started"],
                )
                before = found.get(row["id"])
                jobs = (*(before.jobs if before else ()), JobRecord(job=job, role=row["role"]))
                found[row["id"]] = OpenJobs(
                    submission_id=row["id"],
                    directory=row["directory"],
                    driver_job=row["driver_job"],
                    jobs=jobs,
                )
            return tuple(found.values())

    def note_scheduler(self, *, campaign_id: int, unreachable: str, actor: str, now: datetime) -> bool:
        """Record an event when the scheduler has stopped answering, or answers again.

        Returns
        -------
        changed : `bool`
            Whether that is news.
        """
        state = "unreachable" if unreachable else "answers"
        with self._transaction() as connection:
            before = connection.execute(_LAST_WORD, {"campaign_id": campaign_id}).scalar() or "answers"
            if before == state:
                return False
            event = Event(
                kind="scheduler", actor=actor, reason=unreachable, from_state=before, to_state=state
            )
            events.record(connection, event, at=now, campaign_id=campaign_id)
            return True
