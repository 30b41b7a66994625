"""Looking for what is new when nothing is, in a survey of 4,000 exposures, 60 nights and 400 tracts.

The ratios are of the CPU that a tick may take for it over what it takes: while every group is of its first
generation, and after all tracts were made anew. No butler is asked: that nothing is due is part of it.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections import defaultdict
from dataclasses import asdict, replace
from datetime import date, timedelta
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "tests" / "domain"), str(ROOT / "tests" / "bench")]

from bench_results import entry, keep  # noqa: E402 - beside this one
from domain_help import NOW, finished, group, situation, snapshot, with_overlaps  # noqa: E402 - of the tests
from new_data_help import COMBINING, GATHERING, survey  # noqa: E402

from merian_campaign.domain.campaign.plan import in_force  # noqa: E402
from merian_campaign.domain.execution.counts import Counts  # noqa: E402
from merian_campaign.domain.readiness.complete_nights import Arrivals  # noqa: E402
from merian_campaign.domain.readiness.overlap_refresh import refresh_due  # noqa: E402
from merian_campaign.domain.record.basis import Basis  # noqa: E402
from merian_campaign.domain.record.overlaps import SkyExposure  # noqa: E402
from merian_campaign.domain.record.snapshot import GroupView, Snapshot  # noqa: E402
from merian_campaign.domain.selection import Selection  # noqa: E402
from merian_campaign.domain.states import GroupState, SubmissionOutcome  # noqa: E402
from merian_campaign.domain.tick.decide import decide  # noqa: E402
from merian_campaign.host.collector import collect_seldom  # noqa: E402

EXPOSURES, NIGHTS, TRACTS, RAWS = 4000, 60, 400, 62
READINGS = 40
"""A tick may take as long as reading the exposures so many times from JSON: 0.3 s where they were counted."""
ROUNDS = 5
SPEC = survey()
BY_NIGHT = frozenset({"step1", "step2a", "step2d"})
BY_TRACT = frozenset({"step2b", "step3"})


def exposures() -> list[SkyExposure]:
    """Return exposures of four tracts each, night after night."""
    dice = random.Random(1)
    nights = [int(f"{date(2021, 3, 1) + timedelta(days=day):%Y%m%d}") for day in range(NIGHTS)]
    found = []
    for number in range(EXPOSURES):
        first = dice.randrange(TRACTS - 3)
        found.append(
            SkyExposure(
                exposure=100_000 + number,
                day_obs=nights[number * NIGHTS // EXPOSURES],
                visits=(100_000 + number,),
                tracts=tuple(range(first, first + 4)),
                steps=BY_NIGHT,
                raws=RAWS,
                seen_at=NOW - timedelta(days=1),
            )
        )
    return found


def survey_that_is_done(rows: list[SkyExposure], *, generation: int) -> Snapshot:
    """Return a campaign with all groups done for these exposures, tracts in some generation."""
    nights, tracts = defaultdict(set), defaultdict(set)
    seen_by: dict[int, set[int]] = defaultdict(set)
    for row in rows:
        nights[row.day_obs].add(row.exposure)
        seen_by[row.day_obs].update(row.tracts or ())
        for tract in row.tracts or ():
            tracts[tract].add(row.exposure)
    groups: list[GroupView] = []

    def add(step: str, key: str, selection: Selection, ids: set[int], upstream: dict[str, int]) -> None:
        again = step in BY_TRACT or (step == "step2d" and generation > 1)
        number = generation if again else 1
        sub = finished(number, SubmissionOutcome.SUCCEEDED, generation=number, created_at=NOW)
        files = "x" if step == "ingest" else ""
        is_bps = step.startswith("step")
        parts = frozenset(upstream if step == "step2d" else ())
        read = upstream if number > 1 else {}
        basis = Basis(exposures=frozenset(ids), raws=RAWS * len(ids), files=files, upstream=read, parts=parts)
        groups.append(
            group(
                step, key, id=len(groups) + 1, state=GroupState.DONE, selection=selection, basis=basis,
                submissions=(sub,), generation=number, published=number,
                counts=Counts(succeeded=100 * is_bps),
                combines=step in COMBINING if is_bps else None,
                gathers=step in GATHERING if is_bps else None,
            )
        )  # fmt: skip

    every = {row.exposure for row in rows}
    for step in (one.name for one in SPEC.steps):
        if step in BY_NIGHT:
            for night, ids in nights.items():
                read = {f"step2b/tract{tract}": generation for tract in seen_by[night]}
                selection = Selection(dimension="day_obs", values=(night,))
                add(step, f"night{night}", selection, ids, read if step == "step2d" else {})
        elif step in BY_TRACT:
            for tract, ids in tracts.items():
                read = {
                    f"step2d/night{row.day_obs}": generation for row in rows if tract in (row.tracts or ())
                }
                selection = Selection(dimension="tract", values=(tract,))
                add(step, f"tract{tract}", selection, ids, read if step == "step3" else {})
        else:
            add(step, "all", Selection(), every if step in COMBINING else set(), {})
    return snapshot(*groups)


def measure(generation: int) -> float:
    """Return the CPU seconds of a look that finds nothing."""
    rows = exposures()
    everything = survey_that_is_done(rows, generation=generation)
    names = tuple(step.name for step in SPEC.steps)
    given = replace(situation(steps=names), arrivals=Arrivals(files={"ingest": "x"}))
    times = []
    for _ in range(ROUNDS):
        found = with_overlaps(SPEC, everything, *rows)  # anew: it remembers what was made of it
        begin = time.process_time()
        due = refresh_due(SPEC, in_force(SPEC, found), now=NOW)
        decisions = decide(SPEC, found, given)
        times.append(time.process_time() - begin)
        assert due is None
        assert not decisions, decisions
    return median(times)


def bound() -> float:
    """Return the CPU seconds that a look may take, on this machine and now."""
    text = json.dumps([asdict(row) for row in exposures()], default=str)
    times = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        for _ in range(READINGS):
            json.loads(text)
        times.append(time.process_time() - begin)
    return median(times)


def main() -> int:
    """Measure, print, keep; exit 1 if it takes more than it may."""
    collect_seldom()  # as the program that ticks has it
    entries = []
    for generation, name in ((1, "new data: a look, nothing redone"), (2, "new data: a look, all redone")):
        used, may_take = measure(generation), bound()
        sys.stdout.write(f"{name:34} {used:.3f} s of CPU, {may_take:.3f} s allowed\n")
        entries.append(entry(name, may_take / used, 1, 1.5))
    return keep(entries)


if __name__ == "__main__":
    raise SystemExit(main())
