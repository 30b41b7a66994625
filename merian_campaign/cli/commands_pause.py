"""Commands that give orders to whole campaigns, several at once: pause, resume."""

from __future__ import annotations

import typer

from merian_campaign.cli.options import Names, Reason, Yes
from merian_campaign.cli.output import confirm, say
from merian_campaign.context import CommandContext
from merian_campaign.domain.safe_text.text import clean
from merian_campaign.domain.states import CampaignState


def pause(names: Names, reason: Reason = "", yes: Yes = False) -> None:
    """Start nothing new; what runs goes on and is followed.

    A pattern means campaigns that are active. How many they are is shown and a yes asked for.

    For example: `merian-campaign pause 'wide*'`
    """
    context = CommandContext()
    for name in _campaigns(context, names, "Pause", {CampaignState.ACTIVE}, yes=yes):
        changed = context.control.pause(name, reason=clean(reason))
        say(f"campaign {name}: paused" if changed else f"campaign {name}: is paused already; nothing changed")


def resume(names: Names, reason: Reason = "", yes: Yes = False) -> None:
    """Go on after `pause` or `cancel`, or after the campaign has paused itself.

    A pattern means campaigns that are paused. How many they are is shown and a yes asked for. Groups that
    were cancelled by themselves stay so: `retry` them. What a storm has left to a person is retried.
    """
    context = CommandContext()
    for name in _campaigns(context, names, "Resume", {CampaignState.PAUSED}, yes=yes):
        stopped = context.control.stopped(name)
        revived = context.control.resume(name, reason=clean(reason))
        if revived is None:
            say(f"campaign {name}: is active already; nothing changed")
            continue
        if stopped:
            context.control.retry(name, groups=stopped, reason="what the storm had stopped")
        say(
            f"campaign {name}: active"
            + (f"; {revived} cancelled groups go on" if revived else "")
            + (f"; retried, as the storm had stopped them: {len(stopped)} groups" if stopped else "")
        )


def _campaigns(
    context: CommandContext, words: list[str], verb: str, states: set[CampaignState], *, yes: bool
) -> tuple[str, ...]:
    """Return the campaigns that are meant, after a yes where it is not one that was named."""
    from merian_campaign.services.find import find_campaigns

    found, exact = find_campaigns(context.store, words, states=states)
    if not exact and not yes:
        confirm(f"{verb} {len(found)} campaign{'' if len(found) == 1 else 's'}: {', '.join(found)}?")
    return found


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (pause, resume):
        app.command()(command)
