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

type YamlValue = str | int | float | bool | Sequence[YamlValue] | Mapping[str, YamlValue]

# Keys that may stand without quotes, and words among them that YAML 1.1 takes for something else.
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_BASIC_PLANE = 0xFFFF
_RESERVED = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})

_SPECIAL = re.compile(r"[^ !#-\[\]-~]")
"""Whatever is not printable ASCII, quotation marks and backslashes."""

_NUMBERS = (int, float)
_SCALARS = (str, int, float)
_SHORT = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def quote(text: str) -> str:
    """Return ``text`` as a double-quoted YAML scalar in ASCII."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return f'"{_SPECIAL.sub(_escape, text)}"'


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return _SHORT.get(found[0]) or (f"\\u{code:04x}" if code <= _BASIC_PLANE else f"\\U{code:08x}")


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
    for key, value in document.items():
        name = f"{pad}{_key(key)}:"
        if isinstance(value, str):
            lines.append(f"{name} {quote(value)}")
        elif isinstance(value, _NUMBERS):
            lines.append(f"{name} {_scalar(value)}")
        elif isinstance(value, dict) or isinstance(value, Mapping):  # noqa: SIM101 - the second is slow
            if not value:
                lines.append(f"{name} {{}}")
                continue
            lines.append(name)
            _write(value, f"{pad}  ", lines)
        else:
            lines.append(name if value else f"{name} []")
            lines.extend(f"{pad}  - {_scalar(item)}" for item in value if isinstance(item, _SCALARS))
