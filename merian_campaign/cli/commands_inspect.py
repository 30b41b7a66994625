"""Commands that only look: status, failures, blocks, show, diff, events, list."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from merian_campaign.cli import completion
from merian_campaign.cli.moments import moment, past_moment
from merian_campaign.cli.options import AsJson, Campaign, GroupName, Name, StepOption, TractOption
from merian_campaign.cli.output import console, note, on_terminal, say, say_fields, show, show_report
from merian_campaign.context import CommandContext
from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.safe_text.shell import shown
from merian_campaign.domain.states import GroupState, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import RenderableType

    from merian_campaign.domain.record.attempt_rows import FailureRow
    from merian_campaign.domain.report.lines import CauseLine

_CAUSES: Final = 10
"""Fit one screen."""

_FEWEST_CAUSES: Final = 3
_SMALLEST: Final = 20
"""Lines of the board, at least, where something stands below it."""

_LOG_LINES: Final = 4


def list_campaigns(as_json: AsJson = False) -> None:
    """List all campaigns: state, progress, what needs you, last tick, what is next, and the file."""
    from merian_campaign.reports.events import campaign_fields, campaign_json, campaign_view

    rows = CommandContext().reader.campaign_list()
    if as_json:
        show_report({"campaigns": [campaign_json(row) for row in rows]})
        return
    if on_terminal():
        show(campaign_view(rows))
        return
    for row in rows:
        say_fields(*campaign_fields(row))


def events(
    name: Name,
    group: Annotated[
        str | None,
        typer.Option(
            "--group", help="Of this group alone.", show_default=False, autocompletion=completion.groups
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            help="From then on: 30m, 6h, 2d, or 2026-11-20T08:00 (UTC).",
            metavar="DATE",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", help="Only so many, the newest.", min=1)] = 200,
    as_json: AsJson = False,
) -> None:
    """Say what happened to a campaign: when, what, why, and who did it; oldest first.

    For example: `merian-campaign events mine --since 6h`
    """
    from merian_campaign.reports.events import event_json, event_lines
    from merian_campaign.services.find import find_group

    context = CommandContext()
    begin = None if since is None else moment(since, now=context.clock(), option="--since")
    group_id = None if group is None else find_group(context.store.snapshot(name), group).id
    found = context.reader.events(name, group_id=group_id, limit=limit, since=begin)[::-1]
    if as_json:
        show_report({"events": event_json(found)}, campaign=name)
        return
    for line in event_lines(found):
        say(line)
    if not found:
        note("nothing has happened")


def status(
    name: Name,
    step: StepOption = None,
    tract: TractOption = None,
    state: Annotated[
        GroupState | None,
        typer.Option(
            "--state",
            help=f"Only groups in this state: {', '.join(GroupState)}.",
            metavar="STATE",
            show_default=False,
        ),
    ] = None,
    needs_you: Annotated[bool, typer.Option("--needs-you", help="Only groups that need a person.")] = False,
    at: Annotated[
        str | None,
        typer.Option("--at", help="As it was then: 6h, 2d, or 2026-11-20T08:00 (UTC).", metavar="DATE"),
    ] = None,
    eta: Annotated[
        bool, typer.Option("--eta", help="Also when it is expected to end, step by step: reads all quanta.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again and again, until Ctrl-C.")] = False,
    interval: Annotated[
        float, typer.Option("--interval", help="Seconds between two looks of --watch.", min=1.0)
    ] = 5.0,
    as_json: AsJson = False,
) -> None:
    """Show how a campaign stands: steps, tracts, quanta, and what needs a person.

    How much is done is told of all that is to come: groups without a graph count as their step's others.
    On a terminal it fits one screen: tracts are folded by how far they are. With --step, --tract, --state or
    --needs-you, or without a terminal, each has its line.
    """
    from merian_campaign.reports.status import status_json, status_view

    context = CommandContext()
    then = None if at is None else past_moment(at, now=context.clock(), began=context.reader.began(name))
    if then is not None and watch:
        raise BadInputError("--watch is about what happens now; leave --at out")
    found = context.status(name, at=then)
    _see_to_step(context, name, step=step)
    if needs_you and state not in {None, GroupState.NEEDS_REVIEW}:
        raise BadInputError("--needs-you are the groups in state needs_review; leave --state out")
    if watch:
        from merian_campaign.cli.watch import watch_campaign

        watch_campaign(context, name, interval=interval)
        return
    wanted = GroupState.NEEDS_REVIEW if needs_you else state
    part = found.selected(step=step, tract=tract, state=wanted)
    if tract is not None and not part.rows:
        raise BadInputError(f"campaign {name!r} has no group for tract {tract}" + (" so" if wanted else ""))
    ends = context.reader.report(name, at=then or context.clock(), past=then is not None) if eta else None
    if as_json:
        told = status_json(part)
        if ends is not None:
            from merian_campaign.reports.outlook import outlook_json

            told |= outlook_json(ends)
        show_report(told)
        return
    if not part.rows and wanted is not None:
        note(f"no group is in state {wanted}")
        return
    screen = console()
    height = screen.height if screen.is_terminal and part.rows == found.rows else None
    if ends is None:
        show(status_view(part, width=screen.width, height=height))
        return
    from merian_campaign.reports.cells import height_of
    from merian_campaign.reports.outlook import outlook_view

    below = outlook_view(ends)
    if height is not None:
        height = max(_SMALLEST, height - height_of(below, width=screen.width))
    show(status_view(part, width=screen.width, height=height))
    show(below)


def failures(
    name: Name,
    step: StepOption = None,
    tract: TractOption = None,
    task: Annotated[str | None, typer.Option("--task", help="Only this task.", show_default=False)] = None,
    verdict: Annotated[
        Verdict | None,
        typer.Option(
            "--verdict",
            help=f"Only what failed for this: {', '.join(Verdict)}.",
            metavar="VERDICT",
            show_default=False,
        ),
    ] = None,
    quanta: Annotated[bool, typer.Option("--quanta", help="Single quanta instead of causes.")] = False,
    recovered: Annotated[
        bool, typer.Option("--recovered", help="Single quanta, also those that succeeded after failing.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help=f"All causes, not only the first {_CAUSES}, or those that fit.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say why quanta failed, by cause: what it blocks, an example, and what to type next.

    What stands in the way of most comes first. `log NAME ID` shows the log of one.

    For example: `merian-campaign failures mine --step step3 --verdict algorithm`
    """
    from merian_campaign.domain.report.causes import causes, failure_totals
    from merian_campaign.files.log_reader import last_lines
    from merian_campaign.reports.causes import causes_json, causes_view
    from merian_campaign.reports.failures import failures_json, failures_view

    context = CommandContext()
    _see_to_step(context, name, step=step)
    meant = _meant(step=step, tract=tract, task=task, verdict=verdict)
    single: tuple[FailureRow, ...] = ()
    if quanta or recovered or as_json:
        found = context.reader.failures(name, step=step, tract=tract, recovered=recovered)
        single = tuple(row for row in found if task in {None, row.task} and verdict in {None, row.verdict})
    if (quanta or recovered) and not as_json:
        if single:
            show(failures_view(single))
        else:
            note(f"no quantum{meant} {'needed a second attempt' if recovered else 'has failed'}")
        return
    rows = context.reader.causes(
        name, at=context.clock(), step=step, tract=tract, task=task, verdict=verdict and verdict.value
    )
    lines = causes(rows)
    totals = failure_totals(rows, lines)
    if as_json:
        show_report(failures_json(name, single) | causes_json(totals, lines))
        return
    if not lines:
        found_none = f"no quantum{meant} has failed"
        note(f"{found_none}{_recovered(name, totals.attempts)}" if totals.attempts else found_none)
        return
    # The log itself may be gone; what is on record of it is not.
    first = lines[0]
    said = first.log_tail.splitlines()[-_LOG_LINES:] or last_lines(first.log_path, lines=_LOG_LINES)
    logs = {first.example: said}
    most = lines if everything else lines[:_CAUSES]
    show(fitting(console(), lambda part: causes_view(name, totals, part, logs), most, everything=everything))


def fitting(
    screen: Any,  # noqa: ANN401 - a console of rich
    view: Callable[[Sequence[CauseLine]], RenderableType],
    lines: Sequence[CauseLine],
    *,
    everything: bool,
) -> RenderableType:
    """Return a view of all causes, or of as many as fit a terminal, but of a few in any case."""
    if not everything and screen.is_terminal:
        for number in range(len(lines), _FEWEST_CAUSES, -1):
            if len(screen.render_lines(view(lines[:number]))) < screen.height:
                return view(lines[:number])
        return view(lines[:_FEWEST_CAUSES])
    return view(lines)


def _see_to_step(context: CommandContext, name: str, *, step: str | None) -> None:
    """See that a campaign has a step, or had one: of one that it has not, no failure is no news.

    Raises
    ------
    BadInputError
        Raised if it has not.
    """
    if step is None or step in (known := context.reader.steps(name)):
        return
    steps = dict.fromkeys((*known, *(row.step for row in context.reader.board(name))))
    if step not in steps:
        raise BadInputError(f"campaign {name!r} has no step {step!r}; it has {', '.join(steps)}")


def _meant(*, step: str | None, tract: int | None, task: str | None, verdict: Verdict | None) -> str:
    """Return in words which quanta a person asks for."""
    words = (
        f" of task {task}" if task is not None else "",
        f" of {step}" if step is not None else "",
        f" of tract {tract}" if tract is not None else "",
        f" with verdict {verdict.value}" if verdict is not None else "",
    )
    return "".join(words)


def _recovered(name: str, attempts: int) -> str:
    ran = "1 attempt that failed was" if attempts == 1 else f"{attempts:,} attempts that failed were"
    command = shown(("merian-campaign", "failures", name, "--recovered"))
    return f" for good; {ran} followed by others: {command}"


def blocks(
    name: Name,
    step: StepOption = None,
    as_json: AsJson = False,
) -> None:
    """Show a campaign's Slurm jobs: how each ended, and how long it waited, ran, and ran without work."""
    from merian_campaign.reports.blocks import blocks_json, blocks_view

    context = CommandContext()
    _see_to_step(context, name, step=step)
    rows = [row for row in context.reader.jobs(name) if step in {None, row.step}]
    if as_json:
        show_report(blocks_json(name, rows, now=context.clock()))
    elif rows:
        show(blocks_view(rows, now=context.clock()))
    else:
        note("nothing of it has run in Slurm")


def show_group(name: Name, group: GroupName, as_json: AsJson = False) -> None:
    """Show one group: its submissions, where their files lie, attempts and events."""
    from merian_campaign.domain.campaign.plan import reasons
    from merian_campaign.domain.readiness.generations import night_by_exposure
    from merian_campaign.domain.record.applied_spec import applied_spec
    from merian_campaign.reports.group_detail import group_json, group_view
    from merian_campaign.services.find import find_campaign, find_group

    context = CommandContext()
    store = context.store
    campaign = find_campaign(store, name)
    snapshot = store.snapshot(name)
    found = find_group(snapshot, group)
    why = reasons(applied_spec(campaign), snapshot, now=context.clock()).get(found.id)
    found = found if why is None else replace(found, reason=why)
    attempts = store.attempts(group_id=found.id)
    events = store.events(name, group_id=found.id)
    generations = store.generations(group_id=found.id)
    nights = night_by_exposure(snapshot)
    if as_json:
        show_report(group_json(found, attempts, events, generations, nights), campaign=name)
    else:
        show(group_view(found, attempts, events, generations, nights))


def diff(
    campaign: Campaign,
    group: Annotated[
        str | None, typer.Argument(help="Group, as STEP/KEY.", autocompletion=completion.groups)
    ] = None,
    before: Annotated[
        int | None, typer.Argument(metavar="[FROM]", help="Generation; default: the current one.", min=1)
    ] = None,
    after: Annotated[
        int | None, typer.Argument(metavar="[TO]", help="Generation; default: what there is now.", min=1)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what applying a campaign's file, as it is now, would change; nothing is done.

    With a group, what is different in the inputs of two of its generations: exposures, and what it reads;
    without TO, what a submission would be made from now, by what a tick has last seen of the registry.

    For example: `merian-campaign diff mine step3/tract9813 1 2`
    """
    if group is None:
        _what_applying_changes(campaign, as_json=as_json)
        return
    from merian_campaign.domain.readiness.generations import change_of, night_by_exposure
    from merian_campaign.reports.generation_detail import change_json, change_view
    from merian_campaign.services.generation_inputs import inputs_of

    context = CommandContext()
    found = inputs_of(
        context.store, campaign, group=group, before=before, after=after, basis_now=context.basis_now
    )
    change, nights = change_of(found.before, found.after), night_by_exposure(found.snapshot)
    if as_json:
        names = {"before": str(found.number), "after": "now" if after is None else str(after)}
        show_report(change_json(change, nights, **names), campaign=campaign)
    else:
        names = {"before": f"generation {found.number}", "after": f"generation {after}" if after else "now"}
        show(change_view(change, nights, **names))


def _what_applying_changes(campaign: str, *, as_json: bool) -> None:
    from merian_campaign.services.find import find_campaign

    context = CommandContext()
    file = campaign
    if Path(campaign).suffix not in {".yaml", ".yml"}:
        file = find_campaign(context.store, campaign).file
    found = context.changes(file)
    if as_json:
        show_report({"changes": list(found)}, campaign=campaign)
        return
    for words in found:
        say(words)
    if not found:
        note(f"{file}: nothing would change")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("list")(list_campaigns)
    app.command()(status)
    app.command()(failures)
    app.command()(blocks)
    app.command()(events)
    app.command("show")(show_group)
    app.command()(diff)
