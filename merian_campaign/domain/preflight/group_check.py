"""The part of a preflight that concerns one group, done by its driver before its first graph is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from merian_campaign.domain.preflight import collisions, inputs
from merian_campaign.domain.preflight.checks import read_findings
from merian_campaign.domain.preflight.clusters import Clusters, cluster_findings
from merian_campaign.domain.preflight.facts import Finding, PipelineFacts, RepositoryFacts
from merian_campaign.domain.preflight.queries import StepQuery, step_look
from merian_campaign.domain.preflight.scope import scope_findings
from merian_campaign.domain.rendering import naming
from merian_campaign.domain.rendering.naming import RunName
from merian_campaign.domain.selection import Selection
from merian_campaign.domain.spec import BpsStep, CampaignSpec


@dataclass(frozen=True, kw_only=True)
class GroupCheck:
    """What a driver looks at before it builds a group's first graph.

    Parameters
    ----------
    repository : `str`
        Butler repository.
    instrument : `str`
        Short name.
    skymap : `str` or `None`
        Sky map.
    step : `BpsStep`
        The step.
    group : `str`
        The group's key.
    values : `tuple` [`int`, ...]
        What it selects.
    look : `StepQuery`
        What to ask.
    chains : `tuple` [`str`, ...]
        Names that must be chains or free: the step's and the group's output.
    run : `str`
        The RUN collection that must not be there.
    clusters : `~collections.abc.Mapping`
        Task labels by cluster of BPS.
    first : `bool`
        Whether the group has no graph yet. Of a later one it is only looked whether its data query needs
        the sky map.
    """

    repository: str
    instrument: str
    skymap: str | None
    step: BpsStep
    group: str
    values: tuple[int, ...]
    look: StepQuery
    chains: tuple[str, ...]
    run: str
    clusters: Clusters = field(default_factory=dict)
    first: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            **asdict(self),
            "version": 1,
            "clusters": {name: list(labels) for name, labels in self.clusters.items()},
            "step": self.step.model_dump(mode="json", exclude_unset=True),
            "look": self.look.to_json(),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` gave."""
        given = {key: content for key, content in value.items() if key != "version"}
        return cls(
            **{
                **given,
                "step": BpsStep.model_validate(given["step"]),
                "look": StepQuery.from_json(given["look"]),
                "values": tuple(given["values"]),
                "chains": tuple(given["chains"]),
                "clusters": {name: tuple(labels) for name, labels in given.get("clusters", {}).items()},
            }
        )


def group_check(
    spec: CampaignSpec,
    step: BpsStep,
    *,
    group: str,
    selection: Selection,
    number: int,
    generation: int = 1,
    clusters: Clusters | None = None,
    first: bool = True,
) -> GroupCheck:
    """Return what to look at before a submission of a group, of one that has no graph yet by default."""
    output = spec.output_of(step)
    return GroupCheck(
        repository=spec.butler,
        instrument=spec.instrument,
        skymap=spec.skymap,
        step=step,
        group=group,
        values=selection.values,
        look=step_look(spec, step, place=f"{step.name}/{group}", values=selection.values),
        chains=(output, naming.group_output(step_output=output, group=group, generation=generation)),
        run=naming.run_collection(
            RunName(step_output=output, group=group, number=number, generation=generation)
        ),
        clusters=clusters or {},
        first=first,
    )


def group_findings(
    check: GroupCheck, *, pipeline: PipelineFacts, repository: RepositoryFacts
) -> tuple[Finding, ...]:
    """Return what would make a group's submission fail, and what is only worth knowing.

    That it selects nothing is never fatal here: an empty graph is for the step's ``if_empty`` to judge. That
    its inputs hold nothing of a dataset type for any group is, unless the step says ``done``.
    """
    look, step = check.look, check.step
    found = inputs.pipeline_findings(step, pipeline)
    found += scope_findings(look, step, pipeline, skymap=check.skymap)
    found += cluster_findings(look.place, pipeline, check.clusters)
    for chain in check.chains:
        found += collisions.chain_finding(look.place, chain=chain, collections=repository.collections)
    found += collisions.run_finding(look.place, run=check.run, collections=repository.collections)
    groups = {check.group: check.values}
    found += inputs.tract_findings(
        look, groups=groups, pipeline=pipeline, skymap=check.skymap, tracts=repository.tracts
    )
    found += read_findings(look, step, groups=groups, pipeline=pipeline, repository=repository, made=None)
    absent = step.if_empty != "done"
    judged = (
        replace(entry, fatal=entry.fatal and entry.nowhere and absent) if entry.empties else entry
        for entry in found
    )
    return tuple(dict.fromkeys(judged))


def refusal(findings: tuple[Finding, ...]) -> str:
    """Return why a submission ends before its graph: the first fatal finding, and how many more."""
    fatal = [finding for finding in findings if finding.fatal]
    if not fatal:
        return ""
    more = f" (and {len(fatal) - 1} more, see driver.log)" if len(fatal) > 1 else ""
    return f"{fatal[0].text}{more}"
