"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from merian_campaign.cli import completion
from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.safe_text.text import one_line
from merian_campaign.domain.states import Verdict

File = Annotated[
    str,
    typer.Argument(
        help="Campaign file (YAML).", metavar="FILE", show_default=False, autocompletion=completion.files
    ),
]


def _no_file(name: str) -> str:
    """Refuse a campaign file where the campaign's name is asked for: no name has a dot.

    Raises
    ------
    BadInputError
        Raised with what to write.
    """
    if Path(name).suffix in {".yaml", ".yml"}:
        raise BadInputError(
            f"{one_line(name)!r} is a campaign file, and this command takes the name that stands in it as "
            "`campaign:`; `merian-campaign list` shows those that were applied"
        )
    return name


Name = Annotated[
    str,
    typer.Argument(
        help="Name of an applied campaign.",
        metavar="NAME",
        callback=_no_file,
        show_default=False,
        autocompletion=completion.campaigns,
    ),
]
Names = Annotated[
    list[str],
    typer.Argument(
        help="Names of applied campaigns, or patterns of them ('wide*').",
        metavar="NAME...",
        show_default=False,
        autocompletion=completion.campaigns,
    ),
]
Campaign = Annotated[
    str,
    typer.Argument(
        help="Campaign file, or name of an applied campaign.",
        metavar="FILE|NAME",
        show_default=False,
        autocompletion=completion.campaigns_and_files,
    ),
]
GroupName = Annotated[
    str,
    typer.Argument(
        help="STEP/KEY, or STEP when it has one group.",
        metavar="GROUP",
        show_default=False,
        autocompletion=completion.groups,
    ),
]
GroupNames = Annotated[
    list[str] | None,
    typer.Argument(
        help="STEP/KEY, STEP, or patterns of them ('step3/*'); several may be given. None with options that "
        "say which: all that are so.",
        metavar="[GROUP]...",
        show_default=False,
        autocompletion=completion.groups,
    ),
]
VerdictOption = Annotated[
    Verdict | None,
    typer.Option(
        "--verdict",
        help=f"Only groups with a quantum that failed for this: {', '.join(Verdict)}.",
        metavar="VERDICT",
        show_default=False,
    ),
]
AsApplied = Annotated[
    bool,
    typer.Option("--as-applied", hidden=True, help="Does nothing: an edited file stops no tick any more."),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
StepOption = Annotated[
    str | None,
    typer.Option("--step", help="Only this step.", show_default=False, autocompletion=completion.steps),
]
NightOption = Annotated[
    int | None, typer.Option("--night", help="Only this night (day_obs).", show_default=False)
]
TasksOption = Annotated[
    list[str] | None,
    typer.Option(
        "--task",
        help="Only groups with a quantum of this task that has not succeeded. Repeatable.",
        show_default=False,
    ),
]
TractOption = Annotated[int | None, typer.Option("--tract", help="Only this tract.", show_default=False)]
Reason = Annotated[str, typer.Option("--reason", "-m", help="Why, for the record.", show_default=False)]
WmsOption = Annotated[
    str | None,
    typer.Option("--wms", help="stock or campaign, instead of what the file says.", show_default=False),
]
SiteOption = Annotated[
    str | None,
    typer.Option(
        "--site",
        help="Site, instead of what the file says: a file, or a name (in MERIAN_CAMPAIGN_SITE_PATH, site, "
        "or one that comes with merian-campaign).",
        show_default=False,
    ),
]
