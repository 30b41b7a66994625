"""From a campaign file to a checked `CampaignSpec`, with complaints that name file, line and field."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from merian_campaign.domain.errors import BadFileError, BadInputError, Problem
from merian_campaign.domain.spec import ActionStep, CampaignSpec
from merian_campaign.domain.spec.actions import ACTIONS, Action
from merian_campaign.domain.spec.base import brief
from merian_campaign.domain.spec.steps import SCOPES_OPEN
from merian_campaign.domain.spec.words import plain_path
from merian_campaign.files.bounded_yaml import LONGEST_TEXT, wrong_value
from merian_campaign.files.complaints import bad_file, dotted, unexpanded
from merian_campaign.files.id_lists import read_id_lists
from merian_campaign.files.paths import absolute, is_file, why_no_file
from merian_campaign.files.read_scopes import PipelineReader, with_scopes, without_scope
from merian_campaign.files.repository_names import RepositoryNames
from merian_campaign.files.shipped import (
    CAMPAIGNS,
    FRAGMENTS,
    PACKAGE,
    PACKAGE_VARIABLE,
    SITES,
    named_file,
    shipped_names,
)
from merian_campaign.files.stack_files import absolute_stack
from merian_campaign.files.yaml_lines import Data, Document, Key, read_document
from merian_campaign.host.home import HOME_VARIABLE, expanded

SITE_PATH = "MERIAN_CAMPAIGN_SITE_PATH"
"""Environment variable: folders of a person's or a cluster's own site files, a colon between two."""

_PATH_ARGUMENTS = frozenset(
    name for model in ACTIONS.values() for name in (*model.PATHS, *model.REPOSITORIES)
)
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True, kw_only=True)
class CampaignFile:
    """A campaign file as read.

    Parameters
    ----------
    path : `pathlib.Path`
        Absolute path.
    text : `str`
        The file's text.
    resolved : `dict`
        The document with variables expanded and paths absolute.
    spec : `CampaignSpec`
        The checked model.
    """

    path: Path
    text: str
    resolved: Mapping[str, Any]
    spec: CampaignSpec


def load_campaign(
    file: str,
    *,
    environment: Mapping[str, str],
    wms: str | None = None,
    site: str | None = None,
    pipelines: PipelineReader | None = None,
) -> CampaignFile:
    """Read and check a campaign file.

    Parameters
    ----------
    file : `str`
        Path as the person gave it.
    environment : `~collections.abc.Mapping`
        For ``${NAME}`` in the file, before the file's own ``variables``.
    wms, site : `str`, optional
        Instead of what the file says.
    pipelines : `PipelineReader`, optional
        Reads the pipelines of steps for which the file has no scope.

    Raises
    ------
    BadInputError
        Raised with all problems found.
    """
    # Without "..": the same file is the same campaign, from whatever folder it is named.
    path = Path(os.path.abspath(file))  # noqa: PTH100 - links stay: paths are relative to where the file is named
    document = read_document(path, shown=file)
    surroundings = {**environment, "CAMPAIGN_DIR": str(path.parent), PACKAGE_VARIABLE: str(PACKAGE)}
    given = {"wms": wms, "site": site}
    chosen = {key: value for key, value in given.items() if value is not None}
    repositories = RepositoryNames(environment)
    resolved = _absolute(
        {**_expand(document, surroundings), **chosen},
        path.parent,
        own_sites=environment.get(SITE_PATH, ""),
        repositories=repositories,
    )
    resolved = read_id_lists(resolved, base=path.parent, document=document)
    spec = _validate(document, resolved, context=SCOPES_OPEN)
    problems = missing_files(spec, document, repositories=repositories)
    if problems:
        raise BadFileError(problems)
    if derived := without_scope(spec):
        resolved = with_scopes(spec, document=document, resolved=resolved, read=pipelines)
        spec = _validate(document, resolved, derived=frozenset(derived))
    return CampaignFile(path=path, text=document.text, resolved=resolved, spec=spec)


def _values(document: Document, environment: Mapping[str, str]) -> Mapping[str, str]:
    """Return what ``${NAME}`` stands for: the environment first, then the file's own defaults.

    Defaults may use the environment, ``CAMPAIGN_DIR``, the campaign file's folder, and
    ``MERIAN_CAMPAIGN_PACKAGE``, that of this package, but not each other.
    """
    given = document.data.get("variables")
    defaults = {str(k): str(v) for k, v in given.items()} if isinstance(given, dict) else {}
    made = {
        name: _VARIABLE.sub(lambda match: environment.get(match[1], match[0]), value)
        for name, value in defaults.items()
    }
    return {**made, **environment}


def _expand(document: Document, surroundings: Mapping[str, str]) -> dict[str, Any]:
    values = _values(document, surroundings)
    problems: list[Problem] = []

    def text(data: str, path: tuple[Key, ...]) -> str:
        field = dotted(path, document.data)
        line = document.line_of(path)
        problems.extend(
            Problem(file=document.file, line=line, field=field, message=message)
            for message in _wrong_text(data, path, values=values, surroundings=surroundings)
        )
        made = _VARIABLE.sub(lambda match: values.get(match[1], ""), data)
        # What the environment gives comes from outside, too.
        message = wrong_value(made) if len(made) <= LONGEST_TEXT else f"{len(made)} characters, expanded"
        if message:
            problems.append(Problem(file=document.file, line=line, field=field, message=message))
        return made

    def expand(data: Data, path: tuple[Key, ...]) -> Any:  # noqa: ANN401 - any YAML value
        if isinstance(data, dict):
            return {key: expand(value, (*path, key)) for key, value in data.items()}
        if isinstance(data, list):
            return [expand(value, (*path, index)) for index, value in enumerate(data)]
        if isinstance(data, str):
            return text(data, path)
        # The model and the tracking database know dates as text only.
        return data.isoformat() if isinstance(data, date) else data

    expanded = expand(document.data, ())
    if problems:
        raise BadFileError(tuple(problems))
    assert isinstance(expanded, dict)
    return expanded


def _wrong_text(
    data: str, path: tuple[Key, ...], *, values: Mapping[str, str], surroundings: Mapping[str, str]
) -> Iterator[str]:
    """Yield what is wrong with a text before its variables are expanded."""
    for name in _VARIABLE.findall(data):
        if name not in values:
            yield f"${{{name}}} is not set; export it, or give it a default under variables:"
        elif path[0] == "variables" and name not in surroundings:
            yield f"${{{name}}} is itself a default: one may use the environment and CAMPAIGN_DIR only"
    if "arguments" in path[:3] and _PATH_ARGUMENTS & set(path[3:4]) and (hint := unexpanded(data)):
        yield f"found {brief(data)}{hint}"


def _absolute(
    data: dict[str, Any], base: Path, *, own_sites: str, repositories: RepositoryNames
) -> dict[str, Any]:
    """Make the paths of a document absolute, relative ones from the campaign file's folder.

    What is not a path, or not where one belongs, is left for the model to refuse.
    """
    made = dict(data)
    if "work_dir" in made:
        made["work_dir"] = _path(made["work_dir"], base)
    if isinstance(made.get("butler"), str):
        made["butler"] = repositories.place(made["butler"], base)
    if "failure_rules" in made:
        made["failure_rules"] = _path(made["failure_rules"], base, shipped=CAMPAIGNS)
    if "stack" in made:
        made["stack"] = absolute_stack(made["stack"], base)
    if isinstance(made.get("site"), str):
        made["site"] = site_file(made["site"], base, own_sites=own_sites)
    if isinstance(made.get("include"), list):
        made["include"] = [_path(entry, base, shipped=FRAGMENTS) for entry in made["include"]]
    if isinstance(made.get("steps"), list):
        made["steps"] = [
            _absolute_step(step, base, repositories) if isinstance(step, dict) else step
            for step in made["steps"]
        ]
    return made


def _absolute_step(step: dict[str, Any], base: Path, repositories: RepositoryNames) -> dict[str, Any]:
    made = dict(step)
    if isinstance(made.get("pipeline"), str):
        file, hash_mark, subset = made["pipeline"].partition("#")
        made["pipeline"] = f"{_path(file, base)}{hash_mark}{subset}"
    if isinstance(made.get("include"), list):
        made["include"] = [_path(entry, base, shipped=FRAGMENTS) for entry in made["include"]]
    if isinstance(made.get("config_files"), list):
        made["config_files"] = [_labelled(entry, base) for entry in made["config_files"]]
    action = made.get("action")
    if isinstance(made.get("arguments"), dict) and isinstance(action, str) and action in ACTIONS:
        made["arguments"] = {
            key: _argument(ACTIONS[action], key, value, base, repositories)
            for key, value in made["arguments"].items()
        }
    return made


def _labelled(value: Any, base: Path) -> Any:  # noqa: ANN401 - any YAML value
    """Make the path behind a task's label absolute."""
    if not isinstance(value, str) or ":" not in value:
        return value
    label, _, path = value.partition(":")
    return f"{label}:{_path(path, base)}"


def _argument(action: type[Action], key: str, value: Any, base: Path, repositories: RepositoryNames) -> Any:  # noqa: ANN401 - any YAML value
    if key in action.REPOSITORIES and isinstance(value, str):
        return repositories.place(value, base)
    return _paths(value, base) if key in action.PATHS else value


def _paths(value: Any, base: Path) -> Any:  # noqa: ANN401 - any YAML value
    return [_path(entry, base) for entry in value] if isinstance(value, list) else _path(value, base)


def _path(value: Any, base: Path, *, shipped: str | None = None) -> Any:  # noqa: ANN401 - any YAML value
    if not isinstance(value, str) or "://" in value or not value:
        return value
    if shipped is not None and "/" not in value:
        return str(named_file(value, base, folder=shipped))
    return absolute(value, base)


def site_file(site: str, base: Path, *, own_sites: str = "") -> str:
    """Return the file of a site.

    Parameters
    ----------
    site : `str`
        A path, taken as it is, or a name.
    base : `~pathlib.Path`
        Folder of the campaign file; a name means ``site/NAME.yaml`` there or beside it, else the site of
        that name that comes with the package.
    own_sites : `str`, optional
        Folders with a colon between two, in which ``NAME.yaml`` is looked for first.
    """
    if site.endswith((".yaml", ".yml")) or "/" in site:
        return absolute(site, base)
    own = (expanded(folder) for folder in own_sites.split(os.pathsep) if folder)
    for folder in (*own, base / "site", base.parent / "site"):
        candidate = folder / f"{site}.yaml"
        if is_file(candidate):
            return absolute(str(candidate), base)
    ours = named_file(f"{site}.yaml", base / "site", folder=SITES)
    return str(ours) if is_file(ours) else absolute(f"site/{site}.yaml", base.parent)


def _validate(
    document: Document,
    resolved: dict[str, Any],
    *,
    context: str | None = None,
    derived: frozenset[Key] = frozenset(),
) -> CampaignSpec:
    """Return the campaign of a document; ``derived`` are places of steps whose scope is their pipelines'."""
    try:
        return CampaignSpec.model_validate(resolved, context=context)
    except ValidationError as error:
        from merian_campaign.files.schema import known_keys  # noqa: PLC0415 - only when something is wrong

        found = error.errors()
        for entry in found:
            if entry["loc"][:1] == ("steps",) and derived.intersection(entry["loc"][1:2]):
                entry["msg"] += " (the scope is that of its tasks' dimensions; write scope: for another one)"
        raise bad_file(document, found, known=known_keys()) from None


def _known_sites(file: str, given: Data) -> str:
    """Return what may be written for a site that was given by a name which has no file."""
    if is_file(Path(file)) or (isinstance(given, str) and given.endswith((".yaml", ".yml"))):
        return ""
    return f"; sites that come with merian-campaign: {', '.join(shipped_names(SITES))}"


def check_root(spec: CampaignSpec, *, root: str, shown: str) -> None:
    """Refuse the place of submissions, where the file names none, if BPS's command lines would break on it.

    Raises
    ------
    BadInputError
        Raised with what of it they cannot take.
    """
    if spec.work_dir is not None or all(step.kind == "action" for step in spec.steps):
        return
    try:
        plain_path(root)
    except ValueError as error:
        raise BadInputError(
            f"{shown}: work_dir: is not given, so that submissions lie below {HOME_VARIABLE}: {error}"
        ) from None


def missing_files(
    spec: CampaignSpec, document: Document, *, repositories: RepositoryNames
) -> tuple[Problem, ...]:
    """Return the files and the repository a campaign names that do not exist."""
    problems: list[Problem] = []

    def check(path: str, where: tuple[Key, ...], what: str, *, more: str = "") -> None:
        if "://" in path or is_file(Path(path)):
            return
        line = document.line_of(where)
        field = dotted(where, document.data)
        message = f"{what} {path} {why_no_file(Path(path))}{unexpanded(path)}{more}"
        problems.append(Problem(file=document.file, line=line, field=field, message=message))

    makes_it = any(isinstance(step, ActionStep) and step.action == "create" for step in spec.steps)
    configuration = Path(spec.butler) if spec.butler.endswith(".yaml") else Path(spec.butler) / "butler.yaml"
    if "://" not in spec.butler and not makes_it and not is_file(configuration):
        hint = repositories.hint()
        message = (
            f"there is no butler repository at {spec.butler}; correct the path, `butler create` it, or begin "
            f"with a step whose action is create{f'; {hint}' if hint else ''}"
        )
        problems.append(
            Problem(file=document.file, line=document.line_of(("butler",)), field="butler", message=message)
        )
    check(spec.site, ("site",), "the site file", more=_known_sites(spec.site, document.data.get("site")))
    for index, include in enumerate(spec.include):
        check(include, ("include", index), "the BPS file")
    if spec.failure_rules is not None:
        check(spec.failure_rules, ("failure_rules",), "the file of failure rules")
    for index, step in enumerate(spec.steps):
        if step.kind == "bps":
            check(step.pipeline.partition("#")[0], ("steps", index, "pipeline"), "the pipeline file")
            for place, include in enumerate(step.include):
                check(include, ("steps", index, "include", place), "the BPS file")
            for place, entry in enumerate(step.config_files):
                check(
                    entry.partition(":")[2], ("steps", index, "config_files", place), "the file of overrides"
                )
    return tuple(problems)
