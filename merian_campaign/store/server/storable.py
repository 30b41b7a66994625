"""The last door before the database: whatever text is handed to it can be stored.

PostgreSQL holds no NUL and no lone surrogate, and refuses the whole statement for one of them. Text from
outside is made inert where it comes in; what was missed there shall not stop a campaign here.
"""

from __future__ import annotations

import json
import math
import re

from psycopg2.extensions import QuotedString, register_adapter

__all__ = ["dumps", "register", "storable"]

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable(text: str) -> str:
    r"""Return text that PostgreSQL takes: NUL and lone surrogates are spelled out, e.g. ``\x00``."""
    return _UNSTORABLE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def dumps(value: object) -> str:
    """Return JSON that a ``jsonb`` takes: its texts storable, numbers that JSON has not as text."""
    return json.dumps(_storable_value(value))


def register() -> None:
    """Make every text parameter of every statement of this process storable."""
    register_adapter(str, lambda text: QuotedString(storable(text)))


def _storable_value(value: object) -> object:
    match value:
        case str():
            return storable(value)
        case float() if not math.isfinite(value):
            return str(value)
        case dict():
            return {storable(str(key)): _storable_value(item) for key, item in value.items()}
        case list() | tuple():
            return [_storable_value(item) for item in value]
    return value


register()
