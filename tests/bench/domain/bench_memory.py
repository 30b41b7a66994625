"""What learned memory requests cost, beside one generous request for all, and beside doubling from BPS's.

Of two kinds of quanta: those of demo campaigns, as recorded (``recorded_peaks.json``), and those of
tasks of which two quantiles are public: 95 of 100 jobs of LSSTCam pilot reductions stayed below one, and
HSC PDR2 asked for the other after its rescues. Between these the use is taken as log-normal: once with
no reason that is known, once in proportion to the exposures of the group, with a scatter of a fifth.
Requests are learned from one part, and asked for by the other. What does not fit runs to its end, is
charged whole, and comes again with twice as much.

Where nothing tells who needs more, doubling cannot be beaten by much: the cheapest sequence of requests that
anybody could choose who knew every quantum that is to come is measured beside it.
"""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from bench_results import entry, keep  # noqa: E402 - beside this one

from merian_campaign.domain.resources.memory_model import MemoryBin, forecast  # noqa: E402

DEFAULT, MULTIPLIER, LIMIT = 2048, 2.0, 491_520
"""BPS's requestMemory, the afterburner's multiplier and largest request."""

LEARN_FROM, ASK_FOR = 2000, 8000
RUNS = 3600.0
"""Seconds of a quantum of which only the memory is public."""

QUANTILES = {
    "assembleCoadd": (5087, 24_576),
    "consolidateObjectTable": (10_259, 30_000),
    "deblend": (9134, 80_000),
    "measure": (2900, 16_384),
    "mergeDetections": (2663, 40_000),
    "mergeMeasurements": (2663, 16_384),
    "writeObjectTable": (6587, 16_384),
}
"""MiB that 95 of 100 stay below, and 999 of 1000, as it is taken here."""

SCATTER = 0.2
"""Of the logarithm of what is used, at one number of exposures."""

type Quanta = list[tuple[int, float, int]]
"""MiB, seconds, and exposures of the group of each; 0 where these are not known."""


def recorded() -> dict[str, Quanta]:
    """Return what the quanta of demos used, as many of them as of the others."""
    dice = random.Random(1)
    found = json.loads((HERE / "recorded_peaks.json").read_text(encoding="utf-8"))
    return {
        task: [
            (peak, seconds, 0)
            for peak, _, seconds in dice.choices(
                rows, [number for _, number, _ in rows], k=LEARN_FROM + ASK_FOR
            )
        ]
        for task, rows in found.items()
    }


def public(*, explained: bool) -> dict[str, Quanta]:
    """Return quanta whose use has the public quantiles."""
    dice = random.Random(2)
    made: dict[str, Quanta] = {}
    for task, (usual, largest) in QUANTILES.items():
        width = math.log(largest / usual) / (3.0902 - 1.6449)
        middle = math.log(usual) - 1.6449 * width
        rest = math.sqrt(width**2 - SCATTER**2)
        made[task] = []
        for _ in range(LEARN_FROM + ASK_FOR):
            depth, scatter = dice.gauss(0, rest), dice.gauss(0, SCATTER)
            exposures = max(1, round(40 * math.exp(depth))) if explained else 0
            made[task].append((max(1, int(math.exp(middle + depth + scatter))), RUNS, exposures))
    return made


def binned(quanta: Quanta) -> list[MemoryBin]:
    """Return bins as the tracking database keeps them."""
    sums: dict[tuple[int, int], list[float]] = {}
    for peak, seconds, exposures in quanta:
        key = math.ceil(math.exp(math.ceil(math.log(peak) / 0.05) * 0.05))
        found = sums.setdefault((key, 2 ** int(math.log2(exposures)) if exposures else 0), [0, 0.0])
        found[0] += 1
        found[1] += seconds
    return [
        MemoryBin(peak_mb=peak, number=int(number), seconds=seconds, inputs=inputs)
        for (peak, inputs), (number, seconds) in sums.items()
    ]


def spent(quanta: Quanta, request: Callable[[int], float]) -> tuple[float, int]:
    """Return the GB-hours that quanta ask for, second attempts included, and how many those are."""
    hours, again = 0.0, 0
    for peak, seconds, exposures in quanta:
        rung = request(exposures)
        hours += rung * seconds
        while rung < min(peak, LIMIT):
            rung = min(rung * MULTIPLIER, LIMIT)
            hours += rung * seconds
            again += 1
    return hours / 1024 / 3600, again


def cheapest(quanta: Quanta) -> float:
    """Return the GB-hours of the best sequence of requests, the same for all quanta and known beforehand.

    By dynamic programming over what they use: after a request that leaves some, the best of what may come.
    """
    needs = sorted((min(peak, LIMIT), seconds) for peak, seconds, _ in quanta)
    left = [0.0]
    for _, seconds in reversed(needs):
        left.append(left[-1] + seconds)
    left.reverse()
    # A request at each fiftieth of what is used is as good as at each, but where few are left.
    ends = sorted({*range(50, len(needs), 50), *range(len(needs) - 100, len(needs) + 1)})
    best = {len(needs): 0.0}
    for begin in reversed([0, *ends[:-1]]):
        best[begin] = min(left[begin] * needs[end - 1][0] + best[end] for end in ends if end > begin)
    return best[0] / 1024 / 3600


def _always(request: float, _: int) -> float:
    return request


def measure(tasks: dict[str, Quanta]) -> tuple[Sequence[float], Sequence[int]]:
    """Return GB-hours and second attempts: learned, generous, doubling."""
    hours, again = [0.0, 0.0, 0.0], [0, 0, 0]
    for task, quanta in tasks.items():
        known, rest = quanta[:LEARN_FROM], quanta[LEARN_FROM:]
        learned = forecast(task, binned(known), base_mb=DEFAULT, limit_mb=LIMIT, multiplier=MULTIPLIER)
        generous = max(QUANTILES.get(task, (0, 0))[1], *(int(1.25 * peak) for peak, _, _ in known))
        ways = (learned.request_for, partial(_always, generous), partial(_always, DEFAULT))
        for place, way in enumerate(ways):
            found, tries = spent(rest, way)
            hours[place] += found
            again[place] += tries
    return hours, again


def main() -> int:
    """Measure, print and keep."""
    entries = []
    unexplained = public(explained=False)
    kinds = (
        ("recorded", recorded(), 0.8),
        ("public, by exposures", public(explained=True), 0.8),
        # See above.
        ("public, unexplained", unexplained, 1.0),
    )
    for kind, tasks, doubling in kinds:
        hours, again = measure(tasks)
        generous, tries = hours[0] / hours[1], again[0] / max(1, again[2])
        entries += [
            entry(f"memory {kind}: GB-hours, learned against generous", generous, 0.6, 0.5, less=True),
            entry(f"memory {kind}: and against doubling", hours[0] / hours[2], doubling, 0.6, less=True),
            entry(f"memory {kind}: second attempts, against doubling", tries, 1.0, 0.5, less=True),
        ]
    asked = [quanta[LEARN_FROM:] for quanta in unexplained.values()]
    doubled = sum(spent(quanta, partial(_always, DEFAULT))[0] for quanta in asked)
    best = sum(map(cheapest, asked))
    print(f"public, unexplained: the cheapest requests there are, against doubling: {best / doubled:.3f}")  # noqa: T201
    learned = hours[0] / best
    return keep(
        [
            *entries,
            entry("memory public, unexplained: against the cheapest there are", learned, 1.15, 1, less=True),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
