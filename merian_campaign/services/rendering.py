"""Rendering a whole campaign to a folder, for reading and for running by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from merian_campaign.domain.campaign.plan import plan_groups
from merian_campaign.domain.preflight.facts import PipelineFacts
from merian_campaign.domain.preflight.scope import unsaid_skymap, wants_skymap
from merian_campaign.domain.record.snapshot import Remedy
from merian_campaign.domain.rendering.naming import SubmissionPaths
from merian_campaign.domain.rendering.render import RenderRequest, render, with_skymap
from merian_campaign.domain.spec import BpsStep, CampaignSpec
from merian_campaign.host.atomic_files import write_if_changed
from merian_campaign.services.runtime import CampaignSettings, Runtime


def render_all(
    *,
    spec: CampaignSpec,
    output: Path,
    runtime: Runtime,
    settings: CampaignSettings,
    pipelines: Mapping[str, PipelineFacts],
) -> tuple[tuple[Path, ...], int]:
    """Write the first submit YAML of every group, as its driver would run it.

    Parameters
    ----------
    spec, settings
        The campaign.
    output : `pathlib.Path`
        Folder.
    runtime : `Runtime`
        Where things lie.
    pipelines : `~collections.abc.Mapping`
        Of the steps of `unsaid_skymap`, by step.

    Returns
    -------
    written : `tuple` [`pathlib.Path`, ...]
        Files that are new or changed.
    same : `int`
        How many were already as they should be.
    """
    written: list[Path] = []
    same = 0
    on_skymap = {look.place for look in unsaid_skymap(spec) if wants_skymap(look, pipelines[look.place])}
    nothing = Remedy()
    for group in plan_groups(spec).wanted:
        step = spec.step(group.step)
        if not isinstance(step, BpsStep):
            continue
        directory = output / group.step / group.key / "001"
        request = RenderRequest(
            spec=spec,
            step=step,
            group=group.key,
            selection=group.selection,
            number=1,
            directory=str(directory),
            site=settings.site,
            remedy=nothing,
            quantum_wrapper=runtime.quantum_wrapper,
            requests=settings.requests[step.name],
        )
        path = Path(SubmissionPaths(directory=str(directory)).yaml)
        text = render(request)
        if spec.skymap is not None and step.name in on_skymap:
            text = with_skymap(text, spec.skymap)
        if write_if_changed(path, text):
            written.append(path)
        else:
            same += 1
    return tuple(written), same
