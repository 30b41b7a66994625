"""How long a campaign of twelve uneven groups takes, against the least that it could take.

The least is what all its processes together used of processors over the cores of the machine, or its longest
submission if that is more. What others use of the machine lengthens it: this one needs a quiet host.
"""

# ruff: noqa: T201 - a bench prints what it finds

from __future__ import annotations

import ctypes
import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[2]), str(HERE.parents[2] / "e2e"), str(HERE.parents[1])]

from bench_results import entry, keep, wait_for_turn  # noqa: E402 - beside this one
from demo_repository import create_repository  # noqa: E402 - of the tests
from e2e_help import CHECKOUT, Installation, new_installation  # noqa: E402 - of the tests

from merian_campaign.demo.survey import EXPOSURES, ExposurePlan  # noqa: E402

SIZES = (5, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1)
"""Exposures of each group."""

FIRST = 970_001
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of prctl(2)

CAMPAIGN = """
campaign: uneven
butler: {root}/repo
work_dir: {root}/submissions
instrument: DECam
site: {checkout}/site/local.yaml
include: [{checkout}/bps_configs/base.yaml]
failure_rules: {checkout}/campaign/failure-rules.yaml
collections: {{output: DECam/runs/uneven}}
steps:
  - name: cpBias
    pipeline: {checkout}/merian_campaign/demo/pipelines/cpBias.yaml
    scope: exposure
    where: detector NOT IN (31, 61)
    inputs: [DECam/raw/all, DECam/calib/curated/19700101T000000Z, DECam/calib/unbounded]
    group_by: {{kind: lists, dimension: exposure, lists: {{{lists}}}}}
"""
LONGEST = """
SELECT max((wall->>'graph')::float + (wall->>'startup')::float + (wall->>'run')::float
           + (wall->>'ingest')::float),
       extract(epoch FROM max(finished_at) - min(created_at)) FROM submission
"""


def exposures() -> Iterator[ExposurePlan]:
    """Yield as many zero exposures as there are to reduce."""
    zero = next(plan for plan in EXPOSURES if plan.observation_type == "zero")
    for i in range(sum(SIZES)):
        yield replace(zero, exposure=FIRST + i, begin=zero.begin + timedelta(seconds=i))


def reduce(here: Installation) -> float:
    """Reduce the campaign; return the seconds of processors that all its processes used."""
    create_repository(here.root, tuple(exposures()))
    lists, number = [], FIRST
    for i, size in enumerate(SIZES):
        lists.append(f"g{i:02d}: {list(range(number, number + size))}")
        number += size
    file = here.root / "campaign.yaml"
    file.write_text(
        CAMPAIGN.format(root=here.root, checkout=CHECKOUT, lists=", ".join(lists)), encoding="utf-8"
    )
    done = here.run("apply", str(file))
    assert done.returncode == 0, done.stderr
    wait_for_turn()
    before = used()
    done = here.run("run", "uneven")
    assert done.returncode == 0, done.stdout + done.stderr
    return used() - before


def used() -> float:
    """Return what all processes that have ended used; orphans are handed to this one."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(ChildProcessError):
            if os.waitpid(-1, os.WNOHANG)[0]:
                continue
        if time.monotonic() > deadline - 55:
            break
        time.sleep(0.2)  # between two looks: drivers end a moment after their campaign
    of = resource.getrusage(resource.RUSAGE_CHILDREN)
    return of.ru_utime + of.ru_stime


def main() -> int:
    """Measure, print, keep."""
    ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, 1, 0, 0, 0)
    with new_installation() as here:
        cpu = reduce(here)
        ((longest, makespan),) = here.query(LONGEST)
    cores = os.cpu_count() or 1
    floor = max(cpu / cores, longest)
    print(
        f"{len(SIZES)} groups in {makespan:.0f} s; {cpu:.0f} s of processors, {cores} cores; "
        f"the longest submission {longest:.0f} s"
    )
    return keep(
        [
            entry(
                "makespan: twelve uneven groups against its floor", float(makespan) / floor, 4, 1.5, less=True
            )
        ]
    )


if __name__ == "__main__":
    raise SystemExit(main())
