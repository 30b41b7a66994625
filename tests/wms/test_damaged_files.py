"""What lies in a submit directory is read within bounds, and never waited for, whatever it has become."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from merian_campaign.domain.rendering.naming import SubmissionPaths
from merian_campaign.middleware.preflight.driver_preflight import check, refusal_in
from merian_campaign.wms.lease import Lease, read_lease, write_lease
from merian_campaign.wms.node.memory_samples import SAMPLES_NAME, read_samples
from merian_campaign.wms.node.process_cleanup import PROCESSES_NAME, reap
from merian_campaign.wms.version_lookup import FILE_NAME, mismatch


def _sparse(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(20 << 30)


DAMAGE: Mapping[str, Callable[[Path], Any]] = {
    "empty": lambda path: path.write_bytes(b""),
    "nul": lambda path: path.write_bytes(b"\0" * 5000),
    "deep": lambda path: path.write_text('{"pid":' + "[" * 100_000),
    "no object": lambda path: path.write_text('["a", 1]'),
    "wrong types": lambda path: path.write_text(
        json.dumps({"host": socket.gethostname(), "pid": [1], "pid_start": "x", "stack": [], "jobs": 7})
    ),
    "huge numbers": lambda path: path.write_text(
        f'{{"host": "{socket.gethostname()}", "pid": 1{"0" * 4000}, "pid_start": NaN}}'
    ),
    "half": lambda path: path.write_text('{"host": "n1", "pi'),
    "folder": Path.mkdir,
    "fifo": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "sparse": _sparse,
}
each = pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)


@each
def test_a_lease(tmp_path: Path, damage: Callable[[Path], Any]) -> None:
    damage(tmp_path / "driver.lease")
    assert read_lease(tmp_path / "driver.lease") is None


def test_a_lease_that_is_whole(tmp_path: Path) -> None:
    lease = Lease(host="n1", pid=1, pid_start=2, counter=3, state="running")
    write_lease(tmp_path / "driver.lease", lease)
    assert read_lease(tmp_path / "driver.lease") == lease


@each
def test_samples(tmp_path: Path, damage: Callable[[Path], Any]) -> None:
    (tmp_path / SAMPLES_NAME).mkdir()
    damage(tmp_path / SAMPLES_NAME / "n1-1-2.json")
    assert read_samples(tmp_path) == []


@each
def test_the_list_of_processes(tmp_path: Path, damage: Callable[[Path], Any]) -> None:
    damage(tmp_path / PROCESSES_NAME)
    assert not reap(tmp_path)


@each
def test_versions(tmp_path: Path, damage: Callable[[Path], Any]) -> None:
    damage(tmp_path / FILE_NAME)
    assert mismatch(tmp_path) == ""


@each
def test_what_a_preflight_is_to_look_at(tmp_path: Path, damage: Callable[[Path], Any]) -> None:
    """What cannot be looked at ends no submission; its log and its findings tell."""
    paths = SubmissionPaths(directory=str(tmp_path))
    damage(Path(paths.preflight))
    assert check(paths) == ""
    (told,) = json.loads(Path(paths.findings).read_text())["findings"]
    assert "it failed: " in told["text"]
    assert refusal_in(paths) == ""
