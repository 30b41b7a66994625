"""A driver's life: claim a submission, keep the lease, do the work, leave an outcome.

A driver that is killed at any point leaves either no claim (another is started), or a claim without a
living process (the next one takes over: it ends what was left and collects what was done, and never
runs the same submission's quanta beside a living driver of it).
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from merian_campaign.domain.clock_skew import LEASE
from merian_campaign.domain.errors import CalledOffError, DatabaseUnavailableError
from merian_campaign.domain.execution import runs
from merian_campaign.domain.execution.process_identity import ProcessIdentity
from merian_campaign.domain.execution.runs import RunEnd, RunResult, Salvaged
from merian_campaign.domain.failures.fault_attribution import advised, failure_words
from merian_campaign.domain.record.applied_spec import applied_spec
from merian_campaign.domain.record.records import Claim
from merian_campaign.domain.spec import ActionStep, CampaignSpec
from merian_campaign.domain.stack import stack_setup
from merian_campaign.host.patience import patiently
from merian_campaign.services.ports import Store, SubmissionRunner
from merian_campaign.services.stack_guard import StackGuard

_LOG = logging.getLogger(__name__)

LEASE_SECONDS = LEASE.total_seconds()
"""How long a driver counts as alive after its last sign of life, for hosts that cannot look at it."""

BEAT_SECONDS = 5.0
"""How often a driver renews its lease and asks whether it should stop."""


class Superseded(Protocol):
    """What to do when another driver has taken over."""

    def __call__(self) -> None:
        """End this process and all it started."""


class Heartbeat:
    """Renews the lease in a thread, and notices cancellation and succession.

    Parameters
    ----------
    store : `Store`
        The tracking database.
    submission_id, epoch : `int`
        What was claimed.
    superseded : callable
        Called in the thread when another driver has taken over.
    """

    def __init__(self, *, store: Store, submission_id: int, epoch: int, superseded: Superseded) -> None:
        self._store = store
        self._submission_id = submission_id
        self._epoch = epoch
        self._superseded = superseded
        self._ended = threading.Event()
        self._cancelled = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def stop(self) -> None:
        """Stop beating."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=BEAT_SECONDS)

    def go_on(self) -> bool:
        """Say whether the work should go on."""
        return not self._cancelled.is_set()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            try:
                answer = self._store.heartbeat(
                    submission_id=self._submission_id,
                    epoch=self._epoch,
                    lease_seconds=LEASE_SECONDS,
                    now=self._store.now(),
                )
            except Exception as error:  # noqa: BLE001 - the database may come back; the work does not need it
                _LOG.warning("heartbeat: %s", error)
                continue
            if answer is None:
                self._superseded()
            elif not answer:
                self._cancelled.set()


def drive(
    *,
    store: Store,
    submission_id: int,
    expected_epoch: int,
    identity: ProcessIdentity,
    make_work: Callable[[Claim], SubmissionRunner],
    guard: StackGuard,
    no_stack: str | None = None,
) -> RunResult | None:
    """Drive one submission to its outcome.

    Parameters
    ----------
    store : `Store`
        The tracking database.
    submission_id, expected_epoch : `int`
        What to claim; a different epoch means that another driver has it.
    identity : `ProcessIdentity`
        This process.
    make_work : callable
        Gives the work of a claim.
    guard : `StackGuard`
        Keeps a group to one set of versions.
    no_stack : `str`, optional
        Why the LSST environment could not be set up: nothing is done but to say so.

    Returns
    -------
    result : `RunResult` or `None`
        `None` when another driver has the submission, or has ended it.

    Raises
    ------
    DatabaseUnavailableError
        Raised if the database was away for too long. No outcome is left: the next driver goes on.
    """
    claim = patiently(
        lambda: store.claim(
            submission_id=submission_id,
            driver=identity,
            lease_seconds=LEASE_SECONDS,
            now=store.now(),
            expected_epoch=expected_epoch,
        )
    )
    if claim is None:
        return None
    work = make_work(claim)
    if work.ended():  # whoever started this one could not see it yet
        return None
    if claim.gap is not None:
        left, claimed = claim.gap
        work.follows(left=left, claimed=claimed)

    def superseded() -> None:
        work.stop_all()
        os._exit(75)

    heart = Heartbeat(store=store, submission_id=submission_id, epoch=claim.epoch, superseded=superseded)
    try:
        heart.start()
        if no_stack is None:
            result = _work(store=store, claim=claim, work=work, go_on=heart.go_on, guard=guard)
        else:
            result = RunResult(end=RunEnd.FAILED, reason=stack_setup.failure(no_stack), needs_person=True)
    except DatabaseUnavailableError:
        # Nothing is wrong with the submission, and what ran of it is whole: the next driver goes on with it.
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, a person must read it in the outcome
        result = RunResult(end=RunEnd.FAILED, reason=f"the driver failed: {failure_words(error)}")
    finally:
        heart.stop()
        work.close()
    if result.end is RunEnd.FAILED:
        result = replace(result, reason=advised(result.reason))
    work.write_outcome(runs.to_json(result, epoch=claim.epoch, campaign=claim.campaign.uuid))
    return result


def _work(
    *, store: Store, claim: Claim, work: SubmissionRunner, go_on: Callable[[], bool], guard: StackGuard
) -> RunResult:
    work.reap()
    spec = applied_spec(claim.campaign)
    step = spec.step(claim.group.step)
    if isinstance(step, ActionStep):
        if claim.submission.cancel_requested:
            return RunResult(end=RunEnd.CANCELLED, reason="cancelled before it began")
        guard.refusal(claim, spec=spec, work=work)
        work.mark_started()
        try:
            with work.timed(store.repository_lock(spec.butler, go_on=go_on), name="action"):
                return work.act(name=step.action, arguments=step.arguments, go_on=go_on)
        except CalledOffError:
            return RunResult(end=RunEnd.CANCELLED, reason="cancelled before it began")
    if work.was_started():
        result = RunResult(end=RunEnd.LOST, reason="its driver died; what it had done was collected")
    elif claim.submission.cancel_requested:
        return RunResult(end=RunEnd.CANCELLED, reason="cancelled before it began")
    else:
        refused = guard.refusal(claim, spec=spec, work=work)
        if refused is not None:
            return refused
        # Nothing of an earlier driver is here: it had not begun, or its directory was deleted under it.
        left = work.salvage() if claim.epoch > 1 else Salvaged()
        work.mark_started()
        if left.source:
            reason = f"its directory was deleted; {left.in_words()}, where their outputs are"
            result = RunResult(end=RunEnd.FAILED, reason=reason)
        else:
            result = work.run(go_on=go_on)
    if claim.submission.cancel_requested:
        result = RunResult(end=RunEnd.CANCELLED, reason="cancelled on request")
    return _collect(store=store, spec=spec, work=work, result=result)


def _collect(*, store: Store, spec: CampaignSpec, work: SubmissionRunner, result: RunResult) -> RunResult:
    """Bring in what was done, however the run ended."""
    if result.end is RunEnd.EMPTY or result.needs_person:
        return result
    work.reap()
    error = work.collect()
    if error is not None:
        return result.uncollected(error)
    if result.end is RunEnd.FAILED and work.ran():
        # The workflow ran and something after it failed; what had to be done after it is done now.
        result = RunResult(
            end=RunEnd.RAN, reason=f"collected by the driver: {result.reason}", exit_code=result.exit_code
        )
    with work.timed(store.repository_lock(spec.butler), name="chain"):
        work.prepend()
    return result
