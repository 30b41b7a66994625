"""Memory limits in the kernel: what it ends, what is said of it, what is left; where it cannot be done."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import wms_support as support
from wms_support import Rendering

from merian_campaign.domain.execution.journal import JournalEvent, JournalRecord
from merian_campaign.host.processes import identity
from merian_campaign.wms.node.cgroup import CgroupPath, ControlGroups, JobCgroup, locate, sweep
from merian_campaign.wms.node.process_cleanup import reap, register

LIMIT_MB = 330.0
GREEDY = {0: "gulp:1200", 1: "helper:1200", 2: "deaf:1200"}
"""A quantum that is killed, one that fails because its helper was, and one that does not care."""


DETECT = """
from merian_campaign.wms.node.cgroup import ControlGroups
from merian_campaign.host.processes import identity
place = ControlGroups.detect(owner=identity()).place
print(place.version, place.path)
"""


@cache
def writable() -> CgroupPath | None:
    """Return where groups can be made; found out by a process without threads, as a supervisor is."""
    done = support.run(sys.executable, "-c", DETECT, cwd=support.HERE)
    version, _, path = done.stdout.strip().partition(" ")
    return CgroupPath(path=Path(path), version=int(version)) if done.returncode == 0 else None


def usable() -> CgroupPath:
    place = writable()
    assert place is not None
    return place


needs_groups = pytest.mark.skipif(
    writable() is None, reason="no memory control group can be made on this machine by this user"
)


def choices(*, cgroup: bool, sample_seconds: float, misbehave: dict[int, str], detectors: int) -> Rendering:
    return Rendering(
        tasks={"first": {"misbehave": misbehave}},
        site={"sample_seconds": sample_seconds, "cgroup": cgroup},
        extra={"requestMemory": 300},
        query=f"instrument='Toy' AND detector < {detectors}",
    )


def by_detector(submission: support.Submission) -> dict[int, JournalRecord]:
    return {int(record.job.rsplit("_", 1)[1]): record for record in submission.ended("first")}


def log_of(submission: support.Submission) -> str:
    (path,) = submission.submit.glob("supervisor-*.log")
    return path.read_text()


def leaves(submission: support.Submission) -> list[Path]:
    """Return the groups that any supervisor of the submission has made and that are there."""
    lines = (submission.submit / "processes.jsonl").read_text().splitlines()
    found = [entry for entry in map(json.loads, lines) if entry["role"] == "supervisor"]
    assert found
    return [
        path
        for entry in found
        for path in Path(entry["cgroup"]).glob(f"merian-campaign-*-{entry['pid']}-{entry['pid_start']}-*")
    ]


@pytest.mark.e2e
@needs_groups
def test_the_kernel_ends_what_outruns_the_sampler(repo: Path, folder: Path) -> None:
    rendering = choices(cgroup=True, sample_seconds=30.0, misbehave=GREEDY, detectors=5)
    submission = support.render(folder, repo=repo, name="kernel", choices=rendering)
    assert support.submit(submission).returncode == 10
    ended = by_detector(submission)
    how = {number: (record.verdict, record.exit, record.signal) for number, record in ended.items()}
    # Its helper was killed: it fails of that by itself, or is ended when it takes its time.
    assert how.pop(1) in [("out_of_memory", 1, None), ("out_of_memory", None, 9)]
    assert how == {
        0: ("out_of_memory", None, 9),
        2: ("out_of_memory", None, 9),
        3: ("ok", 0, None),
        4: ("ok", 0, None),
    }
    for number in GREEDY:
        evidence = ended[number].evidence
        assert evidence["ended_by"] == "kernel"
        assert evidence["kernel_memory_kills"] == 1
        assert (evidence["requested_mb"], evidence["limit_mb"]) == (300, LIMIT_MB)
        assert LIMIT_MB - 5 < float(str(evidence["reached_mb"])) <= LIMIT_MB
        assert float(str(evidence["after_s"])) < 25  # before the first sample that could have seen it
    assert log_of(submission).count("memory is limited by control groups below") == 1
    assert leaves(submission) == []


@pytest.mark.e2e
@needs_groups
def test_leaves_of_a_killed_supervisor_are_removed_by_the_next(repo: Path, folder: Path) -> None:
    flag = folder / "flag"
    rendering = choices(cgroup=True, sample_seconds=1.0, misbehave={0: f"wait:{flag}"}, detectors=1)
    submission = support.render(folder, repo=repo, name="swept", choices=rendering)
    with support.started(submission) as driver:
        support.wait_for(
            lambda: any(record.event == JournalEvent.STARTED for record in submission.records()),
            what="a start",
        )
        (left,) = leaves(submission)
        supervisor = int(left.name.split("-")[3])
        running = next(record.pid for record in submission.records() if record.event == JournalEvent.STARTED)
        leaf = JobCgroup(path=left, version=usable().version)
        support.wait_for(lambda: running in leaf.pids(), what="the quantum to be in its group")
        os.kill(supervisor, signal.SIGKILL)
        assert driver.wait(240) == 11
    flag.touch()
    words = (sys.executable, "-m", "merian_campaign.wms.submit", "--restart", str(submission.submit))
    again = support.run(*words, cwd=folder, MERIAN_CAMPAIGN_SUBMISSION=str(submission.submit))
    assert again.returncode == 0, again.stderr[-3000:]
    assert leaves(submission) == []


@pytest.mark.e2e
def test_without_writable_groups_the_sampler_does_it(repo: Path, folder: Path) -> None:
    unshare = shutil.which("unshare")
    read_only = "mount -o bind,remount,ro {} && exec {} -m merian_campaign.wms.submit {}"
    place = writable()
    rendering = choices(cgroup=True, sample_seconds=0.2, misbehave={0: "tree:150"}, detectors=2)
    submission = support.render(folder, repo=repo, name="sampled", choices=rendering)
    if place is None:
        done = support.submit(submission)
    else:
        top = next(path for path in (place.path, *place.path.parents) if path.is_mount())
        probe = [unshare or "unshare", "--mount", "sh", "-c", f"mount -o bind,remount,ro {top}"]
        if unshare is None or subprocess.run(probe, check=False, capture_output=True).returncode != 0:
            pytest.skip("control groups can be made here, and cannot be hidden from a program")
        line = read_only.format(top, sys.executable, submission.config)
        mark = str(submission.submit)
        done = support.run(*probe[:-1], line, cwd=folder, MERIAN_CAMPAIGN_SUBMISSION=mark)
    assert done.returncode == 10, done.stderr[-3000:]
    ended = by_detector(submission)
    assert {number: record.verdict for number, record in ended.items()} == {0: "out_of_memory", 1: "ok"}
    assert "ended_by" not in ended[0].evidence
    assert ended[0].evidence["sampled_every_s"] == 0.2
    assert log_of(submission).startswith("memory is guarded by sampling only: ")


@needs_groups
def test_only_leaves_of_dead_supervisors_are_removed() -> None:
    me = identity()
    groups = ControlGroups(place=usable(), owner=me)
    place = groups.place.path
    namespace = Path("/proc/self/ns/pid").stat().st_ino
    dead = place / f"merian-campaign-{namespace}-{me.pid}-{me.pid_start - 1}-7"
    elsewhere = place / f"merian-campaign-{namespace + 1}-{me.pid}-{me.pid_start - 1}-7"
    foreign = place / f"other-{me.pid}"
    living = groups.make(7, memory_mb=64)
    try:
        for path in (dead, elsewhere, foreign):
            path.mkdir()
        assert sweep([place]) == 0
        found = {path: path.exists() for path in (dead, elsewhere, foreign, living.path)}
        assert found == {dead: False, elsewhere: True, foreign: True, living.path: True}
    finally:
        for path in (elsewhere, foreign):
            path.rmdir()
        groups.retire(living)
    assert not living.path.exists()


@needs_groups
def test_a_submissions_leftovers_include_its_leaves(tmp_path: Path) -> None:
    """Also those made from another control group than the caller's: the place was recorded."""
    me = identity()
    gone = replace(me, pid_start=me.pid_start - 1)
    outer = usable().path / f"outer-{me.pid}"
    outer.mkdir()
    try:
        leaf = ControlGroups(place=replace(usable(), path=outer), owner=gone).make(3, memory_mb=64)
        register(tmp_path, role="supervisor", identity=gone, cgroup=str(outer))
        assert reap(tmp_path) == 0
        assert not leaf.path.exists()
    finally:
        for path in (*(entry for entry in outer.iterdir() if entry.is_dir()), outer):
            path.rmdir()


V1 = "5:memory:/outer/own\n0::/\n"
V2 = "0::/outer/slice/own\n"


def test_where_leaves_are_made(tmp_path: Path) -> None:
    def mounted(root: str, kind: str) -> str:
        return f"31 23 0:28 {root} {tmp_path} rw,relatime shared:1 - {kind} {kind} rw,memory\n"

    assert locate(V1, mounted("/", "cgroup")) == CgroupPath(path=tmp_path / "outer/own", version=1)
    assert locate(V1, mounted("/outer", "cgroup")) == CgroupPath(path=tmp_path / "own", version=1)
    for memberships, root, kind in (
        (V1, "/out", "cgroup"),
        (V1, "/", "cgroup2"),
        ("5:memory:/../x\n", "/", "cgroup"),
    ):
        with pytest.raises(OSError, match="no memory control group"):
            locate(memberships, mounted(root, kind))
    own = tmp_path / "outer/slice/own"
    own.mkdir(parents=True)
    with pytest.raises(OSError, match="no group above us"):
        locate(V2, mounted("/", "cgroup2"))
    (tmp_path / "outer/slice/cgroup.subtree_control").write_text("cpu memory\n")
    assert locate(V2, mounted("/", "cgroup2")) == CgroupPath(path=tmp_path / "outer/slice", version=2)
    (own / "memory.max").write_text("max\n")
    assert locate(V2, mounted("/", "cgroup2")).version == 2
    (own / "memory.max").write_text("1073741824\n")
    with pytest.raises(OSError, match="a limit of its own"):
        locate(V2, mounted("/", "cgroup2"))
