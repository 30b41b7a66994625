"""Commands on campaign files: validate, render, apply, schema."""

import json
from pathlib import Path

import psycopg2
import pytest
import yaml
from cli_help import Cli, files, rows, run_program

NOWHERE = {"MERIAN_CAMPAIGN_DATABASE_URL": "postgresql://127.0.0.1:1/none"}


def test_validate_says_what_it_would_run_and_needs_no_database(cli: Cli) -> None:
    done = cli("validate", cli.file, **NOWHERE)
    assert done.fine().splitlines()[:2] == ["step1: 1 group", "step3: 2 groups"]
    assert f"campaign {cli.name!r} is valid: 2 steps, 3 groups" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        pytest.param("instrument:", "instrumnet:", "instrumnet: no such key; did you mean", id="unknown key"),
        pytest.param("after: [step1]", "after: [stpe1]", "did you mean 'step1'?", id="misspelt step"),
        pytest.param("after: [step1]", "after: [step3]", "in a circle: step3 -> step3", id="cyclic gates"),
        pytest.param('["9813-9814"]', "[9813, 9813]", "duplicate values: 9813", id="duplicate tracts"),
        pytest.param(
            "group_by: tract",
            "group_by: {kind: visit, ids: [], size: 1}",
            "ids: no id; list ids and ranges",
            id="empty grouping",
        ),
        pytest.param("detector NOT IN (31, 61)", "tract = 1", "partial visits", id="tract on step 1"),
        pytest.param('"10:00:00"', "10:00:00", "put it in quotes", id="unquoted walltime"),
        pytest.param("instrument: DECam", "instrument: [", "not readable as YAML", id="unreadable YAML"),
        pytest.param(
            "pipe.yaml#step3", "pipes.yaml#step3", "pipes.yaml does not exist", id="missing pipeline"
        ),
        pytest.param("butler: repo", "butler: nowhere", "there is no butler repository at", id="no butler"),
        pytest.param("site: local", "site: ./base.yaml", "needs computeSite: NAME", id="no site"),
    ],
)
def test_bad_input(cli: Cli, old: str, new: str, words: str) -> None:
    cli.survey.edit(old, new)
    said = cli("validate", cli.file).refused(2, words)
    assert str(cli.survey.folder) in said


def test_a_home_in_which_no_submission_can_lie(cli: Cli, tmp_path: Path) -> None:
    home = tmp_path / "it's a {home} of $100%"
    done = run_program("validate", cli.file, home=home)
    done.refused(2, "work_dir: is not given", "it's a {home} of $100%", "use another folder")


def test_a_file_that_is_not_there(cli: Cli) -> None:
    cli("apply", "none.yaml").refused(2, "none.yaml: there is no such file")


def test_apply_again_makes_no_revision_and_writes_no_row(
    cli: Cli, sql: psycopg2.extensions.connection
) -> None:
    assert cli("apply", cli.file).fine() == f"campaign {cli.name}: revision 1, 3 groups (3 new)\n"
    before = rows(sql)
    assert cli("apply", cli.file).fine() == f"campaign {cli.name}: nothing changed, 3 groups (0 new)\n"
    again = cli("apply", "../night.yaml", cwd=cli.survey.folder / "site")
    assert "nothing changed" in again.fine()
    assert rows(sql) == before


def test_apply_over_a_link_is_the_same_file(cli: Cli, tmp_path: Path) -> None:
    cli.applied()
    (tmp_path / "link").symlink_to(cli.survey.folder, target_is_directory=True)
    assert "0 new" in cli("apply", str(tmp_path / "link" / "night.yaml")).fine()


def test_an_edited_file_is_a_new_revision_with_its_new_groups(
    cli: Cli, sql: psycopg2.extensions.connection
) -> None:
    name = cli.applied()
    cli.survey.edit('["9813-9814"]', '["9813-9815"]')
    assert cli("apply", cli.file).fine() == f"campaign {name}: revision 2, 4 groups (1 new)\n"
    with sql.cursor() as cursor:
        cursor.execute(
            "SELECT r.number, r.text FROM revision r JOIN campaign c ON c.id = r.campaign_id "
            "WHERE c.name = %s ORDER BY 1",
            (name,),
        )
        found = cursor.fetchall()
    assert [number for number, _ in found] == [1, 2]
    assert found[1][1] == cli.survey.file.read_text()


def test_a_name_that_another_file_has_taken(cli: Cli) -> None:
    name = cli.applied()
    other = cli.survey.folder / "other.yaml"
    other.write_text(cli.survey.file.read_text())
    said = cli("apply", str(other)).refused(2, f"the name {name!r} is taken by {cli.file}", "--move")
    assert said.startswith(f"merian-campaign: {other}: campaign: ")
    cli("apply", str(other), "--move").fine()
    cli("apply", cli.file).refused(2, f"is taken by {other}")


def test_dates_and_odd_text_can_be_applied(cli: Cli) -> None:
    cli.survey.edit(
        "steps:\n",
        "description: \"\\U0001f52d 'quoted' \\e[31m\"\nsteps:\n  - name: certify\n"
        "    action: certify-calibrations\n    arguments: "
        "{input: a, output: b, dataset_type: bias, begin: 2021-01-01T00:00:00, end: 2022-06-30}\n",
    )
    assert "4 groups" in cli("apply", cli.file).fine()


def test_a_step_that_runs_cannot_be_taken_out_of_the_file(
    cli: Cli, sql: psycopg2.extensions.connection
) -> None:
    name = cli.applied()
    with sql.cursor() as cursor:
        cursor.execute(
            "UPDATE \"group\" SET state = 'running' WHERE step = 'step3' AND key = 'tract9813' "
            "AND campaign_id = (SELECT id FROM campaign WHERE name = %s)",
            (name,),
        )
    text = cli.survey.file.read_text()
    cli.survey.file.write_text(text[: text.index("  - name: step3")])
    cli("apply", cli.file).refused(
        2, "steps: 'step3' is no longer there, but step3/tract9813 has a submission"
    )


def test_render_rewrites_nothing_when_nothing_changed(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "rendered"
    first = cli("render", cli.file, "--output", str(out), **NOWHERE)
    paths = [Path(line) for line in first.fine().splitlines()]
    assert [path.relative_to(out) for path in paths] == [
        Path("step1/all/001/submit.yaml"),
        Path("step3/tract9813/001/submit.yaml"),
        Path("step3/tract9814/001/submit.yaml"),
    ]
    written = files(out)
    assert set(written) == set(map(str, paths))
    second = cli("render", cli.file, "--output", str(out), **NOWHERE)
    assert second.fine() == ""
    assert "0 files written, 3 unchanged" in second.stderr
    assert "drivers add the sky map if a task works by it; tasks not looked at, of step1: " in second.stderr
    assert files(out) == written
    payload = yaml.safe_load(paths[1].read_text())["payload"]
    assert payload["outputRun"] == "runs/night/step3/tract9813/001"
    assert payload["dataQuery"] == "instrument = 'DECam' AND skymap = 'rings' AND tract = 9813"


def test_render_writes_only_what_changed(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "rendered"
    cli("render", cli.file, "-o", str(out)).fine()
    cli.survey.edit("detector NOT IN (31, 61)", "detector = 5")
    assert cli("render", cli.file, "-o", str(out)).fine() == f"{out}/step1/all/001/submit.yaml\n"


def test_render_to_where_nothing_can_be_written(cli: Cli) -> None:
    cli("render", cli.file, "-o", cli.file).refused(74, cli.file, "Not a directory")


def test_the_schema_is_json_on_standard_output(cli: Cli) -> None:
    schema = json.loads(cli("schema", **NOWHERE).fine())
    assert schema["properties"]["steps"]


def test_validate_says_once_why_pipelines_cannot_be_loaded(cli: Cli) -> None:
    place = "eups://meas_nowhere/pipelines/a.yaml"
    (cli.survey.folder / "pipe.yaml").write_text(f"description: none\nimports: [{{location: '{place}'}}]\n")
    done = cli("validate", cli.file, **NOWHERE)
    done.fine()
    (line,) = [line for line in done.stderr.splitlines() if "not looked at" in line]
    assert line.startswith("tasks not looked at, of step1, step3: pipe.yaml: ")
    assert place in line
    assert line.endswith("; set up the LSST stack before the command, or say how under stack:")


def test_validate_says_how_many_tracts_a_discovered_group_has(cli: Cli) -> None:
    cli.survey.edit('tracts: ["9813-9814"]', "tracts: discover")
    assert "step3: a group a tract, discovered once" in cli("validate", cli.file, **NOWHERE).fine()
    cli.survey.edit("group_by: tract", "group_by: {kind: tract, size: 10}")
    assert "step3: a group of 10 tracts, discovered once" in cli("validate", cli.file, **NOWHERE).fine()


def test_validate_says_what_bps_files_ask_for_that_is_done_otherwise(cli: Cli) -> None:
    (cli.survey.folder / "base.yaml").write_text(
        "retryUnlessExit: 2\npipetask: {isr: {numberOfRetries: 3}}\n"
    )
    cli.survey.edit("skymap: rings", "skymap: rings\nwms: stock")
    done = cli("validate", cli.file, **NOWHERE)
    done.fine()
    said = done.stdout + done.stderr
    assert said.count("numberOfRetries in") == said.count("retryUnlessExit in") == 1
    assert "is not used by the stock service: failure_rules say which exit codes are not retried" in said
