"""What ``bps report`` and ``bps status`` show, from the journal and the prepared workflow alone."""

import pickle
import socket
from collections import Counter
from pathlib import Path

from lsst.ctrl.bps import WmsJobReport, WmsRunReport, WmsStates
from lsst.ctrl.bps.parsl.configuration import get_workflow_filename

from merian_campaign.domain.journal import Event, Record, Verdict
from merian_campaign.wms.journal import JOURNAL_NAME, Journal
from merian_campaign.wms.lease import LEASE_NAME, DriverState, read_lease
from merian_campaign.wms.process import alive
from merian_campaign.wms.workflow import CampaignWorkflow

__all__ = ["job_states", "run_report"]

_LOCAL = frozenset({"pipetaskInit"})


def run_report(submit: Path) -> WmsRunReport:
    """Return the report of a submission.

    Parameters
    ----------
    submit
        The submit directory.

    Raises
    ------
    OSError, pickle.UnpicklingError
        There is no prepared workflow there, or it is damaged.
    """
    workflow = _read_workflow(submit)
    records = Journal(submit / JOURNAL_NAME).read()
    living = _driver_lives(submit)
    parents = {name: set(before) - _LOCAL for name, before in workflow.parents.items() if name not in _LOCAL}
    states = job_states(parents=parents, records=records, living=living)
    labels = {name: workflow.jobs[name].generic.label for name in parents}
    jobs = [
        WmsJobReport(wms_id=name, name=name, label=labels[name], state=state)
        for name, state in states.items()
    ]
    counts = Counter(states.values())
    by_label: dict[str, Counter[WmsStates]] = {}
    for name, state in states.items():
        by_label.setdefault(labels[name], Counter())[state] += 1
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
        state=_overall(counts, living=living),
        jobs=jobs,
        total_number_jobs=len(jobs),
        job_state_counts={state: counts.get(state, 0) for state in WmsStates},
        job_summary={
            label: {state: found.get(state, 0) for state in WmsStates} for label, found in by_label.items()
        },
        exit_code_summary=_exit_codes(records, states=states),
    )


def job_states(
    *, parents: dict[str, set[str]], records: tuple[Record, ...], living: bool
) -> dict[str, WmsStates]:
    """Return the state of each job.

    Parameters
    ----------
    parents
        Job names before each job.
    records
        The journal.
    living
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


def _state_after(record: Record, *, living: bool) -> WmsStates | None:
    """Return what a line makes of its job; what seems to run without a driver does not."""
    if record.event == Event.ENDED:
        verdicts = {
            Verdict.OK: WmsStates.SUCCEEDED,
            Verdict.CANCELLED: WmsStates.DELETED,
            Verdict.NODE_LOST: WmsStates.PENDING if living else WmsStates.FAILED,
        }
        return verdicts.get(Verdict(record.verdict or Verdict.FAILED), WmsStates.FAILED)
    events = {
        Event.LAUNCHED: WmsStates.PENDING,
        Event.STARTED: WmsStates.RUNNING if living else WmsStates.READY,
        Event.HELD: WmsStates.HELD,
    }
    return events.get(Event(record.event)) if record.event in set(Event) else None


def _overall(counts: Counter[WmsStates], *, living: bool) -> WmsStates:
    if living:
        return WmsStates.RUNNING
    if set(counts) <= {WmsStates.SUCCEEDED}:
        return WmsStates.SUCCEEDED
    open_states = (WmsStates.READY, WmsStates.UNREADY, WmsStates.PENDING, WmsStates.DELETED)
    if any(counts.get(state) for state in open_states):
        return WmsStates.DELETED  # stopped or killed before its end
    return WmsStates.FAILED


def _exit_codes(records: tuple[Record, ...], *, states: dict[str, WmsStates]) -> dict[str, list[int]]:
    codes: dict[str, tuple[str, int]] = {}
    for record in records:
        if record.event == Event.ENDED and states.get(record.job) is WmsStates.FAILED:
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
    return lease.host != socket.gethostname() or alive(lease.pid, lease.pid_start)


def _read_workflow(submit: Path) -> CampaignWorkflow:
    with Path(get_workflow_filename(str(submit))).open("rb") as stream:
        workflow = pickle.load(stream)  # noqa: S301 - written by BPS into the user's own submit directory
    assert isinstance(workflow, CampaignWorkflow)
    return workflow
