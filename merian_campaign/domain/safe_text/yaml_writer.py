"""Writing YAML that PyYAML reads back exactly as meant.

Every string is quoted, so that ``24:00:00``, ``no``, ``1e3`` and ``012`` stay strings: YAML 1.1, which
BPS's reader follows, would make a number or a truth value of each.  PyYAML's writer, the compiled one too,
takes several times as long, and campaigns of hundreds of tracts are rendered while people wait
(``tests/bench/render`` measures it).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from json.encoder import encode_basestring_ascii

type YamlValue = str | int | float | bool | Sequence[YamlValue] | Mapping[str, YamlValue]

# Keys that may stand without quotes, and words among them that YAML 1.1 takes for something else.
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_RESERVED = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})

_ASTRAL = re.compile("([\U00010000-\U0010ffff])")
"""What JSON writes as two surrogates, which YAML does not put together again."""

_SCALARS = (str, int, float)

_LONGEST_KEY = 1000
"""Characters of a key as it is written: before a colon YAML takes 1024, behind a question mark any number."""


def quote(text: str) -> str:
    """Return ``text`` as a double-quoted YAML scalar in ASCII: that of JSON is one, which C writes."""
    if text.isascii():
        return encode_basestring_ascii(text)
    pieces = (
        f"\\U{ord(piece):08x}" if _ASTRAL.match(piece) else encode_basestring_ascii(piece)[1:-1]
        for piece in _ASTRAL.split(text)
    )
    return f'"{"".join(pieces)}"'


def _scalar(value: str | float) -> str:
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return _number(value)


def _number(value: float) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else f"{'-' if value < 0 else ''}.inf"
    text = repr(value)
    # Without a point, YAML 1.1 takes 1e+16 for text.
    return text if "." in text else text.replace("e", ".0e")


@lru_cache(maxsize=10_000)  # labels and keys of BPS come back in every file
def _key(key: str) -> str:
    plain = _PLAIN_KEY.fullmatch(key) is not None and key.lower() not in _RESERVED
    return key if plain else quote(key)


def dump(document: Mapping[str, YamlValue], *, indent: int = 0) -> str:
    """Return a mapping as block YAML, keys in the order given.

    Keys that YAML could take for something else are quoted.
    """
    if not document:
        return "{}\n"
    lines: list[str] = []
    _write(document, "  " * indent, lines)
    return "\n".join(lines) + "\n"


def _write(document: Mapping[str, YamlValue], pad: str, lines: list[str]) -> None:
    append = lines.append
    for key, value in document.items():
        name = _key(key)
        if len(name) > _LONGEST_KEY:
            name = f"? {name}\n{pad}"
        # What most values are comes first: to ask for relatives of theirs takes twice as long.
        if type(value) is str:
            append(f"{pad}{name}: {quote(value)}")
        elif type(value) is int:
            append(f"{pad}{name}: {value}")
        elif isinstance(value, _SCALARS):
            append(f"{pad}{name}: {_scalar(value)}")
        elif not value:
            append(f"{pad}{name}: {'{}' if isinstance(value, Mapping) else '[]'}")
        elif type(value) is dict or isinstance(value, Mapping):
            append(f"{pad}{name}:")
            _write(value, f"{pad}  ", lines)
        else:
            append(f"{pad}{name}:")
            lines += [f"{pad}  - {_scalar(item)}" for item in value if isinstance(item, _SCALARS)]
