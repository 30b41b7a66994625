"""Lists of ids, nights or tracts that lie in files of their own: ``{file: NAME}`` instead of a list."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from merian_campaign.domain.errors import BadFileError, Problem
from merian_campaign.files.complaints import dotted
from merian_campaign.files.yaml_lines import Document, Key

_FIELDS = frozenset({"exposures", "exclude_exposures", "exclude_detectors", "ids", "nights", "tracts"})
_ENTRY = re.compile(r"\d+(-\d+)?")


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

    def visit(value: Any, path: tuple[Key, ...]) -> Any:  # noqa: ANN401
        if _names_a_file(value, path):
            file = (base / Path(value["file"]).expanduser()).resolve()
            entries, complaint = _entries(file)
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


def _entries(file: Path) -> tuple[list[str], str]:
    """Return the ids and ranges in a file, or what is wrong with it; ``#`` begins a remark."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return [], f"{file} cannot be read ({getattr(error, 'strerror', None) or 'it is no text'})"
    entries: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        for word in line.partition("#")[0].replace(",", " ").split():
            if not _ENTRY.fullmatch(word):
                return [], f'{file}:{number}: found {word!r}; write integers and "first-last" ranges'
            entries.append(word)
    return entries, "" if entries else f"{file} holds no ids"
