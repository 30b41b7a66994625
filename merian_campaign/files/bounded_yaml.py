"""YAML from outside, read with bounds: everything that the product reads as YAML comes through here.

The text is first followed event by event, which needs no memory and no recursion: only what is small, shallow
and plain goes on to PyYAML's composer, which would follow brackets and aliases wherever they lead.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Final

import yaml

from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.safe_text.json_values import LARGEST
from merian_campaign.domain.safe_text.text import one_line
from merian_campaign.host.regular_files import DamagedFileError, read_text

__all__ = [
    "DEEPEST",
    "LONGEST_KEY",
    "LONGEST_TEXT",
    "MOST_BYTES",
    "MOST_VALUES",
    "WrongYamlError",
    "compose",
    "construct",
    "read_data",
    "read_yaml_text",
    "wrong_value",
]

MOST_BYTES: Final = 4 << 20
"""Bytes of a YAML file. One with a list of 40,000 exposures has less than half of a million; longer lists of
ids lie in files of their own."""

MOST_VALUES: Final = 50_000
"""Values of a document, aliases counted as often as they are used: less than a second of reading, less than
100 MB. A campaign file of a data release has some 500."""

DEEPEST: Final = 32
"""Levels of a document; a campaign file has six. PyYAML's composer recurses in C and crashes at 20,000."""

LONGEST_TEXT: Final = 100_000
"""Characters of one text: a data query or the prelude of a stack is far below it."""

LONGEST_KEY: Final = 200
"""Characters of one key."""

_LONGEST_NUMBER: Final = 100
_TAG: Final = "tag:yaml.org,2002:"
# What needs no class of its own: the others build bytes, sets and pairs, which no file here has.
_PLAIN_TAGS: Final = frozenset(
    f"{_TAG}{name}" for name in ("str", "int", "float", "bool", "null", "seq", "map", "timestamp")
)
_Base = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class WrongYamlError(ValueError):
    """Text that is no YAML, or more of it than is read.

    Parameters
    ----------
    message : `str`
        What was found.
    line : `int` or `None`
        1-based.
    """

    def __init__(self, message: str, line: int | None) -> None:
        super().__init__(message)
        self.message = one_line(message)
        self.line = line


class _Loader(_Base):  # type: ignore[misc, valid-type]
    """PyYAML's safe loader; what its constructors stumble over is an error of YAML, with a line."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> object:  # noqa: FBT001, FBT002 - PyYAML's
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, OverflowError) as error:
            # 2021-02-30 looks like a date to YAML, and !!int may stand before anything.
            raise yaml.constructor.ConstructorError(None, None, str(error), node.start_mark) from None
        except (KeyError, IndexError, AttributeError, TypeError):
            words = f"{_shown(node)} is no {node.tag.removeprefix(_TAG)}"
            raise yaml.constructor.ConstructorError(None, None, words, node.start_mark) from None


def read_yaml_text(path: Path, *, shown: str) -> str:
    """Return the text of a file that is to be read as YAML.

    Parameters
    ----------
    path : `~pathlib.Path`
        The file.
    shown : `str`
        Path as the person gave it.

    Raises
    ------
    BadInputError
        Raised if there is none, or it is no regular file of UTF-8 text of at most `MOST_BYTES`.
    """
    try:
        return read_text(path, limit=MOST_BYTES)
    except FileNotFoundError:
        raise BadInputError(f"{one_line(shown)}: there is no such file") from None
    except DamagedFileError as error:
        raise BadInputError(f"{one_line(shown)}: cannot be read: {error.found}") from None


def read_data(path: Path) -> object:
    """Return what a YAML file holds, whatever that is.

    Raises
    ------
    BadInputError
        Raised as by `read_yaml_text`, and if it is no YAML that is read.
    """
    try:
        root = compose(read_yaml_text(path, shown=str(path)))
        return None if root is None else construct(root)
    except WrongYamlError as error:
        where = f"{path}:{error.line}" if error.line else str(path)
        raise BadInputError(f"{where}: not readable as YAML: {error.message}") from None


def compose(text: str) -> yaml.Node | None:
    """Return the root node of a document within all bounds; `None` for an empty text.

    Raises
    ------
    WrongYamlError
        Raised if it is no YAML, or beyond a bound.
    """
    bare = text.removeprefix("\ufeff")
    try:
        _check(bare)
        root: yaml.Node | None = yaml.compose(bare, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        if mark is not None and bare[mark.index : mark.index + 1] == "\t":
            raise WrongYamlError("found a tab; YAML is indented with blanks", mark.line + 1) from None
        raise _wrong(error) from None
    except yaml.YAMLError as error:
        raise _wrong(error) from None
    return root


def construct(root: yaml.Node) -> object:
    """Return the values of a composed document.

    Raises
    ------
    WrongYamlError
        Raised if a value is not what its tag says.
    """
    loader = _Loader("")
    try:
        found: object = loader.construct_document(root)
    except yaml.YAMLError as error:
        raise _wrong(error) from None
    finally:
        loader.dispose()
    return found


def wrong_value(value: object) -> str:
    """Return what is wrong with one value of a document that is neither list nor mapping, or nothing.

    Numbers have to be finite and below 2**63; text holds no NUL. What else it must not hold depends on what
    it is for, which the model knows.
    """
    match value:
        case bool() | None | date():
            return ""
        case int() if not -LARGEST <= value <= LARGEST:
            return "a number of more than 63 bits; nothing that is counted here is that large"
        case float() if not math.isfinite(value):
            return f"found {value!r}; write a finite number"
        case str() if "\0" in value:
            return "it holds a NUL character, which no database or command takes"
    return ""


@dataclass
class _Collection:
    """A list or mapping that is being read: how many values it has so far, and its name for aliases."""

    anchor: str | None
    values: int = 1


@dataclass
class _Count:
    """How large the document is so far."""

    open: list[_Collection] = field(default_factory=list)
    anchors: dict[str, int] = field(default_factory=dict)
    pending: set[str] = field(default_factory=set)
    total: int = 0

    def begin(self, anchor: str | None, line: int) -> None:
        """Begin a list or mapping."""
        if len(self.open) >= DEEPEST:
            raise WrongYamlError(f"nested too deeply: more than {DEEPEST} levels", line)
        if anchor is not None:
            self.pending.add(anchor)
        self.open.append(_Collection(anchor))
        self.total += 1

    def end(self) -> None:
        """End it."""
        done = self.open.pop()
        if done.anchor is not None:
            self.anchors[done.anchor] = done.values
            self.pending.discard(done.anchor)
        if self.open:  # counted already
            self.open[-1].values += done.values

    def add(self, number: int, line: int) -> None:
        """Count values of the list or mapping around them."""
        if self.open:
            self.open[-1].values += number
        self.total += number
        if self.total > MOST_VALUES:
            raise WrongYamlError(f"more than {MOST_VALUES} values, those behind aliases included", line)

    def alias(self, name: str, line: int) -> None:
        """Count what an alias stands for."""
        if name in self.pending:
            raise WrongYamlError(f"nested too deeply: the alias *{name} is inside what it stands for", line)
        # One that is not defined is left to the composer.
        self.add(self.anchors.get(name, 1), line)


def _check(text: str) -> None:
    """Refuse what is beyond a bound; nothing is kept of the text."""
    count = _Count()
    for event in yaml.parse(text, Loader=_Loader):
        line = 1 if event.start_mark is None else event.start_mark.line + 1
        match event:
            case yaml.AliasEvent():
                count.alias(str(event.anchor), line)
                continue
            case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                count.begin(event.anchor, line)
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                count.end()
                continue
            case yaml.ScalarEvent():
                _check_scalar(event, line)
                if event.anchor is not None:
                    count.anchors[event.anchor] = 1
                count.add(1, line)
            case _:
                continue
        if event.tag is not None and event.tag not in _PLAIN_TAGS and event.tag != "!":
            raise WrongYamlError(f"the tag {event.tag!r} is not read; leave it out", line)


def _check_scalar(event: yaml.ScalarEvent, line: int) -> None:
    length = len(event.value)
    if length > LONGEST_TEXT:
        raise WrongYamlError(f"a text of {length} characters; {LONGEST_TEXT} are read", line)
    # 1:00:00:... and 0x... grow into numbers whatever their length; texts that long are no numbers.
    if length > _LONGEST_NUMBER and _is_number(event):
        raise WrongYamlError(f"a number of {length} characters", line)


_DIGITS = re.compile(r"[-+0-9.][0-9A-Fa-fx_:.+-]*")


def _is_number(event: yaml.ScalarEvent) -> bool:
    if event.tag in {f"{_TAG}int", f"{_TAG}float"}:
        return True
    return event.tag is None and event.implicit[0] and _DIGITS.fullmatch(event.value) is not None


def _wrong(error: yaml.YAMLError) -> WrongYamlError:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        return WrongYamlError(str(error.problem), None if mark is None else mark.line + 1)
    return WrongYamlError(str(error), None)


def _shown(node: yaml.Node) -> str:
    return repr(one_line(node.value, limit=60)) if isinstance(node, yaml.ScalarNode) else "what is there"
