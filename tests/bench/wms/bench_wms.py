"""Overhead of a quantum and of a submission, stock service against ours, side by side.

Runs like submissions through both, alternating, and a submission of one quantum for the fixed cost; writes
``build/bench.json`` and prints where a quantum's time goes.  Usage: ``bench_wms.py [ROUNDS]``. The three
layers are 40 wide with ours, 120 quanta, and 2 with the stock service, which takes seconds for each quantum;
``BENCH_DETECTORS`` sets both.
"""

import os
import resource
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / one) for one in ("tests/wms", "tests", "tests/bench", ".")]

import wms_support as support  # noqa: E402 - needs the path above
from bench_results import entry, keep  # noqa: E402 - beside this one

from merian_campaign.domain.execution.journal import JobVerdict, JournalEvent  # noqa: E402

LAYERS: dict[str, dict[str, Any]] = {"first": {}, "second": {}, "third": {}}
ONE: dict[str, dict[str, Any]] = {"first": {}}


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Seconds of wall clock and CPU of one submission, everything it started included."""

    wall: float
    cpu: float


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def measure(submission: support.Submission) -> Cost:
    """Run a submission in a process that outlives all its descendants, and read their usage."""
    stock = "stock" in submission.config.name
    words = ["bps", "submit"] if stock else [sys.executable, "-m", "merian_campaign.wms.submit"]
    begin = time.monotonic()
    pid = os.fork()
    if pid == 0:
        support.adopt_orphans()
        done = support.run(*words, str(submission.config), cwd=submission.folder, MERIAN_CAMPAIGN_PARTS="1")
        if done.returncode:
            sys.stderr.write(done.stdout[-2000:] + done.stderr[-4000:])
        support.reap_children()
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        (submission.folder / f"{submission.config.stem}.cpu").write_text(str(usage.ru_utime + usage.ru_stime))
        os._exit(done.returncode)
    _, status = os.waitpid(pid, 0)
    wall = time.monotonic() - begin
    if status != 0:
        raise SystemExit(f"{submission.config.name} failed")
    return Cost(wall=wall, cpu=float((submission.folder / f"{submission.config.stem}.cpu").read_text()))


@dataclass(frozen=True, kw_only=True)
class Way:
    """One of the two services, and how wide a layer it is given."""

    name: str
    service: str
    detectors: int

    @property
    def quanta(self) -> int:
        """How many quanta the larger submission has."""
        return len(LAYERS) * self.detectors

    def one(self, folder: Path, *, repo: Path, number: int) -> Cost:
        """Run a submission of one quantum."""
        return self._run(folder, repo=repo, name=f"{self.name}-one-{number}", tasks=ONE, detectors=1)

    def many(self, folder: Path, *, repo: Path, number: int) -> Cost:
        """Run a submission of many."""
        name = f"{self.name}-many-{number}"
        return self._run(folder, repo=repo, name=name, tasks=LAYERS, detectors=self.detectors)

    def _run(
        self, folder: Path, *, repo: Path, name: str, tasks: dict[str, dict[str, Any]], detectors: int
    ) -> Cost:
        query = f"instrument='Toy' AND detector < {detectors}"
        rendering = support.Rendering(service=self.service, tasks=tasks, query=query)
        cost = measure(support.render(folder, repo=repo, name=name, choices=rendering))
        quanta = len(tasks) * detectors
        say(f"{self.name:6s} {quanta:4} quanta: wall {cost.wall:7.1f} s  cpu {cost.cpu:7.1f} s")
        return cost


@dataclass(frozen=True, kw_only=True)
class Found:
    """What one round found of a service: each quantum, and a submission as such."""

    each: Cost
    fixed: float
    one: Cost
    many: Cost


def round_of(way: Way, folder: Path, *, repo: Path, number: int) -> Found:
    """Run one quantum, then many."""
    one = way.one(folder, repo=repo, number=number)
    many = way.many(folder, repo=repo, number=number)
    more = way.quanta - 1
    each = Cost(wall=(many.wall - one.wall) / more, cpu=(many.cpu - one.cpu) / more)
    return Found(each=each, fixed=one.cpu - each.cpu, one=one, many=many)


def split(submission_folder: Path, *, many: Cost, one: Cost, quanta: int) -> dict[str, float]:
    """Return CPU milliseconds per quantum by part, from our journal."""
    from merian_campaign.wms.journal_writer import Journal  # noqa: PLC0415

    ended = [
        r
        for r in Journal(submission_folder / "journal.jsonl").read()
        if r.event == JournalEvent.ENDED and r.verdict == JobVerdict.OK
    ]
    parts: dict[str, list[float]] = {}
    for record in ended:
        found = record.evidence.get("parts")
        if isinstance(found, dict):
            for name, value in found.items():
                parts.setdefault(name, []).append(float(value))
    mean = {name: 1000 * statistics.fmean(values) for name, values in parts.items()}
    child = 1000 * statistics.fmean([r.cpu_s or 0.0 for r in ended])
    whole = 1000 * (many.cpu - one.cpu) / (quanta - 1)
    total = mean["total"]
    reader, butler, task = mean["reader"], mean["butler"], mean["task"]
    return {
        "Parsl, supervisor, forkserver": whole - child,
        "fork and page copies": child - total - mean["exit"],
        "reader": reader,
        "butler": butler,
        "task": task,
        "executor, log and metadata": mean["executor"] - butler - task,
        "command line and logging set-up": total - reader - mean["executor"],
        "exit": mean["exit"],
        "whole": whole,
    }


def main(rounds: int) -> int:
    """Run the benchmark; return 1 if a ratio misses its floor."""
    asked = os.environ.get("BENCH_DETECTORS")
    ours = Way(name="ours", service=support.OURS, detectors=int(asked or 40))
    stock = Way(name="stock", service=support.STOCK, detectors=int(asked or 2))
    pairs: list[tuple[Found, Found]] = []
    with tempfile.TemporaryDirectory(prefix="bench-wms-") as name:
        folder = Path(name)
        repo = support.make_repo(folder / "repo", detectors=max(ours.detectors, stock.detectors))
        for number in range(rounds):
            pair = tuple(round_of(way, folder, repo=repo, number=number) for way in (ours, stock))
            pairs.append((pair[0], pair[1]))
            for way, found in zip((ours, stock), pair, strict=True):
                cpu, wall = 1000 * found.each.cpu, 1000 * found.each.wall
                say(f"{way.name:6s} each: {cpu:7.1f} ms CPU, {wall:7.1f} ms wall; fixed {found.fixed:.1f} s")
            table = split(
                folder / f"ours-many-{number}-submit",
                many=pair[0].many,
                one=pair[0].one,
                quanta=ours.quanta,
            )
            for part, value in table.items():
                say(f"    {part:34s} {value:7.2f} ms")
    return keep(
        entry(f"wms: {what} of the stock service against ours", ratio, floor, aim)
        for what, ratio, floor, aim in (
            ("CPU a light quantum", statistics.median(s.each.cpu / o.each.cpu for o, s in pairs), 30, 50),
            (
                "wall time a light quantum",
                statistics.median(s.each.wall / o.each.wall for o, s in pairs),
                10,
                20,
            ),
            ("CPU of a submission as such", statistics.median(s.fixed / o.fixed for o, s in pairs), 3, 4),
        )
    )


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 3))
