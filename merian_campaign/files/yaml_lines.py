"""YAML with line numbers, so that every complaint can name the line it is about."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import cast

import yaml

from merian_campaign.domain.errors import BadFileError, Problem
from merian_campaign.domain.safe_text.text import clean
from merian_campaign.domain.spec.base import brief
from merian_campaign.files.bounded_yaml import (
    LONGEST_KEY,
    WrongYamlError,
    compose,
    construct,
    read_yaml_text,
    wrong_value,
)

_BARE_VARIABLE = re.compile(r"(?:\[|(?<!\$)\{)[^\"'[{]{0,99}\$\{")

type Key = str | int
type Data = bool | int | float | str | date | list[Data] | dict[str, Data] | None


@dataclass(frozen=True, kw_only=True)
class Document:
    """A parsed YAML file.

    Parameters
    ----------
    file : `str`
        Path as the person gave it.
    text : `str`
        The file's text.
    data : `dict`
        Its content.
    lines : `dict`
        1-based line by path of keys and indices.
    """

    file: str
    text: str
    data: dict[str, Data]
    lines: dict[tuple[Key, ...], int]

    def line_of(self, path: tuple[Key, ...]) -> int | None:
        """Return the line of a path, or of the nearest enclosing one."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return None


def read_document(path: Path, *, shown: str | None = None) -> Document:
    """Read a YAML file whose top level is a mapping.

    Parameters
    ----------
    path : `pathlib.Path`
        The file.
    shown : `str`, optional
        Path as the person gave it.

    Raises
    ------
    BadInputError
        Raised if the file cannot be read or parsed, is beyond a bound of
        `~merian_campaign.files.bounded_yaml`, holds a key twice, or a value that nothing here can take.
    """
    name = shown or str(path)
    return parse_document(read_yaml_text(path, shown=name), file=name)


def parse_document(text: str, *, file: str) -> Document:
    """Parse YAML text; see `read_document`."""

    def refused(message: str, line: int | None = None) -> BadFileError:
        return BadFileError((Problem(file=file, line=line, field="", message=message),))

    lines: dict[tuple[Key, ...], int] = {}
    problems: list[Problem] = []
    try:
        node = compose(text)
        if not isinstance(node, yaml.MappingNode):
            raise refused("the file must be a mapping of keys to values", 1)
        _walk(node, (), lines, problems, file)
        if problems:
            raise BadFileError(tuple(problems))
        data = cast(dict[str, Data], construct(node))
    except WrongYamlError as error:
        hint = _quotes(text, error.line)
        raise refused(f"not readable as YAML: {error.message}{hint}", error.line) from None
    document = Document(file=file, text=text, data=data, lines=lines)
    _check_values(data, (), document, problems)
    if problems:
        raise BadFileError(tuple(problems))
    return document


def _quotes(text: str, line: int | None) -> str:
    """Return what to write instead of a bare ``${NAME}`` in a list on one line, which ends there for YAML."""
    lines = text.splitlines()
    bare = line is not None and line <= len(lines) and _BARE_VARIABLE.search(lines[line - 1])
    return '; within [ ] and { } stands "${NAME}/..." in quotes' if bare else ""


def _check_values(value: Data, path: tuple[Key, ...], document: Document, problems: list[Problem]) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_values(inner, (*path, key), document, problems)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _check_values(inner, (*path, index), document, problems)
    elif message := wrong_value(value):
        field = ".".join(map(str, path))
        line = document.line_of(path)
        problems.append(Problem(file=document.file, line=line, field=field, message=message))


def _walk(
    node: yaml.Node,
    path: tuple[Key, ...],
    lines: dict[tuple[Key, ...], int],
    problems: list[Problem],
    file: str,
) -> None:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _walk(item, (*path, index), lines, problems, file)
    elif isinstance(node, yaml.MappingNode):
        for key_node, value in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                continue  # no key: that is said when values are made of it
            key = str(key_node.value)
            here = (*path, key)
            line = key_node.start_mark.line + 1
            message = _wrong_key(key)
            if here in lines:
                message = f"the key is given twice (first on line {lines[here]}); keep one"
            if message:
                field = ".".join(map(str, here if len(key) <= LONGEST_KEY else path))
                problems.append(Problem(file=file, line=line, field=field, message=message))
                continue
            lines[here] = line
            _walk(value, here, lines, problems, file)


def _wrong_key(key: str) -> str:
    if len(key) > LONGEST_KEY:
        return f"a key of {len(key)} characters; {LONGEST_KEY} are read"
    if clean(key) != key or "\n" in key:
        return f"a key holds letters, digits and marks, not {brief(key)}"
    return ""
