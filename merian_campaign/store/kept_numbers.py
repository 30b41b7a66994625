"""Whether numbers that are kept are what they are counted to be, and counting anew where they are not.

What keeps them counts anew, under the group's lock: they differ after somebody has written to the tables by
hand, after damage, or through a mistake of this program. psycopg2 only, as `db check` is.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from merian_campaign.domain.errors import CampaignError
from merian_campaign.domain.safe_text.text import one_line
from merian_campaign.store.board import BOARD, BOARD_COUNTS, KEEP_BOARD
from merian_campaign.store.quanta.group_summaries import DIFFERENT_SUMMARIES, SUMMARISE
from merian_campaign.store.quanta.merge_quanta import DIFFERENT_COUNTS, RECOUNT
from merian_campaign.store.server.connection import open_connection, translated

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812  (psycopg2 spells it small)

__all__ = ["Different", "WrongNumbersError", "count_anew", "different", "require_right"]

_SHOWN: Final = 20
_WORDS: Final = {
    **{column: f"{state} quanta" for state, column in BOARD_COUNTS.items()},
    "submissions": "submissions",
    "no_graph": "that its graph was empty",
    "stack": "the stack",
}
_SUMMARIES: Final = {
    "group_usage": "memory and run time by task",
    "group_hours": "quanta by hour",
    "group_cells": "quanta by tract and band",
}


class WrongNumbersError(CampaignError):
    """Numbers that are kept are not what they are counted to be."""

    exit_code = 65


@dataclass(frozen=True, kw_only=True)
class Different:
    """What is kept of a group and is not so.

    Parameters
    ----------
    group_id : `int`
        Which one.
    group : `str`
        The same for people: campaign, step and key.
    words : `str`
        What is kept, and what is counted.
    summary : `bool`
        Whether it is a summary that stable views read.
    """

    group_id: int
    group: str
    words: str
    summary: bool = False


def _board_differs() -> str:
    """Return SQL for the columns of groups that are not what they are counted to be."""
    joins, pairs = [], []
    for source, values in BOARD.items():
        named = ", ".join(f"{value} AS {name}" for name, value in values.items())
        joins.append(
            f"LEFT JOIN (SELECT group_id, {named} FROM {source} GROUP BY group_id) AS {source}"  # noqa: S608 - names
            f" ON {source}.group_id = g.id"
        )
        # A group without rows there has what counting none of them comes to.
        nothing = f"(SELECT {named} FROM {source} WHERE false) AS no_{source}"  # noqa: S608 - names
        joins.append(f"CROSS JOIN {nothing}")
        pairs += [
            f"('{name}', g.{name}::text, coalesce({source}.{name}, no_{source}.{name})::text)"
            for name in values
        ]
    return f"""
SELECT g.id, d.name, d.kept, d.counted
FROM "group" AS g {" ".join(joins)}
CROSS JOIN LATERAL (VALUES {", ".join(pairs)}) AS d (name, kept, counted)
WHERE d.kept IS DISTINCT FROM d.counted
"""  # noqa: S608  (built from names)


_BOARD_DIFFERS: Final = _board_differs()

_GROUPS: Final = """
SELECT g.id, c.name || ': ' || g.step || '/' || g.key
FROM "group" AS g JOIN campaign AS c ON c.id = g.campaign_id
WHERE g.id = ANY (%(ids)s) ORDER BY c.name, g.ordinal, g.step, g.key
"""
_LOCK: Final = 'SELECT FROM "group" WHERE id = %(group_id)s FOR UPDATE'


def different(url: str, *, quanta: bool) -> tuple[Different, ...]:
    """Return what is kept of groups and is not what it is counted to be, as of one moment.

    Parameters
    ----------
    url : `str`
        Where the database is.
    quanta : `bool`
        Whether every quantum is counted; otherwise only what the board says is held against the counts of
        quanta by task and state, and against the submissions.
    """
    with closing(open_connection(url)) as connection, translated(url):
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        found = [
            (group_id, _said(name, kept, counted), False)
            for group_id, name, kept, counted in _rows(connection, _BOARD_DIFFERS)
        ]
        if quanta:
            found += [
                (
                    group_id,
                    f"of quanta, counts by task and state have {kept} in all, there are {counted}",
                    False,
                )
                if kept != counted
                else (group_id, f"of {counted} quanta, counts by task and state are wrong", False)
                for group_id, kept, counted in _rows(connection, DIFFERENT_COUNTS)
            ]
            for table, query in DIFFERENT_SUMMARIES.items():
                found += [
                    (group_id, f"wrong in the summary of {_SUMMARIES[table]}, lines: {number}", True)
                    for group_id, number in _rows(connection, query)
                ]
        names: dict[int, str] = dict(
            _rows(connection, _GROUPS, ids=list({group_id for group_id, _, _ in found}))
        )
    place = {group_id: number for number, group_id in enumerate(names)}
    return tuple(
        Different(group_id=group_id, group=one_line(names[group_id]), words=words, summary=summary)
        for group_id, words, summary in sorted(found, key=lambda entry: place.get(entry[0], 0))
        if group_id in names
    )


def _said(name: str, kept: str, counted: str) -> str:
    """Return in words what the board says and what is so."""
    if name == "no_graph":
        says = "says" if kept == "true" else "does not say"
        return f"the board {says} {_WORDS[name]}, and its submissions say otherwise"
    if name == "stack":
        return f"the board shows {_WORDS[name]} {kept!r}, its last submission ran with {counted!r}"
    return f"of {_WORDS[name]} the board has {kept}, there are {counted}"


def count_anew(url: str, groups: Collection[Different]) -> int:
    """Count anew what is kept of groups; return how many. Each by itself, under its lock."""
    summaries = {entry.group_id for entry in groups if entry.summary}
    with closing(open_connection(url)) as connection, translated(url):
        ids = sorted({entry.group_id for entry in groups})
        for group_id in ids:
            statements = (_LOCK, RECOUNT, *KEEP_BOARD, *(SUMMARISE if group_id in summaries else ()))
            with connection, connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement, {"group_id": group_id})
    return len(ids)


def require_right(found: Sequence[Different], *, repair: str) -> None:
    """Raise if anything is kept that is not so.

    Parameters
    ----------
    found : `~collections.abc.Sequence` [`Different`]
        What `different` has found.
    repair : `str`
        The command that counts it anew.

    Raises
    ------
    WrongNumbersError
        Raised with what differs, and what to do.
    """
    if not found:
        return
    groups = len({entry.group_id for entry in found})
    lines = [f"{entry.group}: {entry.words}" for entry in found[:_SHOWN]]
    if len(found) > _SHOWN:
        lines.append(f"and {len(found) - _SHOWN} more such numbers")
    of_groups = "1 group" if groups == 1 else f"{groups} groups"
    raise WrongNumbersError(
        f"numbers that are kept of {of_groups} are not what is counted; `{repair}` counts them anew, from "
        "what is on record:\n" + "\n".join(lines)
    )


def _rows(connection: Connection, query: str, **values: object) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, values or None)
        return cursor.fetchall()
