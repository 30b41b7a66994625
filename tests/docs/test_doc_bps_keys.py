"""The page about keys of BPS: each key that the installed ctrl_bps knows stands there."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import lsst.ctrl.bps.transform
from docs_place import ROOT
from lsst.ctrl.bps import GenericWorkflowJob

from merian_campaign.domain.rendering.bps_words import REFUSED, REQUESTS, UNUSED
from merian_campaign.files.foreign_words import answer

PAGE = ROOT / "docs" / "bps-keys.md"
BPS = Path(lsst.ctrl.bps.transform.__file__).parent

_ROW = re.compile(r"^\| `(\w+)` \| ([a-z ]+) \|", re.MULTILINE)
_DEFAULT = re.compile(r"^(?:#(?:USER|OPT)?)?[ ]*([A-Za-z]\w*):(?=\s|$)", re.MULTILINE)
_PLACEHOLDER = re.compile(r"(?<!\$)\{([A-Za-z]\w*)\}")
_SOUGHT = re.compile(
    r"""(?:\.search|[cC]onfig\.get|_sect\.get)\(\s*"([.A-Za-z0-9]+)"
      | (?:[cC]onfig|_sect|searchobj)\["([.A-Za-z0-9]+)"\]
      | "([.A-Za-z0-9]+)"[ ](?:not[ ])?in[ ]\w*(?:[cC]onfig|_sect)\b
      | \bkey[ ]=[ ]"([A-Za-z0-9]+)"
    """,
    re.VERBOSE,
)
_CAMEL = re.compile(r"_(\w)")
DATA_ID = {"tract", "patch", "band", "subfilter", "physical_filter", "visit", "exposure", "detector"}
"""Placeholders of file names, from the data ID of a job."""

PROSE = {"file", "http", "https"}


def keys_of_bps() -> set[str]:
    """Return the keys that ctrl_bps has a default for, looks for, or makes of a job's fields."""
    defaults = (BPS / "etc" / "bps_defaults.yaml").read_text(encoding="utf-8")
    found = {*_DEFAULT.findall(defaults), *_PLACEHOLDER.findall(defaults)}
    found -= {"myTask"}
    for file in BPS.glob("*.py"):
        for groups in _SOUGHT.findall(file.read_text(encoding="utf-8")):
            found.add(next(filter(None, groups)).strip(".").rpartition(".")[2])
    for entry in dataclasses.fields(GenericWorkflowJob):
        found.add(_CAMEL.sub(lambda match: match[1].upper(), entry.name))
    return found - DATA_ID - PROSE


def rows() -> dict[str, str]:
    listed = _ROW.findall(PAGE.read_text(encoding="utf-8"))
    assert len(listed) == len(dict(listed)), "a key stands there twice"
    return dict(listed)


def test_every_key_of_the_installed_ctrl_bps_stands_there() -> None:
    keys = keys_of_bps()
    assert {
        "requestMemory",
        "clusterAlgorithm",
        "partitionMaxSize",
        "extraInitOptions",
        "computeCloud",
    } <= keys
    assert sorted(keys - set(rows())) == []


def test_every_key_in_a_campaign_file_is_answered() -> None:
    # Others are words of everyday, such as name or tags.
    words = [key for key in rows() if re.search("[A-Z]", key)]
    assert "equalDimensions" in words
    assert [key for key in words if not answer(key, known=False)] == []


def test_the_words_are_those_that_are_explained() -> None:
    text = PAGE.read_text(encoding="utf-8")
    words = set(re.findall(r"^\| ([a-z ]+) \| [a-z]", text, re.MULTILINE))
    assert set(rows().values()) <= words


def test_what_is_said_to_be_read_refused_or_not_used_is() -> None:
    listed = rows()
    text = PAGE.read_text(encoding="utf-8")
    for key in UNUSED:
        assert re.search(rf"^\| `{key}` \| used \|.* with `wms: stock` not used, ", text, re.MULTILINE)
    assert {key for key, word in listed.items() if word == "refused"} == set(REFUSED)
    assert {listed[key] for key in REQUESTS} == {"read"}
