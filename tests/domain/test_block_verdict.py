"""What the end of a block means for the quanta in it; how long blocks worked and idled."""

import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from merian_campaign.domain.execution.busy_blocks import (
    BusyBlock,
    busy_after,
    busy_values,
    stored_busy,
)
from merian_campaign.domain.execution.journal import JournalEvent, JournalRecord, format_time
from merian_campaign.domain.execution.provenance import Predicted, RawQuantum
from merian_campaign.domain.execution.quanta import Attempt
from merian_campaign.domain.failures.harvest import conclude
from merian_campaign.domain.failures.judged_attempts import HarvestContext
from merian_campaign.domain.failures.remedy import RequestTable
from merian_campaign.domain.record.records import JobRow
from merian_campaign.domain.record.snapshot import Remedy
from merian_campaign.domain.resources.block_usage import busy_seconds, usage
from merian_campaign.domain.slurm.slurm_jobs import SlurmJob
from merian_campaign.domain.states import QuantumState, Verdict

BEGAN = datetime(2026, 11, 22, 15, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


def line(event: JournalEvent, seconds: float, quantum: str = "a", **changes: Any) -> JournalRecord:
    values = {
        "event": event, "t": format_time(at(seconds)), "quanta": (quantum,), "job": quantum, "host": "h1",
        "slurm_job": "12", "slurm_node": "n1", "requested_mb": 1000.0,
    }  # fmt: skip
    return JournalRecord(**(values | changes))


def block(state: str, job_id: str = "12", **changes: Any) -> SlurmJob:
    values = {"job_id": job_id, "name": "b", "state": state, "nodes": "n1", "started": at(0), "ended": at(60)}
    return SlurmJob(**(values | changes))


def attempts(
    *records: JournalRecord, jobs: tuple[SlurmJob, ...], raw: RawQuantum | None = None
) -> tuple[Attempt, ...]:
    context = HarvestContext(
        rules=(),
        requests=RequestTable(),
        remedy=Remedy(),
        driver_lost=False,
        blocks={j.job_id: j for j in jobs},
    )
    entry = Predicted(uuid="a", task="isr", data_id="detector=1", dimensions={}, after=())
    (quantum,) = conclude([] if raw is None else [raw], predicted=[entry], records=records, context=context)
    return quantum.attempts


OPENED, CLOSED = JournalRecord(event=JournalEvent.OPENED), JournalRecord(event=JournalEvent.CLOSED)
STARTED = line(JournalEvent.STARTED, 1)


@pytest.mark.parametrize(
    ("state", "verdict", "words"),
    [
        ("TIMEOUT", Verdict.WALLTIME, "reached its time limit"),
        ("NODE_FAIL", Verdict.NODE_LOST, "lost its node"),
        ("PREEMPTED", Verdict.PREEMPTED, "was preempted"),
        ("CANCELLED", Verdict.NODE_LOST, "was cancelled by user ana"),
        ("FAILED", Verdict.NODE_LOST, "failed"),
        ("OUT_OF_MEMORY", Verdict.NODE_LOST, "another quantum than this took the memory"),
        ("COMPLETED", Verdict.NODE_LOST, "went away"),
        ("RUNNING", Verdict.NODE_LOST, "went away"),
    ],
)
def test_a_quantum_that_never_ended_shares_its_blocks_fate_and_is_not_charged(
    state: str, verdict: Verdict, words: str
) -> None:
    job = block(state, cancelled_by="ana" if state == "CANCELLED" else "")
    (found,) = attempts(OPENED, STARTED, CLOSED, jobs=(job,))
    assert (found.verdict, found.charged) == (verdict, False)
    assert words in found.evidence
    if words != "went away":
        assert "Slurm job 12" in found.evidence
        assert "on n1" in found.evidence


@pytest.mark.parametrize(
    ("changes", "block_state", "verdict", "charged"),
    [
        # Somebody else's doing: ended with its block, or given up for lost.
        ({"verdict": "node_lost"}, "NODE_FAIL", Verdict.NODE_LOST, False),
        ({"verdict": "failed", "signal": 15}, "TIMEOUT", Verdict.WALLTIME, False),
        ({"verdict": "failed", "signal": 15}, "CANCELLED", Verdict.NODE_LOST, False),
        # Its own doing, whatever became of the block later.
        ({"verdict": "failed", "signal": 11}, "CANCELLED", Verdict.UNKNOWN, True),
        # Its block had no more work and was cancelled by its own driver a moment later.
        ({"verdict": "failed", "signal": 9}, "CANCELLED", Verdict.UNKNOWN, True),
        ({"verdict": "failed", "exit": 1}, "CANCELLED", Verdict.UNKNOWN, True),
        ({"verdict": "out_of_memory"}, "CANCELLED", Verdict.OUT_OF_MEMORY, True),
        ({"verdict": "walltime"}, "TIMEOUT", Verdict.WALLTIME, True),
        # Only who was measured above its request is to blame for a block killed for memory.
        ({"verdict": "node_lost", "peak_mb": 1500.0}, "OUT_OF_MEMORY", Verdict.OUT_OF_MEMORY, True),
        ({"verdict": "node_lost", "peak_mb": 900.0}, "OUT_OF_MEMORY", Verdict.NODE_LOST, False),
        (
            {"verdict": "node_lost", "peak_mb": 1100.0, "evidence": {"memory_of": "hog"}},
            "OUT_OF_MEMORY",
            Verdict.NODE_LOST,
            False,
        ),
    ],
)
def test_who_is_to_blame(
    changes: dict[str, Any], block_state: str, verdict: Verdict, *, charged: bool
) -> None:
    (found,) = attempts(
        OPENED, STARTED, line(JournalEvent.ENDED, 59, **changes), CLOSED, jobs=(block(block_state),)
    )
    assert (found.verdict, found.charged) == (verdict, charged)


def test_a_signal_long_before_the_block_ended_is_not_the_blocks() -> None:
    ended = line(JournalEvent.ENDED, 59, verdict="failed", signal=15)
    (found,) = attempts(STARTED, ended, jobs=(block("CANCELLED", ended=at(3600)),))
    assert (found.verdict, found.charged) == (Verdict.UNKNOWN, True)


def test_what_a_quantum_logged_itself_comes_first() -> None:
    raw = RawQuantum(
        uuid="a", task="isr", data_id="detector=1", dimensions={}, status="FAILED", caveats="", log=None,
        attempts=(
            Attempt(
                try_number=1, state=QuantumState.FAILED, exception_type="lsst.AlgorithmError",
                exception_message="no", started=at(1), ended=at(2),
            ),
        ),
    )  # fmt: skip
    (found,) = attempts(
        STARTED, line(JournalEvent.ENDED, 59, verdict="failed", signal=15), jobs=(block("TIMEOUT"),), raw=raw
    )
    assert found.verdict is Verdict.ALGORITHM


def test_an_execution_lost_with_its_block_is_kept_beside_the_one_that_made_up_for_it() -> None:
    again = line(JournalEvent.STARTED, 70, slurm_job="13", slurm_node="n2")
    ended = line(JournalEvent.ENDED, 90, slurm_job="13", slurm_node="n2", verdict="ok", exit=0)
    raw = RawQuantum(
        uuid="a", task="isr", data_id="detector=1", dimensions={}, status="SUCCESSFUL", caveats="", log=None,
        attempts=(
            Attempt(
                try_number=1, state=QuantumState.SUCCEEDED, peak_mb=5, started=at(71), ended=at(80),
            ),
        ),
    )  # fmt: skip
    jobs = (block("NODE_FAIL"), block("COMPLETED", "13"))
    lost, good = attempts(OPENED, STARTED, again, ended, CLOSED, jobs=jobs, raw=raw)
    assert (lost.try_number, lost.verdict, lost.charged) == (1, Verdict.NODE_LOST, False)
    assert "Slurm job 12 lost its node" in lost.evidence
    assert (good.try_number, good.state) == (2, QuantumState.SUCCEEDED)


@pytest.mark.parametrize(
    ("state", "heard", "told"), [("CANCELLED", 30, True), ("CANCELLED", 61, False), ("NODE_FAIL", 30, False)]
)
def test_a_block_that_was_let_go_after_it_had_fallen_silent_is_told_as_that(
    state: str, heard: float, told: bool
) -> None:
    ended = line(JournalEvent.ENDED, heard, verdict="node_lost", evidence={"driver": "ManagerLost"})
    (found,) = attempts(OPENED, STARTED, ended, CLOSED, jobs=(block(state),))
    assert (found.verdict, found.charged) == (Verdict.NODE_LOST, False)
    assert found.evidence.endswith("; it had fallen silent before, by 15:00:30 UTC") is told


def test_a_lost_worker_of_the_local_site_leaves_no_attempt_of_its_own() -> None:
    here = {"slurm_job": None, "slurm_node": None}
    records = [
        line(JournalEvent.STARTED, 1, **here), line(JournalEvent.STARTED, 2, **here),
        line(JournalEvent.ENDED, 3, verdict="ok", **here),
    ]  # fmt: skip
    raw = RawQuantum(
        uuid="a", task="isr", data_id="detector=1", dimensions={}, status="SUCCESSFUL", caveats="",
        attempts=(), log=None,
    )  # fmt: skip
    assert len(attempts(*records, jobs=(), raw=raw)) == 1


def test_busy_time_is_what_any_quantum_covers() -> None:
    records = [
        line(JournalEvent.STARTED, 10, "a"),
        line(JournalEvent.STARTED, 12, "b"),
        line(JournalEvent.ENDED, 20, "a"),
        line(JournalEvent.ENDED, 25, "b"),
        line(JournalEvent.STARTED, 40, "c"),
        line(JournalEvent.STARTED, 3, "d", slurm_job="99"),
    ]
    busy = busy_after({}, records)["12"]
    assert busy_seconds(block("COMPLETED"), busy, now=at(999)) == 15 + 20
    assert busy_seconds(block("RUNNING", ended=None), busy, now=at(50)) == 15 + 10
    assert busy_seconds(block("PENDING", started=None, ended=None), busy, now=at(50)) is None
    assert busy_seconds(block("COMPLETED"), None, now=at(50)) == 0


def test_a_run_within_the_second_in_which_its_block_ended_counts() -> None:
    """Slurm tells whole seconds, cut off."""
    records = [line(JournalEvent.STARTED, 60.2), line(JournalEvent.ENDED, 60.7)]
    assert busy_seconds(block("COMPLETED"), busy_after({}, records)["12"], now=at(999)) == pytest.approx(0.5)


def covered(records: list[JournalRecord], *, until: float) -> float:
    """Return how many seconds of block 12 are covered by any job, second by second."""
    runs: list[tuple[float, float]] = []
    began: dict[str, float] = {}
    for record in records:
        assert record.time is not None
        when = (record.time - BEGAN).total_seconds()
        if record.event == JournalEvent.STARTED:
            if record.job in began:  # its end was never seen
                runs.append((began[record.job], until))
            began[record.job] = when
        elif record.job in began:
            runs.append((began.pop(record.job), when))
    runs += [(when, until) for when in began.values()]
    return sum(any(start <= second < end for start, end in runs) for second in range(round(until)))


@pytest.mark.parametrize("seed", range(6))
def test_busy_time_piece_by_piece_is_that_of_the_whole(seed: int) -> None:
    chance = random.Random(seed)
    records, running, second = [], [], 0
    for _ in range(120):
        second += chance.randrange(4)
        if running and chance.random() < 0.55:
            # Who notes the end of a lost job does not always know where it ran.
            slurm_job = chance.choice(["12", None])
            records.append(
                line(
                    JournalEvent.ENDED,
                    second,
                    running.pop(chance.randrange(len(running))),
                    slurm_job=slurm_job,
                )
            )
        else:
            running.append(chance.choice([name for name in "abcdefgh" if name not in running[:-1]]))
            records.append(line(JournalEvent.STARTED, second, running[-1]))
            if running[-1] in running[:-1]:
                running.pop()
    whole = busy_after({}, records)
    pieces: dict[str, BusyBlock] | None = {}
    left = list(records)
    while left:
        size = chance.randrange(1, 9)
        pieces = stored_busy(json.loads(json.dumps(busy_values(busy_after(pieces or {}, left[:size])))))
        left = left[size:]
    assert pieces == whole
    now = at(second + 5)
    found = busy_seconds(block("RUNNING", ended=None), whole["12"], now=now)
    assert found == covered(records, until=second + 5)


def test_queue_wait_run_and_idle() -> None:
    row = JobRow(
        step="step1", group="all", submission=1, role="block", job_id="12", name="b", slurm_state="COMPLETED",
        fate="completed", reason="", cancelled_by="", exit_code=0, signal=None, nodes="n1", submitted=at(-30),
        started=at(0), ended=at(60), restarts=0, busy_seconds=35.0,
    )  # fmt: skip
    found = usage(row, now=at(999))
    assert (found.queued, found.ran, found.idle) == (30, 60, 25)
