"""Queries behind `status` and its kin, over psycopg2 alone.

Start-up time matters here: nothing in this module may import SQLAlchemy, Alembic or pydantic. The board
comes from the rollup, so it costs as much as its answer is long, not as the campaign is large.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from merian_campaign.domain.errors import BadInputError, NoCampaignError
from merian_campaign.domain.execution.counts import COUNTED_STATES, Counts
from merian_campaign.domain.record.board_row import STALE, BoardRow
from merian_campaign.store.reading import queries, report_queries
from merian_campaign.store.server.connection import fetch, open_connection, translated
from merian_campaign.store.server.schema_version import require_current, schema_version

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812  (psycopg2 spells it small)

    from merian_campaign.domain.execution.quanta import HeldQuantum
    from merian_campaign.domain.failures.rule_trial import PastFailure
    from merian_campaign.domain.readiness.generations import Generation
    from merian_campaign.domain.record.attempt_rows import AttemptRow, FailureRow
    from merian_campaign.domain.record.records import CampaignRow, JobRow, RecordedEvent
    from merian_campaign.domain.record.wall_time import StepWallTime
    from merian_campaign.domain.report.rows import CauseRows, ReportRows
    from merian_campaign.domain.resources.core_hours import TaskCost


def campaign_id(connection: Connection, name: str) -> int:
    """Return the key of a campaign.

    Raises
    ------
    BadInputError
        Raised if there is none of that name; the message lists those there are.
    """
    return int(_campaign(connection, name)["id"])


def _campaign(connection: Connection, name: str) -> dict[str, Any]:
    for row in fetch(connection, "SELECT id, state FROM campaign WHERE name = %(name)s", {"name": name}):
        return row
    names = [row["name"] for row in fetch(connection, "SELECT name FROM campaign ORDER BY name", {})]
    raise NoCampaignError(name, there=names)


class ReadQueries:
    """The reading methods of the store, which `Reader` has too: each is one moment of the database."""

    def _moment(self) -> AbstractContextManager[Connection]:
        """Return a psycopg2 connection, in a transaction that reads only."""
        raise NotImplementedError

    def campaign_state(self, name: str) -> str:
        """Return the state of a campaign."""
        with self._moment() as connection:
            return str(_campaign(connection, name)["state"])

    def board(self, name: str) -> tuple[BoardRow, ...]:
        """Return the status board of a campaign from the rollup, in the order of its steps."""
        rows = []
        with self._moment() as connection:
            values = {"campaign_id": campaign_id(connection, name)}
            found = fetch(connection, queries.BOARD, values)
            steps = fetch(connection, queries.BOARD_STEPS, values)
            # It reads all events; mostly there is nothing to say of them.
            begun = fetch(connection, queries.BEGUN_ANEW, values) if any(row["anew"] for row in found) else ()
        why = {(row["step"], row["group"]): row["reason"] for row in begun}
        actions = {row["step"] for row in steps if row["action"]}
        for row in sorted(found, key=lambda row: (row["ordinal"], row.pop("place"))):
            counts = Counts(**{state: row.pop(state) or 0 for state in COUNTED_STATES})
            remade = why.get((row["step"], row["group"]), "") if row.pop("anew") else None
            row |= {"stack": row["stack"] or "", "no_graph": bool(row["no_graph"])}
            rows.append(BoardRow(**row, counts=counts, action=row["step"] in actions, remade=remade))
        rows += [_undiscovered(row["step"], ordinal=row["ordinal"]) for row in steps if row["undiscovered"]]
        return tuple(sorted(rows, key=lambda row: row.ordinal))

    def steps(self, name: str) -> tuple[str, ...]:
        """Return the steps of a campaign in their order, also those that have no group yet."""
        with self._moment() as connection:
            values = {"campaign_id": campaign_id(connection, name)}
            found = fetch(connection, queries.BOARD_STEPS, values)
        return tuple(row["step"] for row in sorted(found, key=lambda row: row["ordinal"]))

    def began(self, name: str) -> datetime:
        """Return when a campaign was applied first."""
        with self._moment() as connection:
            values = {"campaign_id": campaign_id(connection, name)}
            (row,) = fetch(connection, queries.BEGAN, values)
        return row["began"]  # type: ignore[no-any-return]

    def board_at(self, name: str, *, at: datetime) -> tuple[str, tuple[BoardRow, ...]]:
        """Return the state of a campaign and its board as they were, told by events and attempts."""
        from merian_campaign.store.reading.report_reader import read_board  # noqa: PLC0415 - only of earlier moments

        with self._moment() as connection:
            campaign_id(connection, name)
            (found,) = fetch(connection, report_queries.CAMPAIGN, {"name": name, "at": at})
            return found["state_then"] or "active", read_board(connection, found, at=at)

    def report(
        self, name: str, *, at: datetime, past: bool = False, since: datetime | None = None
    ) -> ReportRows:
        """Return all that a report is made of, now or of a moment that is past."""
        from merian_campaign.store.reading.report_reader import read_report  # noqa: PLC0415 - only reports need it

        with self._moment() as connection:
            campaign_id(connection, name)
            (found,) = fetch(connection, report_queries.CAMPAIGN, {"name": name, "at": at})
            return read_report(connection, {**found, "name": name}, at=at, past=past, since=since)

    def failures(
        self, name: str, *, step: str | None = None, tract: int | None = None, recovered: bool = False
    ) -> tuple[FailureRow, ...]:
        """Return quanta that have not succeeded and are not merely waiting for their first attempt.

        With ``recovered`` also those that succeeded after failures; they carry the facts of the last failure.
        """
        query = queries.FAILURES_AND_RECOVERED if recovered else queries.FAILURES
        with self._moment() as connection:
            values = {"campaign_id": campaign_id(connection, name), "step": step, "tract": tract}
            rows = fetch(connection, queries.within(query, tract=tract), values)
            return _failure_rows(rows)

    def wall_times(self, name: str) -> tuple[StepWallTime, ...]:
        """Return where the time of a campaign's submissions went, by step."""
        from merian_campaign.domain.record.wall_time import PARTS, StepWallTime, WallTime  # noqa: PLC0415 - only `usage`

        with self._moment() as connection:
            rows = fetch(connection, queries.WALL, {"campaign_id": campaign_id(connection, name)})
        return tuple(
            StepWallTime(
                step=row["step"],
                submissions=row["submissions"],
                wall=WallTime(
                    **{part: sum(float(wall.get(part) or 0) for wall in row["walls"]) for part in PARTS}
                ),
            )
            for row in rows
        )

    def causes(
        self,
        name: str,
        *,
        at: datetime,
        step: str | None = None,
        tract: int | None = None,
        task: str | None = None,
        verdict: str | None = None,
    ) -> CauseRows:
        """Return what failed quanta failed of, by cause, of all or of those chosen, and all groups."""
        from merian_campaign.store.reading.report_reader import read_causes  # noqa: PLC0415 - only `failures` needs it

        chosen = {"step": step, "tract": tract, "task": task, "verdict": verdict}
        with self._moment() as connection:
            values = {"campaign_id": campaign_id(connection, name), **chosen}
            return read_causes(connection, name=name, values=values, at=at)

    def attempts(self, *, group_id: int) -> tuple[AttemptRow, ...]:
        """Return the stored attempts of a group's quanta, in the order in which they were made."""
        with self._moment() as connection:
            found = fetch(connection, queries.ATTEMPTS, {"group_id": group_id})
        return _attempt_rows(found)

    def events(
        self, name: str, *, group_id: int | None = None, limit: int = 50, since: datetime | None = None
    ) -> tuple[RecordedEvent, ...]:
        """Return the newest events of a campaign or of one of its groups, newest first."""
        from merian_campaign.domain.record.records import RecordedEvent  # noqa: PLC0415 - `status` needs none

        with self._moment() as connection:
            which = {"campaign_id": campaign_id(connection, name), "group_id": group_id}
            values = {**which, "limit": limit, "since": since}
            return tuple(RecordedEvent(**row) for row in fetch(connection, queries.EVENTS, values))

    def succeeded_since(self, name: str, *, since: datetime) -> int:
        """Return how many quanta have succeeded after a moment."""
        with self._moment() as connection:
            values = {"campaign_id": campaign_id(connection, name), "since": since}
            (row,) = fetch(connection, queries.SUCCEEDED_SINCE, values)
        return int(row["n"])

    def jobs(self, name: str) -> tuple[JobRow, ...]:
        """Return the Slurm jobs of a campaign's submissions, in the order of its steps."""
        from merian_campaign.domain.record.records import JobRow  # noqa: PLC0415 - `status` needs none

        with self._moment() as connection:
            values = {"campaign_id": campaign_id(connection, name)}
            return tuple(JobRow(**row) for row in fetch(connection, queries.JOBS, values))

    def campaign_list(self) -> tuple[CampaignRow, ...]:
        """Return how all campaigns stand, by name."""
        from merian_campaign.domain.record.records import CampaignRow  # noqa: PLC0415 - `status` needs none

        with self._moment() as connection:
            return tuple(CampaignRow(**row) for row in fetch(connection, queries.CAMPAIGNS, {"stale": STALE}))

    def last_cancels(self, name: str) -> Mapping[int, RecordedEvent]:
        """Return, by group id, the event by which it was last cancelled."""
        from merian_campaign.domain.record.records import RecordedEvent  # noqa: PLC0415 - `status` needs none

        with self._moment() as connection:
            values = {"campaign_id": campaign_id(connection, name)}
            found = [RecordedEvent(**row) for row in fetch(connection, queries.LAST_CANCELS, values)]
            return {event.group_id: event for event in found if event.group_id is not None}

    def held_quanta(self, *, group_id: int) -> tuple[HeldQuantum, ...]:
        """Return quanta whose last verdict forbids running them again (algorithm, configuration).

        Attempts from before a person said «retry» hold nothing back.
        """
        from merian_campaign.domain.execution.quanta import HeldQuantum  # noqa: PLC0415 - `status` needs none

        with self._moment() as connection:
            found = fetch(connection, queries.HELD, {"group_id": group_id})
        return tuple(
            HeldQuantum(
                task=row.pop("task"),
                data_id=row.pop("data_id"),
                dimensions={name: value for name, value in row.items() if value is not None},
            )
            for row in found
        )

    def failure_history(self, name: str, *, limit: int) -> tuple[PastFailure, ...]:
        """Return the newest attempts that failed, with the evidence on record."""
        from merian_campaign.store.reading.failure_history import read_history  # noqa: PLC0415 - only `rules` needs it

        with self._moment() as connection:
            return read_history(connection, campaign_id=campaign_id(connection, name), limit=limit)

    def costs(self, name: str, *, groups: Sequence[str]) -> tuple[TaskCost, ...]:
        """Return what the outputs of groups that readers see have cost; groups as ``STEP/GROUP``."""
        from merian_campaign.domain.resources.core_hours import TaskCost  # noqa: PLC0415 - needs what a campaign is

        if not groups:
            return ()
        with self._moment() as connection:
            key = campaign_id(connection, name)
            rows = fetch(connection, queries.COSTS, {"campaign_id": key, "names": list(groups)})
        return tuple(TaskCost(**row) for row in rows)

    def generations(self, *, group_id: int) -> tuple[Generation, ...]:
        """Return the generations of a group that have had a submission, the oldest first."""
        from merian_campaign.domain.readiness.generations import (  # noqa: PLC0415 - only `show` needs it
            MadeFrom,
            generations_of,
            stored_basis,
        )

        with self._moment() as connection:
            rows = fetch(connection, queries.MADE_FROM, {"group_id": group_id})
        return generations_of([MadeFrom(**{**row, "basis": stored_basis(row["basis"])}) for row in rows])

    def quantum(self, name: str, *, number: int) -> FailureRow | None:
        """Return the quantum of a number; `None` if the campaign has none."""
        with self._moment() as connection:
            key = campaign_id(connection, name)
            rows = fetch(connection, queries.QUANTUM, {"campaign_id": key, "id": number})
        return next(iter(_failure_rows(rows)), None)

    def failed_quanta(
        self, name: str, *, step: str | None = None, tract: int | None = None, limit: int
    ) -> tuple[FailureRow, ...]:
        """Return the first quanta that are failed."""
        from merian_campaign.store.reading import find_quanta  # noqa: PLC0415 - `status` needs none

        with self._moment() as connection:
            values = {
                "campaign_id": campaign_id(connection, name),
                "step": step,
                "tract": tract,
                "limit": limit,
            }
            find_quanta.by_index(connection)
            rows = fetch(connection, queries.within(queries.FAILED_QUANTA, tract=tract), values)
        return _failure_rows(rows)

    def quanta(
        self, name: str, *, step: str | None, task: str | None, values: Mapping[str, str], limit: int
    ) -> tuple[FailureRow, ...]:
        """Return the first quanta of a task, or of any, whose data IDs have these values.

        Raises
        ------
        BadInputError
            Raised if there is no quantum of that task at all; the message lists the tasks.
        """
        from merian_campaign.store.reading import find_quanta  # noqa: PLC0415 - `status` needs none

        with self._moment() as connection:
            key = campaign_id(connection, name)
            rows = find_quanta.by_words(
                connection, campaign_id=key, step=step, task=task, values=values, limit=limit
            )
            known = [] if rows or task is None else find_quanta.tasks(connection, campaign_id=key)
        if task is not None and not rows and task not in known:
            there = f"it has quanta of {', '.join(known)}" if known else "it has no quanta yet"
            raise BadInputError(f"campaign {name!r} has no quantum of task {task!r}; {there}")
        return _failure_rows(rows)

    def quantum_attempts(self, *, quantum_id: int) -> tuple[AttemptRow, ...]:
        """Return the attempts of a quantum, in the order in which they were made."""
        with self._moment() as connection:
            rows = fetch(connection, queries.QUANTUM_ATTEMPTS, {"id": quantum_id})
        return _attempt_rows(rows)


class Reader(ReadQueries):
    """The reading part of the store on one connection, for commands that must start fast.

    Parameters
    ----------
    url : `str`
        Where the database is.

    Raises
    ------
    UnavailableError
        Raised if the database does not answer.
    SchemaVersionError
        Raised if it is older or newer than this program.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection = open_connection(url)
        try:
            with translated(url):
                found = schema_version(self._connection)
            require_current(found, url=url)
            # Each method is then one moment of the database.
            self._connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _moment(self) -> Iterator[Connection]:
        with translated(self._url), self._connection:
            yield self._connection


def _undiscovered(step: str, *, ordinal: int) -> BoardRow:
    """Return the row of a step that has no group yet, for nobody knows its tracts."""
    return BoardRow(
        step=step,
        group="discover",
        ordinal=ordinal,
        tract=None,
        state="waiting",
        reason="its tracts are discovered once visits are defined",
        submissions=0,
        counts=Counts(),
    )


def _failure_rows(rows: Iterable[Mapping[str, Any]]) -> tuple[FailureRow, ...]:
    from merian_campaign.domain.record.attempt_rows import FailureRow  # noqa: PLC0415 - `status` needs none

    return tuple(FailureRow(**row) for row in rows)


def _attempt_rows(rows: Iterable[Mapping[str, Any]]) -> tuple[AttemptRow, ...]:
    from merian_campaign.domain.record.attempt_rows import AttemptRow  # noqa: PLC0415 - `status` needs none

    return tuple(AttemptRow(**row) for row in rows)
