"""Whether a database can be a tracking database at all, before anything is put into it.

psycopg2 only, as `~merian_campaign.store.connection`.
"""

from __future__ import annotations

from contextlib import closing

from merian_campaign.domain.errors import UnavailableError
from merian_campaign.store.connection import open_connection, redacted, translated
from merian_campaign.store.locks import campaign_lock

__all__ = ["require_fit"]

_FACTS = """
SELECT current_setting('server_encoding'), pg_is_in_recovery(),
       current_setting('transaction_read_only') = 'on'
"""
_PROBE = "a name that no campaign has"


def require_fit(url: str) -> None:
    """Raise unless a database takes every text, can be written, and holds locks.

    Raises
    ------
    UnavailableError
        Raised if it does not; says what to do.
    """
    with closing(open_connection(url)) as connection, translated(url), connection.cursor() as cursor:
        cursor.execute(_FACTS)
        encoding, is_standby, is_read_only = cursor.fetchone() or ("", False, False)
    where = f"the tracking database at {redacted(url)}"
    if is_standby:
        raise UnavailableError(f"{where} is a standby, which cannot be written: name the primary server")
    if is_read_only:
        raise UnavailableError(f"{where} is read-only: its owner can set default_transaction_read_only off")
    if encoding != "UTF8":
        raise UnavailableError(
            f"{where} has the encoding {encoding}, which does not hold every text: make one with "
            "`createdb --encoding=UTF8 --template=template0`"
        )
    with campaign_lock(url, _PROBE):
        pass
