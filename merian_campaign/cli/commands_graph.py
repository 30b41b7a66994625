"""Pictures of campaigns and pipelines."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from merian_campaign.cli.campaign_argument import campaign_spec
from merian_campaign.cli.options import Campaign, StepOption
from merian_campaign.cli.output import note, on_terminal, write_bytes
from merian_campaign.context import CommandContext
from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.safe_text.text import clean, one_line

_ORTHO = re.compile(r"""splines\s*=\s*"?ortho"?""")


class Format(StrEnum):
    """What a picture is written as."""

    MERMAID = "mermaid"
    DOT = "dot"
    SVG = "svg"
    PDF = "pdf"


def graph(
    campaign: Campaign,
    step: StepOption = None,
    form: Annotated[
        Format, typer.Option("--format", "-f", help="svg and pdf need Graphviz.")
    ] = Format.MERMAID,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", help="File; default: standard output.", metavar="FILE", show_default=False
        ),
    ] = None,
) -> None:
    """Draw a campaign: steps, gates and, by name, their states. With --step, the pipeline of that step.

    For example: `merian-campaign graph mine -f svg -o mine.svg`
    """
    if form in {Format.SVG, Format.PDF} and shutil.which("dot") is None:
        raise BadInputError(
            f"--format {form}: Graphviz's `dot` is not there; install it, or use mermaid or dot"
        )
    text = _campaign(campaign, form) if step is None else _pipeline(campaign, step, form)
    if output is None and form is Format.PDF and on_terminal():
        raise BadInputError("--format pdf is not for a terminal: name a file with --output")
    content = _drawn(text, form) if form in {Format.SVG, Format.PDF} else text.encode()
    if output is None:
        write_bytes(content)
        return
    Path(output).write_bytes(content)
    note(f"{output}: written")


def _drawn(text: str, form: Format) -> bytes:
    """Return what Graphviz makes of a graph.

    Raises
    ------
    BadInputError
        Raised if it makes nothing of it.
    """
    # Graphviz gives up on some large graphs with edges at right angles, which is how pipelines are drawn.
    tries = dict.fromkeys((text, _ORTHO.sub("splines=polyline", text), _ORTHO.sub("splines=line", text)))
    said = ""
    for number, graph in enumerate(tries):
        done = subprocess.run(["dot", f"-T{form}"], input=graph.encode(), capture_output=True, check=False)
        if done.returncode == 0 and done.stdout:
            if number:
                note("Graphviz could not draw edges at right angles; they are drawn straight")
            return done.stdout
        said = said or done.stderr.decode(errors="replace").strip() or f"exit status {done.returncode}"
    first = one_line(said.partition("\n")[0])
    raise BadInputError(f"Graphviz's `dot` drew nothing: {first}; --format dot writes what it was given")


def _campaign(campaign: str, form: Format) -> str:
    from merian_campaign.domain.campaign.campaign_graph import dot, mermaid, nodes

    spec, named = campaign_spec(campaign)
    groups = CommandContext().store.snapshot(spec.campaign).groups if named else ()
    picture = nodes(spec, states=[(group.step, group.state) for group in groups])
    return mermaid(picture) if form is Format.MERMAID else dot(picture, name=spec.campaign)


def _pipeline(campaign: str, step: str, form: Format) -> str:
    """Return the picture that ``pipetask build`` draws of a step's pipeline."""
    from merian_campaign.domain.safe_text.shell import shown
    from merian_campaign.domain.spec import BpsStep
    from merian_campaign.host.regular_files import MEDIUM, read_text

    spec, _ = campaign_spec(campaign)
    found = next((entry for entry in spec.steps if entry.name == step), None)
    if not isinstance(found, BpsStep):
        names = [entry.name for entry in spec.steps if isinstance(entry, BpsStep)]
        raise BadInputError(f"{step!r} is no step with a pipeline; such steps: {', '.join(names)}")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pipeline"
        option = "--pipeline-mermaid" if form is Format.MERMAID else "--pipeline-dot"
        program = Path(sys.executable).with_name("pipetask")
        words = (str(program), "build", "-p", found.pipeline, *found.overrides, option, str(file))
        done = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode != 0 or not file.exists():
            said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
            raise BadInputError(f"{shown(words)}: {one_line(said[-1]) if said else 'no picture was drawn'}")
        text = read_text(file, limit=MEDIUM, errors="replace")
        return clean(text, limit=max(1, len(text)))


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(graph)
