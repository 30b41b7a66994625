"""Passwords in database URLs and environments: found, split off, left out of what is written.

Rules of URLs are libpq's (PostgreSQL documentation, "Connection URIs"), which differ from those of browsers:
a ``#`` or ``?`` in a password is a part of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from merian_campaign.domain.safe_text.text import redact

__all__ = ["LEFT_OUT", "DatabaseUrl", "WrongUrlError", "is_secret_name", "read_url", "shown_environment"]

LEFT_OUT: Final = "(left out)"
"""What stands in place of a secret."""

_URL = re.compile(r"(postgres(?:ql)?(?:\+\w+)?://)(.*)", re.DOTALL)
_SERVER = re.compile(r"(?:\[[^\]]*\]?|[^:]*)(?::\d*)?")
_SECRET_NAME = re.compile(
    r"PASS(?:WORD|WD|PHRASE)?(?:_|$)|PASSWORD|SECRET|TOKEN|CREDENTIAL|PRIVATE_?KEY|(?:API|ACCESS)_?KEY"
    r"|(?:^|_)(?:KEY|AUTH)$",
    re.IGNORECASE,
)
_PLACE_NAME = re.compile(r"(?:FILE|PATH|DIR|FOLDER|SOCK)$", re.IGNORECASE)


class WrongUrlError(ValueError):
    """What should be a PostgreSQL URL and is none; the message shows nothing of it."""


@dataclass(frozen=True, kw_only=True)
class DatabaseUrl:
    """A URL of a database, its password apart.

    Parameters
    ----------
    url : `str`
        Without the password.
    password : `str` or `None`
        `None` when it had none.
    """

    url: str
    password: str | None


def read_url(url: str) -> DatabaseUrl:
    """Split the password off a URL of PostgreSQL, or of SQLAlchemy for PostgreSQL.

    Raises
    ------
    WrongUrlError
        Raised if it is another kind of text, or its password holds a ``/`` that is not escaped.
    """
    found = _URL.fullmatch(url)
    if found is None:
        raise WrongUrlError("is not a PostgreSQL URL")
    scheme, rest = found.groups()
    head, slash, tail = rest.partition("/")
    user, at, server = head.rpartition("@")
    if not at and ("@" in tail.partition("?")[0] or not _is_server(head.partition("?")[0])):
        raise WrongUrlError("holds a password with a character that is not escaped (/ as %2F, @ as %40)")
    user, colon, secret = user.partition(":")
    password = unquote(secret) if colon else None
    place, _, query = f"{server}{slash}{tail}".partition("?")
    kept = []
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if name == "password":
            password = unquote(value)
        elif pair:
            kept.append(pair)
    plain = f"{scheme}{user}{at}{place}" + (f"?{'&'.join(kept)}" if kept else "")
    return DatabaseUrl(url=plain, password=password)


def _is_server(text: str) -> bool:
    return all(_SERVER.fullmatch(each) for each in text.split(","))


def is_secret_name(name: str) -> bool:
    """Say whether an environment variable of this name holds a secret, and not the place of one."""
    return _SECRET_NAME.search(name) is not None and not _PLACE_NAME.search(name)


def shown_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment as it may be kept in a file that others read."""
    return {name: LEFT_OUT if is_secret_name(name) else redact(value) for name, value in environ.items()}
