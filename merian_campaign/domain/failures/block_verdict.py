"""What the end of a block means for the quanta that ran in it.

A quantum that started and was never seen to end shares its block's fate: that is its verdict, with the
block's job id, node, state and times as evidence, and nothing of it is charged. Only when a block was ended
for its memory somebody is to blame: whoever was measured above its own request.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from merian_campaign.domain.execution.journal import JobVerdict, JournalEvent, JournalRecord
from merian_campaign.domain.execution.quanta import Judgement
from merian_campaign.domain.execution.quantum_progress import JournalState, QuantumProgress
from merian_campaign.domain.slurm.slurm_jobs import SlurmJob, describe
from merian_campaign.domain.slurm.slurm_states import JobEnd
from merian_campaign.domain.states import Verdict

_VERDICTS = {
    JobEnd.OUT_OF_MEMORY: Verdict.NODE_LOST,
    JobEnd.WALLTIME: Verdict.WALLTIME,
    JobEnd.NODE_LOST: Verdict.NODE_LOST,
    JobEnd.PREEMPTED: Verdict.PREEMPTED,
    JobEnd.CANCELLED: Verdict.NODE_LOST,
    JobEnd.FAILED: Verdict.NODE_LOST,
}
"""Of those that are not to blame."""

_ASKED_TO_END = 15  # what Slurm sends first; whoever is killed outright with its block leaves no line at all
_NEAR_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class EarlierExecution:
    """An execution that another one made up for: the line of its start, and the last one that is about it."""

    start: JournalRecord
    last: JournalRecord

    @property
    def failed(self) -> bool:
        """Whether it came to an end of its own; else it went down with its worker."""
        return self.last.event == JournalEvent.ENDED and not _lost(self.last)


def last_starts(records: Iterable[JournalRecord]) -> dict[str, JournalRecord]:
    """Return the line that last started each quantum, by UUID."""
    found: dict[str, JournalRecord] = {}
    for record in records:
        if record.event == JournalEvent.STARTED:
            for quantum in record.quanta:
                found[quantum] = record
    return found


def earlier_executions(records: Collection[JournalRecord]) -> dict[str, tuple[EarlierExecution, ...]]:
    """Return, by UUID, executions that were made up for afterwards, in their order.

    A start that was followed by another start of the same quantum: it failed, or went down with its block.
    What went down with a worker outside of any block is no execution of its own, and of a job of several
    quanta that failed nobody knows which of them did.
    """
    starts = Counter(
        quantum for record in records if record.event == JournalEvent.STARTED for quantum in record.quanta
    )
    again = {quantum for quantum, number in starts.items() if number > 1}
    under_way: dict[str, EarlierExecution] = {}
    found: dict[str, list[EarlierExecution]] = {}
    for record in records if again else ():
        for quantum in again.intersection(record.quanta):
            if record.event == JournalEvent.STARTED:
                before = under_way.get(quantum)
                if before is not None and (before.failed or before.start.slurm_job):
                    found.setdefault(quantum, []).append(before)
                under_way[quantum] = EarlierExecution(start=record, last=record)
            elif record.event == JournalEvent.ENDED and quantum in under_way:
                if record.verdict == JobVerdict.OK or (len(record.quanta) > 1 and not _lost(record)):
                    del under_way[quantum]
                else:
                    under_way[quantum] = EarlierExecution(start=under_way[quantum].start, last=record)
    return {quantum: tuple(executions) for quantum, executions in found.items()}


def _lost(record: JournalRecord) -> bool:
    return record.verdict == JobVerdict.NODE_LOST


def blame(
    progress: QuantumProgress | None,
    *,
    start: JournalRecord | None,
    blocks: Mapping[str, SlurmJob],
) -> Judgement | None:
    """Say what the fate of its block means for a quantum; `None` when it has nothing to say.

    Parameters
    ----------
    progress : `QuantumProgress` or `None`
        The quantum's last known state.
    start : `JournalRecord` or `None`
        The line that last started it.
    blocks : `~collections.abc.Mapping`
        The submission's blocks by Slurm job id.
    """
    job = blocks.get(start.slurm_job or "") if start is not None else None
    if progress is None or start is None or job is None or job.fate not in _VERDICTS:
        return None
    record = progress.record
    unended = progress.state in {JournalState.LOST, JournalState.RUNNING}
    given_up = progress.state is JournalState.FAILED and (
        record.verdict in {"node_lost", "cancelled"} or _went_down_with(record, job)
    )
    if not unended and not given_up:
        return None
    return of_block(job, record=record, start=start)


def of_block(job: SlurmJob, *, record: JournalRecord, start: JournalRecord) -> Judgement:
    """Return the verdict on an execution that went down with its block."""
    words = describe(job)
    if start.slurm_node and start.slurm_node not in job.nodes:
        words += f", it ran on {start.slurm_node}"
    words += _silence(record, job)
    if "memory_of" in record.evidence:
        # Judged while it ran, by the last samples: another quantum went further past its request.
        words += f"; {record.evidence['memory_of']} took the memory"
        return Judgement(verdict=Verdict.NODE_LOST, evidence=f"its {words}", charged=False)
    asked = record.requested_mb or start.requested_mb
    killed = job.fate is JobEnd.OUT_OF_MEMORY or (job.fate is JobEnd.FAILED and job.signal == 9)  # noqa: PLR2004
    if killed and record.peak_mb and asked and record.peak_mb > asked:
        return Judgement(
            verdict=Verdict.OUT_OF_MEMORY,
            evidence=f"reached {record.peak_mb:.0f} MB, asked for {asked:.0f} MB; its {words}",
            charged=True,
        )
    if killed:
        words += "; another quantum than this took the memory"
    return Judgement(
        verdict=_VERDICTS.get(job.fate, Verdict.NODE_LOST), evidence=f"its {words}", charged=False
    )


def _silence(record: JournalRecord, job: SlurmJob) -> str:
    """Say in words that a worker was lost before its block was cancelled, which thus was not the cause."""
    when = record.time
    if (
        job.fate is not JobEnd.CANCELLED
        or record.event != JournalEvent.ENDED
        or "driver" not in record.evidence
    ):
        return ""
    if when is None or job.ended is None or when >= job.ended:
        return ""
    return f"; it had fallen silent before, by {when:%H:%M:%S} UTC"


def _went_down_with(record: JournalRecord, job: SlurmJob) -> bool:
    """Say whether a process was ended by a signal at about the time its block ended badly."""
    if record.verdict not in {None, "failed"} or record.signal != _ASKED_TO_END or job.ended is None:
        return False
    when = record.time
    near = when is not None and abs((job.ended - when).total_seconds()) <= _NEAR_SECONDS
    return near and job.fate is not JobEnd.FAILED
