"""Judging jobs whose node or block went away: by Slurm's word and the guard's last look."""

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from merian_campaign.domain.execution.journal import JobVerdict, JournalEvent, JournalRecord, parse_lines
from merian_campaign.host.regular_files import LARGE, DamagedFileError, open_regular, read_tail
from merian_campaign.wms.journal_writer import JOURNAL_NAME
from merian_campaign.wms.node.memory_guard import LimitExceeded
from merian_campaign.wms.node.memory_samples import NodeSample, culprit, read_samples

__all__ = ["BlockView", "LostJobs", "condemn", "speaks_of_memory"]

_WORDS = ("memory limit", "out of memory", "oom-kill", "oom_kill", "out_of_memory")
_TAIL = 20_000


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockView:
    """What a site knows of its Slurm jobs: their states, looked up now, and where each wrote its output."""

    states: Callable[[], Mapping[str, str]]
    output: Callable[[str], Path | None]


def speaks_of_memory(state: str, output: str) -> bool:
    """Return whether Slurm ended a job for its memory.

    Parameters
    ----------
    state : `str`
        Slurm's word. Where Slurm itself watches the memory it says ``FAILED`` of such jobs, and ``CANCELLED``
        where it ended a step; before either, ``COMPLETING`` while it clears up behind the job.
    output : `str`
        What the job's batch script and Slurm wrote.
    """
    if state == "OUT_OF_MEMORY":
        return True
    words = output.lower()
    return state in ("FAILED", "CANCELLED", "COMPLETING", "") and any(phrase in words for phrase in _WORDS)


def condemn(job: str, sample: NodeSample | None, *, state: str, memory: bool, error: str) -> LimitExceeded:
    """Return the finding on a lost job: only the one that went past its request is charged for memory.

    Parameters
    ----------
    job : `str`
        The job.
    sample : `NodeSample` or `None`
        The last look at its node; None when there was none.
    state : `str`
        Slurm's word for the block, empty when unknown.
    memory : `bool`
        Whether the block was ended for its memory.
    error : `str`
        What Parsl said.
    """
    evidence: dict[str, object] = {"driver": error}
    if state:
        evidence["slurm_state"] = state
    guilty = culprit(sample.jobs) if sample is not None and memory else None
    if guilty is None:
        return LimitExceeded(verdict=JobVerdict.NODE_LOST, evidence=evidence)
    if guilty.job != job:
        return LimitExceeded(verdict=JobVerdict.NODE_LOST, evidence={**evidence, "memory_of": guilty.job})
    evidence |= {
        "ended_by": "slurm",
        "requested_mb": guilty.requested_mb,
        "reached_mb": round(guilty.peak_mb, 1),
        "block_mb": sample.granted_mb if sample is not None else None,
    }
    return LimitExceeded(verdict=JobVerdict.OUT_OF_MEMORY, evidence=evidence)


class _OpenStarts:
    """Starts in the journal without an end after them, read as far as the file has grown."""

    def __init__(self, journal: Path) -> None:
        self._path = journal
        self._offset = 0
        self._starts: dict[str, JournalRecord] = {}

    def find(self, job: str) -> JournalRecord | None:
        """Return the start of a job that nobody saw ending."""
        with (
            suppress(OSError, DamagedFileError),
            os.fdopen(open_regular(self._path, limit=LARGE), "rb") as stream,
        ):
            stream.seek(self._offset)
            data = stream.read()
            whole = data[: data.rfind(b"\n") + 1]
            self._offset += len(whole)
            for record in parse_lines(whole.decode(errors="replace")):
                if record.event == JournalEvent.STARTED:
                    self._starts[record.job] = record
                elif record.event == JournalEvent.ENDED:
                    self._starts.pop(record.job, None)
        return self._starts.get(job)


class LostJobs:
    """Judges the lost jobs of one submission.

    Parameters
    ----------
    submit : `pathlib.Path`
        The submit directory.
    view : `BlockView` or `None`
        The site's Slurm jobs; None where there are none.
    """

    def __init__(self, submit: Path, *, view: BlockView | None) -> None:
        self._submit = submit
        self._view = view
        self._lock = threading.Lock()
        self._open = _OpenStarts(submit / JOURNAL_NAME)

    def judge(self, job: str, *, error: str) -> JournalRecord | None:
        """Return the journal's line for the end of a job whose worker went away.

        Parameters
        ----------
        job : `str`
            BPS name of the job.
        error : `str`
            What Parsl said.

        Returns
        -------
        record : `JournalRecord` or `None`
            None when its end is in the journal already, or it never started.
        """
        with self._lock:
            start = self._open.find(job)
            if start is None:
                return None
            finding, peak = self._finding(start, error)
        return JournalRecord(
            event=JournalEvent.ENDED,
            job=job,
            label=start.label,
            quanta=start.quanta,
            host=start.host,
            pid=start.pid,
            pid_start=start.pid_start,
            verdict=finding.verdict,
            evidence=finding.evidence,
            peak_mb=peak,
            requested_mb=start.requested_mb,
            slurm_job=start.slurm_job,
            slurm_node=start.slurm_node,
        )

    def _finding(self, start: JournalRecord, error: str) -> tuple[LimitExceeded, float | None]:
        if self._view is None or start.slurm_job is None:
            return LimitExceeded(verdict=JobVerdict.NODE_LOST, evidence={"driver": error}), None
        sample = self._last_look(start)
        state = self._view.states().get(start.slurm_job, "")
        memory = speaks_of_memory(state, _tail(self._view.output(start.slurm_job)))
        finding = condemn(start.job, sample, state=state, memory=memory, error=error)
        own = [h.peak_mb for h in sample.jobs if h.job == start.job] if sample is not None else []
        return finding, round(own[0], 1) if own else None

    def _last_look(self, start: JournalRecord) -> NodeSample | None:
        for sample in read_samples(self._submit):
            place = (sample.slurm_job, sample.slurm_node)
            if place == (start.slurm_job, start.slurm_node) and any(h.job == start.job for h in sample.jobs):
                return sample
        return None


def _tail(path: Path | None) -> str:
    return "" if path is None else read_tail(path, size=_TAIL)
