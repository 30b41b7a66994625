"""A campaign as a survey has it, of any size, made through the store's own methods; the same each time.

Three fields far apart: one along the equator that wraps 0h, one along the equator, one in the north.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import cos, radians
from pathlib import Path
from typing import Any
from uuid import UUID

from merian_campaign.domain.execution.process_identity import ProcessIdentity
from merian_campaign.domain.execution.quanta import Attempt, Quantum, canonical_data_id
from merian_campaign.domain.execution.queue_wait import TaskWait
from merian_campaign.domain.record.overlaps import Overlaps, SkyExposure
from merian_campaign.domain.record.records import JobRecord, NewGroup
from merian_campaign.domain.record.snapshot import Remedy
from merian_campaign.domain.selection import Selection
from merian_campaign.domain.sky_regions import SkyRegion
from merian_campaign.domain.slurm.slurm_jobs import SlurmJob
from merian_campaign.domain.states import GroupState, QuantumState, SubmissionOutcome, Verdict
from merian_campaign.store.store import PostgresStore

SITE = Path(__file__).resolve().parents[1] / "site" / "local.yaml"
BEGIN = datetime(2026, 11, 2, 18, tzinfo=UTC)
BANDS = ("N540", "N708")
SIDE = 1.5
"""Of a tract, degrees."""

# Centre of the first tract, and tracts along right ascension before the next row begins.
_FIELDS = ((330.0, -1.5, 46), (129.0, -1.5, 46), (200.0, 42.5, 28))

NIGHT_TASKS = {
    "step1": ("isr", "characterizeImage", "calibrate"),
    "step2a": ("consolidateSourceTable", "finalizeCharacterization"),
    "step2d": ("finalizeDetectorCatalog", "writeSourceTable"),
}
TRACT_TASKS = {
    "step2b": ("isolatedStarAssociation", "fgcmFitCycle"),
    "step3": (
        "makeWarp",
        "assembleCoadd",
        "detection",
        "mergeDetections",
        "deblend",
        "measure",
        "forcedPhotCoadd",
    ),
    "step4": ("forcedPhotCcd", "drpDiaCalculation"),
    "step7": ("consolidateObjectTable",),
}
STEPS = ("step1", "step2a", "step2b", "step2d", "step3", "step4", "step7")
PARTS = {"step2b": 0.02, "step3": 0.75, "step4": 0.2, "step7": 0.03}
"""Of a tract's quanta."""

HARD = {"makeWarp": 9000, "deblend": 14000, "measure": 7000, "assembleCoadd": 6000}
"""Memory that tasks ask for, MiB."""

FAILURES = (
    (Verdict.OUT_OF_MEMORY, "MemoryError", "cannot allocate 1024 MiB", "peak 14410 MiB of 14000 MiB"),
    (Verdict.ALGORITHM, "lsst.pex.exceptions.LengthError", "no good PSF candidates in the patch", "rule 3"),
    (Verdict.INFRASTRUCTURE, "OSError", "[Errno 116] Stale file handle: '/projects/repo/raw'", "rule 7"),
    (Verdict.UNKNOWN, "numpy.linalg.LinAlgError", "Singular matrix", ""),
)


@dataclass(kw_only=True)
class MadeCampaign:
    """What to make.

    Parameters
    ----------
    tracts, quanta : `int`
        How many tracts, and quanta in all, about.
    nights : `int`
        Nights.
    name : `str`
        Of the campaign.
    text : `str`
        Words that are put into every name and message that may come from outside.
    """

    tracts: int
    quanta: int
    nights: int = 24
    name: str = "wide"
    text: str = ""
    now: datetime = BEGIN + timedelta(days=20)
    chance: random.Random = field(default_factory=lambda: random.Random(1))

    def numbers(self) -> list[tuple[int, float, float]]:
        """Return tracts with the corner of each, degrees."""
        found = []
        for i in range(self.tracts):
            where = i % 20
            which = 0 if where < 9 else 1 if where < 16 else 2
            ra, dec, along = _FIELDS[which]
            place = sum(1 for j in range(i) if (0 if j % 20 < 9 else 1 if j % 20 < 16 else 2) == which)
            row, column = divmod(place, along)
            y = dec + row * SIDE
            x = (ra + column * SIDE / cos(radians(y + SIDE / 2))) % 360
            found.append(((8280, 9690, 15800)[which] + place + 20 * row, x, y))
        return found

    def regions(self) -> list[SkyRegion]:
        """Return where tracts lie, with an overlap as sky maps have it, and visits."""
        found = []
        for tract, x, y in self.numbers():
            wide = (SIDE + 0.1) / cos(radians(y + SIDE / 2))
            ra = tuple(round(a % 360, 6) for a in (x, x + wide, x + wide, x))
            found.append(
                SkyRegion(kind="tract", number=tract, ra=ra, dec=(y, y, y + SIDE + 0.1, y + SIDE + 0.1))
            )
        for i, (_, x, y) in enumerate(self.numbers() * 3):
            ra = tuple(round(a % 360, 6) for a in (x - 0.3, x + 1.2, x + 1.2, x - 0.3))
            dec = (y - 0.2, y - 0.2, y + 1.1, y + 1.1)
            region = SkyRegion(kind="visit", number=900000 + i, ra=ra, dec=dec)
            found.append(region)
        return found

    def fill(self, store: PostgresStore) -> None:
        """Make it."""
        nights = [int(f"{BEGIN + timedelta(days=i):%Y%m%d}") for i in range(self.nights)]
        tracts = [tract for tract, _, _ in self.numbers()]
        groups = [
            NewGroup(
                step=step,
                key=f"night{one}" if step in NIGHT_TASKS else f"tract{one}",
                selection=Selection(dimension="day_obs" if step in NIGHT_TASKS else "tract", values=(one,)),
                ordinal=place,
            )
            for place, step in enumerate(STEPS)
            for one in (nights if step in NIGHT_TASKS else tracts)
        ]
        spec = self.spec(nights=nights, tracts=tracts)
        texts = [
            "campaign: wide\ntracts: [9690-9700]\n",
            "campaign: wide\ntracts: [8280-15900]\nlimits: {blocks: 40}\n",
        ]
        for number, text in enumerate(texts):
            store.apply(
                name=self.name, file=f"/campaigns/{self.name}.yaml", text=text, sha256=f"{number}" * 64,
                spec=spec, groups=groups, dropped=[], actor="ana@login1",
                now=BEGIN - timedelta(hours=2 - number),
            )  # fmt: skip
        store.record_regions(campaign=self.name, regions=self.regions())
        snapshot = store.snapshot(self.name)
        exposures = tuple(
            SkyExposure(exposure=900000 + i, day_obs=nights[i % len(nights)], visits=(900000 + i,),
                        tracts=(tracts[i % len(tracts)],))
            for i in range(3 * len(tracts))
        )  # fmt: skip
        store.record_overlaps(
            campaign_id=snapshot.campaign.id,
            overlaps=Overlaps(exposures=exposures, basis="made", seen_at=BEGIN),
            actor="tick", now=BEGIN,
        )  # fmt: skip
        ids = {(group.step, group.key): group.id for group in snapshot.groups}
        for group in groups:
            self._run(store, ids[group.step, group.key], group, nights=nights, tracts=tracts)

    def spec(self, *, nights: list[int], tracts: list[int]) -> dict[str, Any]:
        """Return what is in force, as it is stored: one that a tick could go on with."""
        steps = [
            {
                "name": step, "pipeline": f"/pipelines/DRP.yaml#{step}",
                "scope": "exposure" if step in NIGHT_TASKS else "tract",
                "group_by": {"kind": "day_obs", "nights": nights} if step in NIGHT_TASKS else "tract",
                "after": [] if place == 0 else [{"step": STEPS[place - 1]}],
            }
            for place, step in enumerate(STEPS)
        ]  # fmt: skip
        return {
            "campaign": self.name, "steps": steps, "butler": "/projects/repo", "instrument": "DECam",
            "skymap": "hsc_rings_v1", "site": str(SITE), "tracts": tracts,
            "collections": {"output": "DECam/runs/merian/wide", "inputs": ["DECam/defaults/merian"]},
        }  # fmt: skip

    def _run(
        self, store: PostgresStore, group_id: int, group: NewGroup, *, nights: list[int], tracts: list[int]
    ) -> None:
        """Bring a group as far as it would be by now."""
        one = group.selection.values[0]
        by_night = group.step in NIGHT_TASKS
        place = nights.index(one) / len(nights) if by_night else tracts.index(one) / len(tracts)
        start = BEGIN + timedelta(hours=480 * place * 0.85 + 18 * group.ordinal + self.chance.random() * 4)
        if start > self.now or (group.step in {"step4", "step7"} and self.chance.random() < 0.06):
            return
        step = {"actor": "tick", "now": start}
        store.move_group(group_id=group_id, state=GroupState.READY, reason="all it needs is done", **step)
        quanta = list(self._quanta(group, start))
        hours = 1 + 3 * len(quanta) / max(1.0, self.quanta / self.tracts)
        end = start + timedelta(hours=hours)
        bad = [one for one in quanta if one.state is not QuantumState.SUCCEEDED]
        submission = self._submit(store, group_id, group, number=1, now=start)
        if end > self.now:
            store.record_progress(submission_id=submission, quanta=quanta[: len(quanta) // 2], now=self.now)
            return
        self._harvest(store, submission, quanta, start=start, end=end, bad=len(bad))
        final = [one for one in bad if one.attempts and one.attempts[-1].verdict is Verdict.ALGORITHM]
        if bad:
            store.move_group(
                group_id=group_id, state=GroupState.READY, reason="an afterburner", actor="tick", now=end
            )
            again = self._submit(store, group_id, group, number=2, now=end)
            rest = [one if one in final or not one.attempts else self._again(one, end) for one in bad]
            rest = [one if one.attempts or final else self._again(one, end) for one in rest]
            start, end = end, end + timedelta(hours=0.7)
            self._harvest(store, again, rest, start=start, end=end, bad=len(final))
        lost = len(final)
        state = GroupState.DONE if lost <= 0.01 * len(quanta) else GroupState.NEEDS_REVIEW
        reason = (
            "all quanta succeeded" if not lost else f"{lost} quanta failed of what no retry cures{self.text}"
        )
        store.move_group(group_id=group_id, state=state, reason=reason, actor="tick", now=end)

    def _submit(
        self, store: PostgresStore, group_id: int, group: NewGroup, *, number: int, now: datetime
    ) -> int:
        made = store.prepare_submission(
            group_id=group_id, number=number, repository="/projects/repo",
            run_collection=f"DECam/runs/merian/{self.name}/{group.step}/{group.key}/{number:03d}",
            directory=f"/scratch/{self.name}/{group.step}/{group.key}/{number:03d}",
            remedy=Remedy(memory_mb=(("deblend", 28000),)) if number > 1 else Remedy(),
            reason="first" if number == 1 else "retries what failed, with more memory", actor="tick", now=now,
        )  # fmt: skip
        driver = ProcessIdentity(host="login1", pid=4000, pid_start=1)
        store.claim(
            submission_id=made.id,
            driver=driver,
            lease_seconds=600,
            now=now + timedelta(seconds=20),
            expected_epoch=0,
        )
        return made.id

    def _harvest(
        self,
        store: PostgresStore,
        submission: int,
        quanta: list[Quantum],
        *,
        start: datetime,
        end: datetime,
        bad: int,
    ) -> None:
        jobs = [
            JobRecord(
                job=SlurmJob(
                    job_id=f"{submission}{i}", name=f"{self.name}-{submission}", nodes=f"n{i}",
                    state="NODE_FAIL" if self.chance.random() < 0.01 else "COMPLETED",
                    submitted=start, ended=end,
                    started=start + timedelta(minutes=2 + 25 * self.chance.random()),
                ),
                role="block", busy_seconds=(end - start).total_seconds() * (0.5 + 0.2 * self.chance.random()),
            )
            for i in range(2)
        ]  # fmt: skip
        outcome = SubmissionOutcome.PARTIAL if bad else SubmissionOutcome.SUCCEEDED
        store.harvest(
            submission_id=submission,
            quanta=quanta,
            outcome=outcome,
            reason="over",
            actor="driver",
            now=end,
            jobs=jobs,
            waits=self._waits(quanta),
        )

    @staticmethod
    def _waits(quanta: list[Quantum]) -> list[TaskWait]:
        """Return how long quanta waited: a tenth of their run; of one step no journal told it."""
        waits: dict[str, list[float]] = defaultdict(list)
        for quantum in quanta:
            for attempt in quantum.attempts:
                if attempt.started and attempt.ended and quantum.task not in TRACT_TASKS["step7"]:
                    waits[quantum.task].append(0.1 * (attempt.ended - attempt.started).total_seconds())
        return [TaskWait.of(task, each) for task, each in waits.items()]

    def _quanta(self, group: NewGroup, start: datetime) -> Iterator[Quantum]:
        """Yield the quanta of a group; a few fail, and what comes after them in the patch is blocked."""
        one = group.selection.values[0]
        by_night = group.step in NIGHT_TASKS
        tasks = (NIGHT_TASKS | TRACT_TASKS)[group.step]
        number = (
            max(6, round(0.04 * self.quanta / self.nights))
            if by_night
            else max(4, round(PARTS[group.step] * 0.9 * self.quanta / self.tracts))
        )
        hard = not by_night and one % 17 == 3
        broken: set[int] = set()
        for i in range(number):
            task, unit = tasks[i % len(tasks)], i // len(tasks)
            band = BANDS[unit % 2]
            where: dict[str, int | str] = (
                {"instrument": "DECam", "visit": 900000 + unit, "detector": 1 + unit % 60}
                if by_night
                else {"tract": one, "patch": unit // 2, "band": band, "skymap": "hsc_rings_v1"}
            )
            dimensions = {**where, "band": band}
            common = {"task": task, "data_id": canonical_data_id(where), "dimensions": dimensions}
            if unit in broken:
                yield Quantum(**common, state=QuantumState.BLOCKED)  # type: ignore[arg-type]
                continue
            fails = self.chance.random() < (0.03 if hard else 0.0015)
            if fails:
                broken.add(unit)
            log = self._log(group, task, i, (*where.values(),))
            attempt = self._attempt(i, task, start, log=log, fails=fails, hard=hard, number=number)
            caveats = "N" if not fails and self.chance.random() < 0.004 else ""
            yield Quantum(**common, state=attempt.state, caveats=caveats, attempts=(attempt,))  # type: ignore[arg-type]

    def _log(self, group: NewGroup, task: str, i: int, where: tuple[int | str, ...]) -> str:
        """Return where the log of a quantum lies, as BPS calls it."""
        numbers = [str(value) for value in where if value not in {"DECam", "hsc_rings_v1"}]
        name = "_".join((str(UUID(int=(0x0193 << 112) | i)), task, *numbers))
        folder = f"/scratch/{self.name}/{group.step}/{group.key}/001/bps/logs/{task}/{numbers[0]}"
        return f"{folder}/{name}.stderr"

    def _attempt(
        self, i: int, task: str, start: datetime, *, log: str, fails: bool, hard: bool, number: int
    ) -> Attempt:
        began = start + timedelta(seconds=60 + 10000 * i / number)
        verdict, kind, message, evidence = FAILURES[1 if hard else self.chance.choice((0, 0, 2, 2, 3))]
        asked = HARD.get(task, 2048)
        used = round(asked * min(0.98, self.chance.lognormvariate(-0.7, 0.35)))
        return Attempt(
            try_number=1,
            state=QuantumState.FAILED if fails else QuantumState.SUCCEEDED,
            verdict=verdict if fails else None,
            evidence=evidence + self.text if fails else "",
            exception_type=kind if fails else None,
            exception_message=message + self.text if fails else None,
            exit_code=int(fails),
            peak_mb=used,
            requested_mb=asked,
            started=began,
            ended=began + timedelta(seconds=round(self.chance.lognormvariate(4 + len(task) / 12, 0.5), 1)),
            host=f"n{i % 40}",
            inputs=1 + i % 90,
            cpu_seconds=30 + i % 600 / 10,
            log_path=log,
            uuid=log.rsplit("/", 1)[1][:36],
        )

    def _again(self, one: Quantum, now: datetime) -> Quantum:
        """Return a quantum that succeeds in an afterburner."""
        good = Attempt(
            try_number=1, state=QuantumState.SUCCEEDED, exit_code=0, peak_mb=9000, requested_mb=28000,
            started=now + timedelta(minutes=5), ended=now + timedelta(minutes=20), host="n3",
            log_path="/scratch/again.log", uuid="0194",
        )  # fmt: skip
        return Quantum(
            task=one.task, data_id=one.data_id, dimensions=one.dimensions, state=QuantumState.SUCCEEDED,
            attempts=(good,),
        )  # fmt: skip
