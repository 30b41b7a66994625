"""Metadata and logs that were not written to their end cost their own quantum, and are named."""

from __future__ import annotations

import json
import os
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from merian_campaign.domain.execution.quanta import Attempt
from merian_campaign.domain.failures.rules import Evidence, judge
from merian_campaign.domain.states import QuantumState, Verdict
from merian_campaign.middleware import torn_files

TESTS = Path(__file__).parents[1]
METADATA = '{"scalars": {"a": 1}, "arrays": {}, "metadata": {}}'
DAMAGE: Mapping[str, Callable[[Path], Any]] = {
    "is empty": lambda path: path.write_bytes(b""),
    "is half written or damaged": lambda path: path.write_text(METADATA[:30]),
    "damaged (": lambda path: path.write_bytes(b"\0" * 4096),
    "is a folder": Path.mkdir,
}


@pytest.mark.parametrize(("words", "damage"), DAMAGE.items(), ids=DAMAGE)
def test_what_is_no_metadata_is_told(tmp_path: Path, words: str, damage: Callable[[Path], Any]) -> None:
    from lsst.resources import ResourcePath  # noqa: PLC0415 - imports lsst

    damage(tmp_path / "x.json")
    assert words in torn_files.unreadable(ResourcePath(tmp_path / "x.json"), is_log=False)


def test_what_is_whole_empty_as_a_log_or_not_there_is_left_alone(tmp_path: Path) -> None:
    from lsst.resources import ResourcePath  # noqa: PLC0415 - imports lsst

    for name, content, is_log in (("m", METADATA, False), ("l", "[]", True), ("e", "", True)):
        (tmp_path / name).write_text(content)
        assert torn_files.unreadable(ResourcePath(tmp_path / name), is_log=is_log) == ""
    assert torn_files.unreadable(ResourcePath(tmp_path / "none"), is_log=False) == ""
    (tmp_path / "l").write_text('[{"name": "isr"')
    assert "damaged" in torn_files.unreadable(ResourcePath(tmp_path / "l"), is_log=True)


def test_a_torn_file_is_the_reason_and_is_tried_again() -> None:
    torn = Attempt(try_number=1, state=QuantumState.FAILED, exception_type=torn_files.TYPE, exit_code=0)
    found = judge(Evidence(task="isr", attempt=torn, started=True, ended=True))
    assert (found.verdict, found.evidence) == (
        Verdict.INFRASTRUCTURE,
        "TornFile: its metadata was not written to its end",
    )


def test_lines_that_say_nothing_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "torn.jsonl"
    assert torn_files.told(str(file)) == {}
    file.write_text('{"uuid": "u", "words": "w"}\n[]\n{"uuid": 7}\n{"uuid"')
    assert torn_files.told(str(file)) == {"u": "w"}
    file.unlink()
    file.mkdir()
    assert torn_files.told(str(file)) == {}


@pytest.mark.soak
def test_one_empty_file_costs_its_quantum_and_the_others_stay(tmp_path: Path) -> None:
    """A whole run, of which metadata files are empty and half, a log damaged, another one empty.

    Its final job failed, and left a provenance graph that is none yet.
    """
    sys.path[:0] = [str(TESTS / "wms"), str(TESTS / "e2e")]
    import wms_support as support  # noqa: PLC0415
    from e2e_help import new_installation  # noqa: PLC0415

    from merian_campaign.middleware.submission_run import SubmissionRun  # noqa: PLC0415
    from merian_campaign.middleware.submit_in_process import Target  # noqa: PLC0415

    repo = support.make_repo(tmp_path / "repo", detectors=6)
    extra = {"finalJob": {"whenRun": "NEVER"}, "submitPath": str(tmp_path / "bps")}
    submission = support.render(
        tmp_path, repo=repo, name="torn", choices=support.Rendering(tasks={"first": {}}, extra=extra)
    )
    done = support.submit(submission)
    assert done.returncode == 0, done.stderr
    place = repo / submission.run
    metadata = sorted((place / "first_metadata").iterdir())
    logs = sorted((place / "first_log").iterdir())
    metadata[0].write_bytes(b"")
    os.truncate(metadata[1], 500)
    logs[2].write_bytes(b"\xff" * 100)
    logs[3].write_bytes(b"")
    zipfile.ZipFile(tmp_path / "bps" / "provenance.qg", "w").close()
    target = Target(repository=str(repo), run=submission.run, chain="")
    with new_installation() as made:  # ingest asks its database for the repository's lock
        environ = support.environment(MERIAN_CAMPAIGN_HOME=made.environ["MERIAN_CAMPAIGN_HOME"])
        work = SubmissionRun(directory=str(tmp_path), epoch=1, target=target, warm=True, environ=environ)
        try:
            assert work.collect() is None
        finally:
            work.close()
    assert sorted(support.datasets(submission, "first")) == [0, 1, 2, 3, 4, 5]
    assert sorted(support.datasets(submission, "first_metadata")) == [2, 3, 4, 5]
    lines = [json.loads(line) for line in (tmp_path / "harvest.jsonl").read_text().splitlines()]
    by_detector = {line["dimensions"]["detector"]: line for line in lines}
    states = [by_detector[number]["status"] for number in range(6)]
    assert states == ["FAILED", "FAILED", "ABORTED_SUCCESS", "SUCCESSFUL", "SUCCESSFUL", "SUCCESSFUL"]
    for number, words in enumerate(("is empty", "is half written or damaged")):
        (attempt,) = by_detector[number]["attempts"]
        assert attempt["exception_type"] == "TornFile"
        assert f"{metadata[number]} {words}" in attempt["exception_message"]
        assert Path(f"{metadata[number]}.torn").exists()
