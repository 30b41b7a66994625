"""A first campaign file of one's own, from one of the starters that come with the package."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import yaml

from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.spec.base import NAME_PATTERN
from merian_campaign.files.schema import campaign_schema
from merian_campaign.files.shipped import STARTERS, shipped
from merian_campaign.host.atomic_files import write_if_changed
from merian_campaign.host.regular_files import DamagedFileError, read_json_object

SCHEMA = "campaign.schema.json"
"""Written beside a campaign file; the first line of the file names it, for editors."""

OWN: Mapping[str, re.Pattern[str]] = {
    "butler": re.compile(r"^(butler: ).*$", re.MULTILINE),
    "inputs": re.compile(r"^(  inputs: ).*$", re.MULTILINE),
    "output": re.compile(r"^(  output: ).*$", re.MULTILINE),
    "where": re.compile(r"^(?=collections:$)", re.MULTILINE),
}
"""What a person may give for a first campaign file, and the line on which it stands."""

_NAME = "own"
_LONGEST_NAME = 64


def write_starter(
    kind: str, file: str, *, environ: Mapping[str, str], given: Mapping[str, str | None] | None = None
) -> tuple[Path, bool]:
    """Write a campaign file, and the JSON Schema that editors check it with.

    Parameters
    ----------
    kind : `str`
        Name of a starter.
    file : `str`
        File to write, which must not exist. Its name without the suffix is the campaign's.
    environ : `~collections.abc.Mapping`
        What it has of the starter's variables is written into the file.
    given : `~collections.abc.Mapping`, optional
        Values of `OWN` to write in place of the starter's; `None` leaves one as it is.

    Returns
    -------
    path : `pathlib.Path`
        The file.
    new_schema : `bool`
        Whether the schema was written, too; an up-to-date one may be there.

    Raises
    ------
    BadInputError
        Raised if the file is there, its name cannot be a campaign's, or the schema's name is taken.
    OSError
        Raised if it cannot be written.
    """
    path = Path(file)
    name = path.name.removesuffix(".yaml").removesuffix(".yml")
    if name == path.name or not re.fullmatch(NAME_PATTERN, name) or len(name) > _LONGEST_NAME:
        raise BadInputError(
            f"{file}: the campaign is called as its file; write NAME.yaml, the name of letters, digits, _ "
            "and single inner -, beginning with a letter"
        )
    if path.exists() or path.is_symlink():
        raise BadInputError(f"{file}: is there already and was left as it is; choose another name")
    beside = path.with_name(SCHEMA)
    schema = campaign_schema()
    if not _replaceable(beside, title=schema["title"]):
        raise BadInputError(f"{beside}: is there already, and not the schema of campaign files; move it away")
    text = shipped(STARTERS, f"{kind}.yaml").read_text(encoding="utf-8")
    text = re.sub(rf"^campaign: {_NAME}$", f"campaign: {name}", text, count=1, flags=re.MULTILINE)
    text = re.sub(rf"^(  output: \S+/runs/){_NAME}$", rf"\g<1>{name}", text, count=1, flags=re.MULTILINE)
    for variable in yaml.safe_load(text)["variables"]:
        if environ.get(variable):
            text = _with_default(text, variable, environ[variable])
    for key, value in (given or {}).items():
        if value is not None:
            text = _with_own(text, key, value)
    with path.open("x", encoding="utf-8") as handle:
        handle.write(text)
    return path, write_if_changed(beside, json.dumps(schema, indent=1) + "\n")


def _with_own(text: str, key: str, value: str) -> str:
    """Return a campaign file with a value of a person's own."""
    # The first key of that name is the campaign's; no starter has a query of its own.
    line = f"where: {json.dumps(value)}\n\n" if key == "where" else None
    return OWN[key].sub(lambda match: line or f"{match[1]}{json.dumps(value)}", text, count=1)


def _with_default(text: str, variable: str, value: str) -> str:
    """Return a campaign file with another default of a variable."""
    head, _, rest = text.partition(f"\n  {variable}: ")
    # What JSON writes as a text, YAML reads as the same.
    return f"{head}\n  {variable}: {json.dumps(value)}\n{rest.partition('\n')[2]}"


def _replaceable(path: Path, *, title: str) -> bool:
    """Say whether nothing of this name is there, or a schema that an earlier version wrote."""
    if not path.exists():
        return not path.is_symlink()
    try:
        found = read_json_object(path)
    except DamagedFileError:
        return False
    return found is not None and found.get("title") == title
