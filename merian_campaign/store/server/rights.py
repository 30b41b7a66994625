"""Rights of other roles on the tracking database: to read its stable views, to look at all, to operate.

Nothing slow is imported before rights are given: the words of the choice stand in ``--help``.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from enum import StrEnum
from typing import Final

from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.safe_text.text import one_line

VIEWS: Final = (
    "quantum_status",
    "group_status",
    "tract_status",
    "failure_causes",
    "task_usage",
    "throughput_by_hour",
)
"""Views that others may build on."""

_LONGEST_NAME: Final = 63
"""Bytes of a name; PostgreSQL would cut a longer one, and mean another role."""


class Access(StrEnum):
    """What a role may do with the database."""

    VIEWS = "views"
    """Read the stable views, e.g. for Grafana."""
    READER = "reader"
    """Look at all of it."""
    OPERATOR = "operator"
    """All but change tables, and rewrite events."""


def statements(
    roles: Sequence[str], *, access: Access, schema: str = '"public"', database: str = ':"DBNAME"'
) -> tuple[str, ...]:
    """Return the SQL by which the owner of a tracking database gives roles their rights.

    Parameters
    ----------
    roles : sequence of `str`
        Names of roles.
    access : `Access`
        What they may do.
    schema, database : `str`, optional
        Quoted names; by default as psql takes them.

    Raises
    ------
    BadInputError
        Raised if a name cannot be a role's.
    """
    found: list[str] = []
    for role in roles:
        who = _quoted(role)
        found.append(f"GRANT USAGE ON SCHEMA {schema} TO {who};")
        if access is Access.VIEWS:
            found.append(f"GRANT SELECT ON {', '.join(VIEWS)} TO {who};")
            continue
        may = "SELECT" if access is Access.READER else "SELECT, INSERT, UPDATE, DELETE"
        found += [
            f"GRANT {may} ON ALL TABLES IN SCHEMA {schema} TO {who};",
            f"ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT {may} ON TABLES TO {who};",
        ]
        if access is Access.OPERATOR:
            found += [
                f"REVOKE UPDATE, DELETE ON event FROM {who};",
                f"REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM {who};",
                f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {who};",
                f"ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT USAGE ON SEQUENCES TO {who};",
                f"GRANT TEMPORARY ON DATABASE {database} TO {who};",
            ]
    return tuple(found)


def grant(url: str, roles: Sequence[str], *, access: Access) -> None:
    """Give roles their rights, all of them or none; again changes nothing.

    Parameters
    ----------
    url : `str`
        Where the database is; its user owns what is in it.
    roles : sequence of `str`
        Roles that there are.
    access : `Access`
        What they may do.

    Raises
    ------
    BadInputError
        Raised if there is no such role, or the database's user may not grant this.
    """
    from psycopg2 import errors  # noqa: PLC0415 - see the module

    from merian_campaign.store.server.connection import open_connection, translated  # noqa: PLC0415

    statements(roles, access=access)  # refuses names before the database is asked
    with translated(url), closing(open_connection(url)) as connection:
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute("SELECT quote_ident(current_schema()), quote_ident(current_database())")
                schema, database = cursor.fetchone() or ("public", "")
                for statement in statements(roles, access=access, schema=schema, database=database):
                    cursor.execute(statement)
        except errors.UndefinedObject as error:
            raise BadInputError(
                f"the database has no such role: {one_line(str(error))}; its administrator makes one: "
                "CREATE ROLE name LOGIN PASSWORD '...'"
            ) from None
        except (errors.InsufficientPrivilege, errors.ReservedName) as error:
            raise BadInputError(
                f"rights of {', '.join(map(one_line, roles))}: {one_line(str(error))}"
            ) from None


def _quoted(role: str) -> str:
    if not role or role != one_line(role) or len(role.encode()) > _LONGEST_NAME:
        raise BadInputError(
            f"{one_line(role)!r} is no name of a role; it is one line of at most {_LONGEST_NAME} bytes"
        )
    return '"' + role.replace('"', '""') + '"'
