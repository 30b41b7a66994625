"""Findings about what a step reads: pipeline, collections, exposures, datasets, tracts, filters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from merian_campaign.domain.preflight.facts import (
    CollectionFacts,
    Exposure,
    Finding,
    PipelineFacts,
    Present,
    RepositoryFacts,
    Selected,
)
from merian_campaign.domain.preflight.queries import Made, StepQuery, holds, on_sky, searched
from merian_campaign.domain.selection import OF_EXPOSURES
from merian_campaign.domain.spec import BpsStep
from merian_campaign.domain.spec.base import as_ranges

_FEW = 4
_ADD = "add the step that makes it"
_AFTER = "see what the step that should have made it did (is it in after:?)"

type Groups = Mapping[str, tuple[int, ...]]
"""What each group of a step selects, by its key."""


def few(words: Iterable[object], *, at_most: int = _FEW) -> str:
    """Return the first few of many as text."""
    texts = [str(word) for word in words]
    more = f" and {len(texts) - at_most} more" if len(texts) > at_most else ""
    return ", ".join(texts[:at_most]) + more


def short(pipeline: str) -> str:
    """Return a pipeline without its folder."""
    return pipeline.rpartition("/")[2]


def closest(name: str, known: Iterable[str]) -> str:
    """Return a hint at what may have been meant, or at what there is."""
    names = sorted(known)
    close = get_close_matches(name, names, n=2)
    return f"did you mean {' or '.join(close)}?" if close else f"there are: {few(names, at_most=12)}"


def pipeline_findings(step: BpsStep, pipeline: PipelineFacts) -> list[Finding]:
    """Return what is wrong with a step's pipeline, and which task labels it does not have."""
    if pipeline.problem:
        return [
            Finding(
                place=step.name,
                message=pipeline.problem,
                fix="correct pipeline: or config:, or set up its package",
            )
        ]
    named = [(label, "resources") for label in step.resources]
    named += [(entry.partition(":")[0], "config") for entry in step.config]
    named += [(entry.partition(":")[0], "config_files") for entry in step.config_files]
    named += [(label, "partial") for label in step.partial]
    return [
        Finding(
            place=step.name,
            message=f"{field}: {short(step.pipeline)} has no task {label!r}",
            fix=closest(label, pipeline.labels),
            # An override of an unknown task ends graph building; a request for one is only never used.
            fatal=field in {"config", "config_files"},
        )
        for label, field in dict.fromkeys(named)
        if label not in pipeline.labels
    ]


def collection_findings(
    look: StepQuery, *, collections: Mapping[str, CollectionFacts], made: Made | None = None
) -> list[Finding]:
    """Return input collections that are not there and that nobody makes."""
    found = []
    for name in look.inputs:
        if name in collections or (made is not None and made.makes_collection(name)):
            continue
        known = [other for other in collections if other.count("/") <= name.count("/") + 1]
        close = get_close_matches(name, known, n=1, cutoff=0.8)
        hint = f", did you mean {close[0]}?" if close else ""
        nobody = ", and no step makes it" if made is not None else ""
        found.append(
            Finding(
                place=look.place,
                message=f"the input collection {name} is not in the repository{nobody}{hint}",
                fix=f"correct inputs:, or {_ADD if made is not None else _AFTER}",
            )
        )
    return found


def dataset_findings(
    look: StepQuery,
    pipeline: PipelineFacts,
    *,
    collections: Mapping[str, CollectionFacts],
    made: Made | None = None,
) -> list[Finding]:
    """Return dataset types that the pipeline needs, no step makes, and no input collection has ever held."""
    names = searched(look.inputs, collections=collections, made=made)
    missing = [
        need
        for need in pipeline.inputs
        if not need.optional
        and (made is None or need.name not in made.datasets)
        and not holds(need, names, collections)
    ]
    if not missing or (made is not None and not any(name in collections for name in names)):
        return []
    found = []
    for need in missing:
        there = [
            other
            for other, facts in collections.items()
            if need.name in facts.holds and facts.kind != "CHAINED"
        ]
        hint = f"; it is in {few(there, at_most=2)}" if there else ""
        unsure = made is not None and made.unforeseeable
        found.append(
            Finding(
                place=look.place,
                message=f"the pipeline needs {need.name}, and none of its input collections holds any{hint}",
                fix=f"correct inputs:, or {_ADD if made is not None else _AFTER}",
                fatal=not unsure,
                empties=not need.prerequisite,
                nowhere=True,
            )
        )
    return found


def of_group(look: StepQuery, exposure: Exposure, values: tuple[int, ...]) -> bool:
    """Say whether an exposure belongs to a group."""
    return look.by not in OF_EXPOSURES or not set(values).isdisjoint(OF_EXPOSURES[look.by].values(exposure))


def _place(look: StepQuery, keys: list[str], groups: Groups) -> tuple[str, str]:
    """Return where a finding of some groups belongs, and in words which they are if not one or all."""
    if len(groups) == 1 or len(keys) == 1:
        return (look.place if "/" in look.place else f"{look.place}/{keys[0]}"), ""
    return look.place, f"{len(keys)} of {len(groups)} groups: "


def _which(look: StepQuery, keys: list[str], groups: Groups) -> str:
    if len(keys) < 2:  # noqa: PLR2004 - its name is in the place
        return ""
    if look.by in {"day_obs", "tract"}:
        return few(as_ranges(value for key in keys for value in groups[key]), at_most=6)
    return few(keys)


def selection_findings(
    look: StepQuery, step: BpsStep, *, groups: Groups, selected: Selected, made: Made | None = None
) -> list[Finding]:
    """Return groups of a step over exposures or visits for which its query selects no exposure."""
    if selected.problem:
        return [
            Finding(
                place=look.place,
                message=f"its data query is refused: {selected.problem}",
                fix=f"correct where: or select:, the query is: {look.query}",
            )
        ]
    by_value: dict[int, bool] = {}
    for exposure in selected.exposures:
        values = OF_EXPOSURES[look.by].values(exposure) if look.by in OF_EXPOSURES else (0,)
        by_value.update(dict.fromkeys(values, True))
    empty = [key for key, values in groups.items() if not any(value in by_value for value in values or (0,))]
    ingests = made is not None and "ingest-raws" in made.actions
    # A whole list of ids of which some are not there is a slip of the pen, most likely.
    found = [] if ingests else _unknown_ids(look, groups, set(by_value), empty)
    if not empty:
        return found
    place, what = _place(look, empty, groups)
    which = _which(look, empty, groups)
    return [
        Finding(
            place=place,
            message=f"{what}no exposure is selected"
            + (f" ({which})" if which else f" by: {look.query}")
            + (f"; {selected.known}" if selected.known else ""),
            fix="its raws may come with the ingest-raws step"
            if ingests
            else "correct select:, where: or group_by:, or ingest the raws",
            fatal=step.if_empty == "needs_review" and not ingests,
            empties=True,
        ),
        *found,
    ]


def _unknown_ids(look: StepQuery, groups: Groups, known: set[int], empty: list[str]) -> list[Finding]:
    if look.by not in {"exposure", "visit"}:
        return []
    found = []
    for key, values in groups.items():
        missing = [value for value in values if value not in known]
        if key in empty or not missing:
            continue
        found.append(
            Finding(
                place=f"{look.place}/{key}" if "/" not in look.place else look.place,
                message=f"{len(missing)} of its {len(values)} {look.by}s are not there or not selected: "
                f"{few(as_ranges(missing))}",
                fix="ingest them, or take them out of the list",
                fatal=False,
            )
        )
    return found


def presence_findings(
    look: StepQuery,
    step: BpsStep,
    *,
    groups: Groups,
    present: Mapping[str, Present],
    skip: frozenset[str] = frozenset(),
) -> list[Finding]:
    """Return groups for which the input collections hold nothing of a dataset type.

    Parameters
    ----------
    look, step
        The step.
    groups : `~collections.abc.Mapping`
        Its groups.
    present : `~collections.abc.Mapping`
        Answers by dataset type.
    skip : `frozenset` [`str`]
        Groups that select nothing anyway.
    """
    found = []
    for name, answer in present.items():
        if answer.problem:
            found.append(
                Finding(
                    place=look.place,
                    message=f"its search for {name} is refused: {answer.problem}",
                    fix=f"correct where:, the query is: {look.query}",
                )
            )
            continue
        empty = [
            key
            for key, values in groups.items()
            if key not in skip and not (answer.values.intersection(values) if look.by else answer.values)
        ]
        if empty:
            place, what = _place(look, empty, groups)
            which = _which(look, empty, groups)
            found.append(
                Finding(
                    place=place,
                    message=f"{what}its input collections hold no {name} of what it selects"
                    + (f" ({which})" if which else ""),
                    fix="correct inputs: or the selection"
                    + ("" if step.if_empty == "needs_review" else "; as it is, such a group is done at once"),
                    fatal=step.if_empty == "needs_review",
                    empties=True,
                )
            )
    return found


def tract_findings(
    look: StepQuery,
    *,
    groups: Groups,
    pipeline: PipelineFacts,
    skymap: str | None,
    tracts: frozenset[int] | None,
    made: Made | None = None,
) -> list[Finding]:
    """Return tracts that the sky map does not have; without it, nothing that names it is selected."""
    if skymap is None or not on_sky(look, pipeline):
        return []
    if tracts is None:
        registers = made is not None and "register-skymap" in made.actions
        return [
            Finding(
                place="skymap",
                message=f"the sky map {skymap} is not registered",
                fix="a register-skymap step will do that"
                if registers
                else "`butler register-skymap`, or add that step",
                fatal=not registers,
            )
        ]
    if look.by != "tract":
        return []
    missing = sorted({value for values in groups.values() for value in values} - tracts)
    if not missing:
        return []
    there = sorted(tracts)
    return [
        Finding(
            place=look.place,
            message=f"{len(missing)} tracts are not in {skymap}: {few(as_ranges(missing))}",
            fix=f"correct tracts:; it has {few(as_ranges(there))}",
            empties=True,
        )
    ]


def filter_findings(step: BpsStep, repository: RepositoryFacts, *, made: Made | None = None) -> list[Finding]:
    """Return filters and bands of a selection that the registry does not know."""
    if repository.filters is None:
        registers = made is not None and "register-instrument" in made.actions
        return (
            []
            if registers or not repository.there
            else [
                Finding(
                    place="instrument",
                    message="the instrument is not registered in the repository",
                    fix="`butler register-instrument`, or add that step",
                )
            ]
        )
    names, bands = set(repository.filters), set(repository.filters.values())
    wanted = [("physical_filter", name, names) for name in step.select.physical_filter]
    wanted += [("band", name, bands) for name in step.select.band]
    return [
        Finding(
            place=step.name,
            message=f"select: {field} {name!r} is not registered",
            fix=f"{closest(name, known)}; new filters come with `butler register-instrument`",
        )
        for field, name, known in wanted
        if name not in known
    ]
