"""The campaign file as a whole, and the rules between its steps."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from merian_campaign.domain.spec.base import Integers, Name, Strict, tuple_of
from merian_campaign.domain.spec.data_query import check_where, spatial_term
from merian_campaign.domain.spec.grouping import ByDayObs, ByTract, Chunks, longest_key, number_of_groups
from merian_campaign.domain.spec.id_lists import check_ids
from merian_campaign.domain.spec.limits import MOST_STEPS, Limits
from merian_campaign.domain.spec.new_data import NewDataPolicy, NightComplete, OnNewData
from merian_campaign.domain.spec.resources import Afterburner
from merian_campaign.domain.spec.stack import Stack
from merian_campaign.domain.spec.steps import (
    ActionStep,
    BpsStep,
    Step,
)
from merian_campaign.domain.spec.tracts_and_nights import Discover, DiscoverNights, Tracts
from merian_campaign.domain.spec.words import (
    LONGEST_COLLECTION,
    Collection,
    CollectionList,
    FreePath,
    InstrumentName,
    PlainPath,
    SkymapName,
    VariableName,
)

MOST_GROUPS: Final = 200_000
"""Groups of a campaign, all steps together: ten steps on all tracts of a ring sky map."""

_LONGEST_VALUE: Final = 32_000
_LONGEST_ENVIRONMENT: Final = 256_000
# Of so many inputs it is looked whether they are misspelt names of steps.
_COMPARED: Final = 200


class Collections(Strict):
    """Where outputs go and what every step reads."""

    output: Annotated[Collection, Field(description="Prefix of all outputs.")]
    inputs: Annotated[CollectionList, Field(description="Input collections of every step.")] = ()
    keep_days: Annotated[
        float,
        Field(
            ge=0,
            le=36_500,
            strict=False,
            description="So long, `clean` keeps the outputs of a group that were made anew since.",
        ),
    ] = 0.0


def _steps(value: object) -> object:
    found = tuple_of(value)
    if isinstance(found, tuple) and len(found) > MOST_STEPS:
        raise ValueError(f"found {len(found)} steps; a campaign has at most {MOST_STEPS}")
    return found


def _values(environment: Mapping[str, str]) -> Mapping[str, str]:
    """Refuse values that no process can be given, or that end a line where they are listed."""
    for name, value in environment.items():
        if {"\0", "\n", "\r"} & set(value):
            raise ValueError(f"{name}: found a line break or NUL; write the value on one line")
        if len(value.encode("utf-8", "replace")) > _LONGEST_VALUE:
            raise ValueError(f"{name}: longer than {_LONGEST_VALUE} bytes; programs take no such environment")
    if sum(len(name) + len(value) for name, value in environment.items()) > _LONGEST_ENVIRONMENT:
        raise ValueError(f"longer than {_LONGEST_ENVIRONMENT} bytes altogether; no program takes that")
    return environment


class CampaignSpec(Strict):
    """A campaign: repository, collections, site, and the steps in order."""

    campaign: Annotated[Name, Field(description="Unique name of the campaign.")]
    description: Annotated[str, Field(description="For people.")] = ""
    butler: Annotated[PlainPath, Field(description="Butler repository.")]
    where: Annotated[
        str, Field(description="Data query that is added to that of every step, e.g. to leave out detectors.")
    ] = ""
    instrument: Annotated[InstrumentName, Field(description="Short name, e.g. DECam.")]
    skymap: Annotated[SkymapName | None, Field(description="Sky map of the tract steps.")] = None
    site: Annotated[PlainPath, Field(description="Site name (site/NAME.yaml) or a path.")]
    wms: Annotated[
        Literal["stock", "campaign"],
        Field(description="stock: lsst.ctrl.bps.parsl.ParslService; campaign: our own service on Parsl."),
    ] = "campaign"
    stack: Annotated[
        Stack | None, Field(description="The LSST environment; key by key before the site's own.")
    ] = None
    collections: Annotated[Collections, Field(description="Outputs, and what every step reads.")]
    include: Annotated[
        tuple[PlainPath, ...],
        BeforeValidator(tuple_of),
        Field(description="BPS files every submission includes."),
    ] = ()
    failure_rules: Annotated[
        FreePath | None, Field(description="File of failure rules, before the site's and the product's.")
    ] = None
    variables: Annotated[
        Mapping[str, str], Field(description="Defaults of ${NAME} variables that the environment may set.")
    ] = {}
    environment: Annotated[
        Mapping[VariableName, str],
        AfterValidator(_values),
        Field(description="Set for every driver and worker."),
    ] = {}
    work_dir: Annotated[
        PlainPath | None,
        Field(description="Folder of submit files and logs, on a file system all nodes see."),
    ] = None
    tracts: Annotated[
        Tracts,
        Field(description='Tracts and "first-last" ranges; or discover: those that the visits overlap.'),
    ] = ()
    limits: Annotated[Limits, Field(description="How much may be under way at once.")] = Limits()
    afterburner: Annotated[Afterburner, Field(description="What is retried, and how.")] = Afterburner()
    on_new_data: Annotated[
        NewDataPolicy,
        Field(description="What becomes of outputs that new or withdrawn data would change."),
    ] = OnNewData(action="mark")
    night_complete: Annotated[
        NightComplete | None, Field(description="When a night is reduced; default: as soon as it has raws.")
    ] = None
    bad_exposures: Annotated[
        Integers, Field(description="Left out by every step; what was made from them is stale.")
    ] = ()
    learn_memory: Annotated[
        bool, Field(description="Whether memory requests follow what quanta were measured to use.")
    ] = True
    memory_guard: Annotated[
        Literal["none", "address_space"],
        Field(description="address_space: hold each BPS job to its request by ulimit -v (stock service)."),
    ] = "none"
    steps: Annotated[
        tuple[Step, ...],
        BeforeValidator(_steps),
        Field(min_length=1, max_length=MOST_STEPS, description="In order."),
    ]

    @model_validator(mode="before")
    @classmethod
    def _check_size(cls, value: object) -> object:
        check_ids(value)
        return value

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_where(self.where)
        check_campaign_where(self)
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

    def discovers_nights(self, step: BpsStep | ActionStep) -> bool:
        """Say whether a step's groups are nights, or exposures or visits, that are discovered."""
        return self.nights_discovered(step) is not None

    def nights_discovered(self, step: BpsStep | ActionStep) -> DiscoverNights | None:
        """Return of which nights a step's groups are discovered; `None` when they are listed."""
        if not isinstance(step, BpsStep):
            return None
        match step.group_by:
            case ByDayObs(nights=found) | Chunks(ids=found) if isinstance(found, DiscoverNights):
                return found
        return None

    def on_new_data_of(self, step: BpsStep) -> OnNewData:
        """Return what becomes of a step's outputs that new data would change."""
        return step.on_new_data or self.on_new_data

    def step(self, name: str) -> BpsStep | ActionStep:
        """Return a step by name."""
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(name)

    @property
    def group_writable(self) -> bool:
        """Whether it makes a repository that all of a group may write."""
        return any(
            isinstance(step, ActionStep) and step.action == "create" and step.arguments.get("group_writable")
            for step in self.steps
        )

    def output_of(self, step: BpsStep) -> str:
        """Return the chain that collects a step's outputs."""
        return step.output or f"{self.collections.output}/{step.name}"

    def afterburner_of(self, step: BpsStep) -> Afterburner:
        """Return the retry policy of a step."""
        return step.afterburner or self.afterburner


def check_campaign_where(spec: CampaignSpec) -> None:
    """Refuse a data query of the campaign that names tracts: steps over visits would see parts."""
    found = spatial_term(spec.where)
    if found:
        raise ValueError(
            f"where: found {found!r}; it is added to the steps over exposures and visits too, which must not "
            "be constrained by tract or patch; write it in the steps that it is for"
        )


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
    unknown: set[str] = set()
    for step in spec.steps:
        for gate in step.after:
            if gate.step not in names:
                raise ValueError(
                    f"steps[{step.name}].after: there is no step {gate.step!r}{_closest(gate.step, names)}"
                )
        if isinstance(step, BpsStep):
            for entry in step.inputs or ():
                if "/" in entry or entry in names or entry in unknown or len(unknown) > _COMPARED:
                    continue
                unknown.add(entry)
                if _closest(entry, names).startswith("; did"):
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
        if grouping.cut_by == "tract" and spec.skymap is None:
            raise ValueError(f"steps[{step.name}].group_by: tract needs the campaign's skymap:")
    _check_number_of_groups(spec)


def _check_number_of_groups(spec: CampaignSpec) -> None:
    number = 0
    for step in spec.steps:
        number += (
            number_of_groups(step.group_by, tracts=spec.listed_tracts) if isinstance(step, BpsStep) else 1
        )
        if number > MOST_GROUPS:
            raise ValueError(
                f"steps[{step.name}].group_by: with this step the campaign has {number} groups, more than "
                f"{MOST_GROUPS}; make the groups larger, or cut it into several campaigns"
            )


def _check_discovery(spec: CampaignSpec, step: BpsStep) -> None:
    """Refuse to discover tracts where no step says which visits are meant."""
    before = (spec.step(name) for name in steps_before(spec, step.name))
    # One without a scope yet is looked at again when it has been read from its pipeline.
    if not any(isinstance(one, BpsStep) and one.scope in {"exposure", "visit", None} for one in before):
        raise ValueError(
            f"tracts: found discover, but no step over exposures or visits comes before {step.name!r} "
            "(after:), and only such a step says which visits are meant; list the tracts"
        )


def check_outputs(spec: CampaignSpec) -> None:
    """Refuse two steps that write into one chain, and RUN collections of too long names."""
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
        number = spec.afterburner_of(step).max_submissions
        longest = f"{output}/{longest_key(step.group_by, tracts=spec.listed_tracts)}/{number:03d}"
        if len(longest) > LONGEST_COLLECTION:
            raise ValueError(
                f"steps[{step.name}].output: it would have a collection {longest} of {len(longest)} "
                f"characters; {LONGEST_COLLECTION} fit into the names of the butler's files: shorten the "
                "output, or the names of the step or its groups"
            )


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
