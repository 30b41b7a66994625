"""Submissions: the committed intention, the claim of a driver, its lease."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, func, insert, null, select, text, update
from sqlalchemy.sql.dml import ReturningUpdate

from merian_campaign.domain.errors import BadInputError, BusyError, CampaignError, RefusedRowsError
from merian_campaign.domain.execution.process_identity import ProcessIdentity
from merian_campaign.domain.record.basis import Basis
from merian_campaign.domain.record.records import Claim, Event
from merian_campaign.domain.record.snapshot import Remedy, SubmissionView
from merian_campaign.domain.states import GroupState, SubmissionState
from merian_campaign.store import events, schema
from merian_campaign.store.groups import keep_submissions, lock_group, put_group
from merian_campaign.store.rows import remedy_document, submission_view
from merian_campaign.store.server.database import Database
from merian_campaign.store.snapshots import load_one

_SUBMISSION = schema.submission

_LOCK = select(_SUBMISSION).where(_SUBMISSION.c.id == bindparam("of")).with_for_update()
_GROUP_OF = select(_SUBMISSION.c.group_id).where(_SUBMISSION.c.id == bindparam("of"))

_SKIP_IDS = text("""
    SELECT setval(pg_get_serial_sequence('submission', 'id'),
                  greatest(:above, (SELECT coalesce(max(id), 1) FROM submission)))
""")


def lock_submission(connection: Connection, submission_id: int) -> RowMapping:
    """Return a submission's row, locked until the end of the transaction.

    Raises
    ------
    BadInputError
        Raised if there is no such submission.
    """
    row = connection.execute(_LOCK, {"of": submission_id}).mappings().first()
    if row is None:
        raise BadInputError(f"there is no submission with the id {submission_id}")
    return row


def lock_with_group(connection: Connection, submission_id: int) -> tuple[RowMapping, RowMapping | None]:
    """Return a submission's row and its group's, locked until the end of the transaction.

    The group first, as everywhere, so that two transactions never wait for each other.

    Raises
    ------
    BadInputError
        Raised if there is no such submission.
    """
    group_id = connection.execute(_GROUP_OF, {"of": submission_id}).scalar()
    group = None if group_id is None else lock_group(connection, group_id)
    return lock_submission(connection, submission_id), group


class SubmissionStore(Database):
    """The part of the store that drivers and ticks share."""

    def prepare_submission(
        self,
        *,
        group_id: int,
        number: int,
        run_collection: str,
        repository: str,
        directory: str,
        remedy: Remedy,
        reason: str,
        actor: str,
        now: datetime,
        basis: Basis | None = None,
    ) -> SubmissionView:
        """Commit the intention to submit: submission row PREPARED, group RUNNING, event.

        It adds to the generation that the group has.

        Raises
        ------
        BusyError
            Raised if the group already has an unfinished submission, or one of this number.
        BadInputError
            Raised if another submission owns the RUN collection.
        """
        try:
            with self._transaction() as connection:
                group = lock_group(connection, group_id)
                new = insert(_SUBMISSION).values(
                    group_id=group_id,
                    number=number,
                    state=SubmissionState.PREPARED,
                    repository=repository,
                    run_collection=run_collection,
                    directory=directory,
                    remedy=remedy_document(remedy),
                    reason=reason,
                    created_at=now,
                    generation=group["generation"],
                    basis=null() if basis is None else basis.to_json(),
                )
                row = connection.execute(new.returning(_SUBMISSION)).mappings().one()
                keep_submissions(connection, group_id=group_id)
                put_group(
                    connection, group=group, state=GroupState.RUNNING, reason=reason, actor=actor, now=now
                )
                _record(
                    connection, row, to_state=SubmissionState.PREPARED, actor=actor, reason=reason, at=now
                )
                return submission_view(row)
        except RefusedRowsError as error:
            raise _refusal(error, number=number, run_collection=run_collection) from error

    def skip_submission_ids(self, *, above: int) -> None:
        """Give later submissions ids above this one: drivers of a lost database may still say theirs."""
        with self._transaction() as connection:
            connection.execute(_SKIP_IDS, {"above": above})

    def launching(self, *, submission_id: int, now: datetime, driver_job: str = "") -> None:
        """Record that a driver is about to be started (committed before it is).

        ``driver_job`` is the name its Slurm job will have, by which it is found when the answer is lost;
        empty for a process.
        """
        with self._transaction() as connection:
            connection.execute(
                update(_SUBMISSION)
                .where(_SUBMISSION.c.id == submission_id)
                .values(launched_at=now, driver_job=driver_job, launches=_SUBMISSION.c.launches + 1)
            )

    def not_launched(self, *, submission_id: int) -> None:
        """Record that no driver is on its way after all, so that one may be started at any time."""
        with self._transaction() as connection:
            connection.execute(
                update(_SUBMISSION)
                .where(_SUBMISSION.c.id == submission_id)
                .values(launched_at=None, launches=func.greatest(_SUBMISSION.c.launches - 1, 0))
            )

    def claim(
        self,
        *,
        submission_id: int,
        driver: ProcessIdentity,
        lease_seconds: float,
        now: datetime,
        expected_epoch: int,
    ) -> Claim | None:
        """Claim a submission for a driver, if its epoch is still ``expected_epoch``.

        Compare-and-set in one statement: of several drivers one gets the claim, the others `None`.
        """
        until = now + timedelta(seconds=lease_seconds)
        take = _take(submission_id, driver=driver, epoch=expected_epoch, until=until, now=now)
        lease = select(_SUBMISSION.c.lease_expires_at).where(_SUBMISSION.c.id == submission_id)
        with self._transaction() as connection:
            before = connection.execute(lease).scalar()
            row = connection.execute(take).mappings().first()
            if row is None:
                return None
            _record(
                connection,
                row,
                # Only a claim moves it from PREPARED, and each claim counts.
                from_state=SubmissionState.RUNNING if expected_epoch else SubmissionState.PREPARED,
                to_state=SubmissionState.RUNNING,
                actor="driver",
                reason=f"claimed by process {driver.pid} on {driver.host}",
                at=now,
            )
            campaign, group = load_one(connection, group_id=row["group_id"])
            return Claim(
                submission=submission_view(row),
                group=group,
                campaign=campaign,
                epoch=row["epoch"],
                gap=None if before is None else (before - timedelta(seconds=lease_seconds), now),
            )

    def heartbeat(
        self, *, submission_id: int, epoch: int, lease_seconds: float, now: datetime
    ) -> bool | None:
        """Extend the lease; `True` to go on, `False` when asked to cancel, `None` when superseded."""
        extend = (
            update(_SUBMISSION)
            .where(
                _SUBMISSION.c.id == submission_id,
                _SUBMISSION.c.epoch == epoch,
                _SUBMISSION.c.state == SubmissionState.RUNNING,
            )
            .values(lease_expires_at=now + timedelta(seconds=lease_seconds))
            .returning(_SUBMISSION.c.cancel_requested)
        )
        with self._transaction() as connection:
            cancel_requested = connection.execute(extend).scalar()
            return None if cancel_requested is None else not cancel_requested

    def record_versions(
        self, *, submission_id: int, epoch: int, versions: Mapping[str, Any], ran: bool
    ) -> None:
        """Put on record the versions of the stack that a driver found, and whether it runs under them.

        Nothing is written for a driver that was superseded.

        Raises
        ------
        BadInputError
            Raised if there is no such submission: its campaign was forgotten.
        """
        record = (
            update(_SUBMISSION)
            .where(_SUBMISSION.c.id == submission_id, _SUBMISSION.c.epoch == epoch)
            .values(versions=dict(versions), versions_sha=versions["sha"] if ran else "")
        )
        with self._transaction() as connection:
            submission, _ = lock_with_group(connection, submission_id)
            connection.execute(record)
            keep_submissions(connection, group_id=submission["group_id"])

    def versions(self, *, submission_id: int) -> Mapping[str, Any] | None:
        """Return what `record_versions` put on record; `None` when there is nothing."""
        with self._reading() as connection:
            found: Mapping[str, Any] | None = connection.execute(
                select(_SUBMISSION.c.versions).where(_SUBMISSION.c.id == submission_id)
            ).scalar_one_or_none()
            return found

    def request_cancel(
        self, *, submission_id: int, actor: str, now: datetime, reason: str = "asked to stop"
    ) -> None:
        """Ask a submission's driver to stop; asking again, or too late, changes nothing."""
        ask = (
            update(_SUBMISSION)
            .where(
                _SUBMISSION.c.id == submission_id,
                _SUBMISSION.c.state != SubmissionState.FINISHED,
                ~_SUBMISSION.c.cancel_requested,
            )
            .values(cancel_requested=True)
            .returning(_SUBMISSION)
        )
        with self._transaction() as connection:
            row = connection.execute(ask).mappings().first()
            if row is not None:
                _record(connection, row, actor=actor, reason=reason, at=now, kind="cancel")


def _take(
    submission_id: int, *, driver: ProcessIdentity, epoch: int, until: datetime, now: datetime
) -> ReturningUpdate[Any]:
    return (
        update(_SUBMISSION)
        .where(
            _SUBMISSION.c.id == submission_id,
            _SUBMISSION.c.epoch == epoch,
            _SUBMISSION.c.state != SubmissionState.FINISHED,
        )
        .values(
            state=SubmissionState.RUNNING,
            epoch=epoch + 1,
            driver_host=driver.host,
            driver_pid=driver.pid,
            driver_started=driver.pid_start,
            # No driver is on its way any more: should this one die, its successor is started at once.
            launched_at=None,
            launches=0,
            claimed_at=now,
            lease_expires_at=until,
        )
        .returning(_SUBMISSION)
    )


def _record(
    connection: Connection,
    submission: RowMapping,
    *,
    actor: str,
    reason: str,
    at: datetime,
    from_state: SubmissionState | None = None,
    to_state: SubmissionState | None = None,
    kind: str = "submission",
) -> None:
    event = Event(
        kind=kind,
        actor=actor,
        reason=reason,
        submission_id=submission["id"],
        from_state=from_state,
        to_state=to_state,
    )
    events.record(connection, event, at=at)


def _refusal(error: RefusedRowsError, *, number: int, run_collection: str) -> CampaignError:
    diagnostics = getattr(getattr(error.__cause__, "orig", None), "diag", None)
    constraint = getattr(diagnostics, "constraint_name", None)
    if constraint in {"uq_submission_unfinished", "uq_submission_group_id_number"}:
        return BusyError(
            f"submission {number} was not made: another process has submitted the group at the same moment"
        )
    if constraint == "uq_submission_run_collection":
        return BadInputError(
            f"the RUN collection {run_collection} already belongs to another submission in that "
            "repository; give the campaign a name or output of its own"
        )
    return error
