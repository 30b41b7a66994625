"""What BPS reads of a rendered document is what was meant, whatever words stand in it as keys and values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lsst.ctrl.bps import BPS_SEARCH_ORDER, BpsConfig

from merian_campaign.domain.safe_text.yaml_writer import dump

WORDS = [
    "~", "=", "<<", ".inf", ".nan", "-.INF", "0o17", "0b1", "1_000", "190:20:30", "24:00:00", "01:02",
    "no", "y", "null", "1e3", "1.e3", "012", "0x1F", "-0", "2026-11-22", "2026-11-22T01:02:03Z",
    "!!binary aGk=", "!a", "!include x", "&a", "*a", "%TAG", "%YAML 1.1", "---", "--- a", "...", "a\tb",
    "\ta", "a\rb", "a\r\nb", "a\nb", "a\n", "\x85", "a\u2028b", "\u2029", "\ufeff", "\ufeffa",
    "\U0001f52d", "\ufffe", "{", "}", "{}", "{name}", "{{", "[", "- a", "? a", "a: b", "a:", "a :",
    " a", "a ", "  ", "", "#", "a # b", "'", "''", '"', "\\", "\\n", "@a", "`a`", "|", "> a", "\x00",
    "\x1b[0m", "\x7f", "\xa0", "a.b", ".a", "/a/b", "a b " * 900, "x" * 100_000,
]  # fmt: skip
"""What YAML 1.1, BPS or a configuration of the butler may read something else into."""

TEXTS = st.sampled_from(WORDS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
KEYS = TEXTS.filter(lambda text: text not in {*BPS_SEARCH_ORDER, "includeConfigs"})
VALUES = TEXTS | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.lists(TEXTS, max_size=3)
SECTIONS = st.dictionaries(KEYS, VALUES | st.dictionaries(KEYS, VALUES, max_size=3), max_size=4)
DOCUMENTS = st.dictionaries(KEYS | st.sampled_from(BPS_SEARCH_ORDER), VALUES | SECTIONS, max_size=4)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("read") / "submit.yaml"


@pytest.mark.parametrize("word", WORDS, ids=lambda word: ascii(word[:20]))
def test_bps_reads_a_word_wherever_it_stands(file: Path, word: str) -> None:
    inner = {word: word, "list": [word, "b"], "under": {word: {word: word}}}
    read_back(file, {word: word, **inner, "pipetask": {"isr": inner, word: inner}})


@settings(max_examples=60)
@given(document=DOCUMENTS)
def test_bps_reads_what_was_meant(file: Path, document: dict[str, Any]) -> None:
    read_back(file, document)


def read_back(file: Path, document: dict[str, Any]) -> None:
    file.write_text(dump(document), encoding="utf-8")
    # Before it replaces variables: what is in the file.
    read = BpsConfig(str(file))._data
    # Sections that it looks through are there in any case.
    assert {key: value for key, value in read.items() if key in document or value != {}} == document
