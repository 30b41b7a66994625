"""Letting others ask: a role of the database that may read the stable views, and nothing else."""

from __future__ import annotations

from contextlib import closing
from typing import Final

from psycopg2 import errors, sql

from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.text import one_line
from merian_campaign.store.connection import open_connection, translated

VIEWS: Final = (
    "quantum_status",
    "group_status",
    "tract_status",
    "failure_causes",
    "task_usage",
    "throughput_by_hour",
)
"""Views that others may build on."""


def grant_reading(url: str, role: str) -> None:
    """Let a role read the stable views; again changes nothing.

    Parameters
    ----------
    url : `str`
        Where the database is; its user owns the views.
    role : `str`
        A role that there is.

    Raises
    ------
    BadInputError
        Raised if there is no such role, or the database's user may not grant this.
    """
    who = sql.Identifier(role)
    views = sql.SQL(", ").join(map(sql.Identifier, VIEWS))
    with translated(url), closing(open_connection(url)) as connection:
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute("SELECT current_schema()")
                found = cursor.fetchone()
                schema = sql.Identifier(str(found[0]) if found else "public")
                cursor.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, who))
                cursor.execute(sql.SQL("GRANT SELECT ON {} TO {}").format(views, who))
        except errors.UndefinedObject:
            raise BadInputError(
                f"the database has no role {one_line(role)!r}; its administrator makes one: "
                "CREATE ROLE name LOGIN PASSWORD '...'"
            ) from None
        except (errors.InsufficientPrivilege, errors.ReservedName) as error:
            raise BadInputError(f"role {one_line(role)!r}: {one_line(str(error))}") from None
