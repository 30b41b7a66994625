"""A campaign of weeks under random faults: real decide, tick and store, made-up clock and drivers.

After every event the books are looked at; at the end, with no more faults, all is done, or says who must do
what.
Hypothesis chooses the events, shrinks a failure, and prints what leads to it.
"""

# ruff: noqa: ARG002 - the made-up world has the methods of the real one, and needs less

from __future__ import annotations

import errno
import json
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from survey_help import make_survey

from merian_campaign.context import quantum_wrapper
from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.execution.journal import JournalPart, JournalRecord
from merian_campaign.domain.execution.liveness import Liveness
from merian_campaign.domain.execution.process_identity import ProcessIdentity
from merian_campaign.domain.execution.provenance import LineReport, Predicted, RawQuantum
from merian_campaign.domain.execution.quanta import Attempt
from merian_campaign.domain.execution.runs import RunEnd, RunResult
from merian_campaign.domain.readiness.overlap_refresh import OverlapQuery, OverlapRefresh
from merian_campaign.domain.record.overlaps import SkyExposure
from merian_campaign.domain.record.snapshot import Snapshot, SubmissionView
from merian_campaign.domain.record.wall_time import DriverTimes
from merian_campaign.domain.slurm.blocks import BlockLine
from merian_campaign.domain.spec.stack import Stack
from merian_campaign.domain.states import CampaignState, GroupState, QuantumState, SubmissionState
from merian_campaign.domain.tick.notices import Channel, NoticeOptions
from merian_campaign.domain.tick.tick_status import BUSY, FAILED, PERSON
from merian_campaign.middleware.scheduler import SlurmScheduler
from merian_campaign.services.apply import apply_campaign
from merian_campaign.services.campaign_settings import settings_of
from merian_campaign.services.control import Control
from merian_campaign.services.driver_loop import LEASE_SECONDS
from merian_campaign.services.orders import Orders
from merian_campaign.services.rounds import Rounds, Teller, Ticked
from merian_campaign.services.runtime import Runtime
from merian_campaign.services.tick import Tick
from merian_campaign.store.server import embedded, migrate
from merian_campaign.store.server.connection import open_connection
from merian_campaign.store.store import PostgresStore

BEGIN = datetime(2026, 11, 22, 18, tzinfo=UTC)
QUANTA = 3
ERRORS = {
    "memory": ("MemoryError", "out of memory"),
    "passing": ("TransientError", "connection reset"),
    "algorithm": ("MatcherFailure", "too few stars"),
    "unknown": ("RuntimeError", "who knows"),
}
STARTS = [
    "no such collection",
    "bps submit was killed by SIGKILL",
    "OSError: [Errno 28] No space left on device",
    "OSError: [Errno 30] Read-only file system",
]
SOAK_SECONDS = 900.0
VERBS = ["pause", "resume", "cancel", "hold", "release", "retry", "accept", "reject", "undo"]


class Killed(BaseException):
    """A tick was killed."""


@dataclass
class Run:
    """One submission as its driver sees it."""

    submission: SubmissionView
    predicted: tuple[Predicted, ...]
    alive: bool = True
    started: bool = False
    raw: tuple[RawQuantum, ...] = ()
    outcome: RunResult | None = None


@dataclass
class World:
    """Time, drivers, and what has really succeeded: the ``Drivers`` of a tick."""

    now: datetime = BEGIN
    runs: dict[str, Run] = field(default_factory=dict)
    succeeded: dict[int, set[str]] = field(default_factory=dict)
    executed: dict[tuple[int, str], int] = field(default_factory=dict)
    store: PostgresStore | None = None
    pids: int = 0
    full: bool = False
    dies_at_start: bool = False

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
        """Have a driver claim the submission, or die before it does."""
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
        if claim is not None:
            done = self.succeeded.setdefault(submission.group_id, set())
            left = [name for name in (f"visit={n}" for n in range(QUANTA)) if name not in done]
            made = Run(
                submission=claim.submission, predicted=tuple(_predicted(submission, name) for name in left)
            )
            run = self.runs.setdefault(submission.directory, made)
            run.submission, run.alive = claim.submission, True
        return self.pids

    def liveness(self, submission: SubmissionView, *, now: datetime) -> Liveness:
        if self.outcome(submission.directory) is not None:
            return Liveness.ENDED
        if submission.state is SubmissionState.PREPARED or submission.driver is None:
            return Liveness.UNCLAIMED
        return Liveness.ALIVE if self.runs[submission.directory].alive else Liveness.DEAD

    def block_lines(self, directory: str) -> tuple[BlockLine, ...]:
        return ()

    def predicted(
        self, directory: str, *, wrong: LineReport | None = None, only: Collection[str] | None = None
    ) -> tuple[Predicted, ...]:
        return self.runs[directory].predicted if directory in self.runs else ()

    def harvested(self, directory: str, *, wrong: LineReport | None = None) -> tuple[RawQuantum, ...]:
        return self.runs[directory].raw if directory in self.runs else ()

    def records(self, directory: str) -> tuple[JournalRecord, ...]:
        return ()

    def appended(self, directory: str, *, start: int = 0) -> JournalPart:
        return JournalPart(records=(), start=0, end=0)

    def times(self, directory: str) -> DriverTimes:
        return DriverTimes(began=None, ended=None)

    def outcome(self, directory: str) -> RunResult | None:
        return self.runs[directory].outcome if directory in self.runs else None

    # -- what drivers do -------------------------------------------------------------------------------

    def living(self) -> list[Run]:
        return [run for run in self.runs.values() if run.alive and run.outcome is None]

    def finish(self, run: Run, *, failing: Mapping[int, str]) -> None:
        """Run what is left of a submission, and end; some of it fails."""
        if run.started:  # its driver is a successor, which only collects
            run.outcome = RunResult(end=RunEnd.LOST, reason="its driver died; what it had done was collected")
            return
        run.started = True
        run.raw = self._raw(run, failing)
        run.outcome = RunResult(end=RunEnd.RAN if run.predicted else RunEnd.EMPTY, reason="")

    def die(self, run: Run, *, after: int) -> None:
        """End a driver in the middle: some quanta have run, and their outputs are there."""
        if not run.started:
            run.started = True
            run.raw = self._raw(replace(run, predicted=run.predicted[:after]), {})
        run.alive = False

    def _raw(self, run: Run, failing: Mapping[int, str]) -> tuple[RawQuantum, ...]:
        made = []
        for number, entry in enumerate(run.predicted):
            kind = failing.get(number)
            group = run.submission.group_id
            if kind is None:
                self.executed[group, entry.data_id] = self.executed.get((group, entry.data_id), 0) + 1
                self.succeeded[group].add(entry.data_id)
            name, words = ERRORS[kind] if kind else (None, None)
            well = kind is None
            attempt = Attempt(
                try_number=1, state=QuantumState.SUCCEEDED if well else QuantumState.FAILED,
                exception_type=name, exception_message=words, peak_mb=100, started=self.now,
                ended=self.now + timedelta(seconds=9),
            )  # fmt: skip
            made.append(
                RawQuantum(
                    uuid=entry.uuid, task=entry.task, data_id=entry.data_id, dimensions=entry.dimensions,
                    status="SUCCESSFUL" if well else "FAILED", caveats="", attempts=(attempt,), log=None,
                )
            )  # fmt: skip
        return tuple(made)


def _predicted(submission: SubmissionView, name: str) -> Predicted:
    return Predicted(
        uuid=f"{submission.id}-{name}", task="measure", data_id=name,
        dimensions={"visit": int(name.partition("=")[2])}, after=(),
    )  # fmt: skip


class Interrupted:
    """A store of which one call ends the tick: before it is made, after it, or by losing all connections."""

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
            done = found(*given, **named)
            if self._left == 0 and self._how == "after":
                raise Killed
            return done

        return call


def end_connections(url: str) -> None:
    with closing(open_connection(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                " AND datname = current_database()"
            )


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
    nights: list[int] = field(default_factory=list)

    def look(self, question: OverlapQuery, **_: object) -> OverlapRefresh:
        tracts = tuple(range(1, self.tracts + 1))
        rows = tuple(
            SkyExposure(exposure=night, day_obs=night, visits=(night,), tracts=tracts)
            for night in self.nights
        )
        return OverlapRefresh(exposures=rows, taken=dict.fromkeys(question.steps, frozenset(self.nights)))

    def rest(self) -> None:
        """Have no process to end."""


class SixWeeks(RuleBasedStateMachine):
    """The events of a campaign's weeks, in any order."""

    url: str
    tracts = 4
    _number = 0

    def __init__(self) -> None:
        super().__init__()
        SixWeeks._number += 1
        self.name = f"weeks{SixWeeks._number}"
        self.folder = Path(tempfile.mkdtemp(prefix="merian-weeks-"))
        self.world, self.mail = World(), Mail()
        self.store = PostgresStore(self.url)
        self.world.store = self.store
        self.nights = 1
        self.sky = Sky(self.tracts)
        self.attempts = 0
        runtime = Runtime(
            root=str(self.folder / "submissions"), quantum_wrapper=quantum_wrapper(), actor="t@sim",
            host="sim", pid=1, clock=self.world.clock,
        )  # fmt: skip
        scheduler = SlurmScheduler(environ={}, clock=self.world.clock)
        self.tick = Tick(
            store=self.store, drivers=self.world, scheduler=scheduler, registry=self.sky,
            runtime=runtime, settings_of=settings_of,
        )  # fmt: skip
        self.control = Control(
            store=self.store,
            drivers=self.world,
            scheduler=scheduler,
            runtime=runtime,
            trusted_by=lambda _: (),
        )
        self.orders = Orders(store=self.store, runtime=runtime)
        options = NoticeOptions(channels=(Channel(url="command:x"),), digest_hour=6)
        self.rounds = Rounds(
            tick=self.tick, store=self.store, runtime=runtime,
            teller=Teller(options=options, notifier=self.mail, first=lambda _: True), pause=lambda _: None,
        )  # fmt: skip
        self.runtime = runtime

    def teardown(self) -> None:
        try:
            if self.store.campaign(self.name) is not None:
                self._end_well()
                self.books()
        finally:
            self.store.close()
            shutil.rmtree(self.folder)

    # -- the campaign ----------------------------------------------------------------------------------

    @initialize()
    def apply(self) -> None:
        survey = make_survey(self.folder)
        survey.edit("campaign: night", f"campaign: {self.name}\nlimits: {{submissions: 5, canary: 1}}")
        survey.edit('tracts: ["9813-9814"]', f"tracts: ['1-{self.tracts}']")
        survey.edit(
            '    resources:\n      isr: {memory: 4096, walltime: "10:00:00"}\n', "    group_by: NIGHTS\n"
        )
        survey.edit("after: [step1]", "after: [{step: step1, match: all}]")
        self.text = survey.file.read_text()
        self.file = survey.file
        self._apply()

    def _apply(self) -> None:
        nights = [20260101 + number for number in range(self.nights)]
        self.sky.nights = nights
        self.file.write_text(
            self.text.replace("NIGHTS", json.dumps({"kind": "day_obs", "nights": nights}).replace('"', ""))
        )
        from merian_campaign.files.campaign_file import load_campaign  # noqa: PLC0415 - with its files

        loaded = load_campaign(str(self.file), environment={})
        apply_campaign(
            store=self.store, runtime=self.runtime, spec=loaded.spec, file=str(loaded.path), text=loaded.text,
            resolved=loaded.resolved,
        )  # fmt: skip

    @rule()
    def a_new_night(self) -> None:
        self.nights = min(self.nights + 1, 9)
        self._apply()

    # -- ticks -----------------------------------------------------------------------------------------

    @rule(minutes=st.sampled_from([1, 5, 60]))
    def tick_from_cron(self, minutes: int) -> None:
        self.world.now += timedelta(minutes=minutes)
        (found,) = self._ticked()
        assert found.status != FAILED or self.world.full, found

    def _ticked(self) -> tuple[Ticked, ...]:
        return self.rounds.run([self.name])

    @rule(at=st.integers(1, 14), how=st.sampled_from(["before", "after", "connections"]))
    def tick_that_is_killed(self, at: int, how: str) -> None:
        interrupted: Any = Interrupted(self.store, at=at, how=how, url=self.url)
        tick = replace(self.tick, store=interrupted)
        with suppress(Killed):
            replace(self.rounds, tick=tick).run([self.name])

    @rule()
    def two_ticks_at_once(self) -> None:
        with self.store.campaign_lock(self.name):
            (found,) = self._ticked()
        # 1: one that was killed long ago looks as if it hung.
        assert found.status in {BUSY, PERSON}

    # -- drivers ---------------------------------------------------------------------------------------

    @precondition(lambda self: self.world.living())
    @rule(
        which=st.integers(0, 9), failing=st.dictionaries(st.integers(0, 2), st.sampled_from(sorted(ERRORS)))
    )
    def a_driver_ends(self, which: int, failing: dict[int, str]) -> None:
        living = self.world.living()
        self.world.finish(living[which % len(living)], failing=failing)

    @precondition(lambda self: self.world.living())
    @rule(which=st.integers(0, 9), reason=st.sampled_from(STARTS))
    def a_driver_cannot_begin(self, which: int, reason: str) -> None:
        run = self.world.living()[which % len(self.world.living())]
        if not run.started:
            run.outcome = RunResult(end=RunEnd.FAILED, reason=reason)

    @precondition(lambda self: self.world.living())
    @rule(which=st.integers(0, 9), after=st.integers(0, QUANTA))
    def a_driver_is_lost(self, which: int, after: int) -> None:
        living = self.world.living()
        self.world.die(living[which % len(living)], after=after)

    @rule()
    def the_host_reboots(self) -> None:
        for run in self.world.living():
            self.world.die(run, after=1)

    @rule(full=st.booleans(), dies=st.booleans(), down=st.booleans())
    def the_machine_changes(self, *, full: bool, dies: bool, down: bool) -> None:
        self.world.full, self.world.dies_at_start, self.mail.down = full, dies, down

    @rule(hours=st.sampled_from([-25, -1, 3, 30]))
    def the_clock_jumps(self, hours: int) -> None:
        self.world.now += timedelta(hours=hours)

    # -- people ----------------------------------------------------------------------------------------

    @rule(verb=st.sampled_from(VERBS), which=st.integers(0, 12))
    def a_person_orders(self, verb: str, which: int) -> None:
        groups = self.seen().groups
        place = f"{groups[which % len(groups)].step}/{groups[which % len(groups)].key}"
        orders = {
            "pause": lambda: self.control.pause(self.name),
            "resume": lambda: self.control.resume(self.name),
            "cancel": lambda: self.control.cancel(self.name, groups=[place] if which % 4 else []),
            "hold": lambda: self.orders.hold(self.name, groups=[place], reason="later"),
            "release": lambda: self.orders.release(self.name, groups=[place], reason="now"),
            "retry": lambda: self.control.retry(self.name, group=place, reason="again"),
            "accept": lambda: self.control.accept(self.name, group=place, reason="fine"),
            "reject": lambda: self.orders.reject(self.name, groups=[place], reason="not fine"),
            "undo": lambda: self.orders.undo(self.name, reason="not so"),
        }
        with suppress(BadInputError):
            orders[verb]()

    # -- what must hold --------------------------------------------------------------------------------

    def seen(self) -> Snapshot:
        return self.store.snapshot(self.name)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(psycopg2.connect(self.url)) as connection, connection.cursor() as cursor:
            cursor.execute(sql, {"name": self.name})
            return cursor.fetchall()

    @invariant()
    def books(self) -> None:
        if self.store.campaign(self.name) is None:
            return
        snapshot = self.seen()
        for group in snapshot.groups:
            live = [entry for entry in group.submissions if entry.state is not SubmissionState.FINISHED]
            assert len(live) <= 1
            assert group.counts.expected in {0, QUANTA}, "no quantum is lost from the books"
            # What the books say has succeeded has, and only what succeeded after the last harvest they lack.
            assert group.counts.succeeded <= len(self.world.succeeded.get(group.id, ()))
            if not live and group.counts.expected:
                assert group.counts.succeeded == len(self.world.succeeded[group.id])
        assert all(times == 1 for times in self.world.executed.values()), (
            "nothing ran again that had succeeded"
        )
        ((attempts,),) = self.rows(
            'SELECT coalesce(sum(q.attempts), 0) FROM quantum q JOIN "group" g ON g.id = q.group_id'
            " JOIN campaign c ON c.id = g.campaign_id WHERE c.name = %(name)s"
        )
        assert attempts >= self.attempts, "attempts are monotone"
        self.attempts = attempts
        wrong = self.rows(
            'SELECT g.step, g.key, g.state, e.to_state FROM "group" g JOIN campaign c ON c.id = g.campaign_id'
            " LEFT JOIN LATERAL (SELECT to_state FROM event WHERE group_id = g.id AND submission_id IS NULL"
            " AND to_state IS NOT NULL ORDER BY id DESC LIMIT 1) e ON true"
            " WHERE c.name = %(name)s AND g.state <> coalesce(e.to_state, 'waiting')"
        )
        assert wrong == [], "the events, replayed, are the state"

    def _end_well(self) -> None:
        """Let the campaign go on without faults, and see that it ends, or says who must do what."""
        self.world.full = self.world.dies_at_start = self.mail.down = False
        self.control.resume(self.name)
        for group in self.seen().groups:
            if group.hold:
                self.orders.release(self.name, groups=[f"{group.step}/{group.key}"], reason="the end")
        for _ in range(60 + 30 * len(self.seen().groups)):
            self.world.now += timedelta(minutes=61)
            (found,) = self._ticked()
            assert found.status != FAILED, found
            if self.seen().campaign.state is CampaignState.PAUSED:
                assert self.seen().campaign.reason.startswith("storm: ")
                self.control.resume(self.name)
            for run in self.world.living():
                self.world.finish(run, failing={})
            moving = {GroupState.READY, GroupState.RUNNING}
            if not any(group.state in moving or group.live for group in self.seen().groups):
                break
        last = self.seen()
        self._ticked()
        for group in last.groups:
            assert group.live is None, "nothing is under way for ever"
            assert group.state not in {GroupState.READY, GroupState.RUNNING}, group
            assert group.state is GroupState.DONE or group.reason, "it says why"
        told = "\n".join(self.mail.got)
        for group in last.groups:
            if group.state is GroupState.NEEDS_REVIEW:
                assert f"retry {self.name} {group.step}/{group.key}" in told
        assert len(set(self.mail.got)) == len(self.mail.got), "nothing is told twice"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """URL of a database of its own, whose writes need not outlive a power cut."""
    home = Path(tempfile.mkdtemp(prefix="merian-weeks-")).resolve()
    try:
        url = embedded.ensure_running(home)
        with closing(open_connection(url)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("ALTER SYSTEM SET fsync = off")
                cursor.execute("SELECT pg_reload_conf()")
        migrate.upgrade(url)
        yield url
    finally:
        embedded.stop(home)
        shutil.rmtree(home, ignore_errors=True)


def lived(url: str, *, examples: int, steps: int, tracts: int) -> None:
    machine = type("SixWeeks", (SixWeeks,), {"url": url, "tracts": tracts})
    chosen = settings(max_examples=examples, stateful_step_count=steps, phases=tuple(Phase), deadline=None)
    run_state_machine_as_test(machine, settings=chosen)


def test_some_days_under_random_faults(server: str) -> None:
    lived(server, examples=6, steps=25, tracts=3)


@pytest.mark.soak
@pytest.mark.parametrize(("tracts", "steps"), [(30, 300), (300, 80)])
def test_six_weeks_under_random_faults(server: str, tracts: int, steps: int) -> None:
    """Some lives at a time, for as long as is given; a failure takes some minutes more to shrink."""
    end = time.monotonic() + SOAK_SECONDS
    while time.monotonic() < end:
        lived(server, examples=3, steps=steps, tracts=tracts)
