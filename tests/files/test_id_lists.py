"""Ids in files of their own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from survey_help import Survey, make_survey

from merian_campaign.domain.spec import BpsStep
from merian_campaign.domain.spec.grouping import Lists
from merian_campaign.files import id_lists
from merian_campaign.files.schema import campaign_schema

IN_A_FILE = '"description": "File of ids and ranges."'
SELECT = "    where: detector NOT IN (31, 61)\n"


@pytest.fixture
def survey(tmp_path: Path) -> Survey:
    made = make_survey(tmp_path)
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "good.txt").write_text("# night 1\n970612-970614\n971020, 971021  # night 2\n\n")
    return made


def test_ids_are_read_from_files_wherever_a_list_of_them_may_stand(survey: Survey) -> None:
    survey.edit(
        SELECT, "    select: {exclude_exposures: {file: lists/good.txt}, exclude_detectors: [31, 61]}\n"
    )
    survey.edit('tracts: ["9813-9814"]', 'tracts: {file: "${LISTS}/good.txt"}')
    spec = survey.load({"LISTS": str(survey.folder / "lists")}).spec
    step = spec.step("step1")
    assert isinstance(step, BpsStep)
    assert step.select.exclude_exposures == (970612, 970613, 970614, 971020, 971021)
    assert spec.tracts == step.select.exclude_exposures


def test_nights_of_a_selection_and_bad_exposures_may_lie_in_files(survey: Survey) -> None:
    (survey.folder / "lists" / "nights.txt").write_text("20210318-20210321 20210911\n")
    survey.edit(SELECT, "    select: {day_obs: {file: lists/nights.txt}}\n")
    survey.edit("butler: repo", "bad_exposures: {file: lists/good.txt}\nbutler: repo")
    spec = survey.load().spec
    step = spec.step("step1")
    assert isinstance(step, BpsStep)
    assert step.select.day_obs == ((20210318, 20210321), (20210911, 20210911))
    assert spec.bad_exposures == (970612, 970613, 970614, 971020, 971021)


def test_where_the_schema_allows_a_file_one_is_read() -> None:
    found: set[str] = set()

    def collect(node: object) -> None:
        if isinstance(node, dict):
            properties = node.get("properties", {})
            found.update(key for key, value in properties.items() if IN_A_FILE in json.dumps(value))
        for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            collect(value)

    schema = campaign_schema()
    collect(schema)
    # Named lists, under any name, are read by their place.
    assert found - {"lists", "file"} == id_lists._FIELDS


def test_named_lists_may_be_files_and_what_is_in_them_is_put_on_record(survey: Survey) -> None:
    survey.edit(
        SELECT, "    group_by: {kind: lists, dimension: exposure, lists: {good: {file: lists/good.txt}}}\n"
    )
    loaded = survey.load()
    step = loaded.spec.step("step1")
    assert isinstance(step, BpsStep)
    assert isinstance(step.group_by, Lists)
    assert len(step.group_by.lists["good"]) == 5
    assert "970612-970614" in str(loaded.resolved["steps"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read (there is no such file)"),
        ("", "holds no ids"),
        ("970612\nbias 3\n", "found 'bias'; write integers"),
        ("5-3", "runs backwards"),
    ],
)
def test_a_file_of_something_else_is_refused(survey: Survey, text: str | None, words: str) -> None:
    file = survey.folder / "lists" / "other.txt"
    if text is not None:
        file.write_text(text)
    line = survey.edit(SELECT, "    select: {exposures: {file: lists/other.txt}}\n")
    (complaint,) = survey.complaint()
    assert complaint.startswith(f"{line}: steps[step1].select.exposures: ")
    assert words in complaint


def test_a_file_where_no_list_belongs_is_left_to_the_model(survey: Survey) -> None:
    survey.edit(SELECT, "    select: {band: {file: lists/good.txt}}\n")
    assert "band" in survey.complaint()[0]
