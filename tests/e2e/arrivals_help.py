"""A small reduction whose raws come in any order: what happens to it, and what it should have come to."""

from __future__ import annotations

import os
import pickle
import random
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
import yaml
from demo_chain import DEFAULTS, Survey
from e2e_help import CHECKOUT, Installation, wait_for

from merian_campaign.demo.sky import raw_pixels
from merian_campaign.demo.survey import ALL_DETECTORS, EVERY_EXPOSURE, EXPOSURES, ExposurePlan
from merian_campaign.domain.tick.tick_status import BUSY

SCIENCE = tuple(plan for plan in EVERY_EXPOSURE if plan.pointing is not None)
CALIBRATION = tuple(plan for plan in EXPOSURES if plan.pointing is None)
SUBSETS = {
    "visits": "isr, characterizeImage, calibrate, transformPreSourceTable, "
    "consolidateVisitSummary, consolidatePreSourceTable",
    "joint": "isolatedStarAssociation, jointcal",
    "table": "makeCcdVisitTable, makeVisitTable",
    "final": "finalizeCharacterization",
    "coadd": "makeWarp, assembleCoadd",
}
COMBINING = ("joint", "table", "coadd")
FAULTS = (
    ("visits", "characterizeImage", "visit:{visit},detector:1"),
    ("joint", "jointcal", "tract:9813"),
    ("coadd", "assembleCoadd", "tract:9814,patch:0"),
)
LONGEST = 1800.0
"""Seconds, for a campaign of some thirty submissions on a loaded machine."""


def pipeline(folder: Path) -> Path:
    """Write the demo's pipeline with subsets for fewer steps."""
    lines = ["description: The miniature survey in fewer steps.", "imports:"]
    lines += [f"  - {{location: {CHECKOUT}/merian_campaign/demo/pipelines/DRP-Merian.yaml}}", "subsets:"]
    lines += [f"  {name}: {{subset: [{tasks}], description: some}}" for name, tasks in SUBSETS.items()]
    path = folder / "small.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


def prepare(folder: Path) -> Survey:
    """Make a repository that has calibrations, and no exposure of the sky."""
    made = Survey(folder, CALIBRATION)
    made.run_calibration()
    pipeline(folder)
    return made


def campaign(
    folder: Path, *, name: str, on_new_data: str, bad: Sequence[int], fault: tuple[str, str, str] | None
) -> dict[str, Any]:
    """Return a campaign file."""
    nights = {"kind": "day_obs", "nights": "discover"}
    raws = "exposure.observation_type = 'science' AND detector NOT IN (31, 61)"
    layout: dict[str, dict[str, Any]] = {
        "visits": {"after": ["define"], "scope": "exposure", "where": raws, "group_by": nights},
        "joint": {"after": ["visits"], "scope": "tract", "group_by": "tract"},
        "table": {"after": ["visits"], "scope": "instrument"},
        "final": {"after": ["joint"], "scope": "visit", "group_by": nights},
        "coadd": {"after": ["final"], "scope": "tract", "group_by": "tract"},
    }
    steps: list[dict[str, Any]] = [
        {
            "name": "ingest",
            "action": "ingest-raws",
            "arguments": {"files": [f"{folder}/archive/raw_*.pickle"]},
        },
        {
            "name": "define",
            "after": ["ingest"],
            "action": "define-visits",
            "arguments": {"instrument": "merian_campaign.demo.instrument.MiniDecam"},
        },
    ]
    before: list[str] = []
    for step, content in layout.items():
        own = {"name": step, "pipeline": f"{folder}/small.yaml#{step}", **content}
        own["inputs"] = [*reversed(before), DEFAULTS]
        if step != "table":  # nobody reads it
            before.append(step)
        if step == "visits":
            own["config"] = ["isr:doCrosstalk=False"]
        if fault is not None and fault[0] == step:
            _, task, data_id = fault
            own.setdefault("config", []).extend(
                [
                    f"{task}:faultKind=once",
                    f"{task}:faultDataId={data_id}",
                    f"{task}:faultLedger={folder}/faults",
                ]
            )
        steps.append(own)
    return {
        "campaign": name,
        "butler": str(folder / "repo"),
        "work_dir": str(folder / "submissions"),
        "instrument": "DECam",
        "skymap": "decam_rings_v1",
        "site": str(CHECKOUT / "site" / "local.yaml"),
        "wms": "campaign",
        "include": [str(CHECKOUT / "bps_configs" / "base.yaml")],
        "failure_rules": str(CHECKOUT / "campaign" / "failure-rules.yaml"),
        "limits": {"submissions": 2},
        "collections": {"output": f"DECam/runs/{name}", "inputs": [DEFAULTS]},
        "tracts": "discover",
        "on_new_data": on_new_data,
        "bad_exposures": list(bad),
        "environment": {"DAF_BUTLER_PLUGINS": str(CHECKOUT / "merian_campaign" / "demo" / "resources.yaml")},
        "steps": steps,
    }


@dataclass
class Reduction:
    """One campaign on a repository of its own."""

    installation: Installation
    prepared: Path
    name: str
    on_new_data: str = "redo"
    fault: tuple[str, str, str] | None = None
    bad: set[int] = field(default_factory=set)
    process: subprocess.Popen[str] | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir()
        shutil.copytree(self.prepared / "repo", self.repository)
        shutil.copy(self.prepared / "small.yaml", self.folder)
        (self.folder / "faults").mkdir()
        (self.folder / "archive").mkdir()
        self.url = self.installation.run("db", "url", "--libpq").stdout.strip()

    @property
    def folder(self) -> Path:
        return self.installation.root / self.name

    @property
    def repository(self) -> Path:
        return self.folder / "repo"

    def apply(self) -> None:
        content = campaign(
            self.folder, name=self.name, on_new_data=self.on_new_data, bad=sorted(self.bad), fault=self.fault
        )
        (self.folder / "small-campaign.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        wait_for(self._applied, what="moment without a tick", seconds=120.0)

    def _applied(self) -> bool:
        """Apply the file; say whether no tick was at work just then, as a person does who is told so."""
        done = self.installation.run("apply", str(self.folder / "small-campaign.yaml"))
        assert done.returncode in {0, BUSY}, done.stdout + done.stderr
        return done.returncode != BUSY

    def arrive(self, files: Sequence[tuple[ExposurePlan, int]]) -> None:
        """Raw files come into the archive, each in one move."""
        for plan, detector in files:
            path = self.folder / "archive" / f"raw_{plan.exposure}_{detector}.pickle"
            scratch = path.with_name(f".{path.name}")
            scratch.write_bytes(pickle.dumps(raw_pixels(plan=plan, detector=detector), protocol=-1))
            scratch.rename(path)

    def arrive_again(self) -> None:
        """All that is there is copied there once more."""
        for path in (self.folder / "archive").glob("raw_*.pickle"):
            os.utime(path)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(psycopg2.connect(self.url)) as connection, connection.cursor() as cursor:
            cursor.execute(sql, {"name": self.name})
            return cursor.fetchall()

    def finished(self) -> int:
        """Return how many submissions have ended."""
        ((number,),) = self.rows(
            'SELECT count(*) FROM submission s JOIN "group" g ON g.id = s.group_id'
            " JOIN campaign c ON c.id = g.campaign_id WHERE c.name = %(name)s AND s.state = 'finished'"
        )
        return int(number)

    def states(self) -> dict[str, tuple[str, str]]:
        """Return of each group its state and reason."""
        rows = self.rows(
            "SELECT g.step || '/' || g.key, g.state, g.reason FROM \"group\" g"
            " JOIN campaign c ON c.id = g.campaign_id WHERE c.name = %(name)s"
        )
        return {name: (state, reason) for name, state, reason in rows}

    def go_on(self, *, submissions: int | None = None) -> None:
        """Tick until nothing moves, or until some more submissions have ended."""
        if self.process is None or self.process.poll() is not None:
            self.process = self.installation.start("run", self.name, "--interval", "1")
        process = self.process
        target = None if submissions is None else self.finished() + submissions
        wait_for(
            lambda: process.poll() is not None or (target is not None and self.finished() >= target),
            what=f"end of {self.name}; {self.states()}",
            seconds=LONGEST,
        )

    def settle(self) -> None:
        """Tick until nothing moves, whatever has come until now."""
        if self.process is not None:
            self.go_on()
        self.go_on()
        self.process = None

    def shown(self, step: str) -> list[str]:
        """Return the RUN collections of a step that readers see."""
        from lsst.daf.butler import Butler, CollectionType, MissingCollectionError  # noqa: PLC0415 - heavy

        output = f"DECam/runs/{self.name}/{step}"
        with Butler.from_config(str(self.repository)) as butler:
            try:
                runs = butler.collections.query(
                    output, collection_types=CollectionType.RUN, flatten_chains=True
                )
            except MissingCollectionError:
                return []
        return [run for run in runs if run.startswith(f"{output}/")]

    def used(self) -> dict[int, tuple[int, int]]:
        """Return by tract how many visits overlap it, and how many its products used."""
        found = self.installation.json("tracts", self.name)
        return {row["tract"]: (row["visits"], row["visits_used"]) for row in found["tracts"]}


type File = tuple[ExposurePlan, int]


def happenings(dice: random.Random) -> Iterator[tuple[str, Any]]:
    """Yield what happens to a survey: all raws come in some order, and other things in between."""
    files: list[File] = [(plan, detector) for plan in SCIENCE for detector in ALL_DETECTORS]
    nights = sorted({plan.day_obs for plan in SCIENCE})
    dice.shuffle(nights)
    batches: list[list[File]] = []
    for night in nights:
        own = [one for one in files if one[0].day_obs == night]
        match dice.choice(("whole", "whole", "exposure", "file")):
            case "exposure":
                late = dice.choice([plan for plan in SCIENCE if plan.day_obs == night]).exposure
                kept = [one for one in own if one[0].exposure != late]
                batches += [kept, [one for one in own if one not in kept]]
            case "file":
                late_file = dice.choice([one for one in own if one[1] in {1, 2}])
                batches += [[one for one in own if one != late_file], [late_file]]
            case _:
                batches.append(own)
    first = batches.pop(0)
    most = dice.choice((1, 1, 2))  # each batch makes nearly everything anew, some ten submissions
    while len(batches) > most:
        at = dice.randrange(len(batches) - 1)
        batches[at : at + 2] = [batches[at] + batches[at + 1]]
    dice.shuffle(batches)
    events: list[tuple[str, Any]] = [("arrive", first)]
    for batch in batches:
        events += [("pause", dice.choice((2, 4, 8, None))), ("arrive", batch)]
    for extra in dice.sample(("again", "withdraw"), k=dice.randrange(3)):
        events.insert(dice.randrange(1, len(events) + 1), (extra, dice.choice((970613, 971020))))
    yield from events
