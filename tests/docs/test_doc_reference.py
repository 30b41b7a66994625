"""What is generated into the documentation is complete: models, commands, states, columns."""

from __future__ import annotations

import re
from pathlib import Path

import campaign_reference as generated
import model_reference
import pytest
from docs_blocks import pages
from docs_place import ROOT, Place
from pydantic import BaseModel

from merian_campaign.domain import states
from merian_campaign.domain.failures.rules import BUILT_IN

DOCS = ROOT / "docs"


def whole(name: str) -> str:
    """Return a page of the documentation as it is read by Sphinx."""
    return generated.fill((DOCS / name).read_text(encoding="utf-8"))


REFERENCE = "\n".join(
    whole(name) for name in ("campaign-reference.md", "actions.md", "sites.md", "retries.md")
)


def section(model: type[BaseModel]) -> str:
    """Return the part of the reference about a model: from its anchor to the next one."""
    names = {"CampaignSpec": "model-campaign"}
    names |= {kind.__name__: f"action-{name}" for name, kind in model_reference.ACTIONS.items()}
    anchor = f"({names.get(model.__name__, f'model-{model.__name__.lower()}')})="
    assert REFERENCE.count(anchor) == 1, f"{anchor} is in the reference {REFERENCE.count(anchor)} times"
    return REFERENCE.partition(anchor)[2].partition("\n(")[0]


@pytest.mark.parametrize("name", sorted(model_reference.models()))
def test_every_key_is_there_with_its_meaning(name: str) -> None:
    model = model_reference.models()[name]
    table = section(model).partition("| Key | Value")[2].partition("\n\n")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.MULTILINE))
    assert list(rows) == list(model.model_fields)
    for key, cells in rows.items():
        value, default, meaning = re.split(r" \| ", cells, maxsplit=2)
        assert value not in {"", "any"}, key
        assert (default == "required") == model.model_fields[key].is_required(), key
        assert meaning.strip(), f"{name}.{key} says nowhere what it means"


def test_models_are_found() -> None:
    found = model_reference.models()
    assert {
        "CampaignSpec",
        "BpsStep",
        "ActionStep",
        "Select",
        "Chunks",
        "Stack",
        "DriverOptions",
        "FailureRule",
    } <= set(found)
    assert len(found) > 25


def test_every_command_is_there_with_its_options() -> None:
    text = whole("commands.md")
    found = dict(generated.commands())
    assert {"apply", "run", "status", "db url", "export"} <= set(found)
    for words, command in found.items():
        part = text.partition(f"\n## {words}\n")[2].partition("\n## ")[0]
        for entry in command.params:
            if entry.name != "help" and not entry.hidden and entry.param_type_name == "option":
                assert all(f"`{option}`" in part for option in entry.opts), (words, entry.opts)


def test_every_state_verdict_and_rule_is_there() -> None:
    text = whole("retries.md")
    kinds = (
        states.GroupState,
        states.SubmissionState,
        states.SubmissionOutcome,
        states.QuantumState,
        states.Verdict,
    )
    assert [value for kind in kinds for value in kind if f"| `{value}` |" not in text] == []
    assert [rule for rule in BUILT_IN if rule.note not in text] == []


def test_every_column_of_the_view_is_there(place: Place) -> None:
    text = whole("database.md")
    found = place.sql(
        "SELECT attname, col_description(attrelid, attnum) FROM pg_attribute"
        " WHERE attrelid = 'quantum_status'::regclass AND attnum > 0"
    )
    assert generated.view_columns() == dict(found)
    assert [name for name, words in found if f"| `{name}` | {words}. |" not in text] == []


def test_pages_are_reached_from_the_first() -> None:
    """Every page stands in the table of contents; a page with a mark is one that something is made for."""
    contents = (DOCS / "index.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^[a-z-]+$", contents, re.MULTILINE))
    assert {page.stem for page in DOCS.glob("*.md")} == listed | {"index"}
    marks = {
        mark for page in pages() for mark in re.findall(r"<!-- generated: ([\w-]+)", page.read_text("utf-8"))
    }
    assert marks == set(generated.GENERATED)


def test_the_picture_can_be_read_in_light_and_in_dark() -> None:
    """It brings its own background, and says so for both."""
    text = Path(DOCS / "picture.svg").read_text(encoding="utf-8")
    assert 'class="card"' in text
    assert "prefers-color-scheme: dark" in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_the_readme_stays_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 95
