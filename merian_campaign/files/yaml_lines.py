"""YAML with line numbers, so that every complaint can name the line it is about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import yaml

from merian_campaign.domain.errors import BadFileError, BadInputError, Problem

type Key = str | int
type Data = bool | int | float | str | date | list[Data] | dict[str, Data] | None

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


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
        Raised if the file cannot be read or parsed, or holds a key twice.
    """
    name = shown or str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BadInputError(f"{name}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"{name}: cannot be read: {error}") from None
    return parse_document(text, file=name)


def parse_document(text: str, *, file: str) -> Document:
    """Parse YAML text; see `read_document`."""

    def refused(message: str, line: int | None = None) -> BadFileError:
        return BadFileError((Problem(file=file, line=line, field="", message=message),))

    lines: dict[tuple[Key, ...], int] = {}
    problems: list[Problem] = []
    try:
        node = yaml.compose(text, Loader=_Loader)
        if not isinstance(node, yaml.MappingNode):
            raise refused("the file must be a mapping of keys to values", 1)
        _walk(node, (), lines, problems, file)
        if problems:
            raise BadFileError(tuple(problems))
        data = yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = None if mark is None else mark.line + 1
        raise refused(f"not readable as YAML: {error.problem}", line) from None
    except RecursionError:
        raise refused(
            "not readable as YAML: nested too deeply, or an alias inside what it stands for"
        ) from None
    except (yaml.YAMLError, ValueError) as error:
        # ValueError: 2021-02-30 looks like a date to YAML, and !!int may stand before anything.
        raise refused(f"not readable as YAML: {' '.join(str(error).split())}") from None
    return Document(file=file, text=text, data=data, lines=lines)


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
            key = str(key_node.value)
            here = (*path, key)
            if here in lines:
                first = lines[here]
                line = key_node.start_mark.line + 1
                message = f"the key is given twice (first on line {first}); keep one"
                problems.append(
                    Problem(file=file, line=line, field=".".join(map(str, here)), message=message)
                )
                continue
            lines[here] = key_node.start_mark.line + 1
            _walk(value, here, lines, problems, file)
