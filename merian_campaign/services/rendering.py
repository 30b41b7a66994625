"""Rendering a whole campaign to a folder, for reading and for running by hand."""

from __future__ import annotations

from pathlib import Path

from merian_campaign.domain.naming import SubmissionPaths
from merian_campaign.domain.plan import plan_groups
from merian_campaign.domain.render import RenderRequest, render
from merian_campaign.domain.snapshot import Remedy
from merian_campaign.domain.spec import BpsStep, CampaignSpec
from merian_campaign.host.atomic_files import write_if_changed
from merian_campaign.services.runtime import CampaignSettings, Runtime


def render_all(
    *, spec: CampaignSpec, output: Path, runtime: Runtime, settings: CampaignSettings
) -> tuple[tuple[Path, ...], int]:
    """Write the first submit YAML of every group.

    Returns
    -------
    written : `tuple` [`pathlib.Path`, ...]
        Files that are new or changed.
    same : `int`
        How many were already as they should be.
    """
    written: list[Path] = []
    same = 0
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
            remedy=Remedy(),
            quantum_wrapper=runtime.quantum_wrapper,
            requests=settings.requests[step.name],
        )
        path = Path(SubmissionPaths(directory=str(directory)).yaml)
        if write_if_changed(path, render(request)):
            written.append(path)
        else:
            same += 1
    return tuple(written), same
