"""Names for completion at a shell's prompt: quick, and without starting a server."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing

import psycopg2

from merian_campaign.store.server import embedded
from merian_campaign.store.server.connection import libpq_url
from merian_campaign.store.server.server import URL_VARIABLE, home_directory

_CAMPAIGNS = "SELECT name FROM campaign ORDER BY 1"
_GROUPS = (
    'SELECT g.step, g.key FROM "group" g JOIN campaign c ON c.id = g.campaign_id '
    "WHERE c.name = %s ORDER BY 1, 2"
)
_PATIENCE = "-c statement_timeout=2000 -c default_transaction_read_only=on"


def campaign_names(environ: Mapping[str, str] | None = None) -> list[str]:
    """Return the names of all campaigns; none when the database does not answer at once."""
    return [name for (name,) in _ask(_CAMPAIGNS, (), environ)]


def group_names(campaign: str, environ: Mapping[str, str] | None = None) -> list[tuple[str, str]]:
    """Return step and key of every group of a campaign."""
    return [(step, key) for step, key in _ask(_GROUPS, (campaign,), environ)]


def _ask(query: str, values: tuple[str, ...], environ: Mapping[str, str] | None) -> list[tuple[str, ...]]:
    environ = os.environ if environ is None else environ
    url = environ.get(URL_VARIABLE)
    if not url:
        home = home_directory(environ)
        if not embedded.answers(home):
            return []
        url = embedded.url(home)
    with (
        closing(psycopg2.connect(libpq_url(url), connect_timeout=2, options=_PATIENCE)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(query, values)
        return cursor.fetchall()
