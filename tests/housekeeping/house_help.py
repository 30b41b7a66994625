"""A small repository with a campaign's collections in it, made without running anything."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from forked_program import run_forked
from lsst.daf.butler import Butler, CollectionType, DatasetType

from merian_campaign.domain.execution.process_identity import ProcessIdentity
from merian_campaign.domain.record.records import NewGroup
from merian_campaign.domain.record.snapshot import Remedy
from merian_campaign.domain.selection import Selection
from merian_campaign.domain.spec import CampaignSpec
from merian_campaign.domain.states import GroupState, SubmissionOutcome
from merian_campaign.housekeeping import housekeeping_of
from merian_campaign.housekeeping.cleaning_service import Housekeeping
from merian_campaign.store.store import PostgresStore

PROGRAM = Path(sys.executable).with_name("merian-campaign")
INSTRUMENT = "DECam"
VISITS = (970612, 970613, 971020, 971021)
NOW = datetime(2026, 11, 25, 9, tzinfo=UTC)
TYPES = ("calexp_summary", "isr_report")
FINAL = ("deepCoadd_note", "objectTable_tract")
SKYMAP = "decam_rings_v1"
TRACTS = (9813, 9814)


def register(butler: Butler) -> None:
    """Register the dataset types that the tests put."""
    for names, dimensions in ((TYPES, ("instrument", "visit", "detector")), (FINAL, ("skymap", "tract"))):
        for name in names:
            kind = DatasetType(name, dimensions, "StructuredDataDict", universe=butler.dimensions)
            butler.registry.registerDatasetType(kind)


def put(butler: Butler, run: str, *visits: int, name: str = TYPES[0]) -> list[Any]:
    """Put a dataset a visit into a RUN."""
    butler.collections.register(run)
    return [
        butler.put(
            {"run": run, "visit": visit},
            name,
            {"instrument": INSTRUMENT, "visit": visit, "detector": 1},
            run=run,
        )
        for visit in visits
    ]


def put_tract(butler: Butler, run: str, tract: int, *names: str) -> None:
    """Put a dataset of each type for a tract into a RUN."""
    butler.collections.register(run)
    for name in names:
        butler.put({"run": run, "tract": tract}, name, {"skymap": SKYMAP, "tract": tract}, run=run)


def chain(butler: Butler, name: str, *children: str) -> None:
    butler.collections.register(name, CollectionType.CHAINED)
    butler.collections.redefine_chain(name, children)


@dataclass(frozen=True)
class House:
    """A campaign of one step and one group, in a repository of its own.

    Parameters
    ----------
    repository : `pathlib.Path`
        Its butler repository.
    name : `str`
        The campaign.
    store : `PostgresStore`
        Its tracking database.
    environ : `dict`
        Where that is, for commands.
    """

    repository: Path
    name: str
    store: PostgresStore
    environ: dict[str, str]

    @property
    def step(self) -> str:
        return f"runs/{self.name}/step1"

    def run(self, number: int) -> str:
        return f"{self.step}/all/{number:03d}"

    @contextmanager
    def butler(self) -> Iterator[Butler]:
        with Butler.from_config(str(self.repository), writeable=True) as butler:
            yield butler

    def apply(self) -> None:
        spec = CampaignSpec.model_validate(
            {
                "campaign": self.name,
                "butler": str(self.repository),
                "instrument": INSTRUMENT,
                "skymap": SKYMAP,
                "tracts": list(TRACTS),
                "site": "/site/local.yaml",
                "collections": {"output": f"runs/{self.name}", "inputs": ["DECam/raw/all"]},
                "steps": [
                    {"name": "step1", "pipeline": "/pipe.yaml#step1", "scope": "exposure"},
                    {
                        "name": "step3",
                        "pipeline": "/pipe.yaml#step3",
                        "scope": "tract",
                        "after": [{"step": "step1"}],
                        "group_by": {"kind": "tract"},
                    },
                ],
            }
        )
        group = NewGroup(step="step1", key="all", selection=Selection(), ordinal=0)
        self.store.apply(
            name=self.name, file="/night.yaml", text=self.name, sha256=self.name, groups=[group], dropped=[],
            spec=spec.model_dump(mode="json", exclude_unset=True), actor="ana", now=NOW,
        )  # fmt: skip

    def submit(self, outcome: SubmissionOutcome | None) -> int:
        """Record another submission of the group, running if it has no outcome; return its id."""
        (group,) = self.store.snapshot(self.name).groups
        number = len(group.submissions) + 1
        if group.state is not GroupState.READY:
            self.store.move_group(
                group_id=group.id, state=GroupState.READY, reason="again", actor="ana", now=NOW
            )
        made = self.store.prepare_submission(
            group_id=group.id, number=number, run_collection=self.run(number), actor="ana", now=NOW,
            repository=str(self.repository), directory=f"/submit/{self.name}/{number}", remedy=Remedy(),
            reason="test",
        )  # fmt: skip
        driver = ProcessIdentity(host="node1", pid=1, pid_start=1)
        self.store.claim(submission_id=made.id, driver=driver, lease_seconds=1, now=NOW, expected_epoch=0)
        if outcome is not None:
            self.store.harvest(
                submission_id=made.id, quanta=(), outcome=outcome, reason="over", actor="ana", now=NOW
            )
        return made.id

    def program(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command line to its end."""
        return run_forked(*arguments, env=self.environ)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the command line and go on."""
        return subprocess.Popen(
            [str(PROGRAM), *arguments], env=self.environ, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    def events(self) -> list[tuple[int | None, str | None]]:
        """Return what is on record of cleaning, oldest first: submission number and state."""
        found = self.store.events(self.name, limit=1000)
        return [(event.submission, event.to_state) for event in reversed(found) if event.kind == "clean"]

    def housekeeping(self) -> Housekeeping:
        """Return the service, as the command line uses it."""
        from merian_campaign.context import CommandContext  # noqa: PLC0415

        return housekeeping_of(CommandContext(environ=self.environ), tell=lambda _: None)

    def collections(self) -> set[str]:
        with self.butler() as butler:
            return set(butler.collections.query("runs/*", flatten_chains=False))

    def files(self, run: str) -> list[str]:
        """Return the files below a RUN's folder."""
        folder = self.repository / run
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MERIAN_CAMPAIGN")}
    return {**kept, "MERIAN_CAMPAIGN_HOME": str(home), "COLUMNS": "250"}
