"""Overlaps as a real registry has them: for a tick, through its child process, and for `tracts`."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from astropy.table import Table
from demo_repository import copied_repository
from forked_program import run_forked
from lsst.daf.butler import Butler, DatasetType

from merian_campaign.demo.records import insert_exposures, insert_visits
from merian_campaign.demo.survey import N708, ExposurePlan
from merian_campaign.domain.preflight.queries import StepQuery
from merian_campaign.domain.readiness.overlap_refresh import (
    OverlapQuery,
    OverlapRefresh,
    OverlapRefreshFailed,
)
from merian_campaign.domain.record.overlaps import SkyExposure
from merian_campaign.domain.spec.stack import Stack
from merian_campaign.middleware.preflight.pipeline_facts import PipelinesHere
from merian_campaign.middleware.registry import ButlerRegistry

CHECKOUT = Path(__file__).resolve().parents[2]
SCIENCE = "instrument = 'DECam' AND exposure.observation_type = 'science' AND detector NOT IN (31, 61)"
NIGHTS = "instrument = 'DECam' AND exposure.day_obs IN (20210318, 20210319, 20210320)"
QUESTION = OverlapQuery(
    instrument="DECam",
    skymap="decam_rings_v1",
    steps={"step1": (SCIENCE,), "byVisit": ("instrument = 'DECam' AND visit IN (970612, 980001)",)},
    others=(NIGHTS,),
)


def plan(exposure: int, pointing: tuple[int, int]) -> ExposurePlan:
    begin = datetime(2021, 3, 21, 2, exposure % 60, tzinfo=UTC)
    return ExposurePlan(
        exposure=exposure, observation_type="science", physical_filter=N708, begin=begin, seconds=600.0,
        pointing=pointing,
    )  # fmt: skip


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The demo's repository with a third night: one tract, off all tracts, and not defined yet."""
    made = copied_repository(tmp_path_factory.mktemp("overlaps"))
    plans = (plan(980001, (0, 0)), plan(980002, (3000, 0)), plan(980003, (0, 0)))
    with Butler.from_config(str(made), writeable=True) as butler:
        insert_exposures(butler.registry, plans)
        insert_visits(butler.registry, plans[:2])
    return str(made)


def ask(question: OverlapQuery, repository: str, *, stack: str = "") -> OverlapRefresh | OverlapRefreshFailed:
    registry = ButlerRegistry(environ=os.environ)
    given = Stack(prelude=stack)
    return registry.look(question, repository=repository, environment={}, stack=given)


def test_each_exposure_is_told_with_its_visit_and_the_tracts_that_overlaps(repository: str) -> None:
    found = ask(QUESTION, repository)
    assert isinstance(found, OverlapRefresh), found
    both = (9813, 9814)
    nights = {
        20210318: [(970228, (), ()), (970488, (), ()), (970612, (970612,), both), (970613, (970613,), both)],
        20210319: [(970823, (), ()), (970836, (), ()), (971020, (971020,), both), (971021, (971021,), both)],
        20210320: [(980001, (980001,), (9813,)), (980002, (980002,), ()), (980003, (), None)],
    }
    assert found.exposures == tuple(
        SkyExposure(
            exposure=exposure, day_obs=night, visits=visits, tracts=tracts, raws=0 if exposure > 980000 else 3
        )
        for night, rows in nights.items()
        for exposure, visits, tracts in rows
    )
    science = {970612, 970613, 971020, 971021, 980001, 980002, 980003}
    assert found.taken == {"step1": science, "byVisit": {970612, 980001}}


def test_what_is_not_there_yet_is_told_from_what_may_be_in_a_minute(repository: str, tmp_path: Path) -> None:
    missing = str(tmp_path / "none")
    assert ask(QUESTION, missing) == OverlapRefreshFailed(
        reason=f"there is no butler repository at {missing}", lasting=True
    )
    assert ask(replace(QUESTION, skymap="rings"), repository) == OverlapRefreshFailed(
        reason="the skymap rings is not registered; registered: decam_rings_v1", lasting=True
    )
    broken = tmp_path / "butler.yaml"
    broken.write_text("registry: {db: 'sqlite:////nowhere/at/all.sqlite3'}\n")
    registry = ButlerRegistry(environ=os.environ)
    failed = registry.look(QUESTION, repository=str(tmp_path), environment={}, stack=Stack())
    assert isinstance(failed, OverlapRefreshFailed)
    assert not failed.lasting
    assert "cannot be opened" in failed.reason
    # The answer of a moment ago, not another process.
    assert registry.look(QUESTION, repository=str(tmp_path), environment={}, stack=Stack()) is failed


def test_one_process_answers_all_questions_and_another_one_when_it_died(
    repository: str, tmp_path: Path
) -> None:
    trace = tmp_path / "started"
    stack = Stack(prelude=f"export PATH={Path(sys.executable).parent}:$PATH\necho $BASHPID >> {trace}")

    def started(registry: ButlerRegistry) -> list[int]:
        found = registry.runs(["DECam"], repository=repository, environment={}, stack=stack)
        assert not isinstance(found, OverlapRefreshFailed), found
        return [int(line) for line in trace.read_text().split()]

    registry = ButlerRegistry(environ=os.environ)
    assert len(started(registry)) == len(started(registry)) == 1
    os.kill(started(registry)[0], signal.SIGKILL)
    assert len(started(registry)) == 2
    del registry
    gc.collect()
    assert not [pid for pid in map(int, trace.read_text().split()) if Path(f"/proc/{pid}").exists()]


def test_a_question_that_is_refused_costs_no_process(tmp_path: Path) -> None:
    """A tick may have many submissions whose files are damaged, and a repository that does not answer."""
    (tmp_path / "butler.yaml").write_text("registry: {db: 'sqlite:////nowhere/at/all.sqlite3'}\n")
    registry = ButlerRegistry(environ=os.environ)
    before = set(psutil.Process().children())

    def children() -> set[psutil.Process]:
        (found,) = registry.salvage(
            [(str(tmp_path / "lost"), "run")], repository=str(tmp_path), environment={}, stack=Stack()
        )
        assert "unable to open database file" in found.trouble
        return set(psutil.Process().children()) - before

    (asked,) = children()
    assert children() == {asked}


def test_it_is_asked_from_inside_the_stack(repository: str, tmp_path: Path) -> None:
    python = Path(sys.executable).parent
    trace = tmp_path / "seen"
    found = ask(QUESTION, repository, stack=f"echo setting up\nexport PATH={python}:$PATH\ntouch {trace}")
    assert isinstance(found, OverlapRefresh), found
    assert trace.exists()
    failed = ask(QUESTION, repository, stack="echo no such tag >&2; false")
    assert isinstance(failed, OverlapRefreshFailed)
    assert failed.reason == "the stack could not be set up: no such tag"


CAMPAIGN = """\
campaign: found  # by hand
butler: {repository}
instrument: DECam
skymap: decam_rings_v1
site: {checkout}/site/local.yaml
collections: {{output: runs/found}}
tracts: discover  # all of them
steps:
  - name: step1
    pipeline: {pipeline}#step1
    scope: exposure
    where: exposure.observation_type = 'science' AND detector NOT IN (31, 61)
  - {{name: step2a, after: [step1], pipeline: "{pipeline}#step2a", scope: visit}}
  - {{name: step3, after: [step2a], pipeline: "{pipeline}#step3", scope: tract, group_by: tract}}
"""


def test_pipelines_are_read_inside_the_stack(tmp_path: Path) -> None:
    demo = Path(__file__).parents[2] / "merian_campaign" / "demo" / "pipelines" / "DRP-Merian.yaml"
    looks = (
        StepQuery(place="step2b", pipeline=f"{demo}#step2b"),
        StepQuery(place="wrong", pipeline=f"{demo}#step9"),
    )
    here = PipelinesHere().read(looks)
    names = [need.name for need in here["step2b"].inputs]
    assert names == sorted(names)
    registry = ButlerRegistry(environ=os.environ)
    stack = Stack(prelude=f"touch {tmp_path}/set-up")
    assert registry.pipelines(looks, environment={}, stack=stack) == here
    assert (tmp_path / "set-up").exists()
    assert here["step2b"].tasks
    assert here["wrong"].problem.startswith("DRP-Merian.yaml#step9: no subset 'step9'")
    broken = registry.pipelines(looks, environment={}, stack=Stack(prelude="false"))
    assert "the stack could not be set up" in broken["step2b"].problem


def tracts(file: Path, *options: str) -> subprocess.CompletedProcess[str]:
    environ = {"HOME": str(file.parent), "PATH": "/usr/bin:/bin"}
    return run_forked("tracts", str(file), *options, env=environ)


def test_tracts_are_listed_from_regions_then_from_summaries_and_written_into_the_file(
    repository: str, tmp_path: Path
) -> None:
    pipeline = CHECKOUT / "merian_campaign/demo/pipelines/DRP-Merian.yaml"
    file = tmp_path / "found.yaml"
    text = CAMPAIGN.format(repository=repository, checkout=CHECKOUT, pipeline=pipeline)
    file.write_text(text)
    done = tracts(file, "--json")
    assert done.returncode == 0, done.stderr
    assert "from the regions of 6 visits; none has a visitSummary yet, on 2 tracts" in done.stderr
    first, second = json.loads(done.stdout)["tracts"]
    assert (first["tract"], first["visits"], first["detectors"]) == (9813, 5, 9)
    assert (second["tract"], second["visits"], second["detectors"]) == (9814, 4, 6)
    # Worked out on squared paper from the pointings: the sampled fractions are within a grid's step of it.
    assert first["coverage"] == {"N540": pytest.approx(0.71, abs=0.03), "N708": pytest.approx(0.87, abs=0.03)}
    assert second["coverage"]["N540"] == pytest.approx(0.39, abs=0.03)
    assert file.read_text() == text

    with Butler.from_config(repository, writeable=True, run="runs/found/step2a") as butler:
        kind = DatasetType(
            "visitSummary", ("instrument", "visit"), "ArrowAstropy", universe=butler.dimensions
        )
        butler.registry.registerDatasetType(kind)
        for visit in (970612, 980001):
            butler.put(Table({"detector": [1, 2]}), kind, instrument="DECam", visit=visit)
    done = tracts(file, "--min-visits", "2", "--write", "--collections", "runs/none, runs/found/step2a")
    assert done.returncode == 0, done.stderr
    assert "from 2 visits with a visitSummary, of 6, on 1 tracts" in done.stderr
    assert [line.split() for line in done.stdout.splitlines() if "98" in line] == [["9813", "2", "4", "89%"]]
    assert file.read_text() == text.replace("tracts: discover ", "tracts: [9813] ")


def test_two_that_only_read_do_not_keep_each_other_out_of_sqlite(repository: str) -> None:
    """What `limits.graphs` rests on: a graph builder opens the registry to read, with temporary tables."""
    with (
        Butler.from_config(repository) as first,
        Butler.from_config(repository) as second,
        first.query() as one,
        second.query() as other,
    ):
        ours = one.where(instrument="DECam").join_dimensions(["visit", "detector"]).materialize()
        theirs = other.where(instrument="DECam").join_dimensions(["visit", "detector"]).materialize()
        assert set(ours.data_ids(["visit"])) == set(theirs.data_ids(["visit"])) != set()
