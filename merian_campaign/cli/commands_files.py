"""Commands on campaign files: init, validate, render, apply, diff, schema."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from merian_campaign.cli.options import File, SiteOption, WmsOption, Yes
from merian_campaign.cli.output import answers, confirm, note, say, show_json
from merian_campaign.context import CommandContext

if TYPE_CHECKING:
    from merian_campaign.domain.preflight.facts import PipelineFacts
    from merian_campaign.domain.spec import CampaignSpec


class Starter(StrEnum):
    """What a first campaign file is made for; `campaign/starters` has one of each."""

    DEMO = "demo"
    MERIAN = "merian"
    HSC = "hsc"


def init(
    file: Annotated[
        str, typer.Argument(help="File to write, NAME.yaml; the campaign is called NAME.", metavar="FILE")
    ] = "campaign.yaml",
    starter: Annotated[
        Starter,
        typer.Option("--from", help="Data it is for: those of the demo, DECam's for Merian, or HSC's."),
    ] = Starter.MERIAN,
    butler: Annotated[
        str | None,
        typer.Option(
            "--butler-config", "-b", help="Butler repository: path, label or URI.", show_default=False
        ),
    ] = None,
    inputs: Annotated[
        str | None,
        typer.Option("--input", "-i", help="Input collections, commas between them.", show_default=False),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            help="All outputs go below this collection.",
            metavar="COLLECTION",
            show_default=False,
        ),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option("--data-query", "-d", help="Data query added to every step's.", show_default=False),
    ] = None,
) -> None:
    """Write a first campaign file, with a remark at what to change; nothing is overwritten.

    Beside it goes the JSON Schema by which editors complete and check it.

    What the environment has of its variables (REPO, SITE; DEMO_DIR) is written into it, and what is given
    as pipetask has it.

    For example: `merian-campaign init mine.yaml --from hsc`
    """
    from merian_campaign.files.starters import write_starter

    given = {"butler": butler, "inputs": inputs, "output": output, "where": where}
    path, new_schema = write_starter(starter.value, file, environ=CommandContext().environ, given=given)
    say(str(path))
    if new_schema:
        note(f"{path.with_name('campaign.schema.json')}: written, for editors")
    note(f"edit it, then: merian-campaign validate {shlex.quote(str(path))}")


def validate(file: File) -> None:
    """Check a campaign file and every file it names; say what it would run.

    Groupings, clusters of BPS and the order of steps are held against the pipelines where these can be loaded
    here.
    """
    from merian_campaign.domain.campaign.plan import plan_groups
    from merian_campaign.domain.errors import BadInputError
    from merian_campaign.domain.preflight.queries import pipeline_look
    from merian_campaign.domain.spec import BpsStep
    from merian_campaign.files.bps_files import read_clusters
    from merian_campaign.middleware.preflight.file_check import file_findings

    context = CommandContext()
    loaded = context.load(file)
    bps = [step for step in loaded.spec.steps if isinstance(step, BpsStep)]
    clusters = {step.name: read_clusters(loaded.spec, step) for step in bps}
    pipelines = context.read_pipelines(loaded.spec, tuple(map(pipeline_look, bps)))
    found = file_findings(loaded.spec, pipelines, clusters=clusters)
    if wrong := [finding for finding in found if finding.fatal]:
        raise BadInputError("\n".join(f"{file}: {finding.place}: {finding.text}" for finding in wrong))
    for finding in found:
        note(f"{finding.place}: {finding.text}")
    _say_unread(pipelines)
    wanted = plan_groups(loaded.spec).wanted
    for step in loaded.spec.steps:
        if loaded.spec.discovers(step):
            size = getattr(step.group_by, "size", 1) if isinstance(step, BpsStep) else 1
            tracts = "a tract" if size == 1 else f"of {size} tracts"
            say(f"{step.name}: a group {tracts}, discovered once visits are defined")
            continue
        if loaded.spec.discovers_nights(step):
            say(f"{step.name}: groups of what is ingested by then, discovered night by night")
            continue
        number = sum(1 for group in wanted if group.step == step.name)
        say(f"{step.name}: {number} group{'' if number == 1 else 's'}")
    _say_unused(loaded.spec)
    size = f"{len(loaded.spec.steps)} steps, {len(wanted)} groups"
    note(f"{file}: campaign {loaded.spec.campaign!r} is valid: {size}")


def _say_unread(pipelines: Mapping[str, PipelineFacts], *, what: str = "tasks not looked at") -> None:
    """Say which pipelines could not be loaded, once for each reason, whichever the subset."""
    unread: dict[str, list[str]] = {}
    for step, pipeline in pipelines.items():
        if pipeline.problem:
            unread.setdefault(re.sub(r"#[^:\s]*: ", ": ", pipeline.problem, count=1), []).append(step)
    for why, steps in unread.items():
        note(f"{what}, of {', '.join(steps)}: {why}")


def _say_unused(spec: CampaignSpec) -> None:
    """Say what BPS files ask for that is done here in another way."""
    from merian_campaign.services.campaign_settings import settings_of

    tables = settings_of(spec).requests.values()
    for words in dict.fromkeys(words for table in tables for words in table.unused):
        note(words)


def render(
    file: File,
    output: Annotated[
        str,
        typer.Option("--output", "-o", help="Folder to write to: STEP/GROUP/001/submit.yaml.", metavar="DIR"),
    ] = "rendered",
    wms: WmsOption = None,
    site: SiteOption = None,
) -> None:
    """Write the BPS submit YAML of every group's first submission. Nothing is submitted or recorded."""
    from merian_campaign.domain.preflight.scope import unsaid_skymap
    from merian_campaign.services.campaign_settings import settings_of
    from merian_campaign.services.rendering import render_all

    context = CommandContext()
    loaded = context.load(file, wms=wms, site=site)
    unsaid = unsaid_skymap(loaded.spec)
    pipelines = context.read_pipelines(loaded.spec, unsaid) if unsaid else {}
    written, same = render_all(
        spec=loaded.spec,
        output=Path(output).absolute(),
        runtime=context.runtime,
        settings=settings_of(loaded.spec),
        pipelines=pipelines,
    )
    _say_unread(pipelines, what="drivers add the sky map if a task works by it; tasks not looked at")
    for path in written:
        say(str(path))
    later = [step.name for step in loaded.spec.steps if loaded.spec.discovers(step)]
    if later:
        note(f"not rendered, their tracts are discovered once visits are defined: {', '.join(later)}")
    note(f"{len(written)} files written, {same} unchanged")


def apply(
    file: File,
    move: Annotated[bool, typer.Option("--move", help="The campaign's file now lies here.")] = False,
    wms: WmsOption = None,
    site: SiteOption = None,
    yes: Yes = False,
) -> None:
    """Record a campaign file: create the campaign, or give it a new revision and new groups.

    What that changes is shown, and on a terminal a yes asked for: what is done stays as it is.
    """
    context = CommandContext()
    changes = context.changes(file, wms=wms, site=site)
    for line in changes:
        note(line)
    if changes and not yes and answers():
        confirm("Apply these changes?")
    done = context.apply(file, move=move, wms=wms, site=site)
    what = f"revision {done.campaign.revision}" if done.changed else "nothing changed"
    say(f"campaign {done.campaign.name}: {what}, {len(done.plan.wanted)} groups ({done.new_groups} new)")
    for group in done.plan.orphaned:
        note(
            f"no longer in the file: {group.step}/{group.key}; what it made is kept, and readers see it only "
            "where other groups have its data"
        )


def schema() -> None:
    """Print the JSON Schema of campaign files, for editors."""
    from merian_campaign.files.schema import campaign_schema

    show_json(campaign_schema())


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (init, validate, render, apply, schema):
        app.command()(command)
