"""What must be known of BPS files, sites and failure rules before anything is rendered."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.remedy import RequestTable
from merian_campaign.domain.render import SiteProfile
from merian_campaign.domain.rules import FailureRule, FailureRules
from merian_campaign.domain.spec import BpsStep, CampaignSpec
from merian_campaign.files.complaints import bad_file
from merian_campaign.files.yaml_lines import read_document

_WORKER_KEYS = ("cores", "cores_per_node", "max_workers")


def read_site(file: str) -> SiteProfile:
    """Read a site file.

    Raises
    ------
    BadInputError
        Raised if it has no ``site:`` section for its ``computeSite``.
    """
    data = read_document(Path(file)).data
    sites = data.get("site")
    name = data.get("computeSite")
    if not isinstance(sites, dict) or not isinstance(name, str) or not isinstance(sites.get(name), dict):
        raise BadInputError(
            f"{file}: a site file needs computeSite: NAME and its section site: {{NAME: ...}}"
        )
    section: Any = sites[name]
    for key in _WORKER_KEYS:
        if type(section.get(key)) is int and section[key] > 0:
            return SiteProfile(
                name=name,
                file=file,
                workers=section[key],
                workers_key=key,
                site_class=str(section.get("class", "")),
            )
    raise BadInputError(
        f"{file}: site {name!r} does not say how many workers a node has; give it {_WORKER_KEYS[0]}:"
    )


def read_rules(file: str | None) -> tuple[FailureRule, ...]:
    """Read a file of failure rules; none gives no rules."""
    if file is None:
        return ()
    document = read_document(Path(file))
    try:
        return FailureRules.model_validate(document.data).rules
    except ValidationError as error:
        raise bad_file(document, error.errors(), known=["rules", *FailureRule.model_fields]) from None


def read_requests(spec: CampaignSpec, step: BpsStep) -> RequestTable:
    """Return the memory requests of a step before any remedy, as BPS would find them."""
    default = 2048
    by_task: dict[str, int] = {}
    maximum: dict[str, int] = {}
    for data in _merged((*spec.include, *step.include, spec.site)):
        if isinstance(data.get("requestMemory"), int):
            default = data["requestMemory"]
        tasks = data.get("pipetask")
        for label, section in tasks.items() if isinstance(tasks, dict) else ():
            if isinstance(section, dict) and isinstance(section.get("requestMemory"), int):
                by_task[label] = section["requestMemory"]
            if isinstance(section, dict) and isinstance(section.get("requestMemoryMax"), int):
                maximum[label] = section["requestMemoryMax"]
    for label, resources in step.resources.items():
        if resources.memory is not None:
            by_task[label] = resources.memory
        if resources.memory_max is not None:
            maximum[label] = resources.memory_max
    return RequestTable(default_mb=default, by_task=by_task, maximum_mb=maximum)


def _merged(files: Iterable[str], *, inside: tuple[str, ...] = ()) -> Iterable[Mapping[str, Any]]:
    """Yield the content of BPS files in the order in which later ones win, includes first."""
    for file in files:
        if file in inside:
            circle = " -> ".join((*inside[inside.index(file) :], file))
            raise BadInputError(f"{inside[-1]}: includeConfigs: the includes go in a circle: {circle}")
        if inside and not Path(file).is_file():
            raise BadInputError(f"{inside[-1]}: includeConfigs: {file} does not exist")
        data: Mapping[str, Any] = read_document(Path(file)).data
        included = data.get("includeConfigs")
        if included:
            entries = included if isinstance(included, list) else [included]
            base = Path(file).parent
            paths = (str((base / os.path.expandvars(str(entry))).resolve()) for entry in entries)
            yield from _merged(paths, inside=(*inside, file))
        yield data
