"""A campaign as a survey has it, of any size, made through `decide` and the store; the same each time.

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

from merian_campaign.domain.campaign.plan import plan_groups
from merian_campaign.domain.execution.liveness import Liveness
from merian_campaign.domain.execution.process_identity import ProcessIdentity
from merian_campaign.domain.execution.quanta import Attempt, Quantum, canonical_data_id
from merian_campaign.domain.execution.queue_wait import TaskWait
from merian_campaign.domain.failures.remedy import RequestTable
from merian_campaign.domain.record.overlaps import Overlaps, SkyExposure
from merian_campaign.domain.record.records import JobRecord
from merian_campaign.domain.record.snapshot import GroupView, SubmissionView
from merian_campaign.domain.sky_regions import SkyRegion
from merian_campaign.domain.slurm.slurm_jobs import SlurmJob
from merian_campaign.domain.spec import CampaignSpec
from merian_campaign.domain.states import GroupState, QuantumState, SubmissionOutcome, Verdict
from merian_campaign.domain.tick.decide import decide
from merian_campaign.domain.tick.decisions import (
    Decision,
    Follow,
    Harvest,
    MoveGroup,
    Situation,
    Submit,
    Wait,
)
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

LOSS = 0.01
"""Of a group's quanta, what may be lost."""

TICK = timedelta(hours=8)
"""From one look at the campaign to the next, unless it is said."""

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
    failing : `float`
        The part of the quanta that fail at their first try.
    name : `str`
        Of the campaign.
    text : `str`
        Words that are put into every name and message that may come from outside.
    every : `~datetime.timedelta`
        From one look at the campaign to the next.
    """

    tracts: int
    quanta: int
    nights: int = 60
    failing: float = 0.02
    name: str = "wide"
    text: str = ""
    now: datetime = BEGIN + timedelta(days=20)
    every: timedelta = TICK
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
        """Make it: what is done when, `decide` says; what comes of it is made up."""
        nights = [int(f"{BEGIN + timedelta(days=i):%Y%m%d}") for i in range(self.nights)]
        tracts = [tract for tract, _, _ in self.numbers()]
        stored = self.spec(nights=nights, tracts=tracts)
        spec = CampaignSpec.model_validate(stored)
        texts = [
            "campaign: wide\ntracts: [9690-9700]\n",
            "campaign: wide\ntracts: [8280-15900]\nlimits: {blocks: 40}\n",
        ]
        for number, text in enumerate(texts):
            store.apply(
                name=self.name, file=f"/campaigns/{self.name}.yaml", text=text, sha256=f"{number}" * 64,
                spec=stored, groups=plan_groups(spec).wanted, dropped=[], actor="ana@login1",
                now=BEGIN - timedelta(hours=2 - number),
            )  # fmt: skip
        store.record_regions(campaign=self.name, regions=self.regions())
        exposures = tuple(
            SkyExposure(exposure=900000 + i, day_obs=nights[i % len(nights)], visits=(900000 + i,),
                        tracts=(tracts[i % len(tracts)],))
            for i in range(3 * len(tracts))
        )  # fmt: skip
        store.record_overlaps(
            campaign_id=store.snapshot(self.name).campaign.id,
            overlaps=Overlaps(exposures=exposures, basis="made", seen_at=BEGIN),
            actor="tick", now=BEGIN,
        )  # fmt: skip
        life = _Life(made=self, store=store, spec=spec)
        for number in range((self.now - BEGIN) // self.every + 1):
            life.tick(BEGIN + number * self.every)
        life.follow()

    def spec(self, *, nights: list[int], tracts: list[int]) -> dict[str, Any]:
        """Return what is in force, as it is stored: one that a tick could go on with."""
        steps = [
            {
                "name": step, "pipeline": f"/pipelines/DRP.yaml#{step}",
                "scope": "exposure" if step in NIGHT_TASKS else "tract",
                "group_by": {"kind": "day_obs", "nights": nights} if step in NIGHT_TASKS else "tract",
                "after": [] if place == 0 else [{"step": STEPS[place - 1]}], "loss_budget": LOSS,
            }
            for place, step in enumerate(STEPS)
        ]  # fmt: skip
        return {
            "campaign": self.name, "steps": steps, "butler": "/projects/repo", "instrument": "DECam",
            "skymap": "hsc_rings_v1", "site": str(SITE), "tracts": tracts,
            "limits": {"submissions": self._at_once()},
            "collections": {"output": "DECam/runs/merian/wide", "inputs": ["DECam/defaults/merian"]},
        }  # fmt: skip

    def number_of(self, step: str) -> int:
        """Return how many quanta a group of a step has."""
        if step in NIGHT_TASKS:
            return max(6, round(0.04 * self.quanta / self.nights))
        return max(4, round(PARTS[step] * 0.9 * self.quanta / self.tracts))

    def _at_once(self) -> int:
        """Return how many submissions may be under way at once, that a part is left to do in the end."""
        ticks = (self.now - BEGIN) / self.every
        total = sum(
            (self.nights if step in NIGHT_TASKS else self.tracts)
            * (2 - (1 - self.failing) ** self.number_of(step))
            for step in STEPS
        )
        return max(1, int(total / ticks))

    @staticmethod
    def waits(quanta: list[Quantum]) -> list[TaskWait]:
        """Return how long quanta waited: a tenth of their run; of one step no journal told it."""
        waits: dict[str, list[float]] = defaultdict(list)
        for quantum in quanta:
            for attempt in quantum.attempts:
                if attempt.started and attempt.ended and quantum.task not in TRACT_TASKS["step7"]:
                    waits[quantum.task].append(0.1 * (attempt.ended - attempt.started).total_seconds())
        return [TaskWait.of(task, each) for task, each in waits.items()]

    def quanta_of(self, group: GroupView, start: datetime) -> Iterator[Quantum]:
        """Yield the quanta of a group; a few fail, and what comes after them in the patch is blocked."""
        one = group.selection.values[0]
        by_night = group.step in NIGHT_TASKS
        tasks = (NIGHT_TASKS | TRACT_TASKS)[group.step]
        number = self.number_of(group.step)
        hard = self._is_hard(group.step, one)
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
            fails = self.chance.random() < self.failing
            if fails:
                broken.add(unit)
            log = self._log(group, task, i, (*where.values(),))
            attempt = self._attempt(i, task, start, log=log, fails=fails, hard=hard, number=number)
            caveats = "N" if not fails and self.chance.random() < 0.004 else ""
            yield Quantum(**common, state=attempt.state, caveats=caveats, attempts=(attempt,))  # type: ignore[arg-type]

    def _log(self, group: GroupView, task: str, i: int, where: tuple[int | str, ...]) -> str:
        """Return where the log of a quantum lies, as BPS calls it."""
        numbers = [str(value) for value in where if value not in {"DECam", "hsc_rings_v1"}]
        name = "_".join((f"01930000-0000-0000-0000-{i:012x}", task, *numbers))
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

    def again(self, one: Quantum, now: datetime, *, group: GroupView) -> Quantum:
        """Return what becomes of a quantum in an afterburner: what no retry cures stays as it is."""
        behind = self._is_hard(group.step, group.selection.values[0])
        last = one.attempts[-1] if one.attempts else None
        if last is not None and last.verdict is Verdict.ALGORITHM:
            return one
        if last is None and behind:
            return one
        good = Attempt(
            try_number=1, state=QuantumState.SUCCEEDED, exit_code=0, peak_mb=9000, requested_mb=28000,
            started=now - timedelta(minutes=35), ended=now - timedelta(minutes=20), host="n3",
            log_path="/scratch/again.log", uuid="0194",
        )  # fmt: skip
        return Quantum(
            task=one.task, data_id=one.data_id, dimensions=one.dimensions, state=QuantumState.SUCCEEDED,
            attempts=(good,),
        )  # fmt: skip

    @staticmethod
    def _is_hard(step: str, value: int) -> bool:
        """Say whether what fails of a group fails for good: of some tracts, when they are coadded."""
        return step == "step3" and value % 17 == 3


class _Life:
    """A campaign from tick to tick.

    Parameters
    ----------
    made : `MadeCampaign`
        What comes of its submissions.
    store : `PostgresStore`
        Where it is.
    spec : `CampaignSpec`
        What is in force.
    """

    def __init__(self, *, made: MadeCampaign, store: PostgresStore, spec: CampaignSpec) -> None:
        self._made = made
        self._store = store
        self._spec = spec
        self._over: dict[int, tuple[datetime, datetime]] = {}
        self._bad: dict[int, list[Quantum]] = {}
        self._requests = dict.fromkeys(STEPS, RequestTable(by_task=HARD))

    def tick(self, now: datetime) -> None:
        """Do what is to be done, until nothing is."""
        again = True
        while again:
            again = sum(self._do(decision, now) for decision in self._decisions(now)) > 0

    def follow(self) -> None:
        """Put on record how far those have come that are under way."""
        now = self._made.now
        for group in self._store.snapshot(self._made.name).groups:
            if group.live is not None and group.live.number == 1:
                found = self._made.quanta_of(group, self._over[group.live.id][0])
                quanta = [one for one in found if one.attempts and (one.attempts[-1].ended or now) <= now]
                self._store.record_progress(submission_id=group.live.id, quanta=quanta, now=now)

    def _decisions(self, now: datetime) -> tuple[Decision, ...]:
        snapshot = self._store.snapshot(self._made.name)
        live = [group.live.id for group in snapshot.groups if group.live is not None]
        drivers = {one: Liveness.ENDED if self._over[one][1] <= now else Liveness.ALIVE for one in live}
        situation = Situation(drivers=drivers, requests=self._requests, workers=40, now=now)
        return decide(self._spec, snapshot, situation)

    def _do(self, decision: Decision, now: datetime) -> bool:
        """Do one thing; say whether another look may find more to do, which no submission brings."""
        match decision:
            case MoveGroup(group=group, state=state, reason=reason):
                self._store.move_group(
                    group_id=group.id,
                    state=state,
                    reason=reason + (self._made.text if state is GroupState.NEEDS_REVIEW else ""),
                    actor="tick", now=now,
                )  # fmt: skip
            case Submit():
                self._submit(decision, now)
                return False
            case Harvest(group=group, submission=submission):
                self._harvest(group, submission)
            case Wait() | Follow():
                return False
            case _:
                raise AssertionError(decision)
        return True

    def _submit(self, decision: Submit, now: datetime) -> None:
        group, number = decision.group, decision.number
        made, name = self._made, f"{self._made.name}/{group.step}/{group.key}/{decision.number:03d}"
        submission = self._store.prepare_submission(
            group_id=group.id, number=number, repository="/projects/repo",
            run_collection=f"DECam/runs/merian/{name}", directory=f"/scratch/{name}",
            remedy=decision.remedy, reason=decision.reason, actor="tick", now=now, basis=decision.basis,
        )  # fmt: skip
        self._store.claim(
            submission_id=submission.id,
            driver=ProcessIdentity(host="login1", pid=4000, pid_start=1),
            lease_seconds=600,
            now=now + timedelta(seconds=20),
            expected_epoch=0,
        )
        hours = (
            0.7 if number > 1 else 1 + 3 * made.number_of(group.step) / max(1.0, made.quanta / made.tracts)
        )
        start = now + timedelta(minutes=5 + 90 * made.chance.random())
        self._over[submission.id] = start, start + timedelta(hours=hours)

    def _harvest(self, group: GroupView, submission: SubmissionView) -> None:
        start, end = self._over.pop(submission.id)
        if submission.number == 1:
            quanta = list(self._made.quanta_of(group, start))
        else:
            quanta = [self._made.again(one, end, group=group) for one in self._bad.pop(group.id)]
        bad = [one for one in quanta if one.state is not QuantumState.SUCCEEDED]
        if bad:
            self._bad[group.id] = bad
        self._store.harvest(
            submission_id=submission.id,
            quanta=quanta,
            outcome=SubmissionOutcome.PARTIAL if bad else SubmissionOutcome.SUCCEEDED,
            reason="over",
            actor="driver",
            now=end,
            jobs=[self._block(submission.id, place, start=start, end=end) for place in range(2)],
            waits=self._made.waits(quanta),
        )

    def _block(self, submission: int, place: int, *, start: datetime, end: datetime) -> JobRecord:
        chance = self._made.chance
        job = SlurmJob(
            job_id=f"{submission}{place}", name=f"{self._made.name}-{submission}", nodes=f"n{place}",
            state="NODE_FAIL" if chance.random() < 0.01 else "COMPLETED",
            submitted=start, started=start + timedelta(minutes=2 + 25 * chance.random()), ended=end,
        )  # fmt: skip
        busy = (end - start).total_seconds() * (0.5 + 0.2 * chance.random())
        return JobRecord(job=job, role="block", busy_seconds=busy)
