"""Command lines as text that can be pasted: bash reads back exactly the words."""

from __future__ import annotations

import re
import shlex
from typing import Final

from merian_campaign.domain.safe_text.text import clean

__all__ = ["ShellPattern", "quoted", "shown"]

_PLAIN: Final = re.compile(r"[A-Za-z0-9@%+=:,./_-]+")
_SPECIAL_IN_QUOTES: Final = re.compile(r'["$`\\!]')
_WILD: Final = re.compile(r"\*|\?|\[!?\]?[^\]]*\]")
_BRACKET: Final = re.compile(r"[A-Za-z0-9@%+=:,._-]")
_KEYWORDS: Final = frozenset(
    {
        *("case", "coproc", "do", "done", "elif", "else", "esac", "fi", "for", "function", "if", "in"),
        *("select", "then", "time", "until", "while"),
    }
)
"""Words that bash takes for its own where a command begins; its others have characters that are quoted."""


class ShellPattern(str):
    """A word that the shell is to expand, e.g. ``/raw/*.fits``: ``*``, ``?`` and ``[...]`` stay unquoted."""

    __slots__ = ()


def shown(command: tuple[str, ...]) -> str:
    r"""Return a command line that a person can paste into bash.

    Parameters
    ----------
    command : `tuple` [`str`, ...]
        Words; those that are a `ShellPattern` are left for the shell to expand.

    Returns
    -------
    line : `str`
        One line of printable characters: newlines and control characters are written as in ``$'\n'``.
    """
    # What is a program's name to us is an assignment or a keyword to bash unless it is quoted.
    first = [
        f"'{word}'" if ("=" in word and text == word) or word in _KEYWORDS else text
        for word in command[:1]
        for text in (_word(word),)
    ]
    return " ".join([*first, *(_word(word) for word in command[1:])])


def quoted(word: str) -> str:
    """Return one word as bash reads it back, whatever it holds (but NUL, which no word can hold)."""
    if _PLAIN.fullmatch(word):
        return word
    if "\n" in word or "\t" in word or clean(word, limit=max(1, len(word))) != word:
        return _ansi_c(word)
    # Data queries are full of single quotes.
    return f'"{word}"' if "'" in word and not _SPECIAL_IN_QUOTES.search(word) else shlex.quote(word)


def _word(word: str) -> str:
    return _pattern(word) if isinstance(word, ShellPattern) else quoted(word)


def _ansi_c(word: str) -> str:
    """Return a word in bash's ``$'...'``; what does not print is written as its UTF-8 bytes."""
    parts = []
    for character in word:
        if character in "\\'":
            parts.append(f"\\{character}")
        elif character in "\n\t":
            parts.append({"\n": r"\n", "\t": r"\t"}[character])
        elif clean(character) == character:
            parts.append(character)
        else:
            raw = character.encode(
                "utf-8", "surrogateescape" if "\udc80" <= character <= "\udcff" else "surrogatepass"
            )
            # Octal, of three digits always: after \x41, a following "1" would belong to the number.
            parts += [f"\\{byte:03o}" for byte in raw]
    return f"$'{''.join(parts)}'"


def _pattern(word: str) -> str:
    """Return a glob pattern as `glob.glob` understands it: what is no wildcard there is quoted."""
    return "/".join(_pattern_part(part) for part in word.split("/"))


def _pattern_part(part: str) -> str:
    text, at = "", 0
    for found in _WILD.finditer(part):
        text += _literal(part[at : found.start()]) + _wildcard(found[0])
        at = found.end()
    return text + _literal(part[at:])


def _wildcard(found: str) -> str:
    if found in {"*", "?"}:
        return found
    start = 2 if found.startswith("[!") else 1
    inside = [one if _BRACKET.fullmatch(one) else quoted(one) for one in found[start:-1]]
    return f"{found[:start]}{''.join(inside)}]"


def _literal(text: str) -> str:
    return quoted(text) if text else ""
