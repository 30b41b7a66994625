"""INSERT of any number of rows by one statement, put together once and not for each number of rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Table, bindparam, column, func, select
from sqlalchemy.dialects.postgresql import JSONB, Insert, insert

__all__ = ["inserting", "many"]


def inserting(table: Table, names: Sequence[str]) -> Insert:
    """Return an INSERT of the rows that `many` makes parameters of.

    ``VALUES`` of many rows is a statement that SQLAlchemy puts together each time, which takes longer than
    the server does.

    Parameters
    ----------
    table : `~sqlalchemy.Table`
        Where to.
    names : `~collections.abc.Sequence` [`str`]
        Columns that rows have.
    """
    new = (
        func.jsonb_to_recordset(bindparam("rows", type_=JSONB))
        .table_valued(*(column(name, table.c[name].type) for name in names))
        .render_derived(name="new", with_types=True)
    )
    return insert(table).from_select(list(names), select(*(new.c[name] for name in names)))


def many(rows: Iterable[Mapping[str, object]]) -> dict[str, Any]:
    """Return the parameters of a statement of `inserting`."""
    return {"rows": [{name: _plain(value) for name, value in row.items()} for row in rows]}


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value
