"""All rows of a report, of one moment of the database, over psycopg2 alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from merian_campaign.domain.execution.counts import Counts
from merian_campaign.domain.record.board_row import BoardRow
from merian_campaign.domain.record.records import JobRow, RecordedEvent
from merian_campaign.domain.report.rows import (
    CauseRow,
    CauseRows,
    ProgressRow,
    QuantaCell,
    ReportGroup,
    ReportRows,
    RevisionRow,
    StackRow,
    SubmissionRow,
    UsageRow,
)
from merian_campaign.domain.sky_regions import SkyRegion
from merian_campaign.store.reading import queries, report_queries
from merian_campaign.store.reading.queries import within

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812  (psycopg2 spells it small)

type Rows = Callable[[str], list[dict[str, Any]]]

_SPANS: Final = (10, 60, 300, 900, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86400)
_MOST_SPANS: Final = 240
_HOUR: Final = 3600
_MOST_READ: Final = 1_500_000
"""Executions of which each is read for medians; of more, summaries tell them to within a hundredth."""

_WORK_MEMORY: Final = "SET LOCAL work_mem = '64MB'"
"""Percentiles sort whole tasks."""


def read_report(
    connection: Connection, campaign: Mapping[str, Any], *, at: datetime, past: bool, since: datetime | None
) -> ReportRows:
    """Return the rows of a report.

    Parameters
    ----------
    connection : `psycopg2.extensions.connection`
        In a transaction that sees one moment.
    campaign : `~collections.abc.Mapping`
        The row of `report_queries.CAMPAIGN`, with its ``name``.
    at : `datetime.datetime`
        The moment.
    past : `bool`
        Whether it is over, so that events and attempts tell it.
    since : `datetime.datetime` or `None`
        From when on events are wanted.
    """
    span = _span(campaign["began"], min(at, campaign["ended"] or at) if past else campaign["ended"] or at)
    values = {"campaign_id": campaign["id"], "at": at, "past": past, "since": since or at, "span": span}
    with connection.cursor() as cursor:
        cursor.execute(_WORK_MEMORY)

    def rows(query: str) -> list[dict[str, Any]]:
        return _rows(connection, query, values)

    version = rows("SELECT version_num FROM alembic_version")[0]["version_num"]
    return ReportRows(
        campaign=campaign["name"],
        state=(campaign["state_then"] or "active") if past else campaign["state"],
        file=campaign["file"],
        spec=campaign["spec"] or {},
        at=at,
        past=past,
        since=since,
        began=campaign["began"],
        span_seconds=span,
        schema=str(version),
        last_tick=campaign["last_tick"],
        **_tables(rows, at=at, past=past, span=span),
    )


def _tables(rows: Rows, *, at: datetime, past: bool, span: int) -> dict[str, Any]:
    def many[T](kind: Callable[..., T], query: str) -> tuple[T, ...]:
        return tuple(kind(**row) for row in rows(query))

    jobs = many(JobRow, queries.JOBS)
    kept = not past and span % _HOUR == 0
    return {
        "groups": _groups(rows),
        "cells": many(QuantaCell, report_queries.cells(past=past)),
        "causes": _causes(rows, report_queries.causes(past=past)),
        "unpointed": _unpointed(rows, past=past),
        "usage": _usage(rows, past=past),
        "progress": many(ProgressRow, report_queries.PROGRESS_KEPT if kept else report_queries.PROGRESS),
        **rows(report_queries.ENDED_SINCE)[0],
        "jobs": tuple(_then(job, at) for job in jobs if not _later(job.submitted or job.started, at))
        if past
        else jobs,
        "submissions": many(SubmissionRow, report_queries.SUBMISSIONS),
        "stacks": many(StackRow, report_queries.STACKS),
        "revisions": many(RevisionRow, report_queries.REVISIONS),
        "events": many(RecordedEvent, report_queries.EVENTS),
        "regions": tuple(
            SkyRegion(**{**row, "ra": tuple(row["ra"]), "dec": tuple(row["dec"])})
            for row in rows(report_queries.REGIONS)
        ),
        "visits": tuple(row["visit"] for row in rows(report_queries.VISIT_IDS)),
        "visits_of_tracts": {row["tract"]: row["visits"] for row in rows(report_queries.VISITS)},
    }


def _usage(rows: Rows, *, past: bool) -> tuple[UsageRow, ...]:
    """Return usage by task, exactly where that is read quickly, with how long quanta waited."""
    many = not past and rows(report_queries.EXECUTIONS_KEPT)[0]["n"] > _MOST_READ
    waits = {(row.pop("step"), row.pop("task")): row for row in rows(report_queries.WAITS)}
    return tuple(
        UsageRow(**row, **waits.get((row["step"], row["task"]), {}))
        for row in rows(report_queries.USAGE_KEPT if many else report_queries.USAGE)
    )


def read_board(connection: Connection, campaign: Mapping[str, Any], *, at: datetime) -> tuple[BoardRow, ...]:
    """Return the status board of an earlier moment, without the steps that had no group yet.

    Parameters
    ----------
    connection : `psycopg2.extensions.connection`
        In a transaction that sees one moment.
    campaign : `~collections.abc.Mapping`
        The row of `report_queries.CAMPAIGN`.
    at : `datetime.datetime`
        The moment.
    """
    listed = (campaign["spec"] or {}).get("steps", ())
    actions = {step.get("name") for step in listed if "action" in step}

    def rows(query: str) -> list[dict[str, Any]]:
        return _rows(connection, query, {"campaign_id": campaign["id"], "at": at, "past": True})

    counts: dict[int, dict[str, int]] = {}
    for row in rows(report_queries.cells(past=True)):
        of = counts.setdefault(row["group_id"], {})
        of[row["state"]] = of.get(row["state"], 0) + row["n"]
    return tuple(
        BoardRow(
            step=group.step,
            group=group.group,
            ordinal=group.ordinal,
            tract=group.tracts[0] if len(group.tracts) == 1 else None,
            state=group.state,
            reason=group.reason,
            submissions=group.submissions,
            counts=Counts(**counts.get(group.id, {})),
            no_graph=group.empty_graph,
            action=group.step in actions,
            remade=group.remade,
        )
        for group in _groups(rows)
    )


def read_causes(
    connection: Connection, *, name: str, values: Mapping[str, object], at: datetime
) -> CauseRows:
    """Return what failures are told from, through the rollup and the index of what has not succeeded.

    Parameters
    ----------
    connection : `psycopg2.extensions.connection`
        In a transaction that sees one moment.
    name : `str`
        Of the campaign.
    values : `~collections.abc.Mapping`
        ``campaign_id``, and ``step``, ``tract``, ``task``, ``verdict`` or `None` for each.
    at : `datetime.datetime`
        Now.
    """
    tract = values["tract"]

    def rows(query: str) -> list[dict[str, Any]]:
        query = within(query, tract=tract if isinstance(tract, int) else None)
        return _rows(connection, query, {**values, "at": at, "past": False})

    return CauseRows(
        campaign=name,
        groups=_groups(rows),
        counts={row.pop("group_id"): Counts(**row) for row in rows(report_queries.COUNTS_BY_GROUP)},
        causes=_causes(rows, report_queries.causes(past=False, chosen=True)),
        unpointed=_unpointed(rows, past=False),
        failed_attempts=rows(report_queries.FAILED_ATTEMPTS)[0]["n"],
    )


def _groups(rows: Rows) -> tuple[ReportGroup, ...]:
    return tuple(
        ReportGroup(**{**row, "values": tuple(row["values"])}) for row in rows(report_queries.GROUPS)
    )


def _unpointed(rows: Rows, *, past: bool) -> Mapping[int, int]:
    return {row["group_id"]: row["n"] for row in rows(report_queries.unpointed(past=past))}


def _causes(rows: Rows, query: str) -> tuple[CauseRow, ...]:
    return tuple(CauseRow(**{**row, "group_ids": tuple(row["group_ids"])}) for row in rows(query))


def _later(when: datetime | None, at: datetime) -> bool:
    return when is not None and when > at


def _then(job: JobRow, at: datetime) -> JobRow:
    """Return a Slurm job as it was: what came later is not known yet."""
    if not _later(job.ended, at):
        return job
    values = {name: getattr(job, name) for name in JobRow.__dataclass_fields__}
    started = None if _later(job.started, at) else job.started
    # How busy it was by then is not on record.
    values |= {"ended": None, "started": started, "fate": "alive", "busy_seconds": None, "exit_code": None}
    values |= {"slurm_state": "RUNNING" if started else "PENDING", "cancelled_by": "", "reason": ""}
    return JobRow(**values)


def _span(began: datetime | None, ended: datetime) -> int:
    """Return a length of spans, in seconds, of which not too many make up all the time there is."""
    if began is None:
        return _SPANS[0]
    whole = max(0.0, (ended - began).total_seconds())
    return next((span for span in _SPANS if whole / span <= _MOST_SPANS), 7 * _SPANS[-1])


def _rows(connection: Connection, query: str, values: Mapping[str, object]) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(query, dict(values))
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, map(_utc, row), strict=True)) for row in cursor.fetchall()]


def _utc(value: Any) -> Any:  # noqa: ANN401 - any column
    return value.astimezone(UTC) if isinstance(value, datetime) else value
