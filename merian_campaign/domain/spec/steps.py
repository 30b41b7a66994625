"""Steps of a campaign: BPS steps and butler actions, and the rules that bind them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import InitErrorDetails

from merian_campaign.domain.selection import OF_EXPOSURES
from merian_campaign.domain.spec.actions import ACTIONS, Action
from merian_campaign.domain.spec.base import Name, Strict, brief, tuple_of
from merian_campaign.domain.spec.data_query import check_where, names_tract, spatial_term, without_quoted
from merian_campaign.domain.spec.exposure_selection import Select
from merian_campaign.domain.spec.grouping import ByDimension, Everything, Grouping
from merian_campaign.domain.spec.new_data import NewDataPolicy
from merian_campaign.domain.spec.resources import MOST_TRIES, Afterburner, Resources
from merian_campaign.domain.spec.tolerance import Tolerance
from merian_campaign.domain.spec.words import (
    Collection,
    CollectionList,
    ConfigFile,
    Label,
    Pipeline,
    PlainPath,
    replaced_by_bps,
)

Scope = Literal["exposure", "visit", "global", "tract", "instrument"]

LOOKS_LIKE: Mapping[str, Scope] = {
    "step0": "exposure",
    "step1": "exposure",
    "step2a": "visit",
    "step2b": "tract",
    "step2c": "instrument",
    "step2d": "visit",
    "step2e": "instrument",
    "step3": "tract",
}
"""Scopes of subsets of drp_pipe's DRP-Merian of 2022: in other pipelines these names mean other things.

A hint in messages, no more. Until scopes were read from pipelines, such a name decided: `applied_spec` knows.
"""

SCOPES_OPEN: Final = "scopes open"
"""Context for pydantic: steps may do without a scope, which is read from their pipelines after that."""

MOST_NAMED: Final = 500
"""Steps or collections that one step may name."""

_CONFIG = re.compile(r"[A-Za-z_]\w*:[A-Za-z_][\w.\[\]'\"]*=[^=\n]*")


def _after(value: object) -> object:
    if not isinstance(value, list):
        return value
    return tuple({"step": entry} if isinstance(entry, str) else entry for entry in value)


class After(Strict):
    """A gate: what has to be done before this step's groups are released."""

    step: Annotated[str, Field(max_length=64, description="Name of an earlier step.")]
    match: Annotated[
        Literal["auto", "all"],
        Field(description="auto: the groups whose tracts, nights or visits overlap; all: every group."),
    ] = "auto"
    require: Annotated[
        Literal["within_budget", "complete"],
        Field(description="complete: every quantum succeeded, whatever that step's loss budget is."),
    ] = "within_budget"


class _StepBase(Strict):
    name: Annotated[Name, Field(description="Unique in the file; part of collections and folders.")]
    description: Annotated[str, Field(description="For people.")] = ""
    after: Annotated[
        tuple[After, ...],
        BeforeValidator(_after),
        Field(
            max_length=MOST_NAMED,
            description="Steps that have to be done before, by name or with conditions.",
        ),
    ] = ()
    priority: Annotated[
        int, Field(ge=0, le=10_000, description="Of groups that are ready, those of higher ones start first.")
    ] = 0


class BpsStep(_StepBase):
    """A pipeline subset run through BPS."""

    pipeline: Annotated[Pipeline, Field(description="Pipeline file or URI, with #subset.")]
    scope: Annotated[
        Scope | None,
        Field(description="What a selection may constrain; read from the pipeline where it can be loaded."),
    ] = None
    where: Annotated[str, Field(description="Data query; the group's own term is added to it.")] = ""
    select: Annotated[Select, Field(description="Exposures by what the registry knows; added to where.")] = (
        Select()
    )
    group_by: Annotated[Grouping, Field(description="How it is cut into groups.")] = Everything()
    inputs: Annotated[
        CollectionList | None,
        Field(
            max_length=MOST_NAMED,
            description="Input collections or step names, instead of: all steps before it, campaign inputs.",
        ),
    ] = None
    output: Annotated[Collection | None, Field(description="Chain for the step's outputs.")] = None
    config: Annotated[
        tuple[str, ...],
        BeforeValidator(tuple_of),
        Field(description="Overrides as pipetask -c label:field=value."),
    ] = ()
    config_files: Annotated[
        tuple[ConfigFile, ...],
        BeforeValidator(tuple_of),
        Field(
            max_length=MOST_NAMED, description="Files of overrides as pipetask -C label:file; before config."
        ),
    ] = ()
    include: Annotated[
        tuple[PlainPath, ...], BeforeValidator(tuple_of), Field(description="More BPS files to include.")
    ] = ()
    resources: Annotated[Mapping[Label, Resources], Field(description="By task label.")] = {}
    afterburner: Annotated[Afterburner | None, Field(description="Instead of the campaign's.")] = None
    loss_budget: Annotated[
        float, Field(ge=0, lt=1, strict=False, description="Fraction of quanta that may be lost for good.")
    ] = 0.0
    tolerate: Annotated[
        tuple[Tolerance, ...],
        BeforeValidator(tuple_of),
        Field(max_length=MOST_NAMED, description="Losses that are taken besides, by task, cause or data ID."),
    ] = ()
    nice: Annotated[
        int | None,
        Field(ge=0, le=10_000, description="Of this step's blocks, instead of the campaign's limits.nice."),
    ] = None
    if_empty: Annotated[
        Literal["wait", "done", "needs_review"] | None,
        Field(
            description="What becomes of a group that selects no data: wait for them, the default; done or "
            "needs_review: its graph is built. Of one with data whose first graph is empty: default done, "
            "shown as empty, but needs_review where its inputs hold nothing of a dataset type for any group."
        ),
    ] = None
    on_new_data: Annotated[NewDataPolicy | None, Field(description="Instead of the campaign's.")] = None
    partial: Annotated[
        tuple[Label, ...],
        BeforeValidator(tuple_of),
        Field(
            max_length=MOST_NAMED,
            description="Tasks that may make, for each group, a product of what the group selects only.",
        ),
    ] = ()

    @property
    def subset(self) -> str:
        """The subset after ``#``; empty when the whole pipeline runs."""
        return self.pipeline.partition("#")[2]

    @property
    def overrides(self) -> tuple[str, ...]:
        """Files and single overrides as words of a command line of pipetask."""
        files = (word for entry in self.config_files for word in ("-C", entry))
        return (*files, *(word for entry in self.config for word in ("-c", entry)))

    @property
    def kind(self) -> Literal["bps"]:
        """Tell it from an action."""
        return "bps"

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> BpsStep:
        for entry in self.config:
            if not _CONFIG.fullmatch(entry):
                raise ValueError(
                    f"config: found {brief(entry)}; write label:field=value, with one = only, as pipetask "
                    "wants it"
                )
            if (odd := replaced_by_bps(entry)) is not None:
                raise ValueError(
                    f"config: found {odd!r}: braces, $ and <ENV: are BPS's own marks; leave them out"
                )
        check_where(self.where)
        if self.scope is not None:
            check_selection(self)
        elif info.context != SCOPES_OPEN:
            raise ValueError(missing_scope(self))
        return self


def effective_scope(step: BpsStep) -> Scope:
    """Return the step's scope, which the file has or was read from its pipeline when the file was."""
    assert step.scope is not None
    return step.scope


def missing_scope(step: BpsStep, *, why: str = "") -> str:
    """Return what to write where no scope is written, and its pipeline could not be read for ``why``."""
    hint = LOOKS_LIKE.get(step.subset)
    looks = (
        f" ({step.subset} was {hint} in DRP-Merian of 2022; that of other pipelines may differ)"
        if hint is not None
        else ""
    )
    return (
        f"scope: missing, and not to be read from the pipeline{f': {why}' if why else ''}; write scope: "
        f"exposure, visit, global, tract or instrument, by what its tasks work on{looks}"
    )


def check_selection(step: BpsStep) -> None:
    """Refuse selections that silently give partial visits or partial tracts.

    Rules from the subset descriptions of drp_pipe's DRP-Merian pipeline: steps over exposures and
    visits never with tract or patch constraints, because those select partial visits; tract-level
    steps always with a tract, because otherwise quanta see partial visit coverage.

    Raises
    ------
    ValueError
        Raised with what was found and what to write instead.
    """
    scope = effective_scope(step)
    if isinstance(step.group_by, ByDimension) and scope != "global":
        raise ValueError(
            f"group_by: found {step.group_by.cut_by}; what it has to do with visits and tracts is not known, "
            "so the step waits for all of the steps before it, and they wait for all of it: write "
            "scope: global"
        )
    if scope == "tract":
        _check_tract_scope(step)
    else:
        _check_wider_scope(step, scope)


def _check_wider_scope(step: BpsStep, scope: Scope) -> None:
    """Refuse what would let a step of no tract see a part of its visits."""
    grouped, spatial = step.group_by.cut_by, spatial_term(step.where)
    if grouped == "tract" or spatial:
        field, found = ("group_by", "tract") if grouped == "tract" else ("where", spatial)
        raise ValueError(
            f"{field}: found {found!r}; a step of scope {scope} must not be constrained by tract or "
            "patch, it would run on partial visits; group by day_obs, exposure or visit instead, "
            "or set the scope if it is wrong"
        )
    if scope == "instrument" and (grouped or without_quoted(step.where).strip() or step.select.terms()):
        raise ValueError(
            "a step of scope instrument makes one product of everything: remove where, select and group_by"
        )
    if scope == "global" and step.select.of_exposures:
        raise ValueError(
            f"select: found {step.select.of_exposures}; a step of scope global takes all but bands "
            "and detectors; remove it"
        )


def _check_tract_scope(step: BpsStep) -> None:
    """Refuse what would let a step by tract see a part of the visits of one."""
    grouped = step.group_by.cut_by
    if step.select.of_exposures:
        raise ValueError(
            f"select: found {step.select.of_exposures}; a step of scope tract must not be cut by exposure, "
            "each group would see partial visit coverage; band and exclude_detectors are all it may have"
        )
    if grouped in OF_EXPOSURES:
        raise ValueError(
            f"group_by: found {grouped}; a step of scope tract must not be cut by visit or night, each group "
            "would see partial visit coverage; write group_by: tract"
        )
    if grouped != "tract" and not names_tract(step.where):
        raise ValueError(
            "group_by: a step of scope tract needs a tract, otherwise quanta see partial visit coverage; "
            "write group_by: tract, or name a tract in where"
        )


class ActionStep(_StepBase):
    """A butler action: one command that changes the repository, seen there before it is repeated."""

    action: Annotated[str, Field(max_length=64, description="Name of the action.")]
    arguments: Annotated[Mapping[str, Any], Field(description="The action's own arguments.")] = {}
    max_submissions: Annotated[int, Field(ge=1, le=MOST_TRIES, description="How often it may be tried.")] = 3

    @property
    def kind(self) -> Literal["action"]:
        """Tell it from a BPS step."""
        return "action"

    @model_validator(mode="after")
    def _check(self) -> ActionStep:
        if self.action not in ACTIONS:
            raise ValueError(f"action: found {self.action!r}; known actions: {', '.join(sorted(ACTIONS))}")
        try:
            self.typed_arguments()
        except ValidationError as error:
            raise ValidationError.from_exception_data("arguments", _under("arguments", error)) from None
        return self

    def typed_arguments(self) -> Action:
        """Return the arguments as the action's own model."""
        return ACTIONS[self.action].model_validate(dict(self.arguments))


def _under(key: str, error: ValidationError) -> list[InitErrorDetails]:
    """Return the errors of an inner model as errors of its place in the outer one."""
    found: list[InitErrorDetails] = []
    for entry in error.errors(include_url=False):
        details = InitErrorDetails(type=entry["type"], loc=(key, *entry["loc"]), input=entry["input"])
        if "ctx" in entry:
            details["ctx"] = entry["ctx"]
        found.append(details)
    return found


def _step_tag(value: object) -> str:
    if isinstance(value, ActionStep) or (isinstance(value, Mapping) and "action" in value):
        return "action"
    return "bps"


Step = Annotated[
    Annotated[BpsStep, Tag("bps")] | Annotated[ActionStep, Tag("action")], Discriminator(_step_tag)
]
