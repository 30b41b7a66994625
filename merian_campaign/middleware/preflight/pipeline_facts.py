"""Loads the pipeline of a step and says what a preflight wants to know of it."""

from __future__ import annotations

from typing import Any

from merian_campaign.domain.preflight.facts import InputNeed, PipelineFacts, TaskFacts
from merian_campaign.domain.preflight.inputs import closest, short
from merian_campaign.domain.preflight.queries import StepQuery
from merian_campaign.domain.text import error_line


def read_pipeline(look: StepQuery, *, registry: Any) -> PipelineFacts:  # noqa: ANN401 - lsst type
    """Return what a pipeline reads and makes; its tasks are imported, as for a graph.

    Parameters
    ----------
    look : `StepQuery`
        The step.
    registry
        The repository's, which knows its dataset types; `None` without a repository.

    Raises
    ------
    OSError
        Raised if a file cannot be read, other than for not being there.
    """
    from lsst.pipe.base import Pipeline  # noqa: PLC0415 - costs seconds

    labels: frozenset[str] = frozenset()
    name = short(look.pipeline)
    file, _, subset = look.pipeline.partition("#")
    try:
        if subset:
            whole = Pipeline.from_uri(file)
            known = {*whole.subsets, *whole.task_labels}
            unknown = [word for word in subset.split(",") if word not in known and word.isidentifier()]
            if unknown:
                return PipelineFacts(
                    problem=f"{name}: no subset {unknown[0]!r}; {closest(unknown[0], known)}"
                )
        pipeline = Pipeline.from_uri(look.pipeline)
        labels = frozenset(pipeline.task_labels)
        for entry in look.config_files:
            label, _, file = entry.partition(":")
            if label in labels:
                pipeline.addConfigFile(label, file)
        for entry in look.config:
            label, _, rest = entry.partition(":")
            field, _, value = rest.partition("=")
            if label in labels:
                pipeline.addConfigOverride(label, field, value)
        graph = pipeline.to_graph(registry=registry, visualization_only=True)
    except FileNotFoundError as error:
        return PipelineFacts(problem=f"{name}: {error_line(error)}", labels=labels)
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it is the finding
        return PipelineFacts(problem=f"{name}: {error_line(error)}", labels=labels)
    needed = [
        _need(graph, type_name, node)
        for type_name, node in graph.iter_overall_inputs()
        if node is not None and not all(edge.is_init for edge in graph.consuming_edges_of(type_name))
    ]
    outputs = {other for other in graph.dataset_types if graph.producer_of(other) is not None}
    calibrating = _calibrating(graph)
    return PipelineFacts(
        labels=labels,
        inputs=tuple(needed),
        outputs=frozenset(outputs),
        tasks=tuple(_task(node, calibrating=calibrating) for node in graph.tasks.values()),
        declared=_declared(graph, subset),
    )


def _task(node: Any, *, calibrating: frozenset[str]) -> TaskFacts:  # noqa: ANN401 - lsst type
    return TaskFacts(
        label=node.label,
        dimensions=frozenset(node.dimensions.names),
        reads=frozenset(edge.parent_dataset_type_name for edge in node.iter_all_inputs()),
        makes=frozenset(edge.parent_dataset_type_name for edge in node.iter_all_outputs()),
        calibration=node.label in calibrating,
    )


def _calibrating(graph: Any) -> frozenset[str]:  # noqa: ANN401 - lsst type
    """Return the tasks that make calibrations, and those whose products go into them."""
    found: set[str] = set()
    for label, node in reversed(list(graph.tasks.items())):
        for edge in node.outputs.values():
            name = edge.parent_dataset_type_name
            made = graph.dataset_types[name]
            if (made is not None and made.is_calibration) or any(
                reader.label in found for reader in graph.consumers_of(name)
            ):
                found.add(label)
    return frozenset(found)


def _declared(graph: Any, subset: str) -> frozenset[str] | None:  # noqa: ANN401 - lsst type
    steps = graph.steps
    return frozenset(steps.get_dimensions(subset).names) if subset in steps else None


def _need(graph: Any, name: str, node: Any) -> InputNeed:  # noqa: ANN401 - lsst types
    edges = [edge for edge in graph.consuming_edges_of(name) if not edge.is_init]
    return InputNeed(
        name=name,
        dimensions=frozenset(node.dimensions.names),
        prerequisite=bool(node.is_prerequisite),
        calibration=bool(node.is_calibration),
        # With a function of its own to look it up, nobody else can tell where it would be found.
        optional=all(
            edge.defer_query_constraint
            or graph.tasks[edge.task_label].is_optional(edge.connection_name)
            or graph.tasks[edge.task_label].get_lookup_function(edge.connection_name) is not None
            for edge in edges
        ),
    )
