"""What ended a command of the middleware by a signal is said in words, whatever the signal."""

from __future__ import annotations

from pathlib import Path

import pytest

from merian_campaign.domain.execution.runs import RunEnd
from merian_campaign.domain.rendering.naming import SubmissionPaths
from merian_campaign.middleware.bps_run import judge_run


@pytest.mark.parametrize(("code", "words"), [(-9, "SIGKILL"), (-40, "signal 40")])
def test_a_submission_that_was_killed_says_by_what(tmp_path: Path, code: int, words: str) -> None:
    paths = SubmissionPaths(directory=str(tmp_path))
    Path(paths.bps).mkdir()
    found = judge_run(paths, exit_code=code)
    assert found.end is RunEnd.FAILED
    assert found.reason == f"bps submit was killed by {words} while it built the quantum graph"
