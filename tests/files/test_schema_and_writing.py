"""The JSON Schema for editors, and files that are written whole or not at all."""

import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from survey_help import TEXT

from merian_campaign.domain.spec import CampaignSpec
from merian_campaign.files.schema import campaign_schema, known_keys
from merian_campaign.host.atomic_files import write_atomically, write_if_changed, write_json
from merian_campaign.host.regular_files import read_json

DEMO = Path(__file__).parents[2] / "campaign" / "demo.yaml"


def errors(document: Any) -> list[str]:
    checker = jsonschema.Draft202012Validator(campaign_schema())
    return [error.message for error in checker.iter_errors(document)]


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(campaign_schema())


@pytest.mark.parametrize("text", [DEMO.read_text(), TEXT])
def test_the_schema_accepts_campaign_files_as_they_are_written(text: str) -> None:
    assert errors(yaml.safe_load(text)) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("instrument:", "instrumnet:"),
        ("    where:", "    wear:"),
        ("    group_by: tract", "    gruop_by: tract"),
        ("    group_by: tract", "    group_by: trakt"),
        ("{memory:", "{memroy:"),
        ('["9813-9814"]', "[x]"),
        ('["9813-9814"]', "[1.5]"),
        ('["9813-9814"]', "{discover: true, min_visit: 2}"),
        ("after: [step1]", "after: [{stp: step1}]"),
        ("campaign: night", "campaign: my night"),
        ("steps:\n", "steps:\n  - {name: a, action: certfy}\n"),
        (
            "steps:\n",
            "steps:\n  - {name: a, action: collection-chain, arguments: {parent: x, childrn: [a]}}\n",
        ),
    ],
)
def test_the_schema_refuses_what_is_misspelt(old: str, new: str) -> None:
    assert TEXT.count(old) == 1
    assert errors(yaml.safe_load(TEXT.replace(old, new))) != []


@pytest.mark.parametrize(
    "written",
    ["9813", '"9813-9814"', "[9813, '9820 - 9822']", "[]", "discover", "{discover: true, min_visits: 2}"],
)
def test_the_schema_accepts_the_shorthands_of_the_model(written: str) -> None:
    document = yaml.safe_load(
        TEXT.replace('["9813-9814"]', written).replace("group_by: tract", "where: tract = 3")
    )
    CampaignSpec.model_validate(document)
    assert errors(document) == []


def test_known_keys_are_those_of_all_parts() -> None:
    keys = known_keys()
    assert {"campaign", "group_by", "memory_max", "children", "nights", "match"} <= set(keys)


def test_an_unchanged_file_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "x.yaml"
    assert write_if_changed(path, "a: é\n")
    os.utime(path, ns=(1, 1))
    before = (path.stat().st_ino, path.stat().st_mtime_ns)
    assert not write_if_changed(path, "a: é\n")
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == before
    assert write_if_changed(path, "a: b\n")
    assert path.read_text(encoding="utf-8") == "a: b\n"
    assert path.stat().st_mtime_ns != 1
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_file_of_other_bytes_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xff\xfe")
    assert write_if_changed(path, "a\n")
    assert path.read_text() == "a\n"


def test_line_ends_count(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"a\r\nb\r\n")
    assert write_if_changed(path, "a\nb\n")
    assert path.read_bytes() == b"a\nb\n"


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("old\n")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "half\n\ud800")
    assert path.read_text() == "old\n"
    assert list(tmp_path.iterdir()) == [path]


def test_json_files(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    assert read_json(path) is None
    write_json(path, {"a": [1, "é"]})
    assert read_json(path) == {"a": [1, "é"]}
