"""Commands that only look: status, failures, blocks, show, list."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from merian_campaign.cli.options import AsJson, GroupName, Name, StepOption, TractOption
from merian_campaign.cli.output import console, note, say_fields, show, show_report
from merian_campaign.context import CommandContext
from merian_campaign.domain.errors import BadInputError


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


def status(name: Name, step: StepOption = None, tract: TractOption = None, as_json: AsJson = False) -> None:
    """Show how a campaign stands: steps, tracts, quanta, and what needs a person."""
    from merian_campaign.reports.status import Status, status_json, status_view

    context = CommandContext()
    found = Status(
        campaign=name, campaign_state=context.reader.campaign_state(name), rows=context.reader.board(name)
    )
    if step is not None and step not in {row.step for row in found.rows}:
        steps = ", ".join(dict.fromkeys(row.step for row in found.rows))
        raise BadInputError(f"campaign {name!r} has no step {step!r}; it has {steps}")
    found = found.selected(step=step, tract=tract)
    if tract is not None and not found.rows:
        raise BadInputError(f"campaign {name!r} has no group for tract {tract}")
    if as_json:
        show_report(status_json(found))
    else:
        show(status_view(found, width=console().width))


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

    context = CommandContext()
    store = context.store
    campaign = find_campaign(store, name)
    snapshot = store.snapshot(name)
    found = find_group(snapshot, group)
    why = reasons(applied_spec(campaign), snapshot, now=context.clock()).get(found.id)
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
