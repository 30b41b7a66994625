"""What another user may have put into a submission is neither run, nor believed, nor written through."""

from __future__ import annotations

import json
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from another_user import NOBODY, as_nobody

from merian_campaign.domain.record.snapshot import Remedy, SubmissionView
from merian_campaign.domain.rendering.naming import SubmissionPaths
from merian_campaign.domain.states import SubmissionState
from merian_campaign.host import processes
from merian_campaign.host.ownership import UntrustedError
from merian_campaign.middleware.drivers import LocalDrivers
from merian_campaign.middleware.submission_run import SubmissionRun
from merian_campaign.middleware.submit_in_process import Target

NOW = datetime(2026, 11, 25, 18, tzinfo=UTC)


@pytest.fixture
def place() -> Iterator[Path]:
    """A submission's directory that is not there yet, below a work directory that everybody may write."""
    with tempfile.TemporaryDirectory(prefix="merian-neighbours-") as name:
        work = Path(name).resolve()
        work.chmod(0o1777)
        yield work / "demo" / "step1" / "all" / "001"


def drivers(**changes: Any) -> LocalDrivers:
    made = LocalDrivers(environ=os.environ)
    made.settle_in(**{"trusted": (), "repository": "/nowhere", "shared": False, **changes})
    return made


def submission(directory: Path) -> SubmissionView:
    return SubmissionView(
        id=1,
        group_id=1,
        driver=None,
        number=1,
        state=SubmissionState.PREPARED,
        outcome=None,
        reason="",
        run_collection="run",
        directory=str(directory),
        remedy=Remedy(),
        epoch=0,
        created_at=NOW,
    )


def wait_for(condition: Callable[[], bool], *, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)  # between two looks at a condition, not in place of one


def plant(place: Path, *names: str) -> str:
    place.mkdir(parents=True, exist_ok=True)
    for name in names:
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text('{"version": 1, "end": "ran", "epoch": 1, "reason": ""}\n')
    return "planted"


@pytest.mark.parametrize("name", ["outcome.json", "started", "collected.json", "harvest.jsonl", "stack.sh"])
def test_a_planted_folder_is_neither_run_nor_believed(place: Path, name: str) -> None:
    assert as_nobody(lambda: plant(place, name, "bps/journal.jsonl", "bps/blocks.jsonl")) == "planted"
    seen = drivers()
    work = SubmissionRun(
        directory=str(place), epoch=1, target=Target(repository="/r", run="", chain=""), warm=True,
        environ=os.environ,
    )  # fmt: skip
    for do in (
        lambda: seen.prepare(directory=str(place), files={str(place / "submit.yaml"): "x"}),
        lambda: seen.launch(submission=submission(place), environment={}),
        lambda: seen.command(submission(place)),
        lambda: seen.records(str(place)),
        lambda: seen.block_lines(str(place)),
        work.ended,
    ):
        with pytest.raises(UntrustedError, match="belongs to nobody"):
            do()
    if name == "outcome.json":
        with pytest.raises(UntrustedError, match="belongs to nobody"):
            seen.liveness(submission(place), now=NOW)
    if name == "harvest.jsonl":
        with pytest.raises(UntrustedError, match="belongs to nobody"):
            seen.harvested(str(place))
    assert not (place / "submit.yaml").exists()
    assert not (place / "driver.log").exists()


def test_a_file_planted_in_a_folder_of_ours_is_refused(place: Path) -> None:
    place.mkdir(parents=True)
    place.chmod(0o1777)
    assert as_nobody(lambda: plant(place, "outcome.json")) == "planted"
    place.chmod(0o755)
    with pytest.raises(UntrustedError, match=r"outcome\.json: belongs to nobody"):
        drivers().outcome(str(place))
    (place / "outcome.json").unlink()
    assert drivers().outcome(str(place)) is None


def test_nothing_is_appended_through_a_link(place: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine\n")
    place.mkdir(parents=True)
    log = place / "driver.log"
    log.symlink_to(victim)
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        processes.start_detached(["true"], directory=place, log=log, environment={})
    assert victim.read_text() == "mine\n"


def test_members_of_a_trusted_group_may_write_for_each_other(place: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can be two users")
    assert as_nobody(lambda: plant(place, "outcome.json"), umask=0o002) == "planted"
    for folder in (place, *list(place.parents)[:3]):
        os.chown(folder, 0, NOBODY)
        folder.chmod(0o2775)
    with pytest.raises(UntrustedError, match=r"the group \S+ may write it.*trusted_groups"):
        drivers().outcome(str(place))
    found = drivers(trusted=["nogroup", "nobody"]).outcome(str(place))
    assert found is not None
    assert found.end == "ran"


@pytest.mark.parametrize(
    ("umask", "shared", "folder", "file"),
    [
        (0o022, False, 0o755, 0o644),
        (0o002, False, 0o775, 0o664),
        (0o077, False, 0o700, 0o600),
        (0o022, True, 0o775, 0o664),
        (0o077, True, 0o770, 0o660),
    ],
)
def test_modes_follow_the_umask_and_the_group(
    place: Path, umask: int, *, shared: bool, folder: int, file: int
) -> None:
    paths = SubmissionPaths(directory=str(place))
    before = os.umask(umask)
    try:
        seen = drivers(shared=shared)
        seen.prepare(directory=str(place), files={paths.stack: "exec true\n", paths.yaml: "x: 1\n"})
        pid = seen.launch(submission=submission(place), environment={})
        wait_for(lambda: processes.start_time(pid) is None)
    finally:
        os.umask(before)
    assert stat.S_IMODE(place.stat().st_mode) == folder
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in place.iterdir()}
    assert modes == dict.fromkeys(("stack.sh", "submit.yaml", "driver.log", "stack.out"), file)


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_what_a_driver_writes_follows_its_umask(place: Path, umask: int) -> None:
    place.mkdir(parents=True)
    before = os.umask(umask)
    try:
        work = SubmissionRun(
            directory=str(place), epoch=1, target=Target(repository="/r", run="", chain=""), warm=True,
            environ=os.environ,
        )  # fmt: skip
        work.mark_started()
        work.versions()
        work.write_outcome({"end": "ran"})
    finally:
        os.umask(before)
    assert json.loads((place / "outcome.json").read_text()) == {"end": "ran"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in place.iterdir()} == {0o666 & ~umask}
