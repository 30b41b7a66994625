"""The files that a stack is set up from: paths made absolute, and those that are missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from merian_campaign.domain.errors import BadFileError, Problem
from merian_campaign.domain.resources.site_profile import SiteProfile
from merian_campaign.domain.spec import CampaignSpec
from merian_campaign.domain.spec.stack import Stack, in_force
from merian_campaign.files.paths import absolute, is_file, is_folder
from merian_campaign.files.yaml_lines import Key, read_document


def absolute_stack(value: Any, base: Path) -> Any:  # noqa: ANN401 - any YAML value
    """Make the paths of a stack absolute, relative ones from a folder; what is no stack is left alone."""
    if not isinstance(value, dict):
        return value
    made = dict(value)
    if isinstance(made.get("load"), str):
        made["load"] = absolute(made["load"], base)
    packages = made.get("packages")
    if isinstance(packages, str):
        made["packages"] = absolute(packages, base)
    elif isinstance(packages, list):
        made["packages"] = [absolute(entry, base) if isinstance(entry, str) else entry for entry in packages]
    return made


def check_stack_files(spec: CampaignSpec, *, path: Path, shown: str, site: SiteProfile) -> None:
    """Refuse a stack that names what is not there.

    Drivers that are processes start on this host, so everything must be there. Of drivers that are Slurm
    jobs only what lies in a folder that this host has too can be judged.

    Parameters
    ----------
    spec : `CampaignSpec`
        The campaign.
    path : `~pathlib.Path`
        Its file.
    shown : `str`
        That path as the person gave it.
    site : `SiteProfile`
        Where it runs.

    Raises
    ------
    BadFileError
        Raised with all that is missing, and the line that names it.
    """
    stack = in_force(campaign=spec.stack, site=site.stack)
    found = list(_missing(stack, here=site.driver is None))
    if not found:
        return
    document = read_document(path, shown=shown)
    own = spec.stack.model_fields_set if spec.stack is not None else set()
    raise BadFileError(
        tuple(
            Problem(
                file=shown if where[1] in own else site.file,
                line=document.line_of(where) if where[1] in own else None,
                field=f"stack.{where[1]}",
                message=message,
            )
            for where, message in found
        )
    )


def _missing(stack: Stack, *, here: bool) -> Iterator[tuple[tuple[Key, ...], str]]:
    if stack.load is not None and _can_be_judged(stack.load, here=here) and not is_file(Path(stack.load)):
        yield ("stack", "load"), f"there is no {stack.load} on this host, where drivers would start"
    for index, folder in enumerate(stack.packages):
        if not _can_be_judged(folder, here=here):
            continue
        if not is_folder(Path(folder)):
            yield ("stack", "packages", index), f"there is no folder {folder} on this host"
        elif not is_folder(Path(folder) / "ups"):
            message = f"{folder} is no package of the stack: it has no folder ups, by which eups sets it up"
            yield ("stack", "packages", index), message


def _can_be_judged(path: str, *, here: bool) -> bool:
    return here or is_folder(Path(path).parent)
