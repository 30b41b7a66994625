import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from merian_campaign.domain.safe_text.yaml_writer import dump, quote

# What YAML 1.1 takes for something else when it is not quoted, and what needs escapes.
AWKWARD = [
    "24:00:00", "10:00:00", "1-00:00:00", "no", "yes", "on", "off", "y", "n", "true", "null", "~", "",
    "1e3", "1E3", "012", "0o14", "0x1F", "1_000", "-1", "+.5", ".inf", ".nan", "=", "<<", "---", "...",
    "2021-03-18", "2021-03-18T01:02:03Z", "2021-03-18 01:02:03", "it's", 'say "x"', "a\\nb", "a\nb", "a\r\nb",
    "\ttab", " lead", "trail ", "a: b", "a #b", "- a", "[a]", "{a: b}", "&a", "*a", "!a", "%a", "@a", "`a`",
    "é", "\x00", "\x07", "\x1b[0m", "\x7f", "\x85", "\xa0", "\u2028", "\ufeff", "\ufffe", "\U0001f52d",
    "exposure.observation_type = 'science' AND detector NOT IN (31, 61)",
]  # fmt: skip

TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(AWKWARD)
SCALARS = TEXTS | st.booleans() | st.integers() | st.floats(allow_nan=False)
VALUES = st.recursive(
    SCALARS | st.lists(SCALARS),
    lambda inner: st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def loaders() -> list[type]:
    return [yaml.SafeLoader, *([yaml.CSafeLoader] if hasattr(yaml, "CSafeLoader") else [])]


@pytest.mark.parametrize("loader", loaders())
@pytest.mark.parametrize("text", AWKWARD)
def test_awkward_text_is_read_back_as_it_was(text: str, loader: type) -> None:
    assert yaml.load(quote(text), Loader=loader) == text
    assert yaml.load(dump({text: text}), Loader=loader) == {text: text}


@given(text=TEXTS)
def test_any_text_is_read_back_as_it_was(text: str) -> None:
    written = quote(text)
    assert written.isascii()
    assert "\n" not in written
    for loader in loaders():
        assert yaml.load(written, Loader=loader) == text


@given(document=st.dictionaries(TEXTS, VALUES, max_size=5))
def test_any_document_is_read_back_as_it_was_in_order(document: dict[str, object]) -> None:
    for loader in loaders():
        read = yaml.load(dump(document), Loader=loader)
        assert read == document
        assert list(read) == list(document)
        assert _types(read) == _types(document)


@pytest.mark.parametrize("number", [1e16, 1e300, 1e-7, math.inf, -math.inf, 0.1, -2.0])
def test_numbers_stay_numbers(number: float) -> None:
    read = yaml.safe_load(dump({"n": number}))["n"]
    assert isinstance(read, float)
    assert read == number


@pytest.mark.parametrize("key", ["no", "on", "y", "null", "true", "-1", "-", "1", "é", "1e3", "_"])
def test_keys_stay_text(key: str) -> None:
    assert yaml.safe_load(dump({key: 1})) == {key: 1}


def test_common_documents_are_readable() -> None:
    text = dump({"pipetask": {"isr": {"requestMemory": 4096}}, "include": ["/a.yaml"], "none": {}, "no": []})
    assert text == (
        'pipetask:\n  isr:\n    requestMemory: 4096\ninclude:\n  - "/a.yaml"\nnone: {}\n"no": []\n'
    )


def _types(value: object) -> object:
    if isinstance(value, dict):
        return {key: _types(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_types(inner) for inner in value]
    return type(value)
