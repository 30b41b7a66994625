"""Lists of ids, nights or tracts that lie in files of their own: ``{file: NAME}`` instead of a list."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from merian_campaign.domain.errors import BadFileError, Problem
from merian_campaign.domain.safe_text.text import one_line
from merian_campaign.domain.spec.base import MOST_IDS
from merian_campaign.files.complaints import dotted
from merian_campaign.files.paths import absolute
from merian_campaign.files.yaml_lines import Document, Key
from merian_campaign.host.regular_files import DamagedFileError, read_text

MOST_BYTES: Final = 32 << 20
"""Bytes of a file of ids: `MOST_IDS` of them, each with a remark of a dozen characters."""

_FIELDS = frozenset(
    {
        "bad_exposures",
        "day_obs",
        "exclude_detectors",
        "exclude_exposures",
        "exposures",
        "ids",
        "nights",
        "tracts",
    }
)
_ENTRY = re.compile(r"[0-9]{1,19}(-[0-9]{1,19})?")


def read_id_lists(data: Any, *, base: Path, document: Document) -> Any:  # noqa: ANN401 - any YAML value
    """Return a document with the content of the files in place of ``{file: NAME}``.

    Only where the model has a list of integers: exposures, detectors, ids, nights, tracts, named lists.

    Parameters
    ----------
    data
        The document, variables expanded.
    base : `~pathlib.Path`
        Folder of the campaign file, from which relative names are taken.
    document : `Document`
        For complaints.

    Raises
    ------
    BadFileError
        Raised if a file cannot be read, or holds something else.
    """
    problems: list[Problem] = []
    known: dict[Path, tuple[list[str], str]] = {}

    def read(file: Path) -> tuple[list[str], str]:
        if file not in known:
            known[file] = _entries(file, most=MOST_IDS - sum(len(entries) for entries, _ in known.values()))
        return known[file]

    def visit(value: Any, path: tuple[Key, ...]) -> Any:  # noqa: ANN401
        if _names_a_file(value, path):
            file = Path(absolute(value["file"], base))
            entries, complaint = read(file)
            if complaint:
                line, field = document.line_of(path), dotted(path, document.data)
                problems.append(Problem(file=document.file, line=line, field=field, message=complaint))
            return entries
        if isinstance(value, dict):
            return {key: visit(entry, (*path, key)) for key, entry in value.items()}
        if isinstance(value, list):
            return [visit(entry, (*path, index)) for index, entry in enumerate(value)]
        return value

    made = visit(data, ())
    if problems:
        raise BadFileError(tuple(problems))
    return made


def _names_a_file(value: object, path: tuple[Key, ...]) -> bool:
    if not isinstance(value, dict) or set(value) != {"file"} or not isinstance(value["file"], str):
        return False
    return bool(path) and (path[-1] in _FIELDS or (len(path) > 1 and path[-2] == "lists"))


def _entries(file: Path, *, most: int) -> tuple[list[str], str]:
    """Return the ids and ranges in a file, or what is wrong with it; ``#`` begins a remark."""
    name = one_line(str(file))
    try:
        text = read_text(file, limit=MOST_BYTES)
    except FileNotFoundError:
        return [], f"{name} cannot be read (there is no such file)"
    except DamagedFileError as error:
        return [], f"{name} cannot be read ({error.found})"
    entries: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        for word in line.partition("#")[0].replace(",", " ").split():
            if not _ENTRY.fullmatch(word):
                found = one_line(word, limit=100)
                return [], f'{name}:{number}: found {found!r}; write integers and "first-last" ranges'
            entries.append(word)
        if len(entries) > most:
            return [], f"{name}:{number}: more than {MOST_IDS} ids in the files of this campaign"
    return entries, "" if entries else f"{name} holds no ids"
