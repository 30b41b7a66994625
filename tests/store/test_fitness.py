"""Databases that cannot be a tracking database are told so before anything is put into them."""

from __future__ import annotations

from contextlib import closing

import pytest
from store_help import database_of

from merian_campaign.domain.errors import UnavailableError
from merian_campaign.store.server.connection import open_connection
from merian_campaign.store.server.fitness import require_fit


def execute(url: str, *statements: str) -> None:
    with closing(open_connection(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)


def test_what_every_text_can_be_put_into_is_fit(upgraded: str) -> None:
    require_fit(upgraded)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        (
            "CREATE DATABASE odd ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
            "SQL_ASCII",
        ),
        ("CREATE DATABASE odd; ALTER DATABASE odd SET default_transaction_read_only = on", "is read-only"),
    ],
)
def test_what_is_not_fit_is_told_in_words(server: str, statement: str, words: str) -> None:
    execute(server, *statement.split("; "))
    try:
        with pytest.raises(UnavailableError, match=words) as caught:
            require_fit(database_of(server, "odd"))
        assert caught.value.exit_code == 69
    finally:
        execute(server, "DROP DATABASE odd")
