"""Values of a BPS file that BPS hands on as they are: refused where no service could read them.

BPS replaces no variables in requests and retries, and does not look at what they are; what is text there
would count for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from merian_campaign.domain.errors import BadFileError, Problem
from merian_campaign.domain.spec.base import MOST_CORES, MOST_MEMORY, brief
from merian_campaign.files.yaml_lines import Data, Document, Key

_LONGEST_MINUTES: Final = 60 * 24 * 366
_DEEPEST = 3
"""Mappings in one another, from the top, in which BPS looks: section, cluster or task, its own."""


def _whole(value: Data, *, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most


def _exits(value: Data) -> bool:
    listed = value if isinstance(value, list) else [value]
    return all(_whole(entry, least=0, most=255) for entry in listed)


def _number(value: Data) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < MOST_CORES


def _megabytes(value: Data) -> bool:
    return _whole(value, least=1, most=MOST_MEMORY)


_MEMORY: Final = "a whole number of MiB"
_VALUES: Final[Mapping[str, tuple[Callable[[Data], bool], str]]] = {
    "requestMemory": (_megabytes, _MEMORY),
    "requestMemoryMax": (_megabytes, _MEMORY),
    "memoryLimit": (_megabytes, _MEMORY),
    "memoryMultiplier": (_number, "a number"),
    "requestCpus": (lambda value: _whole(value, least=1, most=MOST_CORES), "a whole number of cores"),
    "requestWalltime": (
        lambda value: _whole(value, least=1, most=_LONGEST_MINUTES),
        "a whole number of minutes",
    ),
    "numberOfRetries": (lambda value: _whole(value, least=0, most=MOST_CORES), "a whole number"),
    "retryUnlessExit": (_exits, "an exit status, or a list of them, e.g. [1, 2]"),
}


def check_values(document: Document) -> None:
    """Refuse requests and retries that are no numbers, wherever in a BPS file they stand.

    Raises
    ------
    BadFileError
        Raised with all of them.
    """
    problems = tuple(_problems(document, document.data, ()))
    if problems:
        raise BadFileError(problems)


def _problems(document: Document, here: Mapping[str, Data], path: tuple[Key, ...]) -> Iterator[Problem]:
    for key, value in here.items():
        if isinstance(value, dict):
            if len(path) < _DEEPEST:
                yield from _problems(document, value, (*path, key))
        elif key in _VALUES and value is not None and not _VALUES[key][0](value):
            where = (*path, key)
            yield Problem(
                file=document.file,
                line=document.line_of(where),
                field=".".join(map(str, where)),
                message=f"found {brief(value)}; write {_VALUES[key][1]}; BPS takes it as it is",
            )


def text_of(value: object) -> str | None:
    """Return a text; `None` for what is none, or empty."""
    return value if isinstance(value, str) and value else None
