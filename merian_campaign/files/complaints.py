"""Complaints about a file in plain words, with line and field, from what pydantic found.

Knows wording and places, decides nothing.
"""

from __future__ import annotations

import re
from difflib import get_close_matches

from pydantic_core import ErrorDetails

from merian_campaign.domain.errors import MOST_PROBLEMS, BadFileError, Problem
from merian_campaign.domain.safe_text.text import one_line
from merian_campaign.domain.spec.base import NAME_PATTERN, brief
from merian_campaign.domain.spec.words import ADVICE
from merian_campaign.files.foreign_words import answer
from merian_campaign.files.yaml_lines import Data, Document, Key

_STEP_PREFIX = re.compile(r"^steps\[([^\]]+)\]\.?([\w.]*): (.*)$", re.DOTALL)
_FIELD_PREFIX = re.compile(
    r"^(group_by|dimension|lists|where|select|config|scope|pipeline|action|tracts): (.*)$", re.DOTALL
)
_SHELL_VARIABLE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]{0,99})")
_LONGEST_VALUE = 200
_STEP_TAGS = {"bps", "action"}
_TOO_SHORT = "empty; give at least one, or remove the key"
_MAPPING = "write a mapping of keys to values"
_KINDS = (
    "kind: everything, tract, day_obs, exposure, visit or lists; "
    "for another dimension kind: dimension and e.g. dimension: healpix3"
)
_ADVICE = {
    **dict.fromkeys(
        ("date_type", "date_parsing", "date_from_datetime_parsing", "date_from_datetime_inexact"),
        "write a date like 2026-12-31",
    ),
    "extra_forbidden": "no such key",
    "missing": "missing; it must be given",
    "string_type": "write text; in quotes, if YAML takes it for something else",
    "int_type": "write a whole number",
    "int_from_float": "write a whole number",
    "float_type": "write a number",
    "bool_type": "write true or false",
    "tuple_type": "write a list, e.g. [a, b]",
    "dict_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "mapping_type": _MAPPING,
    "too_short": _TOO_SHORT,
    "string_too_short": _TOO_SHORT,
    "invalid_key": "put the key in quotes: YAML takes numbers, yes, no, on and off for something else",
    "union_tag_not_found": f"kind: missing; write {_KINDS}",
}
_PATTERNS = {
    NAME_PATTERN: "write a name of letters, digits, _ and single inner -, beginning with a letter",
    **ADVICE,
}
_UNSAID = {"extra_forbidden", "missing", "union_tag_not_found", "too_short", "string_too_short"}


def bad_file(document: Document, errors: list[ErrorDetails], *, known: list[str]) -> BadFileError:
    """Return the error that lists the problems, in the order of the file; of very many only the first.

    Parameters
    ----------
    document : `Document`
        The file as written.
    errors : `list`
        From pydantic's ``ValidationError.errors()``.
    known : `list` [`str`]
        Keys to suggest for misspelt ones.
    """

    def line(error: ErrorDetails) -> int:
        return document.line_of(_real_path(document.data, error["loc"])[0]) or 0

    # Twice as many as are shown: some of them say the same.
    looked_at = sorted(errors, key=line)[: 2 * MOST_PROBLEMS]
    found = {str(problem): problem for problem in (_problem(document, entry, known) for entry in looked_at)}
    problems = tuple(sorted(found.values(), key=lambda problem: problem.line or 0))
    return BadFileError(problems, unseen=len(errors) - len(looked_at))


def dotted(path: tuple[Key, ...], data: Data = None) -> str:
    """Write a path as ``steps[step1].group_by.size``: entries of lists by name where they have one."""
    text = ""
    here: Data = data
    for part in path:
        if isinstance(part, int):
            here = here[part] if isinstance(here, list) and part < len(here) else None
            name = here.get("name") if isinstance(here, dict) else None
            text += f"[{name if isinstance(name, str) else part}]"
        else:
            here = here.get(part) if isinstance(here, dict) else None
            # A key may be a number to YAML, or nothing.
            text += f".{part}" if text else str(part)
    return text


def unexpanded(text: str) -> str:
    """Return what to write instead of a ``$NAME``, which is not replaced; empty where there is none."""
    found = _SHELL_VARIABLE.search(text)
    return f"; ${found[1]} is not replaced: write ${{{found[1]}}}" if found else ""


def _problem(document: Document, error: ErrorDetails, known: list[str]) -> Problem:
    path, rest = _real_path(document.data, error["loc"])
    message = error["msg"].removeprefix("Value error, ")
    of_step = _STEP_PREFIX.match(message)
    of_field = _FIELD_PREFIX.match(message)
    if of_step is not None:
        path, message = _step_path(document, of_step[1], of_step[2]), of_step[3]
    elif of_field is not None and error["type"] == "value_error":
        path, message = (*path, of_field[1]), of_field[2]
    else:
        message = _words(error, message, known)
        if error["type"] == "missing" and rest:
            path = (*path, *(rest if rest[0] == "arguments" else rest[-1:]))
    if not path:
        path = tuple(error["loc"][:1])  # an option of the command line, not in the file
    return Problem(
        file=document.file,
        line=document.line_of(path),
        field=one_line(dotted(path, document.data), limit=_LONGEST_VALUE),
        message=message,
    )


def _words(error: ErrorDetails, message: str, known: list[str]) -> str:
    kind = error["type"]
    value = error.get("input")
    if kind == "value_error":
        return message + (unexpanded(value) if isinstance(value, str) else "")
    if kind == "extra_forbidden":
        key = str(error["loc"][-1])
        here = answer(key, known=key in known)
        return _ADVICE[kind] + (f"; {here}" if here else _similar(key, known))
    if kind == "union_tag_invalid":
        return f"kind: found {brief(error.get('ctx', {}).get('tag'))}; write {_KINDS}"
    advice = _ADVICE.get(kind)
    if kind == "string_pattern_mismatch":
        advice = _PATTERNS.get(error.get("ctx", {}).get("pattern", ""))
    if advice is None:
        advice = f"{message[0].lower()}{message[1:]}".replace("input should be", "it should be")
    if isinstance(value, str):
        advice += unexpanded(value)
    if kind in _UNSAID or isinstance(value, dict | list | tuple):
        return advice
    return f"nothing is given; {advice}" if value is None else f"found {_shown(value)}; {advice}"


def _shown(value: object) -> str:
    try:
        return (
            repr(one_line(value, limit=100)) if isinstance(value, str) else one_line(repr(value), limit=100)
        )
    except ValueError:  # Python does not write numbers of thousands of digits
        return "a number of thousands of digits"


def _similar(key: str, known: list[str]) -> str:
    if len(key) > _LONGEST_VALUE:
        return "; `merian-campaign schema` lists the keys"
    if key in known:
        return " here, it belongs elsewhere; `merian-campaign schema` lists the keys"
    close = get_close_matches(key, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else "; `merian-campaign schema` lists the keys"


def _real_path(data: Data, loc: tuple[int | str, ...]) -> tuple[tuple[Key, ...], tuple[Key, ...]]:
    """Drop from a pydantic location the names of union members, which are not in the file."""
    if loc[:1] == ("steps",) and len(loc) > 2 and loc[2] in _STEP_TAGS:  # noqa: PLR2004 - steps, index, tag
        loc = (*loc[:2], *loc[3:])
    path: list[Key] = []
    here: Data = data
    rest: list[Key] = []
    for part in loc:
        inside: Data = None
        # The kind of a grouping, which may be called as one of its keys is: lists, dimension.
        if path[-1:] == ["group_by"] and not rest and isinstance(here, dict) and here.get("kind") == part:
            rest.append(part)
            continue
        if isinstance(here, dict) and isinstance(part, str):
            inside = here.get(part)
        elif isinstance(here, list) and isinstance(part, int) and part < len(here):
            inside = here[part]
        if inside is None and not (isinstance(here, dict) and part in here):
            rest.append(part)
            continue
        here = inside
        path.append(part)
        rest = []
    return tuple(path), tuple(rest)


def _step_path(document: Document, name: str, field: str) -> tuple[Key, ...]:
    steps = document.data.get("steps")
    if isinstance(steps, list):
        for index, step in enumerate(steps):
            if isinstance(step, dict) and step.get("name") == name:
                path: tuple[Key, ...] = ("steps", index, *[part for part in field.split(".") if part])
                return path
    return ("steps",)
