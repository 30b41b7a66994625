"""Backup of the tracking database, by PostgreSQL's own programs."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import closing
from pathlib import Path

from merian_campaign.domain.errors import BadInputError, UnavailableError
from merian_campaign.domain.safe_text.credentials import read_url
from merian_campaign.domain.safe_text.text import one_line, redact
from merian_campaign.store.server.connection import libpq_url, open_connection, redacted, translated
from merian_campaign.store.server.embedded import bundled
from merian_campaign.store.server.schema_version import schema_version

__all__ = ["dump", "restore"]


def dump(url: str, file: Path) -> None:
    """Write a tracking database into a file, whole, as of one moment; it may be in use.

    Raises
    ------
    BadInputError
        Raised if the file exists.
    UnavailableError
        Raised if the database does not answer, or its server is newer than the programs here.
    """
    if file.exists():
        raise BadInputError(f"{file}: is there already; name another file")
    # Beside it, and under its name only when it is whole.
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        _run("pg_dump", url, "--format=custom", "--no-owner", "--no-privileges", f"--file={part}")
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def restore(url: str, file: Path) -> None:
    """Fill an empty database from a file that `dump` has written; all of it, or nothing.

    Raises
    ------
    BadInputError
        Raised if the database is not empty, or the file is not there.
    """
    if not file.is_file():
        raise BadInputError(f"{file}: there is no such file")
    with closing(open_connection(url)) as connection:
        found = schema_version(connection)
    if found is not None:
        raise BadInputError(
            f"the database at {redacted(url)} has tables already, and nothing of it is overwritten: make an "
            "empty one (createdb) and name it in MERIAN_CAMPAIGN_DATABASE_URL, or set MERIAN_CAMPAIGN_HOME "
            "to an empty folder"
        )
    # PostgreSQL's own schema is in every database.
    _run(
        "pg_restore",
        url,
        "--no-owner",
        "--no-privileges",
        "--single-transaction",
        "--exit-on-error",
        str(file),
    )
    # A restored table has no statistics until somebody looks: it is taken for an empty one, and read whole.
    with translated(url), closing(open_connection(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")


def _run(program: str, url: str, *words: str) -> None:
    path = bundled(program) or shutil.which(program)
    if path is None:
        raise UnavailableError(f"there is no {program} here; install PostgreSQL's client programs")
    found = read_url(url)
    # Not among the words, which everybody on this host may see.
    secret = {} if found.password is None else {"PGPASSWORD": found.password}
    done = subprocess.run(
        [str(path), f"--dbname={libpq_url(found.url)}", *words],
        env={**os.environ, **secret, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="backslashreplace",
        check=False,
    )
    if done.returncode:
        said = redact(one_line(done.stderr, limit=800)) or f"exit status {done.returncode}"
        raise UnavailableError(f"{program} of {redacted(url)}: {said}")
