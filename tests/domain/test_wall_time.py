"""Where the time of a submission went: parts that follow each other and add up to the whole."""

from __future__ import annotations

from dataclasses import astuple
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from merian_campaign.domain.execution.journal import JournalEvent, JournalRecord, format_time
from merian_campaign.domain.record.records import JobRecord
from merian_campaign.domain.record.wall_time import (
    DriverTimes,
    StepWallTime,
    WallTime,
    parse_gaps,
    parse_stage_times,
    wall_time,
)
from merian_campaign.domain.slurm.slurm_jobs import SlurmJob

T0 = datetime(2026, 11, 26, 3, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def record(event: JournalEvent, seconds: float) -> JournalRecord:
    return JournalRecord(event=event, t=format_time(at(seconds)))


def stage(*seconds: float) -> str:
    names = ("asked", "began", "ended")
    moments = ",".join(
        f'"{name}":"{format_time(at(each))}"' for name, each in zip(names, seconds, strict=True)
    )
    return f'{{"v":1,"name":"x",{moments}}}'


def gap(left: float, claimed: float) -> str:
    return (
        f'{{"v":1,"name":"driver","left":"{format_time(at(left))}","claimed":"{format_time(at(claimed))}"}}'
    )


def job(role: str, submitted: float, started: float) -> JobRecord:
    return JobRecord(
        job=SlurmJob(job_id="1", name="b", state="RUNNING", submitted=at(submitted), started=at(started)),
        role=role,
    )


JOURNAL = (
    record(JournalEvent.OPENED, 300),
    record(JournalEvent.STARTED, 420),
    record(JournalEvent.STARTED, 430),
    record(JournalEvent.ENDED, 1000),
    record(JournalEvent.ENDED, 900),
)


def test_an_action_has_run_and_built_no_graph() -> None:
    found = StepWallTime(step="visits", submissions=2, wall=WallTime(tick=5, lock=1, graph=60)).of_action()
    assert found.wall == WallTime(tick=5, lock=1, run=60)


def test_each_part_of_a_submission_on_slurm() -> None:
    stages = "\n".join([stage(50, 110, 280), "{torn", stage(1010, 1030, 1100)])
    found = wall_time(
        created=T0,
        driver=DriverTimes(began=at(40), ended=at(1200), stages=parse_stage_times(stages)),
        journal=JOURNAL,
        jobs=[job("driver", 5, 35), job("block", 310, 400), job("block", 310, 390)],
        now=at(1230),
    )
    assert found == WallTime(tick=40, slurm=110, lock=80, graph=200, startup=40, run=580, ingest=180)


def test_what_waits_for_another_driver_does_not_work() -> None:
    lines = "\n".join([stage(50, 110, 280), '{"v":1,"left":"torn', gap(150, 250), gap(1000, 1100)])
    found = wall_time(
        created=T0,
        driver=DriverTimes(
            began=at(40), ended=at(1200), stages=parse_stage_times(lines), gaps=parse_gaps(lines)
        ),
        journal=JOURNAL,
        jobs=(),
        now=at(1230),
    )
    assert found == WallTime(tick=270, lock=60, graph=100, startup=120, run=580, ingest=100)


def test_a_graph_that_was_never_built_and_an_action_wait_for_a_lock_too() -> None:
    driver = DriverTimes(began=at(10), ended=at(100), stages=parse_stage_times(stage(20, 80, 90)))
    found = wall_time(created=T0, driver=driver, journal=(), jobs=(), now=at(110))
    assert found == WallTime(tick=20, lock=60, graph=30)


def test_what_left_no_trace_says_nothing() -> None:
    driver = DriverTimes(began=None, ended=at(5))
    assert wall_time(created=T0, driver=driver, journal=(), jobs=(), now=at(9)) is None


MOMENTS = st.floats(-100, 2000)


@given(begin=MOMENTS, opened=MOMENTS, start=MOMENTS, end=MOMENTS, over=MOMENTS, lock=MOMENTS, queue=MOMENTS)
def test_the_parts_add_up_whatever_clocks_say(
    begin: float, opened: float, start: float, end: float, over: float, lock: float, queue: float
) -> None:
    told = ((JournalEvent.OPENED, opened), (JournalEvent.STARTED, start), (JournalEvent.ENDED, end))
    journal = tuple(record(event, moment) for event, moment in told)
    lines = "\n".join([stage(0, lock, opened), stage(end, lock, over), gap(lock, queue), gap(0, opened)])
    driver = DriverTimes(
        began=at(begin), ended=at(over), stages=parse_stage_times(lines), gaps=parse_gaps(lines)
    )
    found = wall_time(
        created=T0, driver=driver, journal=journal,
        jobs=[job("driver", 0, queue), job("block", start, queue)], now=at(1500),
    )  # fmt: skip
    assert found is not None
    parts = astuple(found)
    assert min(parts) >= 0
    assert abs(sum(parts) - 1500) < 1e-3
