"""Overhead of a quantum and of a submission, stock service against ours, side by side.

Runs prepared submissions through both, alternating, one of three quanta for the fixed cost and one of many;
writes ``build/bench.json`` and prints where a quantum's time goes.  Usage: ``bench_wms.py [ROUNDS]``.
``BENCH_DETECTORS`` sets the width of the three layers (67: 201 quanta), ``BENCH_STOCK`` that of the stock
service (8: 24 quanta), of which each quantum costs seconds whatever their number.
"""

import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "tests" / "wms"), str(ROOT), str(ROOT / "tests" / "bench")]

import wms_support as support  # noqa: E402 - needs the path above
from bench_results import keep  # noqa: E402 - beside this one

from merian_campaign.domain.execution.journal import JobVerdict, JournalEvent  # noqa: E402

LAYERS: dict[str, dict[str, Any]] = {"first": {}, "second": {}, "third": {}}


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


def run_pair(folder: Path, *, repo: Path, tag: str, widths: Mapping[str, int]) -> dict[str, Cost]:
    """Run the same submission through both services, of so many detectors each."""
    costs: dict[str, Cost] = {}
    for name, service in (("ours", support.OURS), ("stock", support.STOCK)):
        query = f"instrument='Toy' AND detector < {widths[name]}"
        rendering = support.Rendering(service=service, tasks=LAYERS, query=query)
        submission = support.render(folder, repo=repo, name=f"{name}-{tag}", choices=rendering)
        costs[name] = measure(submission)
        say(f"{name:6s} {tag:12s} wall {costs[name].wall:7.1f} s  cpu {costs[name].cpu:7.1f} s")
    return costs


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
    detectors = int(os.environ.get("BENCH_DETECTORS", "67"))
    widths = {"ours": detectors, "stock": min(detectors, int(os.environ.get("BENCH_STOCK", "8")))}
    quanta = len(LAYERS) * detectors
    ratios: dict[str, list[float]] = {"cpu": [], "wall": [], "fixed": []}
    with tempfile.TemporaryDirectory(prefix="bench-wms-") as name:
        folder = Path(name)
        repo = support.make_repo(folder / "repo", detectors=detectors)
        for number in range(rounds):
            one = run_pair(folder, repo=repo, tag=f"one-{number}", widths=dict.fromkeys(widths, 1))
            many = run_pair(folder, repo=repo, tag=f"many-{number}", widths=widths)
            more = {kind: len(LAYERS) * (width - 1) for kind, width in widths.items()}
            each = {
                kind: Cost(
                    wall=(many[kind].wall - one[kind].wall) / more[kind],
                    cpu=(many[kind].cpu - one[kind].cpu) / more[kind],
                )
                for kind in many
            }
            ratios["cpu"].append(each["stock"].cpu / each["ours"].cpu)
            ratios["wall"].append(each["stock"].wall / each["ours"].wall)
            fixed = {kind: one[kind].cpu - 3 * each[kind].cpu for kind in one}
            ratios["fixed"].append((fixed["stock"] + each["stock"].cpu) / (fixed["ours"] + each["ours"].cpu))
            for kind in ("stock", "ours"):
                cpu, wall = 1000 * each[kind].cpu, 1000 * each[kind].wall
                say(
                    f"{kind:6s} each quantum: {cpu:7.1f} ms CPU, {wall:7.1f} ms wall; fixed {fixed[kind]:.1f}"
                )
            table = split(
                folder / f"ours-many-{number}-submit", many=many["ours"], one=one["ours"], quanta=quanta - 2
            )
            for part, value in table.items():
                say(f"    {part:34s} {value:7.2f} ms")
    return report(ratios)


def report(ratios: dict[str, list[float]]) -> int:
    """Write the result file and say how it went."""
    goals = {
        "wms.cpu_per_quantum": ("cpu", 30.0, 50.0),
        "wms.wall_per_quantum": ("wall", 10.0, 20.0),
        "wms.submission_fixed_cpu": ("fixed", 3.0, 3.0),
    }
    rows = [
        {"name": name, "ratio": round(statistics.median(ratios[key]), 2), "at_least": floor, "aim": aim}
        for name, (key, floor, aim) in goals.items()
    ]
    return keep(rows)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1))
