"""Text from outside is inert, bounded, and stays what it is when cleaned again."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merian_campaign.domain.safe_text import json_values
from merian_campaign.domain.safe_text.text import clean, one_line, redact

SECRETS = st.text(alphabet=":/@?#%*= '\"\\passwordtoken\n", max_size=80)
ANYTHING = (
    SECRETS
    | st.text(alphabet=st.characters(), max_size=300)
    | st.text(alphabet="\x00\x07\x1b\r\n\t\x7f\x85\u202e\u2066\udc80\ufeff[]/b ", max_size=60)
)


@given(ANYTHING)
def test_cleaned_text_can_be_stored_and_shown(text: str) -> None:
    found = clean(text)
    found.encode("utf-8")
    assert all(char in "\n\t" or unicodedata.category(char) not in {"Cc", "Cs", "Zl", "Zp"} for char in found)
    assert not set(found) & set("\x00\x1b\r\x85\u202e\u2066\u2028\ufeff")
    assert clean(found) == found


def test_what_acts_is_spelled_out() -> None:
    assert clean("nul \x00 esc \x1b[31m bidi \u202e half \udc80") == (
        "nul \\x00 esc \\x1b[31m bidi \\u202e half \\udc80"
    )
    assert clean("naïve - 東京 [band] [/x]\r\nnext\tcolumn") == "naïve - 東京 [band] [/x]\nnext\tcolumn"


def test_long_text_keeps_its_beginning_and_end() -> None:
    found = clean("start " + "x" * 100_000 + " end", limit=1000)
    assert found.startswith("start ")
    assert found.endswith(" end")
    assert "99010 characters left out" in found
    assert len(found) <= 1000


def test_one_line() -> None:
    assert one_line("a\n  b\t c \x00") == "a b c \\x00"
    assert one_line(" \n\t ") == ""
    assert one_line("word " * 1000, limit=20) == "word word word word…"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "NaN",
        '{"a": Infinity}',
        "[" * 100_000,
        '{"a": 1e999}',
        "9" * 5000,
        "1" + "0" * 30,
        b"\xff\xfe",
        "[" * 40 + "]" * 40,
    ],
    ids=range(10),
)
def test_json_that_is_refused(line: str | bytes) -> None:
    with pytest.raises(json_values.WrongValueError):
        json_values.loads(line)


def test_json_texts_are_cleaned() -> None:
    found = json_values.loads('{"a\\u0000": ["\\ud800", 1.5, null, true]}')
    assert found == {"a\\x00": ["\\ud800", 1.5, None, True]}


def test_fields_of_wrong_types_are_named() -> None:
    with pytest.raises(json_values.WrongValueError, match="end: expected text, found int"):
        json_values.text({"end": 1}, "end")
    with pytest.raises(json_values.WrongValueError, match="exit_code: expected a whole number, found bool"):
        json_values.whole({"exit_code": True}, "exit_code")
    with pytest.raises(json_values.WrongValueError, match="mb: expected a number, found str"):
        json_values.number({"mb": "1"}, "mb")


@given(SECRETS)
def test_redacting_again_changes_nothing(text: str) -> None:
    for found in (redact(text), redact(f"postgresql://ana:{text}@host/db"), redact(f"password={text}")):
        assert redact(found) == found


@pytest.mark.parametrize("secret", ["s3cret", "s/cr", "s#cr", "s?cr", "s@cr", "s%cr", "s:cr", "a@b/c#d?e%f"])
@pytest.mark.parametrize(
    "text",
    [
        "postgresql://ana:{}@host:5432/db",
        "postgresql+psycopg2://ana:{}@/db?host=/tmp",
        "cannot reach postgresql://:{}@host/db: it is off",
        "host=db password={} user=ana",
        "host=db password = '{} more' user=ana",
        "https://example.org/?user=ana&password={}&x=1",
        '{{"password": "{}"}}',
    ],
)
def test_no_password_is_left(text: str, secret: str) -> None:
    found = redact(text.format(secret))
    assert secret not in found
    assert not any(piece in found for piece in ("s3cret", "cr@", "c#d", "more"))
    assert "***" in found
    assert clean(text.format(secret)) == clean(found)


def test_what_is_no_password_stays() -> None:
    for text in (
        "postgresql://ana@host:5432/db?host=/a@b",
        "http://[::1]:80/x@y",
        "unexpected token: NAME at line 3",
        "FATAL: password authentication failed for user ana",
        "git@github.com:owner/name, a://b c:d@e",
    ):
        assert redact(text) == text
