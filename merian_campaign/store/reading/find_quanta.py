"""Quanta found by number or by words, over psycopg2 alone and through indexes alone.

A campaign has up to ten million quanta. Which tasks there are, and in which groups, is in the rollup; what
a data ID of a task looks like is read off one of them. Where all of it is given, or follows, quanta are
looked up by their key; where part of it is given, by the columns that have an index, or group by group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from merian_campaign.domain.execution.quanta import INTEGER_DIMENSIONS, canonical_data_id
from merian_campaign.store.quanta.quantum_forms import NUMBERED, data_form, digest
from merian_campaign.store.reading import queries
from merian_campaign.store.server.connection import fetch

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812  (psycopg2 spells it small)

_SAME_EVERYWHERE: Final = frozenset({"instrument", "skymap"})
"""Dimensions of which a campaign has one value."""

_LONGEST_NUMBER: Final = 18

_OF_KEY: Final = """q.key = (
    SELECT hash_record_extended(ROW(k.id, %(of_visit)s::bigint, %(of_exposure)s::bigint,
                                    %(of_detector)s::smallint,
                                    %(of_tract)s::integer, %(of_patch)s::integer), '0')
    FROM quantum_kind AS k WHERE k.campaign_id = %(campaign_id)s AND k.digest = %(digest)s::uuid
)"""

# What the planner makes of a search through a fraction of a large table: reading all of it.
_BY_INDEX = "; ".join(f"SET LOCAL enable_{way} = off" for way in ("seqscan", "hashjoin", "mergejoin"))


@dataclass(frozen=True, kw_only=True)
class _Task:
    """A task of a step, with the data ID of any of its quanta, and which columns it fills."""

    step: str
    task: str
    data_id: str
    columns: Sequence[str]

    @property
    def example(self) -> dict[str, str]:
        pairs = (part.partition("=") for part in self.data_id.split(","))
        return {name: value for name, _, value in pairs}

    def has(self, values: Mapping[str, str]) -> bool:
        """Say whether its quanta can be told apart by these values."""
        return all(name in self.example or name in self.columns for name in values)

    def key(self, values: Mapping[str, str]) -> str | None:
        """Return the one data ID that is meant; `None` where several may be."""
        example = self.example
        if not set(example) <= _SAME_EVERYWHERE | set(values):
            return None
        return canonical_data_id({name: values.get(name, example[name]) for name in example})


def tasks(connection: Connection, *, campaign_id: int) -> list[str]:
    """Return the tasks of a campaign of which there are quanta."""
    rows = fetch(connection, queries.TASK_EXAMPLES, {"campaign_id": campaign_id, "step": None, "task": None})
    return list(dict.fromkeys(row["task"] for row in rows))


def by_words(
    connection: Connection,
    *,
    campaign_id: int,
    step: str | None,
    task: str | None,
    values: Mapping[str, str],
    limit: int,
) -> list[dict[str, Any]]:
    """Return quanta of a task (or of any) whose data IDs have these values, the first ones."""
    given = {"campaign_id": campaign_id, "step": step, "task": task}
    by_index(connection)
    found = [_Task(**row) for row in fetch(connection, queries.TASK_EXAMPLES, given)]
    found = [entry for entry in found if entry.has(values)]
    given |= {"limit": limit, "tract": _whole(values.get("tract"))}
    keyed = [(entry, key) for entry in found if (key := entry.key(values)) is not None]
    rows: list[dict[str, Any]] = []
    # Tasks are searched apart, those that are told apart by other columns differ.
    for entry, key in keyed:
        form, numbers = data_form(key)
        more: dict[str, object] = {"digest": digest(entry.task, form)}
        more |= {f"of_{name}": number for name, number in zip(NUMBERED, numbers, strict=True)}
        rows += _search(connection, entry, values, given, _OF_KEY, more)
    for entry in found:
        if len(rows) < limit and entry.key(values) is None:
            named = [name for name in values if name in entry.example and name not in entry.columns]
            patterns = [f"%,{_plain(f'{name}={values[name]}')},%" for name in named]
            condition = "',' || q.data_id || ',' LIKE ALL (%(patterns)s::text[])" if named else "true"
            rows += _search(connection, entry, values, given, condition, {"patterns": patterns})
    return rows[:limit]


def _search(
    connection: Connection,
    entry: _Task,
    values: Mapping[str, str],
    given: Mapping[str, object],
    condition: str,
    more: Mapping[str, object],
) -> list[dict[str, Any]]:
    """Return quanta of one task; what has a column is compared with that, which may have an index."""
    compared = {name: values[name] for name in entry.columns if name in values}
    arguments: dict[str, object] = {}
    for name, value in compared.items():
        known = _whole(value) if name in INTEGER_DIMENSIONS else value
        if known is None:
            return []
        arguments[f"column_{name}"] = known
    conditions = " AND ".join([condition, *(f"q.{name} = %(column_{name})s" for name in compared)])
    place = {"step": entry.step, "task": entry.task}
    query = queries.QUANTA_OF_A_TASK.replace("CONDITION", conditions)
    return fetch(connection, query, {**given, **more, **arguments, **place})


def _plain(text: str) -> str:
    """Return a text as it stands in a pattern of LIKE."""
    return text.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")


def _whole(text: str | None) -> int | None:
    """Return a whole number; `None` for what is none, or larger than a database has."""
    plain = text is not None and text.isascii() and text.isdecimal() and len(text) <= _LONGEST_NUMBER
    return int(text) if text is not None and plain else None


def by_index(connection: Connection) -> None:
    """Keep this transaction from reading whole tables."""
    with connection.cursor() as cursor:
        cursor.execute(_BY_INDEX)
