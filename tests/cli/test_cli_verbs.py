"""Verbs of a person: none says done when it changed nothing, none undoes another's, each is an event."""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest
from cli_help import PROGRAM, Cli, environment

from merian_campaign.context import CommandContext
from merian_campaign.domain.campaign.retry_request import RetryRequest
from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.record.records import Event
from merian_campaign.domain.record.snapshot import Remedy, Snapshot
from merian_campaign.domain.states import CampaignState, GroupState, SubmissionOutcome


@pytest.fixture
def context(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> CommandContext:
    """A paused campaign: step1 waits, tract 9813 needs review, tract 9814 is done."""
    monkeypatch.delenv("MERIAN_CAMPAIGN_DATABASE_URL", raising=False)
    monkeypatch.setenv("MERIAN_CAMPAIGN_HOME", str(cli.home))
    context = CommandContext()
    name = cli.applied()
    last = {"tract9813": GroupState.NEEDS_REVIEW, "tract9814": GroupState.DONE}
    for group in context.store.snapshot(name).groups:
        for state in (
            (GroupState.READY, GroupState.NEEDS_REVIEW, last[group.key]) if group.step == "step3" else ()
        ):
            context.store.move_group(
                group_id=group.id, state=state, reason="why", actor="t", now=context.clock()
            )
    return context


def seen(context: CommandContext, cli: Cli) -> Snapshot:
    return context.store.snapshot(cli.name)


def states(context: CommandContext, cli: Cli) -> list[str]:
    return [group.state.value for group in seen(context, cli).groups]


def test_no_verb_says_done_when_it_changed_nothing(cli: Cli, context: CommandContext) -> None:
    assert "is paused already; nothing changed" in cli("pause", cli.name).fine()
    cli("cancel", cli.name, "step3/tract9814").refused(
        2, "step3/tract9814 is done; there is nothing to cancel"
    )
    cli("release", cli.name, "step1").refused(2, "step1/all is not held")
    cli("release", cli.name, "step3", "--yes").refused(2, "means 2 groups, of which none is held")
    cli("reject", cli.name, "step3/tract9813").refused(2, "is needs_review; there is nothing to reject")
    before = len(context.store.events(cli.name))
    assert cli("resume", cli.name, "-m", "all is well").fine() == f"campaign {cli.name}: active\n"
    assert "is active already; nothing changed" in cli("resume", cli.name).fine()
    newest, *_ = context.store.events(cli.name)
    assert len(context.store.events(cli.name)) == before + 1
    assert (newest.kind, newest.reason) == ("resume", f"all is well (by {context.runtime.actor})")


def test_none_undoes_anothers(cli: Cli, context: CommandContext) -> None:
    control = context.control
    control.cancel(cli.name, groups=["step1"], reason="not that one")
    control.resume(cli.name)
    assert states(context, cli) == ["cancelled", "needs_review", "done"], "resume after pause revives nothing"
    assert control.cancel(cli.name).changed
    assert not control.cancel(cli.name).changed
    with pytest.raises(BadInputError, match=r"is cancelled \(by .*resume"):
        control.pause(cli.name)
    assert control.resume(cli.name) == 1
    assert states(context, cli) == ["cancelled", "needs_review", "done"], "one was cancelled by itself"
    assert seen(context, cli).groups[1].reason == "why"


def test_what_is_held_does_not_start_and_is_said(cli: Cli, context: CommandContext) -> None:
    context.orders.hold(cli.name, groups=["step1"], reason="calibrations come tomorrow")
    context.tick.run(cli.name)
    context.control.resume(cli.name)
    assert context.tick.run(cli.name).actions == ()
    assert seen(context, cli).groups[0].submissions == ()
    context.control.pause(cli.name, reason="night shift")
    planned = cli("plan", cli.name).fine().splitlines()
    assert planned[0] == f"the campaign is paused: night shift (by {context.runtime.actor})"
    assert "step1/all: stays ready (held: calibrations come tomorrow)" in planned
    ticked = cli("tick", cli.name)
    assert "paused (night shift" in ticked.stderr
    cli("hold", cli.name, "step1/all").refused(2, "step1/all is held already (calibrations come tomorrow)")
    released = cli("release", cli.name, "step1/all")
    assert "step1/all: released" in released.fine()
    assert f"is paused: nothing starts before `merian-campaign resume {cli.name}`" in released.stderr
    assert seen(context, cli).groups[0].hold == ""


def test_undo_takes_back_the_last_order_whole(cli: Cli, context: CommandContext) -> None:
    orders, control = context.orders, context.control
    control.retry(cli.name, groups=["step3/tract9813"], reason="r")
    assert cli("undo", cli.name).fine() == (f"step3/tract9813: retry of {context.runtime.actor} is undone\n")
    assert states(context, cli)[1] == "needs_review"
    cli("undo", cli.name).refused(2, "taken back already")
    orders.hold(cli.name, groups=["step1", "step3/tract9813"], reason="both")
    assert len(orders.undo(cli.name, reason="no").groups) == 2
    assert [group.hold for group in seen(context, cli).groups] == ["", "", ""]
    orders.reject(cli.name, groups=["step3/tract9814"], reason="stripes")
    assert states(context, cli)[2] == "needs_review"
    orders.undo(cli.name, reason="no stripes")
    assert states(context, cli)[2] == "done"
    control.resume(cli.name)
    orders.undo(cli.name, reason="too early")
    assert seen(context, cli).campaign.state is CampaignState.PAUSED
    control.accept(cli.name, groups=["step3/tract9813"], reason="fine")
    control.retry(cli.name, groups=["step3/tract9813"], reason="not fine")
    with pytest.raises(BadInputError, match="cannot become done again; nothing is undone"):
        orders.undo(cli.name, reason="no")


def test_undo_puts_back_all_that_an_order_had_changed(cli: Cli, context: CommandContext) -> None:
    until = context.clock() + timedelta(days=30)
    place = "step3/tract9813"
    context.control.accept(cli.name, groups=[place], reason="fine until then", until=until)
    context.orders.hold(cli.name, groups=["step1"], reason="calibrations come tomorrow")
    as_accepted = seen(context, cli)
    for order in (
        lambda: context.orders.reject(cli.name, groups=[place], reason="stripes"),
        lambda: context.orders.release(cli.name, groups=["step1"], reason="now"),
        lambda: context.control.cancel(cli.name, groups=["step1"]),
    ):
        order()
        context.orders.undo(cli.name, reason="no")
        assert seen(context, cli).groups == as_accepted.groups, "acceptance, its end, reasons and holds"
    context.orders.reject(cli.name, groups=[place], reason="stripes")
    asked = RetryRequest(tasks=("measure",), memory_mb=16384)
    context.control.retry(cli.name, groups=[place], reason="more", request=asked)
    context.orders.undo(cli.name, reason="less")
    group = seen(context, cli).groups[1]
    assert (group.state, group.reason, group.asked) == (
        GroupState.NEEDS_REVIEW, "rejected: stripes", as_accepted.groups[1].asked,
    )  # fmt: skip


def test_undo_of_many_or_of_anothers_asks_first(
    cli: Cli, context: CommandContext, sql: psycopg2.extensions.connection
) -> None:
    context.control.cancel(cli.name, groups=["step1", "step3/tract9813"])
    before = states(context, cli)
    asked = cli("undo", cli.name)
    assert (asked.code, states(context, cli)) == (1, before)
    assert "Undo cancel of" in asked.stderr
    assert "for 2 groups: step1/all, step3/tract9813?" in asked.stderr
    assert "is undone" in cli("undo", cli.name, "--yes").fine()
    assert states(context, cli) == ["waiting", "needs_review", "done"]


def test_what_is_for_good_is_not_skipped_by_undo(cli: Cli, context: CommandContext) -> None:
    context.orders.hold(cli.name, groups=["step1"], reason="later")
    group = seen(context, cli).groups[2]
    now = context.clock()
    context.store.again(group_id=group.id, redo=True, reason="r", actor="ana", now=now, ordered=True)
    cli("undo", cli.name).refused(2, "the last order (redo of step3/tract9814) cannot be taken back")
    assert seen(context, cli).groups[0].hold == "later"
    cli.survey.edit("runs/night", "runs/nights")
    cli("apply", cli.file).fine()
    cli("undo", cli.name).refused(2, "the last order (the file was applied) cannot be taken back")


def test_a_tick_that_redoes_is_no_order(cli: Cli, context: CommandContext) -> None:
    context.orders.hold(cli.name, groups=["step1"], reason="later")
    group = seen(context, cli).groups[2]
    context.store.again(group_id=group.id, redo=True, reason="new data", actor="ana", now=context.clock())
    assert "hold of" in cli("undo", cli.name).fine()


def test_what_was_accepted_for_a_time_is_looked_at_again(
    cli: Cli, context: CommandContext, sql: psycopg2.extensions.connection
) -> None:
    cli("accept", cli.name, "step3/tract9813", "--until", "2020-01-01").refused(
        2, "2020-01-01 00:00 UTC is over"
    )
    cli("accept", cli.name, "step3/tract9813", "--until", "tomorrow").refused(2, "--until: found 'tomorrow'")
    cli("accept", cli.name, "step3/tract9813", "--until", "2d").fine()
    until = seen(context, cli).groups[1].accepted_until
    assert until is not None
    assert timedelta(days=1) < until - context.clock() <= timedelta(days=2)
    context.tick.run(cli.name)
    assert states(context, cli)[1] == "done"
    with sql.cursor() as cursor:
        cursor.execute(
            'UPDATE "group" SET accepted_until = now() WHERE accepted_until IS NOT NULL AND campaign_id = %s',
            [seen(context, cli).campaign.id],
        )
    context.tick.run(cli.name)
    found = seen(context, cli).groups[1]
    assert (found.state, "which is over" in found.reason) == (GroupState.NEEDS_REVIEW, True)


def test_a_retry_asks_for_more(cli: Cli, context: CommandContext) -> None:
    cli("retry", cli.name, "step3/tract9813", "--memory", "lots").refused(2, "write MiB, or 16G")
    cli("retry", cli.name, "step3/tract9813", "--memory", "16G").refused(
        2, "no task that has failed; name it"
    )
    cli("retry", cli.name, "step3/tract9813", "--walltime", "10").refused(2, "--walltime: found '10'")
    given = ("--memory", "16G", "--walltime", "10:00:30", "--task", "measure")
    cli("retry", cli.name, "step3/tract9813", *given).fine()
    asked = seen(context, cli).groups[1].asked
    assert (asked.memory_mb, asked.walltime) == ((("measure", 16384),), (("measure", 601),))


def test_a_plan_in_json_says_what_is_held(cli: Cli, context: CommandContext) -> None:
    context.orders.hold(cli.name, groups=["step1"], reason="later")
    found = json.loads(cli("plan", cli.name, "--json").fine())
    assert found["held"] == [{"step": "step1", "group": "all", "why": "later"}]
    assert found["state_reason"].startswith("by ")


def test_a_plan_says_what_submissions_are_expected_to_cost(cli: Cli, context: CommandContext) -> None:
    context.tick.run(cli.name)
    context.control.resume(cli.name)
    found = json.loads(cli("plan", cli.name, "--json").fine())
    context.control.pause(cli.name)
    (submit,) = [entry for entry in found["actions"] if entry["action"] == "submit"]
    # Nothing of it has run yet.
    costs = ("quanta", "core_hours", "gb_hours", "hours", "block_core_hours", "block_cores")
    unknown = dict.fromkeys(costs) | {"estimated": False}
    assert (submit["step"], submit["expected"]) == ("step1", unknown)


def test_events_and_the_list_in_words(cli: Cli, context: CommandContext) -> None:
    context.orders.hold(cli.name, groups=["step1"], reason="later")
    lines = cli("events", cli.name, "--since", "1h").fine().splitlines()
    assert lines[0].endswith(
        f"campaign: the file was applied (revision 1: 3 groups created, 0 dropped) by {context.runtime.actor}"
    )
    assert lines[-1].endswith(f"step1/all: held (later) by {context.runtime.actor}")
    assert any("step3/tract9814: done (why) by t" in line for line in lines)
    assert len(cli("events", cli.name, "--group", "step1").fine().splitlines()) == 1
    assert cli("events", cli.name, "--since", "2999-01-01").fine() == ""
    cli("events", cli.name, "--since", "soon").refused(2, "--since: found 'soon'; write 30m, 6h, 2d")
    (line,) = [line for line in cli("list").fine().splitlines() if line.startswith(f"{cli.name}\t")]
    assert line.split("\t")[1:5] == ["paused", "revision 1", "1 of 3 groups done", "1 need you"]
    assert f"next: nothing before `resume` (by {context.runtime.actor})" in line


def test_a_directory_of_another_database_is_refused_and_left_alone(
    cli: Cli, context: CommandContext, sql: psycopg2.extensions.connection
) -> None:
    work = cli.survey.folder / "work"
    cli.survey.edit("campaign: ", f"work_dir: {work}\ncampaign: ")
    context.apply(cli.file)
    place = work / cli.name / "step1" / "all" / "001"
    place.mkdir(parents=True)
    other = {"campaign": "of another database", "group": "step1/all", "number": 1, "name": cli.name}
    (place / "identity.json").write_text(json.dumps(other))
    (place / "outcome.json").write_text(json.dumps({"end": "ran", "reason": "all went well"}))
    before = {path: path.read_bytes() for path in place.iterdir()}
    context.control.resume(cli.name)
    context.tick.run(cli.name)
    context.control.pause(cli.name)
    found = seen(context, cli).groups[0]
    assert (found.state, found.submissions) == (GroupState.NEEDS_REVIEW, ())
    assert f"{place}: is of another tracking database, or of an earlier campaign" in found.reason
    assert {path: path.read_bytes() for path in place.iterdir()} == before
    # Without a sign whose it is, what ran there is not believed either.
    (place / "identity.json").unlink()
    context.control.retry(cli.name, groups=["step1"], reason="r")
    context.control.resume(cli.name)
    context.tick.run(cli.name)
    context.control.pause(cli.name)
    assert "something ran there that nobody here knows of" in seen(context, cli).groups[0].reason
    with sql.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM submission WHERE directory = %s", [str(place)])
        assert cursor.fetchone() == (0,)


def test_apply_says_what_changes_and_for_whom(cli: Cli, context: CommandContext) -> None:
    cli.survey.edit("tracts: [", "limits: {window: {begins: '00:00', ends: '00:00'}}\ntracts: [")
    cli("apply", cli.file).fine()
    assert cli("diff", cli.name).stderr.endswith("nothing would change\n")
    cli.survey.edit("ends: '00:00'", "ends: '06:00'")
    cli.survey.edit("group_by: tract", "group_by: tract\n    loss_budget: 0.1")
    cli.survey.edit('tracts: ["9813-9814"]', 'tracts: ["9813-9815"]')
    lines = cli("diff", cli.name).fine().splitlines()
    assert lines[0].startswith("tracts: gets 9815; for the next submission of 2 groups")
    assert lines[1].startswith("limits.window.ends: '00:00' -> '06:00'; for the next")
    assert "steps[step3].loss_budget: 0.0 -> 0.1; for the next submission of 1 group; 1 done keep" in lines[2]
    assert lines[-1] == "1 group new: step3/tract9815"
    done = cli("apply", cli.file)
    assert "revision 3, 4 groups (1 new)" in done.fine()
    assert "steps[step3].loss_budget: 0.0 -> 0.1" in done.stderr
    assert cli("diff", cli.file).fine() == ""
    assert len(context.store.snapshot(cli.name).groups) == 4


def test_a_tick_that_hangs_is_told_once_and_holds_up_no_other_campaign(
    cli: Cli, context: CommandContext, sql: psycopg2.extensions.connection
) -> None:
    campaign = seen(context, cli).campaign.id
    began = context.clock() - timedelta(hours=2)
    context.store.tick_started(campaign_id=campaign, host="login1", pid=4711, now=began)
    with context.store.campaign_lock(cli.name):
        first, again = (context.rounds.run([cli.name])[0] for _ in range(2))
    assert (first.status, again.status) == (1, 75)
    assert "kill -9 4711" in first.summary


HOLDER = """
import datetime, os, signal, sys
from merian_campaign.context import CommandContext
context = CommandContext()
store, name = context.store, sys.argv[1]
began = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=float(sys.argv[2]))
with store.campaign_lock(name):
    here = {"host": os.uname().nodename, "pid": os.getpid()}
    store.tick_started(campaign_id=store.campaign(name).id, now=began, **here)
    print("holds it", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
"""


@contextmanager
def stopped_tick(cli: Cli, *, hours_ago: float) -> Iterator[subprocess.Popen[str]]:
    """Give a process that holds the campaign's lock for a tick, and is stopped."""
    words = [sys.executable, "-c", HOLDER, cli.name, str(hours_ago), "merian-campaign"]
    with subprocess.Popen(words, env=environment(cli.home), stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "holds it\n"
            yield holder
        finally:
            holder.kill()


def test_a_tick_that_was_stopped_is_passed_by(context: CommandContext, cli: Cli) -> None:
    later = CommandContext(clock=lambda: datetime.now(UTC) + timedelta(hours=1.1))
    with stopped_tick(cli, hours_ago=1.5) as other:
        (found,) = later.rounds.run([cli.name])
        # A process that began after the tick is another one of that number: a person is told, and looks.
        assert (found.status, other.poll()) == (1, None)
        assert "a tick seems to hang" in found.summary
    with stopped_tick(cli, hours_ago=0) as holder:
        (found,) = context.rounds.run([cli.name])
        assert found.status == 75, "it may yet go on"
        (found,) = later.rounds.run([cli.name])
        assert "it was ended" in found.notes[0]
        assert found.status != 75
        assert holder.wait() == -signal.SIGKILL


def test_a_slip_in_the_file_of_notices_stops_no_tick_and_is_said_once(cli: Cli) -> None:
    cli.applied()
    notices = cli.home / "notices.yaml"
    notices.write_text(f"chanels: [{cli.name}]\n", encoding="utf-8")
    notices.chmod(0o600)
    try:
        said = [cli("tick", cli.name, "--quiet") for _ in range(2)]
        checked = cli("tick", cli.name, "--check")
    finally:
        notices.unlink()
    assert [done.code for done in said] == [1, 0]
    assert "did you mean 'channels'?; nobody is told anything before it is right" in said[0].stderr
    assert said[1].stderr == ""
    checked.refused(2, "notices.yaml:1: chanels: no such key")


def test_plan_says_that_it_is_no_hour_to_submit(cli: Cli) -> None:
    day = f"{datetime.now(UTC) + timedelta(days=3):%a}".lower()
    cli.survey.edit(
        "tracts: [", f'limits: {{window: {{begins: "20:00", ends: "21:00", days: [{day}]}}}}\ntracts: ['
    )
    planned = cli("plan", cli.applied()).fine().splitlines()
    assert f"nothing is submitted now: limits.window: submissions start 20:00-21:00 {day} (UTC)" in planned
    assert json.loads(cli("plan", cli.name, "--json").fine())["closed"].startswith("limits.window")


def test_watching_ticks_again_and_ends_with_ctrl_c(
    cli: Cli, context: CommandContext, sql: psycopg2.extensions.connection
) -> None:
    def ticks() -> int:
        with sql.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM tick t JOIN campaign c ON c.id = t.campaign_id"
                " WHERE c.name = %s AND finished_at IS NOT NULL",
                [cli.name],
            )
            return int(cursor.fetchone()[0])

    words = [str(PROGRAM), "tick", cli.name, "--watch", "1"]
    with subprocess.Popen(
        words, env=environment(cli.home), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as watching:
        while ticks() < 2 and watching.poll() is None:
            select.select([], [], [], 0.05)  # between two looks at a condition
        watching.send_signal(signal.SIGINT)
        said, _ = watching.communicate(timeout=60)
    assert "Traceback" not in said
    assert f"campaign {cli.name}: paused" in said
    assert watching.returncode == 130


def test_one_command_after_a_storm(cli: Cli, context: CommandContext) -> None:
    cli.survey.edit('["9813-9814"]', '["9813-9818"]')
    context.apply(cli.file)
    now = context.clock()
    for group in seen(context, cli).groups:
        if group.step == "step3":
            step = {"group_id": group.id, "actor": "t", "now": now}
            if group.state is not GroupState.DONE:
                context.store.move_group(**step, state=GroupState.READY, reason="")
            if group.state is not GroupState.DONE:
                made = context.store.prepare_submission(
                    **step, number=1, run_collection=f"{cli.name}/{group.key}", repository="/repo",
                    directory=f"/x/{cli.name}/{group.key}", remedy=Remedy(), reason="first",
                )  # fmt: skip
                context.store.harvest(
                    submission_id=made.id, quanta=(), outcome=SubmissionOutcome.FAILED, actor="t", now=now,
                    reason="RuntimeError: no key 'x'",
                )  # fmt: skip
                context.store.move_group(**step, state=GroupState.NEEDS_REVIEW, reason="no key 'x'")
    event = Event(kind="storm", actor="t", reason="storm: all alike", from_state="active", to_state="paused")
    context.store.set_campaign_state(name=cli.name, state=CampaignState.PAUSED, event=event, now=now)
    said = cli("resume", cli.name).fine()
    assert said.endswith(": active; retried, as the storm had stopped them: 5 groups\n")
    assert states(context, cli)[1:] == ["ready", "done", *["ready"] * 4]


def test_a_pattern_pauses_campaigns_after_a_yes(cli: Cli, context: CommandContext) -> None:
    context.control.resume(cli.name)
    pattern = f"{cli.name[:-3]}*"
    asked = cli("pause", pattern)
    assert (asked.code, seen(context, cli).campaign.state) == (1, CampaignState.ACTIVE)
    assert f"Pause 1 campaign: {cli.name}?" in asked.stderr
    assert cli("pause", pattern, "--yes").fine() == f"campaign {cli.name}: paused\n"
    cli("pause", pattern, "--yes").refused(2, "means 1 campaign, of which none is active")
    cli("pause", "no-such*", "--yes").refused(2, "no campaign is meant by 'no-such*'", cli.name)
    cli("resume", pattern, "nope", "--yes").refused(2, "no campaign is called 'nope'")
    assert "active" in cli("resume", pattern, "--yes").fine()
