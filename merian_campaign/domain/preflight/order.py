"""Whether every step comes after the steps that make what it needs, and reads what they make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from merian_campaign.domain.preflight.facts import CollectionFacts, Finding, InputNeed, PipelineFacts
from merian_campaign.domain.preflight.inputs import few
from merian_campaign.domain.preflight.queries import made_by
from merian_campaign.domain.rendering.render import input_collections
from merian_campaign.domain.spec import ActionStep, BpsStep, CampaignSpec
from merian_campaign.domain.spec.actions.calibrations import CertifyCalibrations
from merian_campaign.domain.spec.actions.data import TransferDatasets
from merian_campaign.domain.spec.campaign import steps_before


@dataclass(frozen=True, kw_only=True)
class _Miss:
    """Why a step does not get what another makes."""

    maker: str
    after: bool
    read: bool
    turned: bool


@dataclass(frozen=True, kw_only=True)
class _Route:
    """A collection through which a step's datasets of one type reach others, and the steps that fill it."""

    collection: str
    steps: frozenset[str]


def order_findings(
    spec: CampaignSpec,
    pipelines: Mapping[str, PipelineFacts],
    *,
    collections: Mapping[str, CollectionFacts],
) -> list[Finding]:
    """Return steps that need what another step makes, and are not after it or do not read it.

    Parameters
    ----------
    spec : `CampaignSpec`
        The campaign.
    pipelines : `~collections.abc.Mapping`
        Pipelines by step.
    collections : `~collections.abc.Mapping`
        What the repository has: datasets that were there before the campaign need no step.
    """
    chains = made_by(spec, pipelines).chains
    found: list[Finding] = []
    for step in spec.steps:
        pipeline = pipelines.get(step.name)
        if not isinstance(step, BpsStep) or pipeline is None or pipeline.problem:
            continue
        read = _opened(input_collections(spec=spec, step=step), chains=chains, collections=collections)
        missed: dict[tuple[_Miss, bool], list[str]] = {}
        for need in pipeline.inputs:
            miss = None
            if not _is_elsewhere(spec, need, read, collections):
                miss = _missed(spec, step, need, pipelines=pipelines, read=read)
            if miss is not None:
                missed.setdefault((miss, need.optional), []).append(need.name)
        found += [
            _finding(spec, step, miss, names=names, optional=optional)
            for (miss, optional), names in missed.items()
        ]
    return found


def _opened(
    names: Iterable[str], *, chains: Mapping[str, tuple[str, ...]], collections: Mapping[str, CollectionFacts]
) -> frozenset[str]:
    """Return collections with all that their chains hold, the chains among them."""
    found: set[str] = set()
    stack = list(names)
    while stack:
        name = stack.pop()
        if name not in found:
            found.add(name)
            stack += chains.get(name) or (collections[name].children if name in collections else ())
    return frozenset(found)


def _is_elsewhere(
    spec: CampaignSpec,
    need: InputNeed,
    read: frozenset[str],
    collections: Mapping[str, CollectionFacts],
) -> bool:
    """Say whether something that no step of this campaign makes gives a step the dataset type."""
    own = [spec.output_of(step) for step in spec.steps if isinstance(step, BpsStep)]
    for step in spec.steps:
        if not isinstance(step, ActionStep):
            continue
        match step.typed_arguments():
            case CertifyCalibrations() as given:
                own.append(given.output)
            case TransferDatasets() as given:
                # One that names no types may bring anything, reference catalogues most likely: no excuse.
                if need.name in given.dataset_types and read.intersection(given.collections):
                    return True
            case _:
                pass
    return any(
        need.name in collections[name].holds
        for name in read
        if name in collections
        and not collections[name].children
        and not any(name == other or name.startswith(f"{other}/") for other in own)
    )


def _missed(
    spec: CampaignSpec,
    step: BpsStep,
    need: InputNeed,
    *,
    pipelines: Mapping[str, PipelineFacts],
    read: frozenset[str],
) -> _Miss | None:
    """Return why a step does not get a dataset type; `None` when it does, or no step makes it."""
    before = frozenset(steps_before(spec, step.name))
    misses: list[_Miss] = []
    for maker in spec.steps:
        if not isinstance(maker, BpsStep) or maker.name == step.name:
            continue
        if need.name not in pipelines.get(maker.name, PipelineFacts()).outputs:
            continue
        routes = _routes(spec, maker, need)
        reads = [route for route in routes if route.collection in read]
        if any(route.steps <= before for route in reads):
            return None
        misses.append(
            _Miss(
                maker=maker.name,
                after=maker.name in before and not any(route.steps - before for route in reads),
                read=bool(reads),
                turned=step.name in steps_before(spec, maker.name),
            )
        )
    return max(misses, key=lambda miss: (miss.after, miss.read, not miss.turned), default=None)


def _routes(spec: CampaignSpec, maker: BpsStep, need: InputNeed) -> list[_Route]:
    output = spec.output_of(maker)
    found = [_Route(collection=output, steps=frozenset({maker.name}))]
    for step in spec.steps:
        if not isinstance(step, ActionStep):
            continue
        match step.typed_arguments():
            case CertifyCalibrations() as given if given.dataset_type == need.name and (
                given.input == output or given.input.startswith(f"{output}/")
            ):
                found.append(_Route(collection=given.output, steps=frozenset({maker.name, step.name})))
            case _:
                pass
    return found


def _finding(spec: CampaignSpec, step: BpsStep, miss: _Miss, *, names: list[str], optional: bool) -> Finding:
    what = f"it {'can use' if optional else 'needs'} {few(names)}, which {miss.maker} makes"
    output = spec.output_of(spec.step(miss.maker))  # type: ignore[arg-type]  # the maker is a BpsStep
    after = f"after: [{miss.maker}] in {step.name}"
    read = f"add {miss.maker} to its inputs:"
    if miss.turned:
        said, fix = f"and {miss.maker} comes after it", f"turn their order round: {after}"
    elif miss.after:
        said, fix = f"and does not read its output {output}", read
    elif miss.read:
        said, fix = f"and is not after {miss.maker}", f"write {after}"
    else:
        said = "and is neither after it nor reads its output"
        fix = f"write {after}" + ("" if step.inputs is None else f", and {read}")
    return Finding(place=step.name, message=f"{what}, {said}", fix=fix, fatal=not optional)
