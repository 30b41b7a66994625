"""BPS files: which ones a step's submission reads, and what they ask for before anything is rendered."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.failures.remedy import ClusterRequest, RequestTable
from merian_campaign.domain.rendering.bps_words import UNUSED, BpsWords, merge, overruling, refused, unused
from merian_campaign.domain.spec import BpsStep, CampaignSpec
from merian_campaign.domain.spec.base import MOST_MEMORY, brief, whole_minutes
from merian_campaign.files.bps_values import check_values, text_of
from merian_campaign.files.paths import absolute, is_file
from merian_campaign.files.shipped import FRAGMENTS, shipped
from merian_campaign.files.yaml_lines import read_document

_BY_DIMENSIONS = "dimension_clustering"

_BUILT_IN = "base.yaml"
"""How stages of BPS are run for a campaign; every submission includes it."""

MOST_FILES: Final = 200
"""BPS files that one step's submission reads, those that they include among them."""

MOST_MULTIPLIER: Final = 1000.0
"""No memory request is multiplied by more."""


def included_files(spec: CampaignSpec, step: BpsStep) -> tuple[str, ...]:
    """Return the BPS files of a step's submissions, of which later ones win; the built-in one first."""
    given = (*spec.include, *step.include)
    built_in = str(shipped(FRAGMENTS, _BUILT_IN))
    return given if built_in in given else (built_in, *given)


def read_requests(spec: CampaignSpec, step: BpsStep) -> RequestTable:
    """Return what a step's BPS files and its resources ask for before any remedy, as BPS would find it.

    Raises
    ------
    BadInputError
        Raised if a file cannot be read, or has a request that would go before every task's and cluster's.
    """
    documents = []
    notes: list[str] = []
    files = included_files(spec, step)
    for file, data in _merged((*files, spec.site)):
        documents.append(data)
        if found := overruling(data):
            key = found.rpartition(".")[2]
            raise BadInputError(
                f"{file}: {found}: it would go before the {key} of every task and cluster, and no remedy "
                f"could change it; write {key} at the top of the file"
            )
        if found := refused(data):
            raise BadInputError(f"{file}: {found}")
        if spec.wms == "stock":
            words_of = ((path, UNUSED[path.rpartition(".")[2]]) for path in unused(data))
            notes += [f"{path} in {file} is not used by the stock service: {why}" for path, why in words_of]
    content = merge(documents)
    site, cloud = text_of(content.get("computeSite")), text_of(content.get("computeCloud"))
    words = BpsWords(content=content, site=site or "", cloud=cloud or "")
    options = words.find("extraQgraphOptions")
    return _with_resources(
        RequestTable(
            default_mb=_memory(words.find("requestMemory")),
            by_task=_by_task(words, "requestMemory", _memory),
            maximum_mb=_by_task(words, "requestMemoryMax", _request),
            default_maximum_mb=_request(words.find("requestMemoryMax")),
            multipliers=_by_task(words, "memoryMultiplier", _multiplier),
            default_multiplier=_multiplier(words.find("memoryMultiplier")),
            limit_mb=_request(words.find("memoryLimit")),
            default_cpus=_most_cpus(words),
            cpus_by_task=_by_task(words, "requestCpus", _positive),
            clusters=_clusters(words),
            qgraph_options=options.strip() if isinstance(options, str) else "",
            environment=words.variables(),
            unused=tuple(notes),
            files=files,
        ),
        step,
    )


def _by_task[T](words: BpsWords, key: str, read: Callable[[object], T]) -> dict[str, T]:
    """Return a key's value for each task that has another than tasks have in general, its cluster's first."""
    cluster = {task: label for label, tasks in words.clusters().items() for task in tasks}
    general = read(words.find(key))
    found = {}
    for task in dict.fromkeys((*words.tasks(), *cluster)):
        # A cluster's own request is the job's, not the task's: it is read by itself.
        inside = "" if key == "requestMemory" else cluster.get(task, "")
        value = read(words.find(key, cluster=inside, task=task))
        if value != general:
            found[task] = value
    return found


def _most_cpus(words: BpsWords) -> int:
    """Return the cores of tasks that have none of their own.

    A request beside the tasks no longer counts for one that gets a section by its remedy: then the next one
    does, of the site, of the cloud, or of the file as a whole.
    """
    places = [words.content]
    for name, own in (("site", words.site), ("cloud", words.cloud), ("bps_defined", "")):
        section = words.section(name)
        inner = section.get(own)
        places += [section, inner if isinstance(inner, Mapping) else {}]
    found = [words.find("requestCpus"), *(place.get("requestCpus") for place in places)]
    return max(_positive(value) or 1 for value in found)


def _clusters(words: BpsWords) -> tuple[ClusterRequest, ...]:
    """Return the clusters, and what they ask for themselves."""
    found = []
    for label, tasks in words.clusters().items():
        own: Mapping[str, Any] = words.section("cluster")[label]
        found.append(
            ClusterRequest(
                label=label,
                tasks=tasks,
                memory_mb=_request(own.get("requestMemory")),
                cpus=_positive(own.get("requestCpus")),
                walltime=_positive(own.get("requestWalltime")),
            )
        )
    return tuple(found)


def _with_resources(table: RequestTable, step: BpsStep) -> RequestTable:
    """Return a table with what the step itself asks for its tasks.

    Of a cluster with a request of its own, the larger of that and of its tasks' resources counts.
    """
    given = {task: own.memory for task, own in step.resources.items() if own.memory is not None}
    largest = {task: own.memory_max for task, own in step.resources.items() if own.memory_max is not None}
    cpus = {task: own.cpus for task, own in step.resources.items() if own.cpus is not None}
    multipliers = {
        task: own.memory_multiplier
        for task, own in step.resources.items()
        if own.memory_multiplier is not None
    }
    return replace(
        table,
        by_task={**table.by_task, **given},
        maximum_mb={**table.maximum_mb, **largest},
        multipliers={**table.multipliers, **multipliers},
        cpus_by_task={**table.cpus_by_task, **cpus},
        clusters=tuple(_raised(cluster, step) for cluster in table.clusters),
    )


def _raised(cluster: ClusterRequest, step: BpsStep) -> ClusterRequest:
    given = [step.resources[task] for task in cluster.tasks if task in step.resources]
    minutes = sum(whole_minutes(own.walltime) for own in given if own.walltime is not None)
    return replace(
        cluster,
        memory_mb=_larger(cluster.memory_mb, max((own.memory or 0 for own in given), default=0)),
        cpus=_larger(cluster.cpus, max((own.cpus or 0 for own in given), default=0)),
        walltime=_larger(cluster.walltime, minutes),
    )


def _larger(own: int | None, other: int) -> int | None:
    return None if own is None else max(own, other)


def _memory(value: object) -> int:
    return _request(value) or RequestTable.default_mb


def read_clusters(spec: CampaignSpec, step: BpsStep) -> Mapping[str, tuple[str, ...]]:
    """Return the tasks of a step's clusters, as BPS finds them; none unless it clusters by dimensions."""
    algorithm = ""
    found: dict[str, tuple[str, ...]] = {}
    for _, data in _merged((*included_files(spec, step), spec.site)):
        algorithm = text_of(data.get("clusterAlgorithm")) or algorithm
        sections = data.get("cluster")
        for name, section in sections.items() if isinstance(sections, dict) else ():
            labels = section.get("pipetasks") if isinstance(section, dict) else None
            if isinstance(labels, str):
                found[str(name)] = tuple(label.strip() for label in labels.split(",") if label.strip())
    return found if algorithm.rpartition(".")[2] == _BY_DIMENSIONS else {}


def _request(value: object) -> int | None:
    """Return a request of memory, MiB; what is none is left to BPS."""
    return value if type(value) is int and 0 < value <= MOST_MEMORY else None


def _positive(value: object) -> int | None:
    return value if type(value) is int and value > 0 else None


def _multiplier(value: object) -> float | None:
    """Return a multiplier; one that does not raise a request is 1, as BPS reads it."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not value < MOST_MULTIPLIER:
        return None
    return float(value) if value > 1 else 1.0


def _merged(
    files: Iterable[str], *, inside: tuple[str, ...] = (), seen: list[str] | None = None
) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """Yield BPS files and their content in the order in which later ones win, includes first."""
    seen = [] if seen is None else seen
    for file in files:
        seen.append(file)
        if len(seen) > MOST_FILES:
            raise BadInputError(f"{seen[0]}: includeConfigs: more than {MOST_FILES} files are included")
        if file in inside:
            circle = " -> ".join((*inside[inside.index(file) :], file))
            raise BadInputError(f"{inside[-1]}: includeConfigs: the includes go in a circle: {circle}")
        if inside and not is_file(Path(file)):
            raise BadInputError(f"{inside[-1]}: includeConfigs: {file} does not exist")
        document = read_document(Path(file))
        check_values(document)
        data: Mapping[str, Any] = document.data
        included = data.get("includeConfigs")
        if included:
            entries = included if isinstance(included, list) else [included]
            base = Path(file).parent
            paths = (_included(entry, base, file) for entry in entries)
            yield from _merged(paths, inside=(*inside, file), seen=seen)
        yield file, data


def _included(entry: object, base: Path, file: str) -> str:
    """Return the path of an included file, as BPS finds it."""
    if not isinstance(entry, str):
        raise BadInputError(f"{file}: includeConfigs: found {brief(entry)}; write the path of a BPS file")
    return absolute(os.path.expandvars(entry), base)
