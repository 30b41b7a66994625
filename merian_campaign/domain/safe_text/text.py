"""Text from outside (exceptions, logs, names, files of others) made inert, once, where it comes in.

What is cleaned can be stored in PostgreSQL, encoded as UTF-8, and shown in a terminal without acting there.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["LONGEST", "clean", "one_line", "redact"]

LONGEST: Final = 20_000
"""Characters of one text that are kept; beginning and end say more than the middle."""

# C0 and C1 control characters but tab and newline; lone surrogates; what changes the direction of text or
# hides in it (Unicode Standard Annex 9; the categories Cf, Zl and Zp, as far as terminals act on them).
_ACTIVE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)

# Bounded repetitions: what is searched may be long, and was made by others. A password may hold whatever a
# person did not escape, so it ends at the last @.
_IN_URL = re.compile(
    r"(?<![\w+.-])([A-Za-z][\w+.-]{0,30}://[^\s:@/?#\[]{0,128}):(?!\*\*\*@)[^\s@]{1,512}(?:@\S{0,512})?@"
)
_NAMED = re.compile(
    r"((?:pass(?:word|wd|phrase)[\"']?\s{0,3}[=:]|(?:secret|token)[\"']?=)\s{0,3})(?!\*\*\*)"
    r"('(?:[^'\\]|\\.){0,512}'|\"(?:[^\"\\]|\\.){0,512}\"|[^\s&;,]{1,512})",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """Return text without the passwords in it: of URLs (``user:password@``) and of ``password=...``.

    Redacting it again changes nothing.
    """
    return _NAMED.sub(r"\1***", _IN_URL.sub(r"\1:***@", text))


def clean(text: str, *, limit: int = LONGEST) -> str:
    r"""Return text of which nothing acts: control characters and surrogates are spelled out, e.g. ``\x1b``.

    Passwords in it are left out, as by `redact`.

    Parameters
    ----------
    text : `str`
        Whatever came from outside. Newlines and tabs stay; a carriage return before a newline goes.
    limit : `int`, optional
        Characters that are kept at most; of longer text the middle is left out, and how much is said.

    Returns
    -------
    cleaned : `str`
        Encodes as UTF-8. Cleaning it again changes nothing.
    """
    if len(text) <= limit and text.isprintable():
        return redact(text)  # nearly all there is; nothing active is printable
    # Bounded first: what is spelled out grows.
    short = redact(text if len(text) <= limit else _without_middle(text, limit))
    return _ACTIVE.sub(_spelled, short.replace("\r\n", "\n"))


def one_line(text: str, *, limit: int = 400) -> str:
    """Return cleaned text on one line: runs of white space are one blank, a long end is cut."""
    # More than enough to fill the line is looked at; what is all white space has no words.
    words = " ".join(clean(text[: 50 * limit]).split())
    return words if len(words) <= limit else words[: limit - 1] + "…"


def first_line(text: str, *, limit: int = 300) -> str:
    """Return the first line of what a library says, not too long: the butler's messages have many."""
    line = next(iter(text.strip().splitlines()), "")
    return line if len(line) <= limit else f"{line[:limit]} ..."


def error_line(error: Exception) -> str:
    """Return an exception of a library on one line: its class, and the first line of its message."""
    said = first_line(str(error))
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _without_middle(text: str, limit: int) -> str:
    mark = f" … [{len(text) - limit} characters left out] … "
    kept = max(0, limit - len(mark))
    head = kept * 2 // 3
    return text[:head] + mark + text[len(text) - (kept - head) :]


def _spelled(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
