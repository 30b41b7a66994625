"""What must be known of BPS files, sites and failure rules before anything is rendered."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from merian_campaign.domain.errors import BadFileError, BadInputError
from merian_campaign.domain.failures.remedy import ClusterRequest, RequestTable
from merian_campaign.domain.rendering.bps_words import UNUSED, BpsWords, merge, overruling, refused, unused
from merian_campaign.domain.rendering.render import OWN_SITE_CLASSES
from merian_campaign.domain.resources.cluster import Blocks
from merian_campaign.domain.resources.site_profile import SiteProfile
from merian_campaign.domain.spec import BpsStep, CampaignSpec
from merian_campaign.domain.spec.base import MOST_CORES, MOST_MEMORY, Strict, Walltime, brief, whole_minutes
from merian_campaign.domain.spec.site import DriverOptions, Larger, SiteOptions
from merian_campaign.domain.spec.stack import Stack
from merian_campaign.domain.spec.words import SITE_PATTERN, SlurmFeatures, SlurmName, own_name
from merian_campaign.files.bps_values import check_values
from merian_campaign.files.complaints import bad_file
from merian_campaign.files.paths import absolute, is_file
from merian_campaign.files.shipped import FRAGMENTS, shipped
from merian_campaign.files.stack_files import absolute_stack
from merian_campaign.files.yaml_lines import Document, Key, read_document

_WORKER_KEYS = ("cores", "cores_per_node", "max_workers")
_SLURM_CLASSES = {"Slurm", "SlurmWorkQueue", "TripleSlurm"}
_OWN_AMOUNTS = re.compile(
    r"#SBATCH\s+(?:-[Ncn]\b|--(?:exclusive|oversubscribe|mem|nodes|ntasks|cpus|cores)\b)"
)
_OPTION = re.compile(r"#SBATCH\s+--(partition|account|qos|time)[=\s]+(\S+)")

_BY_DIMENSIONS = "dimension_clustering"

_BUILT_IN = "base.yaml"
"""How stages of BPS are run for a campaign; every submission includes it."""

MOST_FILES: Final = 200
"""BPS files that one step's submission reads, those that they include among them."""

MOST_MULTIPLIER: Final = 1000.0
"""No memory request is multiplied by more."""

_OWN_CLASSES = "merian_campaign.wms.sites."
_OWN_SLURM = f"{_OWN_CLASSES}Slurm"
_LONGEST_SECONDS = 86400

_Whole = Annotated[int | None, Field(le=MOST_CORES)]


class _Section(Strict):
    """What is read of a site's own section, as far as it must not be odd."""

    name: Annotated[str, Field(max_length=64, pattern=SITE_PATTERN), AfterValidator(own_name)]
    site_class: Annotated[str, Field(alias="class", max_length=200, pattern=r"^[A-Za-z_][A-Za-z0-9_.]*$")] = (
        ""
    )
    partition: SlurmName | None = None
    account: SlurmName | None = None
    qos: SlurmName | None = None
    constraint: SlurmFeatures | None = None
    nodes: _Whole = None
    max_blocks: _Whole = None
    mem_per_node: Annotated[float | None, Field(strict=False, ge=0, le=MOST_MEMORY // 1024)] = None
    memory_mb: Annotated[int | None, Field(le=MOST_MEMORY)] = None


_Count = Annotated[int, Field(ge=1, le=MOST_CORES)]
_CountOrNone = Annotated[int, Field(ge=0, le=MOST_CORES)]
_Seconds = Annotated[float, Field(gt=0, le=_LONGEST_SECONDS)]
_WholeSeconds = Annotated[int, Field(ge=1, le=_LONGEST_SECONDS)]


def _or_user(value: object) -> object:
    """Take the one word that may stand for true."""
    return True if value == "user" else value


class _OwnSection(_Section):
    """A site of a class of ours or its stock like; keys in camel case are left to BPS."""

    nodes: _Count | None = None
    max_blocks: _Count | None = None
    mem_per_node: Annotated[float | None, Field(gt=0, le=MOST_MEMORY // 1024)] = None
    memory_mb: Annotated[int | None, Field(ge=1, le=MOST_MEMORY)] = None
    walltime: Walltime | None = None
    cores: _Count | None = None
    cores_per_node: _Count | None = None
    workers_per_node: _Count | None = None
    init_blocks: _CountOrNone | None = None
    min_blocks: _CountOrNone | None = None
    retries: _CountOrNone | None = None
    lost_worker_retries: _CountOrNone | None = None
    bad_blocks: _Count | None = None
    nice: int | None = None
    exclusive: Annotated[bool | None, BeforeValidator(_or_user)] = None
    singleton: bool | None = None
    warm: bool | None = None
    cgroup: bool | None = None
    address: str | None = None
    interface: str | None = None
    exclude: str | None = None
    strategy: str | None = None
    run_dir: str | None = None
    srun_options: str | None = None
    scheduler_options: str | None = None
    worker_init: str | None = None
    environment: bool | None = None
    parallelism: Annotated[float, Field(gt=0, le=1)] | None = None
    memory_tolerance: Annotated[float, Field(ge=1)] | None = None
    sample_seconds: _Seconds | None = None
    lease_seconds: _Seconds | None = None
    status_seconds: _Seconds | None = None
    strategy_seconds: _Seconds | None = None
    max_idle_seconds: _Seconds | None = None
    cmd_timeout: _WholeSeconds | None = None
    drain_seconds: Annotated[int, Field(ge=0, le=_LONGEST_SECONDS)] | None = None
    heartbeat_seconds: _WholeSeconds | None = None
    heartbeat_patience: _WholeSeconds | None = None


_SECTION_KEYS = frozenset(field.alias or name for name, field in _Section.model_fields.items()) - {"name"}
_OWN_KEYS = frozenset(field.alias or name for name, field in _OwnSection.model_fields.items()) - {"name"}


def read_site(file: str) -> SiteProfile:
    """Read a site file.

    Raises
    ------
    BadInputError
        Raised if it has no ``site:`` section for its ``computeSite``, or says something odd of drivers.
    """
    document = read_document(Path(file))
    data = document.data
    sites = data.get("site")
    name = data.get("computeSite")
    if not isinstance(sites, dict) or not isinstance(name, str) or not isinstance(sites.get(name), dict):
        raise BadInputError(
            f"{file}: a site file needs computeSite: NAME and its section site: {{NAME: ...}}"
        )
    section: Any = sites[name]
    _check_section(document, name, section)
    own = {key: data[key] for key in SiteOptions.model_fields if key in data}
    if "stack" in own:
        own["stack"] = absolute_stack(own["stack"], Path(file).parent)
    try:
        options = SiteOptions.model_validate(own)
    except ValidationError as error:
        models = (SiteOptions, DriverOptions, Larger, Stack)
        known = [name for model in models for name in model.model_fields]
        raise bad_file(document, error.errors(), known=known) from None
    site_class = section.get("class", "")
    for key in _WORKER_KEYS:
        if type(section.get(key)) is int and section[key] > 0:
            return SiteProfile(
                name=name,
                file=file,
                workers=section[key],
                workers_key=key,
                site_class=site_class,
                blocks=_blocks(section) if site_class.rpartition(".")[2] in _SLURM_CLASSES else None,
                driver=options.driver_options if options.driver == "slurm" else None,
                larger=options.larger,
                stack=options.stack,
                status_seconds=_seconds(section.get("status_seconds")),
                memory_mb=_whole(section.get("memory_mb")),
                trusted_groups=options.trusted_groups,
                failure_rules=None
                if options.failure_rules is None
                else absolute(options.failure_rules, Path(file).parent),
            )
    raise BadInputError(
        f"{file}: site {name!r} does not say how many workers a node has; give it {_WORKER_KEYS[0]}:"
    )


def _check_section(document: Document, name: str, section: Mapping[str, Any]) -> None:
    """Refuse a site whose values do not get through BPS, Slurm's directives and a shell as they are.

    Raises
    ------
    BadFileError
        Raised with all that is wrong.
    """
    site_class = str(section.get("class", ""))
    # For a stock one that has its like here, that one is rendered.
    own = site_class.startswith(_OWN_CLASSES) or site_class in OWN_SITE_CLASSES
    model, keys = (_OwnSection, _OWN_KEYS) if own else (_Section, _SECTION_KEYS)
    looked_at = {key: value for key, value in section.items() if key in keys or (own and not _is_of_bps(key))}
    try:
        model.model_validate({"name": name, **looked_at})
    except ValidationError as error:
        problems = []
        for found in bad_file(document, error.errors(), known=sorted(keys)).problems:
            key = found.field or str(error.errors()[0]["loc"][0])
            path: tuple[Key, ...] = ("computeSite",) if key == "name" else ("site", name, key)
            line = document.line_of(path)
            problems.append(replace(found, line=line, field=".".join(map(str, path))))
        raise BadFileError(tuple(problems)) from None


def _is_of_bps(key: object) -> bool:
    """Say whether a key is one of BPS, which looks for its own in the section of the site first."""
    return isinstance(key, str) and key != key.lower()


def _blocks(section: Mapping[str, Any]) -> Blocks:
    """Return what a Slurm site's blocks ask for; ``#SBATCH`` lines of its own win, as they do in Slurm."""
    lines = " ".join(str(section.get("scheduler_options", "")).splitlines())
    options = dict(_OPTION.findall(lines))
    site_class = str(section.get("class", ""))
    memory = _megabytes(section.get("mem_per_node"))
    shared = _whole(section.get("memory_mb"))
    return Blocks(
        partition=options.get("partition") or _text(section.get("partition")),
        account=options.get("account") or _text(section.get("account")),
        qos=options.get("qos") or _text(section.get("qos")),
        walltime=options.get("time") or _text(section.get("walltime")) or "",
        nodes=_whole(section.get("nodes")) or 1,
        cpus=_whole(section.get("cores_per_node")),
        mem_mb=memory,
        shared_mb=shared or memory,
        max_blocks=_whole(section.get("max_blocks")) or 1,
        workers=_whole(section.get("workers_per_node")),
        exclusive=section.get("exclusive") is True or section.get("exclusive") == "user",
        exact=OWN_SITE_CLASSES.get(site_class, site_class) == _OWN_SLURM and not _OWN_AMOUNTS.search(lines),
    )


def _megabytes(value: object) -> int | None:
    """Return GB, parts allowed, in MiB; `None` for what is no number."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return round(value * 1024)


def _seconds(value: object) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 30.0


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


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
    site, cloud = _text(content.get("computeSite")), _text(content.get("computeCloud"))
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
        algorithm = _text(data.get("clusterAlgorithm")) or algorithm
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
