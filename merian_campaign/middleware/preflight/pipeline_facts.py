"""Loads the pipeline of a step and says what a preflight wants to know of it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from merian_campaign.domain.preflight.facts import InputNeed, PipelineFacts, TaskFacts
from merian_campaign.domain.preflight.inputs import closest, short
from merian_campaign.domain.preflight.queries import StepQuery
from merian_campaign.domain.safe_text.text import error_line
from merian_campaign.domain.spec import CampaignSpec
from merian_campaign.middleware.programs import in_environment


class PipelinesHere:
    """Pipelines as this process can load them, each once."""

    def __init__(self) -> None:
        self._facts: dict[tuple[str, tuple[str, ...], tuple[str, ...]], PipelineFacts] = {}
        self._files: dict[str, Any] = {}

    def __call__(self, spec: CampaignSpec, asked: tuple[StepQuery, ...]) -> Mapping[str, PipelineFacts]:
        """Return what pipelines read and make, by step.

        Parameters
        ----------
        spec : `CampaignSpec`
            The campaign, for its variables.
        asked : `tuple` [`StepQuery`, ...]
            The steps.
        """
        with in_environment(spec.environment):
            return self.read(asked)

    @property
    def possible(self) -> bool:
        """Whether this Python can load any."""
        return find_spec("lsst") is not None and find_spec("lsst.pipe.base") is not None

    def read(self, asked: tuple[StepQuery, ...]) -> Mapping[str, PipelineFacts]:
        """Do the same in the environment as it is."""
        if not self.possible:
            problem = "this Python has no lsst.pipe.base, set up the LSST stack before the command"
            return {look.place: PipelineFacts(problem=problem) for look in asked}
        return {look.place: self._read(look) for look in asked}

    def _read(self, look: StepQuery) -> PipelineFacts:
        key = (look.pipeline, look.config, look.config_files)
        if key not in self._facts:
            try:
                self._facts[key] = read_pipeline(look, registry=None, files=self._files)
            except OSError as error:
                return PipelineFacts(problem=f"{short(look.pipeline)}: {error_line(error)}")
        return self._facts[key]


class _NoSubsetError(Exception):
    """A pipeline has no subset or task of a name."""


def read_pipeline(
    look: StepQuery,
    *,
    registry: Any,  # noqa: ANN401 - lsst type
    files: dict[str, Any],
) -> PipelineFacts:
    """Return what a pipeline reads and makes; its tasks are imported, as for a graph.

    Parameters
    ----------
    look : `StepQuery`
        The step.
    registry
        The repository's, which knows its dataset types; `None` without a repository.
    files : `dict`
        Whole pipelines by file: each is parsed once for all of its subsets, which takes seconds.

    Raises
    ------
    OSError
        Raised if a file cannot be read, other than for not being there.
    """
    labels: frozenset[str] = frozenset()
    name = short(look.pipeline)
    try:
        pipeline = _loaded(look.pipeline, files)
        labels = frozenset(pipeline.task_labels)
        _override(pipeline, look)
        graph = pipeline.to_graph(registry=registry, visualization_only=True)
    except _NoSubsetError as error:
        return PipelineFacts(problem=f"{name}: {error}")
    except FileNotFoundError as error:
        return PipelineFacts(problem=f"{name}: {error_line(error)}{_of_stack(error)}", labels=labels)
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it is the finding
        return PipelineFacts(problem=f"{name}: {error_line(error)}{_of_stack(error)}", labels=labels)
    subset = look.pipeline.partition("#")[2]
    # By name: the graph gives them in an order that differs from process to process.
    needed = [
        _need(graph, type_name, node)
        for type_name, node in sorted(graph.iter_overall_inputs())
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


def _of_stack(error: Exception) -> str:
    """Return what to do about an error of which the LSST stack is the cure: a package of it is not set up."""
    package = "eups://" in str(error)
    module = isinstance(error, ModuleNotFoundError) and str(error.name).partition(".")[0] == "lsst"
    return "; set up the LSST stack before the command, or say how under stack:" if package or module else ""


def _loaded(uri: str, files: dict[str, Any]) -> Any:  # noqa: ANN401 - lsst type
    """Return the pipeline of a URI; see `read_pipeline`."""
    from lsst.pipe.base import LabelSpecifier, Pipeline  # noqa: PLC0415 - costs seconds

    file, _, subset = uri.partition("#")
    if not subset:
        return Pipeline.from_uri(uri)
    if file not in files:
        files[file] = Pipeline.from_uri(file)
    whole = files[file]
    known = {*whole.subsets, *whole.task_labels}
    labels = set(subset.split(","))
    unknown = sorted(labels - known)
    if not unknown:
        return whole.subsetFromLabels(LabelSpecifier(labels=labels))
    if all(word.isidentifier() for word in unknown):
        raise _NoSubsetError(f"no subset {unknown[0]!r}; {closest(unknown[0], known)}")
    # A range of labels, or something that lsst finds its own words for.
    return Pipeline.from_uri(uri)


def _override(pipeline: Any, look: StepQuery) -> None:  # noqa: ANN401 - lsst type
    for entry in look.config_files:
        label, _, file = entry.partition(":")
        if label in pipeline.task_labels:
            pipeline.addConfigFile(label, file)
    for entry in look.config:
        label, _, rest = entry.partition(":")
        field, _, value = rest.partition("=")
        if label in pipeline.task_labels:
            pipeline.addConfigOverride(label, field, value)


def _task(node: Any, *, calibrating: frozenset[str]) -> TaskFacts:  # noqa: ANN401 - lsst type
    return TaskFacts(
        label=node.label,
        dimensions=frozenset(node.dimensions.names),
        reads=frozenset(edge.parent_dataset_type_name for edge in node.iter_all_inputs()),
        makes=frozenset(edge.parent_dataset_type_name for edge in node.iter_all_outputs()),
        calibration=node.label in calibrating,
    )


def _calibrating(graph: Any) -> frozenset[str]:  # noqa: ANN401 - lsst type
    """Return the tasks that make calibrations, what they are made of, and what is made of them."""
    found: set[str] = set()
    for label, node in reversed(list(graph.tasks.items())):
        for edge in node.outputs.values():
            name = edge.parent_dataset_type_name
            made = graph.dataset_types[name]
            if (made is not None and made.is_calibration) or any(
                reader.label in found for reader in graph.consumers_of(name)
            ):
                found.add(label)
    for label, node in graph.tasks.items():
        makers = [graph.producing_edge_of(edge.parent_dataset_type_name) for edge in node.inputs.values()]
        # E.g. pictures of a bias, binned.
        if makers and all(maker is not None and maker.task_label in found for maker in makers):
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
