"""A survey of an instrument class and a pipeline that are nobody's here: a campaign file is all it takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from e2e_help import Installation, new_installation
from foreign_survey import labels, write_survey
from forked_program import run_forked


def test_a_foreign_survey_needs_a_campaign_file_only(tmp_path: Path) -> None:
    file = write_survey(tmp_path)
    home = {"HOME": str(tmp_path), "MERIAN_CAMPAIGN_HOME": str(tmp_path / "home")}
    environ = {**home, "PATH": "/usr/bin:/bin", **labels(tmp_path)}
    for command in ("validate", "preflight"):
        done = run_forked(command, str(file), env=environ)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.soak
@pytest.mark.e2e
def test_a_foreign_survey_runs_to_its_end() -> None:
    with new_installation() as made:
        installation = Installation(root=made.root, extra=labels(made.root / "survey"))
        applied = installation.run("apply", str(write_survey(made.root / "survey")))
        assert applied.returncode == 0, applied.stderr
        done = installation.run("run", "foreign")
        assert done.returncode == 0, done.stdout + done.stderr
        groups = installation.query('SELECT step, key, state FROM "group"')
        assert len(groups) == 10
        assert {state for _, _, state in groups} == {"done"}
        quanta = dict(
            installation.query(
                "SELECT task, count(*) FROM quantum_status WHERE state = 'succeeded' GROUP BY task"
            )
        )
        assert quanta == {"dither": 12, "pointing": 12, "nightReport": 4, "stack": 2, "everything": 1}
