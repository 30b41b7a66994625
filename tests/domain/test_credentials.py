"""Passwords split off URLs as libpq reads them, and left out of environments."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merian_campaign.domain.safe_text.credentials import LEFT_OUT, WrongUrlError, read_url, shown_environment


@pytest.mark.parametrize(
    ("url", "plain", "password"),
    [
        ("postgresql://a:p@b:5/c?host=/d&password=x", "postgresql://a@b:5/c?host=/d", "x"),
        ("postgresql://a:p%2Fq@b/c", "postgresql://a@b/c", "p/q"),
        ("postgresql://a:p#q?r%zz@b/c", "postgresql://a@b/c", "p#q?r%zz"),
        ("postgresql://a:p@q@b/c", "postgresql://a@b/c", "p@q"),
        ("postgresql://:p@b/c", "postgresql://@b/c", "p"),
        ("postgres+psycopg2://a:p@/c?host=/x@y", "postgres+psycopg2://a@/c?host=/x@y", "p"),
        ("postgresql:///c", "postgresql:///c", None),
        (
            "postgresql://h1:1,h2:2/c?application_name=a@b",
            "postgresql://h1:1,h2:2/c?application_name=a@b",
            None,
        ),
        ("postgresql://[::1]:5/c", "postgresql://[::1]:5/c", None),
    ],
)
def test_urls_are_split(url: str, plain: str, password: str | None) -> None:
    found = read_url(url)
    assert (found.url, found.password) == (plain, password)


@pytest.mark.parametrize(
    "url", ["host=h password=s3cret", "mysql://a:s3cret@h", "a:s3cret@h/c", "postgresql://a:s3cret/x@h/c", ""]
)
def test_nothing_of_another_text_is_shown(url: str) -> None:
    with pytest.raises(WrongUrlError) as caught:
        read_url(url)
    assert "s3cret" not in str(caught.value)


@given(st.text(min_size=1, max_size=30))
def test_an_escaped_password_comes_back(password: str) -> None:
    try:
        escaped = quote(password, safe="")
    except UnicodeEncodeError:
        return
    found = read_url(f"postgresql://ana:{escaped}@host/db?x=1")
    assert (found.url, found.password) == ("postgresql://ana@host/db?x=1", password)


def test_environments_are_shown_without_secrets() -> None:
    secret = {
        "PGPASSWORD": "x", "AWS_SECRET_ACCESS_KEY": "x", "GITHUB_TOKEN": "x", "API_KEY": "x", "DB_PASS": "x",
    }  # fmt: skip
    plain = {
        "PATH": "/bin", "PGPASSFILE": "/f", "SSH_AUTH_SOCK": "/s", "LSST_DB_AUTH": "/p", "KEYBOARD": "us",
        "TOKEN_FILE": "/t",
    }  # fmt: skip
    shown = shown_environment({**secret, **plain, "URL": "postgresql://a:s3cret@h/d"})
    assert {name: shown[name] for name in secret} == dict.fromkeys(secret, LEFT_OUT)
    assert shown["URL"] == "postgresql://a:***@h/d"
    assert {name: shown[name] for name in plain if name != "LSST_DB_AUTH"} == {
        name: value for name, value in plain.items() if name != "LSST_DB_AUTH"
    }
