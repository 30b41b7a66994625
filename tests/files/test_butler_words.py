"""Words of the butler and of pipetask in a campaign file: labels of repositories, lists of collections ..."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click
import pytest
from forked_program import run_forked
from lsst.ctrl.bps.cli.bps import cli as bps
from lsst.ctrl.mpexec.cli.pipetask import cli as pipetask
from survey_help import Survey

from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.rendering.bps_words import CALLED_HERE
from merian_campaign.domain.spec import ActionStep, BpsStep
from merian_campaign.domain.spec.actions.calibrations import CollectionChain
from merian_campaign.domain.spec.actions.data import TransferDatasets
from merian_campaign.files.campaign_file import load_campaign
from merian_campaign.files.foreign_words import answer
from merian_campaign.files.repository_names import RepositoryNames
from merian_campaign.files.starters import write_starter

OPTION = "it is an option of pipetask"
BPS_FILE = "a BPS file, and that under include:"
REDO = "`merian-campaign redo` makes a group anew"
OTHER = "{{main: {here}/repo, other: 'file://{here}/repo', away: 's3://bucket/repo'}}"


def labels(survey: Survey) -> dict[str, str]:
    return {"DAF_BUTLER_REPOSITORIES": OTHER.format(here=survey.folder)}


@pytest.mark.parametrize("name", ["main", "other", "file://{here}/repo", "{here}/repo", "repo", "./repo"])
def test_a_repository_has_one_name_whatever_it_is_called(survey: Survey, name: str) -> None:
    survey.edit("butler: repo", f"butler: {name.format(here=survey.folder)}")
    assert survey.load(labels(survey)).spec.butler == str(survey.folder / "repo")


def test_labels_lie_in_a_file(survey: Survey, tmp_path: Path) -> None:
    index = tmp_path / "index.yaml"
    index.write_text(OTHER.format(here=survey.folder))
    survey.edit("butler: repo", "butler: main")
    for place in (str(index), f"file://{index}"):
        assert survey.load({"DAF_BUTLER_REPOSITORY_INDEX": place}).spec.butler == str(survey.folder / "repo")


def test_the_butler_finds_what_we_find(survey: Survey, monkeypatch: pytest.MonkeyPatch) -> None:
    from lsst.daf.butler import Butler  # noqa: PLC0415 - costs seconds

    given = labels(survey)
    monkeypatch.setenv("DAF_BUTLER_REPOSITORIES", given["DAF_BUTLER_REPOSITORIES"])
    for name in ("main", "other", "away"):
        ours = RepositoryNames(given).place(name, survey.folder)
        theirs = Butler.get_repo_uri(name)
        assert ours == (theirs.ospath if theirs.isLocal else str(theirs))


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "no label is known: DAF_BUTLER_REPOSITORY_INDEX is not set"),
        ({"DAF_BUTLER_REPOSITORIES": "{main: /x, older: /y}"}, "known labels: main, older"),
        (
            {"DAF_BUTLER_REPOSITORY_INDEX": "/none.yaml"},
            "no label is known: /none.yaml: there is no such file",
        ),
        ({"DAF_BUTLER_REPOSITORY_INDEX": "s3://a/b.yaml"}, "s3://a/b.yaml is no local file; write the repos"),
        ({"DAF_BUTLER_REPOSITORIES": "[main"}, "no label is known: DAF_BUTLER_REPOSITORIES: did not find"),
        (
            {"DAF_BUTLER_REPOSITORIES": "[main]"},
            "no label is known: DAF_BUTLER_REPOSITORIES: it is no mapping",
        ),
        (
            {"DAF_BUTLER_REPOSITORIES": "{a: b}", "DAF_BUTLER_REPOSITORY_INDEX": "/x"},
            "no label is known: both",
        ),
        ({}, "with a step whose action is create"),
    ],
)
def test_a_label_that_is_not_known(survey: Survey, environment: Mapping[str, str], words: str) -> None:
    survey.edit("butler: repo", "butler: mian")
    (line,) = survey.complaint(environment)
    assert "there is no butler repository at" in line
    assert words in line


def test_a_source_may_be_a_label(survey: Survey) -> None:
    survey.edit(
        "  - name: step3",
        "  - {name: get, action: transfer-datasets, arguments: {source: away, collections: 'a/b, c'}}\n"
        "  - {name: all, action: collection-chain, arguments: {parent: d, children: 'a/b,c'}}\n"
        "  - name: step3",
    )
    steps = {step.name: step for step in survey.load(labels(survey)).spec.steps}
    get, chain = steps["get"], steps["all"]
    assert isinstance(get, ActionStep)
    assert isinstance(chain, ActionStep)
    source, whole = get.typed_arguments(), chain.typed_arguments()
    assert isinstance(source, TransferDatasets)
    assert isinstance(whole, CollectionChain)
    assert (source.source, source.collections) == ("s3://bucket/repo", ("a/b", "c"))
    assert whole.children == ("a/b", "c")


def test_collections_may_have_commas_between_them(survey: Survey) -> None:
    survey.edit("inputs: [DECam/defaults]", "inputs: DECam/defaults, refcats")
    survey.edit(
        "    group_by: tract\n", "    group_by: tract\n    inputs: ['step1,DECam/defaults', skymaps]\n"
    )
    spec = survey.load().spec
    step = spec.step("step3")
    assert isinstance(step, BpsStep)
    assert spec.collections.inputs == ("DECam/defaults", "refcats")
    assert step.inputs == ("step1", "DECam/defaults", "skymaps")


def test_an_empty_name_between_commas_is_refused(survey: Survey) -> None:
    survey.edit("inputs: [DECam/defaults]", "inputs: DECam/defaults,,refcats")
    (line,) = survey.complaint()
    assert line.endswith("collections.inputs: empty; give at least one, or remove the key")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("butler: repo", "butler: $REPO"),
        ("pipe.yaml#step1", "$REPO/pipe.yaml#step1"),
        ("failure_rules: rules", "failure_rules: $REPO/rules"),
        ("output: runs/night", "output: runs/$REPO"),
        ("[DECam/defaults]", "[$REPO/defaults]"),
        ("include: [base.yaml]", "include: [$REPO/base.yaml]"),
        (
            "  - name: step3",
            "  - {name: a, action: ingest-raws, arguments: {files: [$REPO/x]}}\n  - name: step3",
        ),
    ],
)
def test_a_variable_of_the_shell_is_hinted_at(survey: Survey, old: str, new: str) -> None:
    survey.edit(old, new)
    assert any(line.endswith("$REPO is not replaced: write ${REPO}") for line in survey.complaint())


@pytest.mark.parametrize(("before", "indent"), [("instrument:", ""), ("    where:", "    ")])
def test_words_of_bps_and_pipetask_are_known_where_they_would_be_written(
    survey: Survey, before: str, indent: str
) -> None:
    text = survey.file.read_text()
    words = [word for word in sorted(CALLED_HERE) if not indent or word not in {"inputs", "output"}]
    for some in (words[:30], words[30:]):
        lines = "".join(f"{indent}{word}: x\n" for word in some)
        survey.file.write_text(text.replace(before, f"{lines}{before}", 1))
        said = survey.complaint()
        for word in some:
            assert any(
                line.endswith(f"{word}: no such key; here this is called {CALLED_HERE[word]}")
                for line in said
            )


def test_other_keys_of_bps_belong_into_its_files(survey: Survey) -> None:
    survey.edit("butler: repo", "butler: repo\nextraInitOptions: --long-log")
    (line,) = survey.complaint()
    assert line.endswith(
        "extraInitOptions: no such key; it is one of BPS: write it into a BPS file, and that under include:"
    )


def options_of_the_middleware() -> set[str]:
    """Return the options of the installed commands that build, run and submit, without their arguments."""
    commands = [
        pipetask.get_command(click.Context(pipetask), name) for name in ("build", "qgraph", "run", "run-qbb")
    ]
    commands.append(bps.get_command(click.Context(bps), "submit"))
    options = (entry for command in commands for entry in command.params if isinstance(entry, click.Option))
    words = {word for entry in options for word in (*entry.opts, *entry.secondary_opts)}
    return {word for word in words if not word.startswith("--option-section-")}


def test_every_option_of_the_installed_commands_is_answered() -> None:
    found = options_of_the_middleware()
    assert {"--skip-existing-in", "-t", "--fail-fast", "--compute-site"} <= found
    assert [word for word in sorted(found) if not answer(word, known=False)] == []


@pytest.mark.parametrize(
    ("word", "advice"),
    [
        ("skip_existing_in", f"{OPTION}: leave it out: later submissions skip what is there; {REDO}"),
        ("data-id-table", f"{OPTION}: write it into extraQgraphOptions of {BPS_FILE}"),
        ("--fail-fast", f"{OPTION}: write it into run_options, under resources: and a task"),
        ("-n", "here this is called cpus, under resources: and a task"),
        ("accountingGroup", "here this is called account of the site"),
        ("queue", "here this is called partition of the site"),
        ("equalDimensions", "it is one of BPS: write it into a BPS file, and that under include:"),
        ("remoteBuild", "it is one of BPS: a submission's driver builds its graph; leave it out"),
        ("outCollection", "here this is called output of a step"),
        ("bands", "here this is called select: {band: [...]}"),
        ("tracts", "here this is called tracts of the campaign, or group_by: {kind: tract, tracts: [...]}"),
        ("instrument", "here this is called instrument of the campaign"),
    ],
)  # fmt: skip
def test_words_in_a_step_are_answered_with_what_to_write(survey: Survey, word: str, advice: str) -> None:
    survey.edit("    where:", f"    {word}: x\n    where:")
    assert any(line.endswith(f"steps[step1].{word}: no such key; {advice}") for line in survey.complaint())


def test_options_of_a_first_file_are_those_of_pipetask(tmp_path: Path) -> None:
    words = ("-b", "/repo/main", "-i", "HSC/defaults,refcats", "-o", "u/me/first", "-d", "detector != 9")
    environ = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = run_forked("init", "--from", "hsc", "first.yaml", *words, env=environ, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "first.yaml").read_text()
    assert 'where: "detector != 9"\n\ncollections:\n' in text
    assert 'butler: "/repo/main"\n' in text


def test_a_first_file_takes_what_pipetask_takes(survey: Survey) -> None:
    given = {
        "butler": str(survey.folder / "repo"),
        "inputs": "HSC/defaults,refcats",
        "output": "u/me/first",
        "where": "detector != 9",
    }
    for kind in ("hsc", "merian", "demo"):
        path, _ = write_starter(kind, str(survey.folder / f"{kind}.yaml"), environ={}, given=given)
        text = path.read_text()
        for line in ("butler: ", "  output: ", "  inputs: "):
            assert text.count(f"\n{line}") == 1
        pipelines = {"DRP_PIPE_DIR": str(survey.folder), "SITE": "local"}
        (survey.folder / "pipelines").mkdir(exist_ok=True)
        try:
            spec = load_campaign(str(path), environment=pipelines).spec
        except BadInputError as error:
            assert "the pipeline file" in str(error)  # noqa: PT017 - there is no stack
            continue
        assert (spec.butler, spec.collections.output, spec.where) == (
            given["butler"], "u/me/first", "detector != 9",
        )  # fmt: skip
        assert spec.collections.inputs == ("HSC/defaults", "refcats")
