"""A made-up world around a campaign: time, drivers, Slurm, the sky, files that get damaged, and mail."""

# ruff: noqa: ARG002 - it has the methods of the real one, and needs less

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from merian_campaign.domain.execution.journal import (
    JobVerdict,
    JournalEvent,
    JournalPart,
    JournalRecord,
    format_line,
    format_time,
)
from merian_campaign.domain.execution.journal_lines import JournalLines
from merian_campaign.domain.execution.liveness import Liveness
from merian_campaign.domain.execution.process_identity import ProcessIdentity
from merian_campaign.domain.execution.provenance import LineReport, Predicted, RawQuantum
from merian_campaign.domain.execution.quanta import Attempt
from merian_campaign.domain.execution.runs import RunEnd, RunResult, Salvaged
from merian_campaign.domain.readiness.overlap_refresh import OverlapQuery, OverlapRefresh
from merian_campaign.domain.record.overlaps import SkyExposure
from merian_campaign.domain.record.snapshot import SubmissionView
from merian_campaign.domain.record.wall_time import DriverTimes
from merian_campaign.domain.resources.cluster import Cluster
from merian_campaign.domain.slurm.blocks import BlockEvent, BlockLine, block_name
from merian_campaign.domain.slurm.slurm_jobs import JobQuery, QueueSnapshot, SlurmJob
from merian_campaign.domain.spec.stack import Stack
from merian_campaign.domain.states import QuantumState, SubmissionState
from merian_campaign.domain.tick.notices import Channel
from merian_campaign.host.regular_files import DamagedFileError
from merian_campaign.middleware.scheduler import SlurmScheduler
from merian_campaign.services.driver_loop import LEASE_SECONDS
from merian_campaign.store.server.connection import open_connection
from merian_campaign.store.store import PostgresStore


class Killed(BaseException):
    """A tick was killed."""


QUANTA = 3
ERRORS = {
    "memory": ("MemoryError", "out of memory"),
    "passing": ("TransientError", "connection reset"),
    "algorithm": ("MatcherFailure", "too few stars"),
    "unknown": ("RuntimeError", "who knows"),
    # Ended by the guard of its node: it leaves nothing but a line of the journal.
    "guard": (None, None),
}
FATES = ["NODE_FAIL", "PREEMPTED", "OUT_OF_MEMORY", "TIMEOUT"]
BEGIN = datetime(2026, 11, 22, 18, tzinfo=UTC)


@dataclass
class Run:
    """One submission as its driver sees it, with its block, and the files it leaves."""

    submission: SubmissionView
    predicted: tuple[Predicted, ...]
    block: SlurmJob
    alive: bool = True
    started: bool = False
    raw: tuple[RawQuantum, ...] = ()
    journal: list[JournalRecord] = field(default_factory=list)
    outcome: RunResult | None = None
    cut: int = 0
    damaged: bool = False

    def ends_block(self, state: str, *, now: datetime) -> None:
        if not self.block.over:
            self.block = replace(self.block, state=state, ended=now)

    def note(
        self, event: JournalEvent, *, now: datetime, entry: Predicted | None = None, **more: Any
    ) -> None:
        of = {} if entry is None else {"quanta": (entry.uuid,), "slurm_job": self.block.job_id}
        self.journal.append(JournalRecord(event=event, t=format_time(now), **of, **more))


@dataclass
class World:
    """Time, drivers, and what has really succeeded: the ``Drivers`` of a tick."""

    now: datetime = BEGIN
    runs: dict[str, Run] = field(default_factory=dict)
    succeeded: dict[tuple[int, int], set[str]] = field(default_factory=dict)
    executed: dict[tuple[int, int, str], int] = field(default_factory=dict)
    looks: Counter[str] = field(default_factory=Counter)
    store: PostgresStore | None = None
    pids: int = 0
    full: bool = False
    dies_at_start: bool = False
    silent: bool = False

    def clock(self) -> datetime:
        return self.now

    # -- as a tick sees it ---------------------------------------------------------------------------

    def settle_in(self, *, trusted: Sequence[str], repository: str, shared: bool, campaign: str = "") -> None:
        """Nothing has to be known."""

    def require_own(self, directory: str) -> None:
        """Nobody else is there."""

    def foreign(self, directory: str, *, identity: Mapping[str, object]) -> str:
        return ""

    def release(self, *, stack: Stack) -> str:
        return ""

    def unfit(self, *, stack: Stack, folder: str) -> str:
        return ""

    def prepare(self, *, directory: str, files: Mapping[str, str]) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device", directory)

    def command(self, submission: SubmissionView) -> tuple[str, ...]:
        return ("drive", str(submission.id))

    def launch(self, *, submission: SubmissionView, environment: Mapping[str, str]) -> int:
        """Have a driver claim the submission and get a block, or die before it does."""
        self.pids += 1
        if self.dies_at_start:
            return self.pids
        assert self.store is not None
        claim = self.store.claim(
            submission_id=submission.id,
            driver=ProcessIdentity(host="sim", pid=self.pids, pid_start=self.pids),
            lease_seconds=LEASE_SECONDS,
            now=self.now,
            expected_epoch=submission.epoch,
        )
        if claim is not None and submission.directory in self.runs:
            run = self.runs[submission.directory]
            run.submission, run.alive = claim.submission, True
            run.ends_block("CANCELLED", now=self.now)
            run.note(JournalEvent.OPENED, now=self.now)
        elif claim is not None:
            self.runs[submission.directory] = self._begun(claim.submission)
        return self.pids

    def _begun(self, submission: SubmissionView) -> Run:
        done = self.succeeded.setdefault((submission.group_id, submission.generation), set())
        left = [name for name in (f"visit={n}" for n in range(QUANTA)) if name not in done]
        block = SlurmJob(
            job_id=str(self.pids), name=block_name("sim", submission.directory), state="RUNNING", nodes="n1",
            submitted=self.now, started=self.now,
        )  # fmt: skip
        run = Run(
            submission=submission, predicted=tuple(_predicted(submission, name) for name in left), block=block
        )
        run.note(JournalEvent.OPENED, now=self.now)
        return run

    def liveness(self, submission: SubmissionView, *, now: datetime) -> Liveness:
        if self.outcome(submission.directory) is not None:
            return Liveness.ENDED
        if submission.state is SubmissionState.PREPARED or submission.driver is None:
            return Liveness.UNCLAIMED
        return Liveness.ALIVE if self.runs[submission.directory].alive else Liveness.DEAD

    def block_lines(self, directory: str) -> tuple[BlockLine, ...]:
        if directory not in self.runs:
            return ()
        block = self.runs[directory].block
        line = BlockLine(event=BlockEvent.SUBMITTED, name=block.name, slurm_job=block.job_id)
        told = ((BlockEvent.SUBMITTED, "", block.submitted), (BlockEvent.STATE, block.state, self.now))
        return tuple(
            replace(line, event=event, state=state, t=format_time(at or self.now))
            for event, state, at in told
        )

    def predicted(
        self, directory: str, *, wrong: LineReport | None = None, only: Collection[str] | None = None
    ) -> tuple[Predicted, ...]:
        return self.runs[directory].predicted if directory in self.runs else ()

    def harvested(self, directory: str, *, wrong: LineReport | None = None) -> tuple[RawQuantum, ...]:
        if directory not in self.runs:
            return ()
        run = self.runs[directory]
        if not run.damaged or not run.raw:
            return run.raw
        if len(run.raw) == 1:
            raise DamagedFileError(f"{directory}/harvest.jsonl", "line 1: not JSON")
        if wrong is not None:
            wrong.add("harvest.jsonl: line 2: not JSON")
        return run.raw[:1]

    def records(self, directory: str) -> JournalLines:
        lines = JournalLines()
        lines.add("".join(map(format_line, self._journal(directory))))
        return lines

    def _journal(self, directory: str) -> tuple[JournalRecord, ...]:
        if directory not in self.runs:
            return ()
        run = self.runs[directory]
        return tuple(run.journal[: len(run.journal) - run.cut])

    def appended(self, directory: str, *, start: int = 0) -> JournalPart:
        self.looks[directory] += 1
        records = self._journal(directory)
        begin = start if start <= len(records) else 0
        return JournalPart(records=records[begin:], start=begin, end=len(records))

    def times(self, directory: str) -> DriverTimes:
        return DriverTimes(began=None, ended=None)

    def outcome(self, directory: str) -> RunResult | None:
        return self.runs[directory].outcome if directory in self.runs else None

    # -- what drivers do -------------------------------------------------------------------------------

    def living(self) -> list[Run]:
        return [run for run in self.runs.values() if run.alive and run.outcome is None]

    def finish(
        self, run: Run, *, failing: Mapping[int, str], fate: str = "COMPLETED", after: int = QUANTA
    ) -> None:
        """Run what is left of a submission, and end; some of it fails, or goes down with its block."""
        if run.started:  # its driver is a successor, which only collects
            run.outcome = RunResult(end=RunEnd.LOST, reason="its driver died; what it had done was collected")
            return
        run.started = True
        run.raw = self._raw(run, failing, after=after)
        run.ends_block(fate, now=self.now)
        run.note(JournalEvent.CLOSED, now=self.now)
        run.outcome = RunResult(end=RunEnd.RAN if run.predicted else RunEnd.EMPTY, reason="")

    def die(self, run: Run, *, after: int) -> None:
        """End a driver in the middle: some quanta have run, and their outputs are there; one runs on."""
        if not run.started:
            run.started = True
            run.raw = self._raw(run, {}, after=after)[:after]
        run.alive = False

    def _raw(self, run: Run, failing: Mapping[int, str], *, after: int) -> tuple[RawQuantum, ...]:
        made = []
        for number, entry in enumerate(run.predicted):
            run.note(JournalEvent.STARTED, now=self.now, entry=entry)
            kind = failing.get(number)
            lost = number >= after
            if kind is None and not lost:
                of = (run.submission.group_id, run.submission.generation)
                self.executed[*of, entry.data_id] = self.executed.get((*of, entry.data_id), 0) + 1
                self.succeeded[of].add(entry.data_id)
            made.append(self._quantum(entry, kind=kind, lost=lost))
            if lost:
                continue
            how: Mapping[str, Any] = {"exit": 0, "verdict": JobVerdict.OK}
            if kind == "guard":
                how = {"signal": 9, "verdict": JobVerdict.OUT_OF_MEMORY, "peak_mb": 5000.0}
            elif kind is not None:
                how = {"exit": 1, "verdict": JobVerdict.FAILED}
            run.note(JournalEvent.ENDED, now=self.now, entry=entry, **how)
        return tuple(made)

    def _quantum(self, entry: Predicted, *, kind: str | None, lost: bool) -> RawQuantum:
        name, words = ERRORS[kind] if kind else (None, None)
        well = kind is None and not lost
        attempt = Attempt(
            try_number=1, state=QuantumState.SUCCEEDED if well else QuantumState.FAILED, exception_type=name,
            exception_message=words, peak_mb=100, started=self.now, ended=self.now + timedelta(seconds=9),
        )  # fmt: skip
        left_nothing = lost or kind == "guard"
        return RawQuantum(
            uuid=entry.uuid, task=entry.task, data_id=entry.data_id, dimensions=entry.dimensions,
            status="SUCCESSFUL" if well else "UNKNOWN" if lost else "FAILED", caveats="",
            attempts=() if left_nothing else (attempt,), log=None,
        )  # fmt: skip


def _predicted(submission: SubmissionView, name: str) -> Predicted:
    return Predicted(
        uuid=f"{submission.id}-{name}", task="measure", data_id=name,
        dimensions={"visit": int(name.partition("=")[2])}, after=(),
    )  # fmt: skip


class Queue(SlurmScheduler):
    """Slurm, as the world has its jobs; sometimes it does not answer."""

    def __init__(self, world: World) -> None:
        super().__init__(environ={}, clock=world.clock)
        self._world = world

    def look(self, watch: JobQuery, *, fresh_seconds: float = 0.0) -> QueueSnapshot:
        if self._world.silent:
            return QueueSnapshot(at=self._world.now, unreachable="squeue: no answer")
        blocks = [run.block for run in self._world.runs.values()]
        asked = [block for block in blocks if block.name in watch.names or block.job_id in watch.jobs]
        return QueueSnapshot(at=self._world.now, jobs=tuple(asked))

    def cluster(self) -> Cluster | str:
        return "scontrol: no answer" if self._world.silent else Cluster(partitions=())

    def cancel(self, job_ids: Sequence[str]) -> str:
        if job_ids and self._world.silent:
            return "scancel: no answer"
        for run in self._world.runs.values():
            if run.block.job_id in job_ids:
                run.ends_block("CANCELLED", now=self._world.now)
        return ""


class Interrupted:
    """A store of which one call ends the tick, before it is made or after it, or loses its connection."""

    def __init__(self, store: PostgresStore, *, at: int, how: str, url: str) -> None:
        self._store, self._left, self._how, self._url = store, at, how, url

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not callable(found) or name.startswith("_") or name.endswith("_lock"):
            return found

        def call(*given: Any, **named: Any) -> Any:
            self._left -= 1
            if self._left == 0 and self._how == "before":
                raise Killed
            if self._left == 0 and self._how == "connections":
                end_connections(self._url)
            if self._left == 0 and self._how == "transaction":
                break_transaction(self._url)
            done = found(*given, **named)
            if self._left == 0 and self._how == "after":
                raise Killed
            return done

        return call


def end_connections(url: str) -> None:
    execute(
        url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        " AND datname = current_database()",
    )


BREAKS = """
CREATE SEQUENCE simulated_break MINVALUE -1000 START -1;
CREATE FUNCTION simulated_break() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- A sequence goes on though its transaction is undone; it stands at 0 for none.
    IF (SELECT last_value < 0 FROM simulated_break) AND nextval('simulated_break') = 0 THEN
        PERFORM pg_terminate_backend(pg_backend_pid());
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER simulated_break AFTER INSERT OR UPDATE ON event
    FOR EACH STATEMENT EXECUTE FUNCTION simulated_break();
CREATE TRIGGER simulated_break AFTER INSERT OR UPDATE ON quantum_row
    FOR EACH STATEMENT EXECUTE FUNCTION simulated_break();
CREATE TRIGGER simulated_break AFTER INSERT OR UPDATE ON submission
    FOR EACH STATEMENT EXECUTE FUNCTION simulated_break();
SELECT setval('simulated_break', 0);
"""
"""Has the server end a connection in the middle of a transaction, when told to."""


def break_transaction(url: str, *, at: int = 1) -> None:
    """Have the server end the connection of the statement that comes then, after it was carried out."""
    execute(url, f"SELECT setval('simulated_break', {-at})")


def execute(url: str, sql: str) -> None:
    with closing(open_connection(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql)


@dataclass
class Mail:
    """Keeps what people are told; may be down."""

    got: list[str] = field(default_factory=list)
    down: bool = False

    def send(self, channel: Channel, *, subject: str, body: str) -> str:
        if self.down:
            return "it is down"
        self.got.append(f"{subject}\n{body}")
        return ""

    def beat(self, place: str) -> str:
        return ""


@dataclass
class Sky:
    """The registry of a repository that has one exposure a night, on all tracts."""

    tracts: int
    world: World
    nights: list[int] = field(default_factory=list)

    def look(self, question: OverlapQuery, **_: object) -> OverlapRefresh:
        tracts = tuple(range(1, self.tracts + 1))
        rows = tuple(
            SkyExposure(exposure=night, day_obs=night, visits=(night,), tracts=tracts)
            for night in self.nights
        )
        return OverlapRefresh(exposures=rows, taken=dict.fromkeys(question.steps, frozenset(self.nights)))

    def salvage(self, lost: Sequence[tuple[str, str]], **_: object) -> tuple[Salvaged, ...]:
        """Write anew what was damaged: the outputs are there."""
        runs = [self.world.runs[directory] for directory, _ in lost]
        for run in runs:
            run.damaged = False
        return tuple(Salvaged(source="the butler", quanta=len(run.raw)) for run in runs)

    def rest(self) -> None:
        """Have no process to end."""
