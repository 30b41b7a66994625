"""What all tables of the tracking database are made of: the metadata, and columns that many of them have."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from sqlalchemy import BigInteger, CheckConstraint, Column, DateTime, Identity, Integer, MetaData, Text, text

__all__ = ["TIME", "count", "first", "key", "metadata", "one_of", "words"]

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

TIME = DateTime(timezone=True)


def one_of(column: str, values: Iterable[StrEnum]) -> CheckConstraint:
    """Allow these words alone in a column."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def key() -> Column[int]:
    """Return the key of a table whose rows have numbers of their own."""
    return Column("id", BigInteger, Identity(always=True), primary_key=True)


def words(name: str) -> Column[str]:
    """Text that is never NULL: empty means none."""
    return Column(name, Text, nullable=False, server_default=text("''"))


def count(name: str) -> Column[int]:
    """Count from 0."""
    return Column(name, Integer, nullable=False, server_default=text("0"))


def first(name: str) -> Column[int]:
    """Count from 1."""
    return Column(name, Integer, nullable=False, server_default=text("1"))
