"""A campaign that discovers its tracts, ticked on a real repository; nothing of it is ever started."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import psycopg2
import pytest
from cli_help import Cli, files, rows
from demo_repository import copied_repository
from lsst.daf.butler import Butler
from survey_help import Survey

from merian_campaign.demo.records import insert_exposures, insert_visits, region_of
from merian_campaign.demo.survey import N708, SKYMAP, Box, ExposurePlan

Sql = psycopg2.extensions.connection
STEPS = """\
tracts: discover
steps:
  - name: step1
    pipeline: pipe.yaml#step1
    scope: exposure
    group_by: &nights {kind: day_obs, nights: ["20210318-20210320"]}
  - {name: step2a, after: [step1], pipeline: pipe.yaml#step2a, scope: visit, group_by: *nights}
  - {name: step3, after: [step2a], pipeline: pipe.yaml#step3, scope: tract, group_by: tract}
  - name: release
    after: [step3]
    action: collection-chain
    arguments: {parent: all, children: [some]}
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied_repository(tmp_path_factory.mktemp("tracts"))


@pytest.fixture
def name(cli: Cli, survey: Survey, repository: Path, sql: Sql) -> str:
    """An active campaign whose first step was cancelled."""
    text = survey.file.read_text()
    text = text[: text.index("tracts:")].replace("butler: repo", f"butler: {repository}")
    survey.file.write_text(text.replace("skymap: rings", f"skymap: {SKYMAP}") + STEPS)
    assert "7 groups (7 new)" in cli("apply", cli.file).fine()
    with sql.cursor() as cursor:
        cursor.execute(
            "UPDATE \"group\" SET state = 'cancelled' WHERE step = 'step1'"
            " AND campaign_id = (SELECT id FROM campaign WHERE name = %s)",
            (cli.name,),
        )
    return cli.name


def another_tract(repository: Path) -> None:
    """Put a tract beside the two of the survey, and a visit on the third night that overlaps it."""
    plan = ExposurePlan(
        exposure=980001,
        observation_type="science",
        physical_filter=N708,
        begin=datetime(2021, 3, 21, 2, tzinfo=UTC),
        seconds=600.0,
        pointing=(300, 0),
    )
    region = region_of(Box(x0=290, y0=0, x1=420, y1=64))
    with Butler.from_config(str(repository), writeable=True) as butler:
        butler.registry.insertDimensionData("tract", {"skymap": SKYMAP, "id": 9815, "region": region})
        insert_exposures(butler.registry, [plan])
        insert_visits(butler.registry, [plan])


def test_tracts_become_groups_once_and_new_data_make_new_ones(
    cli: Cli, name: str, repository: Path, sql: Sql
) -> None:
    assert "first: ask the butler which tracts the visits overlap" in cli("plan", name).fine()
    board = json.loads(cli("status", name, "--json").fine())
    assert ("step3", "discover", "waiting") in {
        (row["step"], row["group"], row["state"]) for row in board["groups"]
    }
    cli("show", name, "step3").refused(2, "step 'step3' has no groups yet: its tracts are discovered")
    said = cli("tick", name).fine().splitlines()
    assert said[:2] == [
        "overlaps seen: 4 visits on 2 tracts",
        "step3: 2 groups added (tracts that 4 visits overlap)",
    ]
    plan = cli("plan", name).fine()
    # The third night has no exposure yet.
    assert (
        "step3/tract9813: stays blocked (needs step2a/night20210318 (blocked), step2a/night20210319" in plan
    )
    assert "(blocked) of its visits)" in plan, "a night without data is not waited for"
    shown = json.loads(cli("show", name, "step3/tract9814", "--json").fine())
    assert shown["reason"].endswith("(blocked) of its visits")

    before, written = rows(sql, but=("tick",)), files(cli.survey.folder)
    assert cli("tick", name).fine() == ""
    assert (rows(sql, but=("tick",)), files(cli.survey.folder)) == (before, written)

    # Killed after it was seen and before there were groups: they are added, and nobody is asked again.
    with sql.cursor() as cursor:
        cursor.execute(
            "DELETE FROM \"group\" WHERE step = 'step3'"
            " AND campaign_id = (SELECT id FROM campaign WHERE name = %s)",
            (name,),
        )
    assert cli("tick", name).fine().splitlines()[0] == "step3: 2 groups added (tracts that 4 visits overlap)"

    another_tract(repository)
    assert cli("tick", name, "--look").fine().splitlines()[:2] == [
        "overlaps seen: 5 visits on 3 tracts",
        "step3: 1 groups added (tracts that 5 visits overlap)",
    ]
    plan = cli("plan", name).fine()
    assert "step3/tract9815: stays blocked (needs step2a/night20210320 (blocked) of its visits)" in plan
    assert (
        "step3/tract9813: stays blocked (needs step2a/night20210318 (blocked), step2a/night20210319" in plan
    )
    assert "not defined yet" not in plan
    events = [row[0] for row in _events(sql, name)]
    assert events == ["overlaps", "groups", "groups", "overlaps", "groups"]


def _events(sql: Sql, name: str) -> list[tuple[str]]:
    with sql.cursor() as cursor:
        cursor.execute(
            "SELECT e.kind FROM event e JOIN campaign c ON c.id = e.campaign_id"
            " WHERE c.name = %s AND e.kind IN ('overlaps', 'groups') ORDER BY e.id",
            (name,),
        )
        return cursor.fetchall()


def test_what_cannot_be_seen_is_a_note_and_decides_nothing(cli: Cli, name: str, survey: Survey) -> None:
    survey.edit(f"skymap: {SKYMAP}", "skymap: rings")
    cli("apply", cli.file).fine()
    done = cli("tick", name)
    assert "overlaps of visits and tracts cannot be seen: the skymap rings is not registered" in done.stderr
    assert "overlaps seen" not in done.fine()
    assert "step3" not in done.stdout
    run = cli("run", name)
    assert (run.code, run.stdout) == (3, "")
    assert run.stderr.count("cannot be seen") == 1
