"""Site files: what a site's section says of its nodes, its blocks and its drivers, checked before use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from merian_campaign.domain.errors import BadFileError, BadInputError
from merian_campaign.domain.rendering.render import OWN_SITE_CLASSES
from merian_campaign.domain.resources.cluster import Blocks
from merian_campaign.domain.resources.site_profile import SiteProfile
from merian_campaign.domain.spec.base import MOST_CORES, MOST_MEMORY, Strict, Walltime
from merian_campaign.domain.spec.site import DriverOptions, Larger, SiteOptions
from merian_campaign.domain.spec.stack import Stack
from merian_campaign.domain.spec.words import SITE_PATTERN, SlurmFeatures, SlurmName, own_name
from merian_campaign.files.bps_values import text_of
from merian_campaign.files.complaints import bad_file
from merian_campaign.files.paths import absolute
from merian_campaign.files.stack_files import absolute_stack
from merian_campaign.files.yaml_lines import Document, Key, read_document

__all__ = ["read_site"]

_WORKER_KEYS = ("cores", "cores_per_node", "max_workers")
_SLURM_CLASSES = {"Slurm", "SlurmWorkQueue", "TripleSlurm"}
_OWN_AMOUNTS = re.compile(
    r"#SBATCH\s+(?:-[Ncn]\b|--(?:exclusive|oversubscribe|mem|nodes|ntasks|cpus|cores)\b)"
)
_OPTION = re.compile(r"#SBATCH\s+--(partition|account|qos|time)[=\s]+(\S+)")
_OWN_CLASSES = "merian_campaign.wms.sites."
_OWN_SLURM = f"{_OWN_CLASSES}Slurm"
_LONGEST_SECONDS = 86400

_Whole = Annotated[int | None, Field(le=MOST_CORES)]
_Count = Annotated[int, Field(ge=1, le=MOST_CORES)]
_CountOrNone = Annotated[int, Field(ge=0, le=MOST_CORES)]
_Seconds = Annotated[float, Field(gt=0, le=_LONGEST_SECONDS)]
_WholeSeconds = Annotated[int, Field(ge=1, le=_LONGEST_SECONDS)]


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
    workers_key = next((key for key in _WORKER_KEYS if (_whole(section.get(key)) or 0) > 0), None)
    if workers_key is None:
        raise BadInputError(
            f"{file}: site {name!r} does not say how many workers a node has; give it {_WORKER_KEYS[0]}:"
        )
    return _profile(file, name, section, options, workers_key=workers_key)


def _profile(
    file: str, name: str, section: Mapping[str, Any], options: SiteOptions, *, workers_key: str
) -> SiteProfile:
    """Return what a site's section and the options beside it say."""
    site_class = section.get("class", "")
    rules = options.failure_rules
    return SiteProfile(
        name=name,
        file=file,
        workers=section[workers_key],
        workers_key=workers_key,
        site_class=site_class,
        blocks=_blocks(section) if site_class.rpartition(".")[2] in _SLURM_CLASSES else None,
        driver=options.driver_options if options.driver == "slurm" else None,
        larger=options.larger,
        stack=options.stack,
        status_seconds=_seconds(section.get("status_seconds")),
        memory_mb=_whole(section.get("memory_mb")),
        trusted_groups=options.trusted_groups,
        failure_rules=None if rules is None else absolute(rules, Path(file).parent),
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
        partition=options.get("partition") or text_of(section.get("partition")),
        account=options.get("account") or text_of(section.get("account")),
        qos=options.get("qos") or text_of(section.get("qos")),
        walltime=options.get("time") or text_of(section.get("walltime")) or "",
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
