"""What to ask: the part of each step that a repository can answer, and what the campaign makes by itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Self

from merian_campaign.domain.campaign.plan import plan_groups
from merian_campaign.domain.preflight.facts import CollectionFacts, InputNeed, PipelineFacts
from merian_campaign.domain.record.snapshot import GroupView
from merian_campaign.domain.rendering.render import SKYMAP_TERM, data_query, input_collections
from merian_campaign.domain.selection import Selection, column_of
from merian_campaign.domain.spec import ActionStep, BpsStep, CampaignSpec
from merian_campaign.domain.spec.actions.calibrations import CertifyCalibrations, CollectionChain, nanoseconds
from merian_campaign.domain.spec.actions.data import IngestRaws, ReferenceCatalogue, TransferDatasets
from merian_campaign.domain.spec.actions.repository import RegisterSkymap, WriteCuratedCalibrations
from merian_campaign.domain.spec.steps import effective_scope

_MANY = 200

PIXELS: Final = re.compile(r"(?!htm7$)(healpix|htm|mq3c|q3c)[0-9]+")
"""Pixels that no data query joins with visits or tracts (``lsst.daf.butler.queries.overlaps``)."""


@dataclass(frozen=True, kw_only=True)
class StepQuery:
    """What a repository is asked about one step, or about one group of it.

    Parameters
    ----------
    place : `str`
        Step, or step/group.
    pipeline : `str`
        Pipeline with subset.
    config : `tuple` [`str`, ...]
        Overrides as pipetask takes them.
    config_files : `tuple` [`str`, ...]
        Files of overrides, before those.
    inputs : `tuple` [`str`, ...]
        Collections that it reads, in order.
    query : `str`
        Its data query.
    by : `str`
        Dimension by which its groups differ; empty when there is one.
    exposures : `bool`
        Whether its query selects exposures.
    groups : `bool`
        Whether it has any group yet.
    """

    place: str
    pipeline: str
    config: tuple[str, ...] = ()
    config_files: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    query: str = ""
    by: str = ""
    exposures: bool = False
    groups: bool = True

    @property
    def on_skymap(self) -> bool:
        """Whether its data query names a sky map."""
        return SKYMAP_TERM.search(self.query) is not None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` gave."""
        lists = ("config", "config_files", "inputs")
        return cls(**{**value, **{name: tuple(value.get(name, ())) for name in lists}})


def on_sky(look: StepQuery, pipeline: PipelineFacts) -> bool:
    """Say whether a step's data query names a sky map, as it is written or as its driver will write it."""
    by_skymap = any("skymap" in task.dimensions for task in pipeline.tasks)
    return look.by == "tract" or look.on_skymap or by_skymap


def looks(spec: CampaignSpec, *, existing: tuple[GroupView, ...] = ()) -> tuple[StepQuery, ...]:
    """Return what to ask: one question a kind and step, whatever the number of its groups.

    Parameters
    ----------
    spec : `CampaignSpec`
        The campaign.
    existing : `tuple` [`GroupView`, ...], optional
        Its groups so far, those of discovered tracts among them.
    """
    values: dict[str, list[int]] = {}
    for group in plan_groups(spec, existing=existing).wanted:
        values.setdefault(group.step, []).extend(group.selection.values)
    return tuple(
        step_look(spec, step, place=step.name, values=values.get(step.name))
        for step in spec.steps
        if isinstance(step, BpsStep)
    )


def step_look(spec: CampaignSpec, step: BpsStep, *, place: str, values: Iterable[int] | None) -> StepQuery:
    """Return what to ask about a step as far as these values of its groups' dimension go.

    There are none (`None`) as long as its tracts have not been discovered.
    """
    by = step.group_by.cut_by
    term = _bounds(by, sorted(values)) if by and values is not None else ""
    query = data_query(spec=spec, step=step, selection=Selection())
    return StepQuery(
        place=place,
        pipeline=step.pipeline,
        config=step.config,
        config_files=step.config_files,
        inputs=input_collections(spec=spec, step=step),
        query=f"{query} AND {term}" if term else query,
        by=by,
        exposures=effective_scope(step) in {"exposure", "visit"},
        groups=values is not None,
    )


def pipeline_look(step: BpsStep) -> StepQuery:
    """Return what to ask about a step's pipeline alone."""
    return StepQuery(
        place=step.name, pipeline=step.pipeline, config=step.config, config_files=step.config_files
    )


def _bounds(dimension: str, values: list[int]) -> str:
    """Return a term for all values of all groups; of many, only the limits: they are sorted out later."""
    column = column_of(dimension)
    if len(values) == 1:
        return f"{column} = {values[0]}"
    if len(values) <= _MANY:
        return f"{column} IN ({', '.join(map(str, values))})"
    return f"{column} >= {values[0]} AND {column} <= {values[-1]}"


@dataclass(frozen=True, kw_only=True)
class Promise:
    """A validity range that a certify step will give; nanoseconds of TAI since 1970."""

    step: str
    dataset_type: str
    collection: str
    begin: int
    end: int
    words: str


@dataclass(frozen=True, kw_only=True)
class Made:
    """What the campaign's own steps make.

    Parameters
    ----------
    collections, under : `frozenset` [`str`]
        Collections by name, and beginnings of names.
    chains : `~collections.abc.Mapping`
        Children of the chains that it defines.
    datasets : `frozenset` [`str`]
        Dataset types.
    promises : `tuple` [`Promise`, ...]
        Validity ranges.
    actions : `frozenset` [`str`]
        Names of the actions among its steps.
    """

    collections: frozenset[str] = frozenset()
    under: frozenset[str] = frozenset()
    chains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    datasets: frozenset[str] = frozenset()
    promises: tuple[Promise, ...] = ()
    actions: frozenset[str] = frozenset()

    def makes_collection(self, name: str) -> bool:
        """Say whether a collection is made by some step."""
        return name in self.collections or any(
            name == start or name.startswith(f"{start}/") for start in self.under
        )

    @property
    def unforeseeable(self) -> bool:
        """Whether some step may bring anything."""
        return bool(self.actions & {"command", "transfer-datasets"})


def made_by(spec: CampaignSpec, pipelines: Mapping[str, PipelineFacts]) -> Made:
    """Return what the steps of a campaign make."""
    parts = [
        _by_pipeline(spec, step, pipelines.get(step.name, PipelineFacts()))
        if isinstance(step, BpsStep)
        else _by_action(spec, step)
        for step in spec.steps
    ]
    return Made(
        collections=frozenset().union(*(part.collections for part in parts)),
        under=frozenset().union(*(part.under for part in parts)),
        chains={name: children for part in parts for name, children in part.chains.items()},
        datasets=frozenset().union(*(part.datasets for part in parts)),
        promises=tuple(promise for part in parts for promise in part.promises),
        actions=frozenset().union(*(part.actions for part in parts)),
    )


def _by_pipeline(spec: CampaignSpec, step: BpsStep, pipeline: PipelineFacts) -> Made:
    return Made(collections=frozenset({spec.output_of(step)}), datasets=pipeline.outputs)


def _by_action(spec: CampaignSpec, step: ActionStep) -> Made:  # noqa: PLR0911 - one a kind of action
    actions = frozenset({step.action})
    match step.typed_arguments():
        case CertifyCalibrations() as given:
            promises = (_promise(step.name, given),)
            return Made(collections=frozenset({given.output}), promises=promises, actions=actions)
        case CollectionChain() as given:
            chains = {given.parent: given.children}
            return Made(collections=frozenset({given.parent}), chains=chains, actions=actions)
        case IngestRaws() as given:
            under = frozenset({given.run or f"{spec.instrument}/raw"})
            return Made(under=under, datasets=frozenset({"raw"}), actions=actions)
        case ReferenceCatalogue() as given:
            under = frozenset({given.collection, "refcats"})
            return Made(under=under, datasets=frozenset({given.name}), actions=actions)
        case WriteCuratedCalibrations() as given:
            datasets = frozenset({*given.expect, "camera", "defects"})
            return Made(under=frozenset({f"{spec.instrument}/calib"}), datasets=datasets, actions=actions)
        case TransferDatasets() as given:
            datasets = frozenset(given.dataset_types)
            return Made(under=frozenset(given.collections), datasets=datasets, actions=actions)
        case RegisterSkymap():
            return Made(under=frozenset({"skymaps"}), datasets=frozenset({"skyMap"}), actions=actions)
        case _:
            return Made(actions=actions)


def _promise(step: str, given: CertifyCalibrations) -> Promise:
    return Promise(
        step=step,
        dataset_type=given.dataset_type,
        collection=given.output,
        begin=nanoseconds(given.begin),
        end=nanoseconds(given.end),
        words=f"{given.begin} to {given.end}",
    )


def searched(
    inputs: Iterable[str], *, collections: Mapping[str, CollectionFacts], made: Made | None = None
) -> tuple[str, ...]:
    """Return the collections that a search of these goes through, chains opened, in order.

    Parameters
    ----------
    inputs : iterable of `str`
        Input collections.
    collections : `~collections.abc.Mapping`
        What the repository has.
    made : `Made`, optional
        Chains that steps define take the place of what the repository has by these names.
    """
    own = {} if made is None else made.chains
    found: dict[str, None] = {}
    stack = list(reversed(list(inputs)))
    opened: set[str] = set()
    while stack:
        name = stack.pop()
        children = own.get(name) or (collections[name].children if name in collections else ())
        if not children:
            found.setdefault(name)
        elif name not in opened:
            opened.add(name)
            stack += reversed(children)
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class Presence:
    """A question: for which groups of a step there are datasets of this type."""

    look: StepQuery
    need: InputNeed


def holds(need: InputNeed, names: Iterable[str], collections: Mapping[str, CollectionFacts]) -> bool:
    """Say whether any of these collections has ever held the dataset type."""
    return any(need.name in collections[name].holds for name in names if name in collections)


def presences(
    look: StepQuery,
    pipeline: PipelineFacts,
    *,
    collections: Mapping[str, CollectionFacts],
    made: Made | None = None,
) -> tuple[Presence, ...]:
    """Return what must be there for each group and is not made by the campaign itself.

    What is by pixel as well can only be looked for by the graph.
    """
    names = searched(look.inputs, collections=collections, made=made)
    return tuple(
        Presence(look=look, need=need)
        for need in pipeline.inputs
        if look.groups
        and not (need.prerequisite or need.optional)
        and need.dimensions & {"exposure", "visit", "tract"}
        and not any(map(PIXELS.fullmatch, need.dimensions))
        and (made is None or need.name not in made.datasets)
        and holds(need, names, collections)
    )


def calibration_types(pipeline: PipelineFacts) -> tuple[str, ...]:
    """Return the dataset types of a pipeline whose validity ranges must cover its exposures."""
    return tuple(
        need.name for need in pipeline.inputs if need.calibration and need.prerequisite and not need.optional
    )
