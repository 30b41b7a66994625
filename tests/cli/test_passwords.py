"""A database with a password: it is in no file, row, process or output of a campaign but its passfile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from cli_help import Cli, rows

from merian_campaign.host.home import HOME_VARIABLE
from merian_campaign.store.server import embedded

PASSWORD = "s3cret-5f1c9e7ab3"
STEP = """
steps:
  - name: look
    action: command
    arguments:
      run:
        - /bin/sh
        - -c
        - cat /proc/self/environ /proc/[0-9]*/cmdline > {seen}; tr '\\0' '\\n' < /proc/$PPID/environ >> {seen}
"""


@pytest.fixture
def url(home: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of a database of the embedded server that asks for a password."""
    embedded.ensure_running(home)
    rules = embedded.data_directory(home) / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"local all ana scram-sha-256\n{before}")
    with closing(psycopg2.connect(embedded.url(home))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE ROLE ana LOGIN PASSWORD '{PASSWORD}'")
            cursor.execute("CREATE DATABASE tracking OWNER ana")
            cursor.execute("SELECT pg_reload_conf()")
    yield f"postgresql://ana:{PASSWORD}@/tracking?host={embedded.socket_directory(home)}&port=5432"
    rules.write_text(before)


def rows_of(url: str) -> dict[str, list[object]]:
    with closing(psycopg2.connect(url)) as connection:
        return rows(connection)


def test_a_campaign_leaves_no_password_behind(cli: Cli, url: str, tmp_path: Path) -> None:
    place, seen = tmp_path / "another home", tmp_path / "seen"
    text = cli.survey.file.read_text()
    cli.survey.file.write_text(text.partition("\nsteps:")[0] + STEP.replace("{seen}", str(seen)))
    private = Cli(home=place, survey=cli.survey)
    with pytest.raises(psycopg2.OperationalError, match="no password supplied"):
        psycopg2.connect(url.replace(f":{PASSWORD}", ""))
    said = [
        private(*words, MERIAN_CAMPAIGN_DATABASE_URL=url).fine()
        for words in (
            *(("db", "upgrade"), ("apply", cli.file), ("run", cli.name), ("status", cli.name)),
            *(("show", cli.name, "look/all"), ("db", "url", "--libpq")),
        )
    ]
    assert PASSWORD not in "".join(said)
    assert HOME_VARIABLE.encode() in seen.read_bytes()
    named = said[-1].strip()
    assert "passfile=" in named
    found = str(rows_of(named))
    assert cli.name in found
    assert PASSWORD not in found
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    holding = [path for path in files if PASSWORD.encode() in path.read_bytes()]
    assert [(path.parent, path.stat().st_mode & 0o777) for path in holding] == [(place / "passfiles", 0o600)]
    wrong = url.replace(PASSWORD, f"{PASSWORD}x")
    assert PASSWORD not in private("status", cli.name, MERIAN_CAMPAIGN_DATABASE_URL=wrong).refused(69)


@pytest.mark.parametrize(
    "broken",
    [
        f"host=localhost user=ana password={PASSWORD}",
        f"postgresql://ana:{PASSWORD}/more@127.0.0.1:1/merian",
        f"postgresql://ana:{PASSWORD}#?%zz@127.0.0.1:1/merian",
        f"postgresql://ana:{PASSWORD}@more@127.0.0.1:1/merian",
        f"ana:{PASSWORD}@127.0.0.1/merian",
    ],
)
def test_no_message_shows_a_password(cli: Cli, broken: str) -> None:
    for words in (("status", cli.name), ("db", "check")):
        done = cli(*words, MERIAN_CAMPAIGN_DATABASE_URL=broken)
        assert "more" not in done.refused(done.code)
        assert PASSWORD not in done.stderr
        assert done.code in {2, 69}
