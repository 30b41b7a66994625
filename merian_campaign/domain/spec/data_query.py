"""Data queries as people write them: what BPS would not hand on as it is, and what they constrain."""

from __future__ import annotations

import re

from merian_campaign.domain.spec.words import changed_in_quotes

_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_SPATIAL = re.compile(r"(?<![\w.])(tract|patch)(?![\w])", re.IGNORECASE)
_TRACT = re.compile(r"(?<![\w.])tract(?![\w])")


def check_where(where: str) -> None:
    """Refuse a data query that BPS would not hand on as it is, or that reaches beyond its own parentheses.

    Raises
    ------
    ValueError
        Raised with what was found and what to write instead.
    """
    text = where.strip()
    if '"' in text or "\n" in text:
        raise ValueError(
            "where: write it on one line, with single quotes inside (BPS puts double ones around)"
        )
    if (odd := changed_in_quotes(text)) is not None:
        raise ValueError(
            f"where: found {odd!r}: braces, $, <ENV:, backslashes and backquotes are marks of BPS or of the "
            "shell; leave them out"
        )
    if text.count("'") % 2:
        raise ValueError("where: a single quote without its partner")
    depth = 0
    for mark in re.findall(r"[()]", _QUOTED.sub("", text)):
        depth += 1 if mark == "(" else -1
        if depth < 0:
            break
    if depth:
        raise ValueError("where: a parenthesis without its partner")


def without_quoted(where: str) -> str:
    """Return a data query without what stands in quotes: what is left are names, numbers and operators."""
    return _QUOTED.sub("", where)


def spatial_term(where: str) -> str:
    """Return the first tract or patch that a data query names; empty for none."""
    match = _SPATIAL.search(without_quoted(where))
    return match[1] if match else ""


def names_tract(where: str) -> bool:
    """Say whether a data query constrains the tract."""
    return _TRACT.search(without_quoted(where)) is not None
