"""A campaign of weeks under random faults: real decide, tick and store, made-up clock and drivers.

After every event the books are looked at; at the end, with no more faults, all is done, or says who must do
what.
Hypothesis chooses the events, shrinks a failure, and prints what leads to it.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from hypothesis import Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from simulated_world import (
    BREAKS,
    ERRORS,
    FATES,
    QUANTA,
    Interrupted,
    Killed,
    Mail,
    Queue,
    Sky,
    World,
    break_transaction,
    execute,
)
from survey_help import make_survey

from merian_campaign.context import quantum_wrapper
from merian_campaign.domain.campaign.retry_request import RetryRequest
from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.execution.runs import RunEnd, RunResult
from merian_campaign.domain.record.snapshot import Snapshot
from merian_campaign.domain.states import CampaignState, GroupState, SubmissionState
from merian_campaign.domain.tick.notices import Channel, NoticeOptions
from merian_campaign.domain.tick.tick_status import BUSY, FAILED, PERSON
from merian_campaign.host.rotated_log import first_time, forget_time
from merian_campaign.services.apply import apply_campaign
from merian_campaign.services.campaign_settings import settings_of
from merian_campaign.services.control import Control
from merian_campaign.services.orders import Orders
from merian_campaign.services.rounds import Rounds, Teller, Ticked
from merian_campaign.services.runtime import Runtime
from merian_campaign.services.tick import Tick
from merian_campaign.store.server import embedded, migrate
from merian_campaign.store.store import PostgresStore

STARTS = [
    "no such collection",
    "bps submit was killed by SIGKILL",
    "OSError: [Errno 28] No space left on device",
    "OSError: [Errno 30] Read-only file system",
]
SOAK_SECONDS = 900.0
CI_SECONDS = 300.0
# To explain a failure takes longer than to shrink it, and says less.
PHASES = tuple(phase for phase in Phase if phase is not Phase.explain)
VERBS = [
    "pause", "resume", "cancel", "hold", "release", "retry", "more memory", "accept", "accept for a day",
    "reject", "redo", "undo",
]  # fmt: skip

EXCLUSIVE = """computeSite: local
site:
  local:
    class: merian_campaign.wms.sites.Slurm
    walltime: "05:00:00"
    cores_per_node: 12
    mem_per_node: 98
    exclusive: true
"""
"""Whose nodes three quanta do not fill: what is left of a group waits for its like."""


ATTEMPTS = (
    'SELECT g.id, sum(q.attempts) FROM quantum q JOIN "group" g ON g.id = q.group_id'
    " JOIN campaign c ON c.id = g.campaign_id WHERE c.name = %(name)s GROUP BY g.id"
)
REPLAYED = """
WITH last AS (
    SELECT DISTINCT ON (group_id, submission_id) group_id, submission_id, to_state FROM event
    JOIN campaign c ON c.id = campaign_id
    WHERE c.name = %(name)s AND (group_id IS NOT NULL OR to_state IN ('active', 'paused', 'cancelled'))
    AND to_state IS NOT NULL ORDER BY group_id, submission_id, event.id DESC
), place AS (
    SELECT g.id, g.step, g.key, g.state FROM "group" g JOIN campaign c ON c.id = g.campaign_id
    WHERE c.name = %(name)s
)
SELECT step, key, state, to_state FROM place LEFT JOIN last ON group_id = id AND submission_id IS NULL
WHERE state <> coalesce(to_state, 'waiting')
UNION ALL
SELECT step, key, s.state, to_state FROM submission s JOIN place ON place.id = s.group_id
LEFT JOIN last ON submission_id = s.id WHERE s.state IS DISTINCT FROM to_state
UNION ALL
SELECT '', '', state, to_state FROM campaign LEFT JOIN last ON group_id IS NULL
WHERE name = %(name)s AND state <> coalesce(to_state, 'active')
"""
CHARGED = (
    "SELECT q.data_id, a.verdict FROM quantum_attempt a JOIN quantum q ON q.id = a.quantum_id"
    ' JOIN "group" g ON g.id = q.group_id JOIN campaign c ON c.id = g.campaign_id'
    " WHERE c.name = %(name)s AND a.charged AND a.verdict IN ('node_lost', 'preempted')"
)


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
        self.sky = Sky(self.tracts, self.world)
        self.applied = False
        self.attempts: dict[int, int] = {}
        self.reader: Any = None
        runtime = Runtime(
            root=str(self.folder / "submissions"), quantum_wrapper=quantum_wrapper(), actor="t@sim",
            host="sim", pid=1, clock=self.world.clock,
        )  # fmt: skip
        scheduler = Queue(self.world)
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
            teller=Teller(
                options=options, notifier=self.mail, first=partial(first_time, self.folder / "told"),
                unsaid=partial(forget_time, self.folder / "told"),
            ),
            pause=lambda _: None,
        )  # fmt: skip
        self.runtime = runtime

    def teardown(self) -> None:
        try:
            if self.applied:
                self._end_well()
                self.books()
        finally:
            if self.reader is not None:
                self.reader.close()
            self.store.close()
            shutil.rmtree(self.folder)

    # -- the campaign ----------------------------------------------------------------------------------

    @initialize(exclusive=st.booleans())
    def apply(self, exclusive: bool) -> None:
        survey = make_survey(self.folder)
        if exclusive:
            (self.folder / "site" / "local.yaml").write_text(EXCLUSIVE)
            survey.edit("tracts:", "afterburner: {collect_hours: 12}\ntracts:")
        wide = max(5, self.tracts // 3)
        survey.edit("campaign: night", f"campaign: {self.name}\nlimits: {{submissions: {wide}, canary: 1}}")
        survey.edit('tracts: ["9813-9814"]', f"tracts: ['1-{self.tracts}']")
        survey.edit(
            '    resources:\n      isr: {memory: 4096, walltime: "10:00:00"}\n', "    group_by: NIGHTS\n"
        )
        survey.edit("after: [step1]", "after: [{step: step1, match: all}]")
        self.text, self.edited = survey.file.read_text(), ""
        self.file = survey.file
        self._apply()
        self.applied = True

    def _apply(self) -> None:
        nights = [20260101 + number for number in range(self.nights)]
        self.sky.nights = nights
        self.file.write_text(
            self.text.replace(
                "NIGHTS\n",
                json.dumps({"kind": "day_obs", "nights": nights}).replace('"', "") + f"\n{self.edited}",
            )
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
        self.world.looks.clear()
        found = self.rounds.run([self.name])
        # Once what is new; and once all of it, where a block is on record.
        assert max(self.world.looks.values(), default=0) <= 2, "a tick follows a submission once"
        return found

    @rule(at=st.integers(1, 14), how=st.sampled_from(["before", "after", "connections", "transaction"]))
    def tick_that_is_killed(self, at: int, how: str) -> None:
        interrupted: Any = Interrupted(self.store, at=at, how=how, url=self.url)
        tick = replace(self.tick, store=interrupted)
        with suppress(Killed):
            replace(self.rounds, tick=tick).run([self.name])
        break_transaction(self.url, at=0)

    @rule(at=st.integers(1, 9))
    def the_database_goes_away_in_a_transaction(self, at: int) -> None:
        break_transaction(self.url, at=at)
        self._ticked()
        break_transaction(self.url, at=0)

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
    @rule(which=st.integers(0, 9), after=st.integers(0, QUANTA), fate=st.sampled_from(FATES))
    def a_block_goes_down(self, which: int, after: int, fate: str) -> None:
        living = self.world.living()
        self.world.finish(living[which % len(living)], failing={}, after=after, fate=fate)

    @precondition(lambda self: self.world.runs)
    @rule(which=st.integers(0, 99), lines=st.integers(0, 5), damaged=st.booleans())
    def files_are_damaged(self, which: int, lines: int, *, damaged: bool) -> None:
        run = list(self.world.runs.values())[-1 - which % len(self.world.runs)]
        run.cut, run.damaged = min(lines, len(run.journal)), damaged

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

    @rule(full=st.booleans(), dies=st.booleans(), down=st.booleans(), silent=st.booleans())
    def the_machine_changes(self, *, full: bool, dies: bool, down: bool, silent: bool) -> None:
        self.world.full, self.world.dies_at_start, self.mail.down = full, dies, down
        self.world.silent = silent

    @rule(hours=st.sampled_from([-25, -1, 3, 30]))
    def the_clock_jumps(self, hours: int) -> None:
        self.world.now += timedelta(hours=hours)

    # -- people ----------------------------------------------------------------------------------------

    @rule(memory=st.sampled_from([1000, 2000, 4000]))
    def a_person_edits_the_file(self, memory: int) -> None:
        self.edited = f"    resources:\n      measure: {{memory: {memory}}}\n"
        self._apply()

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
            "retry": lambda: self.control.retry(self.name, groups=[place], reason="again"),
            "more memory": lambda: self.control.retry(
                self.name, groups=[place], reason="more", request=RetryRequest(memory_mb=9000)
            ),
            "accept": lambda: self.control.accept(self.name, groups=[place], reason="fine"),
            "accept for a day": lambda: self.control.accept(
                self.name, groups=[place], reason="for now", until=self.world.now + timedelta(days=1)
            ),
            "redo": lambda: self.control.redo(self.name, groups=[place], reason="anew"),
            "reject": lambda: self.orders.reject(self.name, groups=[place], reason="not fine"),
            "undo": lambda: self.orders.undo(self.name, reason="not so"),
        }
        with suppress(BadInputError):
            orders[verb]()

    # -- what must hold --------------------------------------------------------------------------------

    def seen(self) -> Snapshot:
        return self.store.snapshot(self.name)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        for _ in range(2):
            if self.reader is None:
                self.reader = psycopg2.connect(self.url)
                self.reader.autocommit = True
            try:
                with self.reader.cursor() as cursor:
                    cursor.execute(sql, {"name": self.name})
                    return cursor.fetchall()
            except psycopg2.OperationalError:  # ended with all others
                self.reader = None
        raise AssertionError("no answer")

    @invariant()
    def books(self) -> None:
        if not self.applied:
            return
        snapshot = self.seen()
        for group in snapshot.groups:
            live = [entry for entry in group.submissions if entry.state is not SubmissionState.FINISHED]
            assert len(live) <= 1
            assert group.counts.expected in {0, QUANTA}, "no quantum is lost from the books"
            # What the books say has succeeded has, and only what succeeded after the last harvest they lack.
            really = len(self.world.succeeded.get((group.id, group.generation), ()))
            assert group.counts.succeeded <= really
            if not live and group.counts.expected:
                assert group.counts.succeeded == really
        assert all(times == 1 for times in self.world.executed.values()), (
            "nothing ran again that had succeeded"
        )
        before, self.attempts = self.attempts, dict(self.rows(ATTEMPTS))
        assert all(self.attempts.get(group, 0) >= number for group, number in before.items()), (
            "attempts are monotone"
        )
        assert self.rows(REPLAYED) == [], "the events, replayed, are the state"
        assert self.rows(CHARGED) == [], "what was lost with its node is nobody's fault"

    def _end_well(self) -> None:
        """Let the campaign go on without faults, and see that it ends, or says who must do what."""
        self.world.full = self.world.dies_at_start = self.mail.down = self.world.silent = False
        self.control.resume(self.name)
        for group in self.seen().groups:
            if group.hold:
                self.orders.release(self.name, groups=[f"{group.step}/{group.key}"], reason="the end")
        for _ in range(60 + 30 * len(self.seen().groups)):
            self.world.now += timedelta(minutes=61)
            (found,) = self._ticked()
            assert found.status != FAILED, found
            campaign = self.seen().campaign
            if campaign.state is CampaignState.PAUSED:
                assert campaign.reason.startswith("storm: ")
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
        twice = [words for words, times in Counter(self.mail.got).items() if times > 1]
        assert twice == [], "nothing is told twice"


@pytest.fixture(scope="module")
def patient() -> Iterator[None]:
    """Let what waits for a scheduler beside this go first."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    os.nice(10)
    yield
    with suppress(PermissionError):  # only root may take it back
        os.setpriority(os.PRIO_PROCESS, 0, before)


@pytest.fixture(scope="module")
def server(patient: None) -> Iterator[str]:
    """URL of a database of its own, whose writes need not outlive a power cut."""
    del patient
    home = Path(tempfile.mkdtemp(prefix="merian-weeks-")).resolve()
    try:
        url = embedded.ensure_running(home)
        execute(url, "ALTER SYSTEM SET fsync = off")
        execute(url, "SELECT pg_reload_conf()")
        migrate.upgrade(url)
        execute(url, BREAKS)
        yield url
    finally:
        embedded.stop(home)
        shutil.rmtree(home, ignore_errors=True)


def lived_for(url: str, *, seconds: float, lives: int, steps: int, tracts: int) -> None:
    """Let lives follow each other for so long, some of each seed; a failure takes minutes more to shrink.

    How quick the host is decides how many seeds have their turn, not what one of them shows.
    """
    end = time.monotonic() + seconds
    number = 0
    while time.monotonic() < end:
        number += 1
        print(f"seed {number}", flush=True)  # noqa: T201 - shown with a failure
        machine = seed(number)(type("SixWeeks", (SixWeeks,), {"url": url, "tracts": tracts}))
        # Without `derandomize`, which would give each seed the same lives.
        chosen = settings(
            max_examples=lives, stateful_step_count=steps, phases=PHASES, deadline=None, derandomize=False
        )
        run_state_machine_as_test(machine, settings=chosen)


def test_five_minutes_of_weeks_under_random_faults(server: str) -> None:
    lived_for(server, seconds=CI_SECONDS, lives=6, steps=40, tracts=4)


@pytest.mark.soak
@pytest.mark.parametrize(("tracts", "steps"), [(30, 300), (300, 80)])
def test_six_weeks_under_random_faults(server: str, tracts: int, steps: int) -> None:
    lived_for(server, seconds=SOAK_SECONDS, lives=3, steps=steps, tracts=tracts)
