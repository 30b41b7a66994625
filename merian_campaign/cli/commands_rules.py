"""Commands on failure rules: rules test, rules suggest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from merian_campaign.cli.options import AsJson, Name
from merian_campaign.cli.output import note, say, show_report
from merian_campaign.cli.plain_help import PlainTyper
from merian_campaign.context import CommandContext

_MOST: Final = 100_000

rules = PlainTyper(no_args_is_help=True, help="Failure rules: what they would have changed, and drafts.")

Limit = Annotated[
    int, typer.Option("--limit", help="Only so many failed attempts, the newest.", min=1, max=10_000_000)
]


@rules.command("test")
def try_rules(
    name: Name,
    file: Annotated[
        str | None,
        typer.Argument(
            help="Rules to try in place of the campaign's own.", metavar="[FILE]", show_default=False
        ),
    ] = None,
    limit: Limit = _MOST,
    as_json: AsJson = False,
) -> None:
    """Say what rules would have made of the failures on record; nothing is changed.

    Those of the site and of the product stay in force behind those of FILE.

    For example: `merian-campaign rules test mine rules.yaml`
    """
    from merian_campaign.domain.failures.rule_trial import trial
    from merian_campaign.files.rule_files import rules_in_force
    from merian_campaign.reports.rule_lines import trial_json, trial_lines

    context = CommandContext()
    tried = context.failure_rules(name, file=None if file is None else str(Path(file).absolute()))
    found = trial(context.reader.failure_history(name, limit=limit), rules=tried)
    if as_json:
        show_report(trial_json(found), campaign=name)
        return
    shipped = rules_in_force(campaign=None, site=None)
    for line in trial_lines(found, today=context.clock().date(), shipped=shipped):
        say(line)


@rules.command("suggest")
def suggest(name: Name, limit: Limit = _MOST, as_json: AsJson = False) -> None:
    """Print drafts of rules for failures of which none says anything, as a file of rules.

    Failures are put together by exception and message, without numbers, paths and names in them.
    """
    from merian_campaign.domain.failures.rule_trial import draft, unmatched
    from merian_campaign.reports.rule_lines import clusters_json

    context = CommandContext()
    found = unmatched(context.reader.failure_history(name, limit=limit))
    if as_json:
        show_report(clusters_json(found), campaign=name)
    elif found:
        say(draft(found).rstrip("\n"))
    else:
        note("there is no failure on record of which no rule says anything")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(rules, name="rules")
