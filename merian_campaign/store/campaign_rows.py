"""Which rows of each table are one campaign's, told by the schema: a table that comes later is among them."""

from __future__ import annotations

from sqlalchemy import Column, Table

from merian_campaign.store.schema import metadata

__all__ = ["identified", "refers_to", "rows_of", "tables"]

_SUFFIX = "_id"


def tables() -> tuple[Table, ...]:
    """Return the tables that hold rows of campaigns, each after those that it refers to."""
    return tuple(metadata.sorted_tables)


def rows_of(table: Table, *, campaign: str) -> str:
    """Return the condition, in SQL, under which a row of a table is the campaign's.

    Parameters
    ----------
    table : `~sqlalchemy.Table`
        One of `tables`.
    campaign : `str`
        How the statement spells the campaign's id.
    """
    if table.name == "campaign":
        return f"id = {campaign}"
    for column in table.columns:
        for parent in _parents(column):
            if parent.name == "campaign":
                return f"{column.name} = {campaign}"
            theirs = rows_of(parent, campaign=campaign)
            return f'{column.name} IN (SELECT id FROM "{parent.name}" WHERE {theirs})'  # noqa: S608 - names of the schema
    raise LookupError(f"{table.name}: has no way to a campaign")


def _parents(column: Column[object]) -> tuple[Table, ...]:
    """Return the tables of whose rows those of this column's table are a part.

    What has no foreign key, for it would be looked up too often, says in its ``info`` ``within`` what it is.
    """
    if "within" in column.info:
        return (metadata.tables[column.info["within"]],)
    return tuple(key.column.table for key in column.foreign_keys)


def identified() -> tuple[Table, ...]:
    """Return the tables whose rows have ids of their own."""
    return tuple(table for table in tables() if "id" in table.columns)


def refers_to(column: Column[object]) -> str | None:
    """Return the table whose ids a column holds, with or without a foreign key; `None` when it holds none.

    A column of ids is called after its table (``group_id``, ``first_try_submission_id``), or its ``info``
    says what it ``refers`` to.
    """
    if "refers" in column.info:
        return str(column.info["refers"])
    for key in column.foreign_keys:
        return key.column.table.name
    for table in identified():
        name = f"{table.name}{_SUFFIX}"
        if column.name == name or column.name.endswith(f"_{name}"):
            return table.name
    return None
