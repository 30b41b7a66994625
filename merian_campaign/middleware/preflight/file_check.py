"""What is wrong with a campaign file by its pipelines, as far as these can be loaded in this process."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

from merian_campaign.domain.preflight.clusters import Clusters, cluster_findings
from merian_campaign.domain.preflight.facts import CollectionFacts, Finding, PipelineFacts
from merian_campaign.domain.preflight.order import order_findings
from merian_campaign.domain.preflight.queries import looks
from merian_campaign.domain.preflight.scope import scope_findings
from merian_campaign.domain.rendering.render import input_collections
from merian_campaign.domain.spec import BpsStep, CampaignSpec
from merian_campaign.middleware.preflight.butler_queries import ButlerQueries


def file_findings(
    spec: CampaignSpec, pipelines: Mapping[str, PipelineFacts], *, clusters: Mapping[str, Clusters]
) -> tuple[Finding, ...]:
    """Return groupings that the tasks do not allow, clusters without an order, and steps in the wrong one.

    Parameters
    ----------
    spec : `CampaignSpec`
        The campaign.
    pipelines : `~collections.abc.Mapping`
        By step.
    clusters : `~collections.abc.Mapping`
        Clusters of BPS by step.
    """
    found: list[Finding] = []
    for look in looks(spec):
        step, pipeline = spec.step(look.place), pipelines[look.place]
        assert isinstance(step, BpsStep)
        if not pipeline.problem:
            found += scope_findings(look, step, pipeline, skymap=spec.skymap)
            found += cluster_findings(look.place, pipeline, clusters.get(look.place, {}))
    # The repository is asked only where steps alone do not explain what is read.
    if order_findings(spec, pipelines, collections={}):
        collections = _collections(spec)
        if collections is not None:
            found += order_findings(spec, pipelines, collections=collections)
    return tuple(found)


def _collections(spec: CampaignSpec) -> Mapping[str, CollectionFacts] | None:
    """Return what the repository has; `None` where it cannot be asked: the pipelines were read in a stack."""
    if find_spec("lsst") is None or find_spec("lsst.daf.butler") is None:
        return None
    names = {
        name
        for step in spec.steps
        if isinstance(step, BpsStep)
        for name in input_collections(spec=spec, step=step)
    }
    with ButlerQueries.of(spec.butler, environment=spec.environment) as queries:
        return queries.collections_if_open(names)
