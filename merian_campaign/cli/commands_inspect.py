"""Commands that only look: status, failures, blocks, show, list."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from merian_campaign.cli.options import AsJson, GroupName, Name, StepOption, TractOption
from merian_campaign.cli.output import console, note, say_fields, show, show_report
from merian_campaign.context import CommandContext
from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.states import GroupState


def list_campaigns(as_json: AsJson = False) -> None:
    """List the campaigns in the tracking database."""
    campaigns = CommandContext().store.campaigns()
    if as_json:
        names = ("name", "state", "revision", "file")
        rows = [{name: getattr(campaign, name) for name in names} for campaign in campaigns]
        show_report({"campaigns": rows})
        return
    for campaign in campaigns:
        say_fields(campaign.name, campaign.state, f"revision {campaign.revision}", campaign.file)


def status(
    name: Name,
    step: StepOption = None,
    tract: TractOption = None,
    state: Annotated[
        GroupState | None, typer.Option("--state", help="Only groups in this state.", show_default=False)
    ] = None,
    needs_you: Annotated[bool, typer.Option("--needs-you", help="Only groups that need a person.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again and again, until Ctrl-C.")] = False,
    interval: Annotated[
        float, typer.Option("--interval", help="Seconds between two looks of --watch.", min=1.0)
    ] = 5.0,
    as_json: AsJson = False,
) -> None:
    """Show how a campaign stands: steps, tracts, quanta, and what needs a person.

    On a terminal it fits one screen: tracts are folded by how far they are. With --step, --tract, --state or
    --needs-you, or without a terminal, each has its line.
    """
    from merian_campaign.cli.live import read_status
    from merian_campaign.reports.status import status_json, status_view

    context = CommandContext()
    found = read_status(context, name)
    if step is not None and step not in {row.step for row in found.rows}:
        steps = ", ".join(dict.fromkeys(row.step for row in found.rows))
        raise BadInputError(f"campaign {name!r} has no step {step!r}; it has {steps}")
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
    if as_json:
        show_report(status_json(part))
        return
    if not part.rows and wanted is not None:
        note(f"no group is in state {wanted}")
        return
    screen = console()
    whole = screen.is_terminal and part.rows == found.rows
    show(status_view(part, width=screen.width, height=screen.height if whole else None))


def failures(
    name: Name,
    step: StepOption = None,
    tract: TractOption = None,
    recovered: Annotated[
        bool, typer.Option("--recovered", help="Also quanta that succeeded after failing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List quanta that have not succeeded, with verdicts; `log NAME ID` shows the log of one."""
    from merian_campaign.reports.failures import failures_json, failures_view

    rows = CommandContext().reader.failures(name, step=step, tract=tract, recovered=recovered)
    if as_json:
        show_report(failures_json(name, rows))
    elif rows:
        show(failures_view(rows))
    else:
        note("no quantum has failed" if not recovered else "no quantum needed a second attempt")


def blocks(
    name: Name,
    step: StepOption = None,
    as_json: AsJson = False,
) -> None:
    """Show a campaign's Slurm jobs: how each ended, and how long it waited, ran, and ran without work."""
    from merian_campaign.reports.blocks import blocks_json, blocks_view

    context = CommandContext()
    rows = [row for row in context.reader.jobs(name) if step in {None, row.step}]
    if as_json:
        show_report(blocks_json(name, rows, now=context.clock()))
    elif rows:
        show(blocks_view(rows, now=context.clock()))
    else:
        note("nothing of it has run in Slurm")


def show_group(name: Name, group: GroupName, as_json: AsJson = False) -> None:
    """Show one group: its submissions, where their files lie, attempts and events."""
    from merian_campaign.domain.applied_spec import applied_spec
    from merian_campaign.domain.plan import reasons
    from merian_campaign.reports.group_detail import group_json, group_view
    from merian_campaign.services.control import find_campaign, find_group

    store = CommandContext().store
    campaign = find_campaign(store, name)
    snapshot = store.snapshot(name)
    found = find_group(snapshot, group)
    why = reasons(applied_spec(campaign), snapshot).get(found.id)
    found = found if why is None else replace(found, reason=why)
    attempts = store.attempts(group_id=found.id)
    events = store.events(name, group_id=found.id)
    if as_json:
        show_report(group_json(found, attempts, events), campaign=name)
    else:
        show(group_view(found, attempts, events))


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("list")(list_campaigns)
    app.command()(status)
    app.command()(failures)
    app.command()(blocks)
    app.command("show")(show_group)
