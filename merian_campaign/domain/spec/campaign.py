"""The campaign file as a whole, and the rules between its steps."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from merian_campaign.domain.spec.base import Name, Strict
from merian_campaign.domain.spec.grouping import ByTract, Discover, Tracts, dimension_of
from merian_campaign.domain.spec.stack import Stack
from merian_campaign.domain.spec.steps import (
    ActionStep,
    Afterburner,
    BpsStep,
    Step,
    _tuple,
    effective_scope,
)


class Collections(Strict):
    """Where outputs go and what every step reads."""

    output: Annotated[str, Field(min_length=1, pattern=r"^[^\s,]+$", description="Prefix of all outputs.")]
    inputs: Annotated[
        tuple[str, ...], BeforeValidator(_tuple), Field(description="Input collections of every step.")
    ] = ()


class Limits(Strict):
    """How much of the campaign may be under way at once."""

    submissions: Annotated[int, Field(ge=1, description="Unfinished submissions at any moment.")] = 2
    blocks: Annotated[
        int | None, Field(ge=1, description="Blocks of all its submissions together, at any moment.")
    ] = None
    jobs: Annotated[
        int | None,
        Field(ge=1, description="Slurm jobs of this user, of whatever kind; nothing is submitted beyond it."),
    ] = None
    nice: Annotated[
        int | None,
        Field(ge=0, le=10_000, description="How far blocks stand back in Slurm's queue (sbatch --nice)."),
    ] = None


class CampaignSpec(Strict):
    """A campaign: repository, collections, site, and the steps in order."""

    campaign: Annotated[Name, Field(description="Unique name of the campaign.")]
    description: Annotated[str, Field(description="For people.")] = ""
    butler: Annotated[str, Field(min_length=1, description="Butler repository.")]
    instrument: Annotated[str, Field(min_length=1, description="Short name, e.g. DECam.")]
    skymap: Annotated[str | None, Field(description="Sky map of the tract steps.")] = None
    site: Annotated[str, Field(min_length=1, description="Site name (site/NAME.yaml) or a path.")]
    wms: Annotated[
        Literal["stock", "campaign"],
        Field(description="stock: lsst.ctrl.bps.parsl.ParslService; campaign: our own service on Parsl."),
    ] = "campaign"
    stack: Annotated[
        Stack | None, Field(description="The LSST environment; key by key before the site's own.")
    ] = None
    collections: Annotated[Collections, Field(description="Outputs, and what every step reads.")]
    include: Annotated[
        tuple[str, ...], BeforeValidator(_tuple), Field(description="BPS files every submission includes.")
    ] = ()
    failure_rules: Annotated[
        str | None, Field(description="File of failure rules, before the built-in ones.")
    ] = None
    variables: Annotated[
        Mapping[str, str], Field(description="Defaults of ${NAME} variables that the environment may set.")
    ] = {}
    environment: Annotated[Mapping[str, str], Field(description="Set for every driver and worker.")] = {}
    work_dir: Annotated[
        str | None,
        Field(description="Folder of submit files and logs, on a file system all nodes see."),
    ] = None
    tracts: Annotated[
        Tracts,
        Field(description='Tracts and "first-last" ranges; or discover: those that the visits overlap.'),
    ] = ()
    limits: Annotated[Limits, Field(description="How much may be under way at once.")] = Limits()
    afterburner: Annotated[Afterburner, Field(description="What is retried, and how.")] = Afterburner()
    memory_guard: Annotated[
        Literal["none", "address_space"],
        Field(description="address_space: hold each BPS job to its request by ulimit -v (stock service)."),
    ] = "none"
    steps: Annotated[tuple[Step, ...], BeforeValidator(_tuple), Field(min_length=1, description="In order.")]

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_names(self)
        check_gates(self)
        check_groups(self)
        check_outputs(self)
        return self

    @property
    def listed_tracts(self) -> tuple[int, ...]:
        """The tracts that the file lists; none when they are discovered."""
        return () if isinstance(self.tracts, Discover) else self.tracts

    def discovers(self, step: BpsStep | ActionStep) -> bool:
        """Say whether a step's groups are the tracts that are discovered."""
        return (
            isinstance(self.tracts, Discover)
            and isinstance(step, BpsStep)
            and isinstance(step.group_by, ByTract)
            and step.group_by.tracts is None
        )

    def step(self, name: str) -> BpsStep | ActionStep:
        """Return a step by name."""
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(name)

    def output_of(self, step: BpsStep) -> str:
        """Return the chain that collects a step's outputs."""
        return step.output or f"{self.collections.output}/{step.name}"

    def afterburner_of(self, step: BpsStep) -> Afterburner:
        """Return the retry policy of a step."""
        return step.afterburner or self.afterburner


def check_names(spec: CampaignSpec) -> None:
    """Refuse two steps of one name."""
    seen: set[str] = set()
    for step in spec.steps:
        if step.name in seen:
            raise ValueError(f"steps[{step.name}].name: two steps are called {step.name!r}")
        seen.add(step.name)


def _closest(name: str, names: list[str]) -> str:
    close = get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; steps are: {', '.join(names)}"


def check_gates(spec: CampaignSpec) -> None:
    """Refuse gates on steps that do not exist, and cycles."""
    names = [step.name for step in spec.steps]
    for step in spec.steps:
        for gate in step.after:
            if gate.step not in names:
                raise ValueError(
                    f"steps[{step.name}].after: there is no step {gate.step!r}{_closest(gate.step, names)}"
                )
        if isinstance(step, BpsStep):
            for entry in step.inputs or ():
                if "/" not in entry and entry not in names and _closest(entry, names).startswith("; did"):
                    raise ValueError(
                        f"steps[{step.name}].inputs: {entry!r} is neither a step nor a collection with a /"
                        f"{_closest(entry, names)}"
                    )
    cycle = find_cycle({step.name: tuple(gate.step for gate in step.after) for step in spec.steps})
    if cycle:
        raise ValueError(f"steps[{cycle[0]}].after: the gates go in a circle: {' -> '.join(cycle)}")


def find_cycle(edges: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return one cycle as names, first and last alike; empty when there is none."""
    done: set[str] = set()
    for start in edges:
        trail: list[str] = []
        stack = [(start, iter(edges[start]))]
        trail.append(start)
        while stack:
            name, following = stack[-1]
            successor = next(following, None)
            if successor is None:
                done.add(name)
                stack.pop()
                trail.pop()
            elif successor in trail:
                return (*trail[trail.index(successor) :], successor)
            elif successor not in done:
                trail.append(successor)
                stack.append((successor, iter(edges[successor])))
    return ()


def check_groups(spec: CampaignSpec) -> None:
    """Refuse groupings that give no group, and tract steps without a sky map."""
    for step in spec.steps:
        if not isinstance(step, BpsStep):
            continue
        grouping = step.group_by
        if spec.discovers(step):
            _check_discovery(spec, step)
        elif isinstance(grouping, ByTract) and not (
            spec.listed_tracts if grouping.tracts is None else grouping.tracts
        ):
            raise ValueError(
                f"steps[{step.name}].group_by: no tracts, so the step would have no group; "
                "list them under the campaign's tracts:, or write tracts: discover"
            )
        if dimension_of(grouping) == "tract" and spec.skymap is None:
            raise ValueError(f"steps[{step.name}].group_by: tract needs the campaign's skymap:")


def _check_discovery(spec: CampaignSpec, step: BpsStep) -> None:
    """Refuse to discover tracts where no step says which visits are meant."""
    before = (spec.step(name) for name in steps_before(spec, step.name))
    if not any(isinstance(one, BpsStep) and effective_scope(one) in {"exposure", "visit"} for one in before):
        raise ValueError(
            f"tracts: found discover, but no step over exposures or visits comes before {step.name!r} "
            "(after:), and only such a step says which visits are meant; list the tracts"
        )


def check_outputs(spec: CampaignSpec) -> None:
    """Refuse two steps that write into one chain."""
    owner: dict[str, str] = {}
    for step in spec.steps:
        if not isinstance(step, BpsStep):
            continue
        output = spec.output_of(step)
        if output in owner:
            raise ValueError(
                f"steps[{step.name}].output: {output!r} is already the output of {owner[output]!r}"
            )
        owner[output] = step.name


def steps_before(spec: CampaignSpec, name: str) -> tuple[str, ...]:
    """Return all steps that a step comes after, directly or not, latest in the file first."""
    wanted = {gate.step for gate in spec.step(name).after}
    frontier = list(wanted)
    while frontier:
        for gate in spec.step(frontier.pop()).after:
            if gate.step not in wanted:
                wanted.add(gate.step)
                frontier.append(gate.step)
    order = [step.name for step in spec.steps]
    return tuple(sorted(wanted, key=order.index, reverse=True))
