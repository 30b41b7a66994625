"""What ``bps report`` and ``bps status`` show, from the journal and the prepared workflow alone.

A submission has succeeded when all its jobs have and its outputs were ingested, which is what its final job
does; it was deleted when somebody stopped it; all else has failed.
"""

import pickle
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import click
from lsst.ctrl.bps import WmsJobReport, WmsRunReport, WmsStates
from lsst.ctrl.bps.parsl.configuration import get_workflow_filename

from merian_campaign.domain.execution.journal import JobVerdict, JournalEvent, JournalRecord
from merian_campaign.domain.safe_text.text import one_line
from merian_campaign.host.processes import sees_alive, this_host
from merian_campaign.host.regular_files import MEDIUM, DamagedFileError, read_bytes
from merian_campaign.wms.driver import CANCEL_NAME
from merian_campaign.wms.journal_writer import JOURNAL_NAME, Journal
from merian_campaign.wms.launcher import LOCAL_JOBS
from merian_campaign.wms.lease import LEASE_NAME, DriverState, read_lease
from merian_campaign.wms.workflow import FINISHED, STOPPED, CampaignWorkflow

__all__ = ["NoSubmissionError", "job_states", "overall", "run_report", "stage_states"]

_NOT_BEGUN = frozenset({WmsStates.UNREADY, WmsStates.READY, WmsStates.PENDING})
_LARGEST = 16 * MEDIUM  # a workflow of a million jobs


class NoSubmissionError(click.ClickException):
    """A directory that is no submission of this service; ``bps`` says so in one line.

    Parameters
    ----------
    submit : `pathlib.Path` or `str`
        The directory.
    why : `str`
        What is missing or wrong, in words.
    """

    def __init__(self, submit: Path | str, why: str) -> None:
        super().__init__(f"{one_line(str(submit), limit=4000)} is no submit directory: {one_line(why)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Run:
    """How a submission stands as a whole."""

    living: bool
    cancelled: bool


def run_report(submit: Path) -> WmsRunReport:
    """Return the report of a submission.

    Parameters
    ----------
    submit : `pathlib.Path`
        The submit directory.

    Raises
    ------
    NoSubmissionError
        There is no prepared workflow there, or it is damaged.
    """
    workflow = _read_workflow(submit)
    try:
        records = Journal(submit / JOURNAL_NAME).read()
    except (OSError, DamagedFileError) as error:
        raise NoSubmissionError(submit, str(error)) from None
    run = _Run(living=_driver_lives(submit), cancelled=_was_cancelled(submit, records))
    states, labels = _states_and_labels(workflow, records, run)
    by_label: dict[str, Counter[WmsStates]] = {}
    for name, state in states.items():
        by_label.setdefault(labels[name], Counter())[state] += 1
    counts = Counter(states.values())
    config = workflow.bps_config
    return WmsRunReport(
        wms_id=str(submit),
        global_wms_id=str(submit),
        path=str(submit),
        label=str(config["campaign"]),
        run=workflow.name,
        project=str(config["project"]),
        campaign=str(config["campaign"]),
        payload=str(config["payloadName"]),
        operator=str(config["operator"]),
        site=str(config["computeSite"]),
        run_summary=";".join(f"{label}:{sum(found.values())}" for label, found in by_label.items()),
        state=overall(states.values(), living=run.living, cancelled=run.cancelled),
        jobs=[
            WmsJobReport(wms_id=name, name=name, label=labels[name], state=state)
            for name, state in states.items()
        ],
        total_number_jobs=len(states),
        job_state_counts={state: counts.get(state, 0) for state in WmsStates},
        job_summary={
            label: {state: found.get(state, 0) for state in WmsStates} for label, found in by_label.items()
        },
        exit_code_summary=_exit_codes(records, states=states),
    )


def _states_and_labels(
    workflow: CampaignWorkflow, records: tuple[JournalRecord, ...], run: _Run
) -> tuple[dict[str, WmsStates], dict[str, str]]:
    """Return the states of a submission's jobs in their order, its own stages included, and their labels."""
    final = workflow.final.name if workflow.final is not None else ""
    first = [name for name in workflow.jobs if name in LOCAL_JOBS]
    parents = {
        name: set(before) - LOCAL_JOBS for name, before in workflow.parents.items() if name not in LOCAL_JOBS
    }
    payload = job_states(parents=parents, records=records, living=run.living)
    stages = stage_states(
        first=first,
        final=final,
        records=records,
        payload=payload,
        living=run.living,
        cancelled=run.cancelled,
    )
    if any(stages[name] is WmsStates.FAILED for name in first):
        payload = {n: WmsStates.PRUNED if s in _NOT_BEGUN else s for n, s in payload.items()}
    states = {**{name: stages[name] for name in first}, **payload}
    if final:
        states[final] = stages[final]
    labels = {name: workflow.jobs[name].generic.label for name in parents} | {name: name for name in stages}
    return states, labels


def overall(states: Iterable[WmsStates], *, living: bool, cancelled: bool) -> WmsStates:
    """Return the state of a submission from those of its jobs, its own stages included.

    Parameters
    ----------
    states : iterable of `WmsStates`
        Of its jobs.
    living : `bool`
        Whether its driver is alive.
    cancelled : `bool`
        Whether somebody stopped it.
    """
    if living:
        return WmsStates.RUNNING
    if all(state is WmsStates.SUCCEEDED for state in states):
        return WmsStates.SUCCEEDED
    return WmsStates.DELETED if cancelled else WmsStates.FAILED


def stage_states(
    *,
    first: Iterable[str],
    final: str,
    records: tuple[JournalRecord, ...],
    payload: Mapping[str, WmsStates],
    living: bool,
    cancelled: bool,
) -> dict[str, WmsStates]:
    """Return the states of a submission's own stages.

    Parameters
    ----------
    first : iterable of `str`
        Names of those before its jobs.
    final : `str`
        Name of the one after them; empty for none.
    records : `tuple` [`JournalRecord`, ...]
        The journal. One of an earlier release tells of stages only that all was well, by its last line.
    payload : `~collections.abc.Mapping`
        States of its jobs.
    living, cancelled : `bool`
        As of `overall`.
    """
    last = {record.job: record for record in records if record.event == JournalEvent.STAGE}
    begun = any(state not in _NOT_BEGUN for state in payload.values())
    closed = [record for record in records if record.event == JournalEvent.CLOSED]
    well = bool(closed) and not last and closed[-1].evidence.get("reason") == FINISHED

    def state_of(name: str, otherwise: WmsStates) -> WmsStates:
        record = last.get(name)
        if record is None:
            return otherwise
        if record.verdict is None and living:
            return WmsStates.RUNNING
        if record.verdict == JobVerdict.OK:
            return WmsStates.SUCCEEDED
        stopped = record.verdict == JobVerdict.CANCELLED or (record.verdict is None and cancelled)
        return WmsStates.DELETED if stopped else WmsStates.FAILED

    found = {
        name: state_of(name, WmsStates.SUCCEEDED if begun or well else WmsStates.READY) for name in first
    }
    if final:
        failed = any(state is WmsStates.FAILED for state in found.values())
        waiting = WmsStates.PRUNED if failed else WmsStates.UNREADY
        found[final] = state_of(final, WmsStates.SUCCEEDED if well else waiting)
    return found


def _was_cancelled(submit: Path, records: tuple[JournalRecord, ...]) -> bool:
    if (submit / CANCEL_NAME).exists():
        return True
    ends = [record for record in records if record.event in {JournalEvent.OPENED, JournalEvent.CLOSED}]
    return bool(ends) and str(ends[-1].evidence.get("reason", "")).startswith(STOPPED)


def job_states(
    *, parents: dict[str, set[str]], records: tuple[JournalRecord, ...], living: bool
) -> dict[str, WmsStates]:
    """Return the state of each job.

    Parameters
    ----------
    parents : `dict` [`str`, `set` [`str`]]
        Job names before each job.
    records : `tuple` [`JournalRecord`, ...]
        The journal.
    living : `bool`
        Whether the driver is alive; without one, nothing is running.
    """
    states: dict[str, WmsStates] = {}
    for record in records:
        state = _state_after(record, living=living)
        if state is not None and record.job in parents and states.get(record.job) is not WmsStates.SUCCEEDED:
            states[record.job] = state
    children: dict[str, list[str]] = {}
    for name, before in parents.items():
        for parent in before:
            children.setdefault(parent, []).append(name)
    blocked = [name for name, state in states.items() if state in (WmsStates.FAILED, WmsStates.HELD)]
    while blocked:
        for name in children.get(blocked.pop(), ()):
            if states.get(name) in (None, WmsStates.PENDING):
                states[name] = WmsStates.PRUNED
                blocked.append(name)
    waiting = {name for name in parents if states.get(name) in (None, WmsStates.PENDING)}
    for name in waiting:
        ready = all(states.get(parent) is WmsStates.SUCCEEDED for parent in parents[name])
        if not ready:
            states[name] = WmsStates.UNREADY
        else:
            states[name] = WmsStates.PENDING if name in states and living else WmsStates.READY
    return states


def _state_after(record: JournalRecord, *, living: bool) -> WmsStates | None:
    """Return what a line makes of its job; what seems to run without a driver does not."""
    if record.event == JournalEvent.ENDED:
        verdicts = {
            JobVerdict.OK: WmsStates.SUCCEEDED,
            JobVerdict.CANCELLED: WmsStates.DELETED,
            JobVerdict.NODE_LOST: WmsStates.PENDING if living else WmsStates.FAILED,
        }
        return verdicts.get(JobVerdict(record.verdict or JobVerdict.FAILED), WmsStates.FAILED)
    events = {
        JournalEvent.LAUNCHED: WmsStates.PENDING,
        JournalEvent.STARTED: WmsStates.RUNNING if living else WmsStates.READY,
        JournalEvent.HELD: WmsStates.HELD,
    }
    return events.get(JournalEvent(record.event)) if record.event in set(JournalEvent) else None


def _exit_codes(
    records: tuple[JournalRecord, ...], *, states: Mapping[str, WmsStates]
) -> dict[str, list[int]]:
    codes: dict[str, tuple[str, int]] = {}
    for record in records:
        ended = record.event == JournalEvent.ENDED or (
            record.event == JournalEvent.STAGE and record.verdict is not None
        )
        if ended and states.get(record.job) is WmsStates.FAILED:
            signalled = 128 + record.signal if record.signal is not None else 0
            codes[record.job] = (record.label, record.exit if record.exit is not None else signalled)
    summary: dict[str, list[int]] = {}
    for label, code in codes.values():
        summary.setdefault(label, []).append(code)
    return summary


def _driver_lives(submit: Path) -> bool:
    lease = read_lease(submit / LEASE_NAME)
    if lease is None or lease.state == DriverState.CLOSED:
        return False
    return lease.host != this_host() or sees_alive(lease.pid, lease.pid_start) is not False


def _read_workflow(submit: Path) -> CampaignWorkflow:
    if not submit.is_dir():
        raise NoSubmissionError(submit, "there is no such directory")
    path = Path(get_workflow_filename(str(submit)))
    try:
        content = read_bytes(path, limit=_LARGEST)
    except FileNotFoundError:
        raise NoSubmissionError(submit, f"it has no {path.name}, which `bps prepare` writes") from None
    except DamagedFileError as error:
        raise NoSubmissionError(submit, str(error)) from None
    try:
        workflow = pickle.loads(content)  # noqa: S301 - written by BPS into the user's own submit directory
    except Exception as error:  # noqa: BLE001 - damaged pickles raise anything
        raise NoSubmissionError(submit, f"{path.name} is damaged: {type(error).__name__}: {error}") from None
    if not isinstance(workflow, CampaignWorkflow):
        raise NoSubmissionError(submit, f"{path.name} is of another service: {type(workflow).__name__}")
    return workflow
