"""Campaigns of four surveys from their shipped files to the last step, on mocks of the real pipelines."""

from __future__ import annotations

import pytest
from e2e_help import Installation, new_installation
from mock_survey import SURVEYS, make_mock_survey

pytestmark = [pytest.mark.soak, pytest.mark.e2e]


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", sorted(SURVEYS))
def test_a_survey_runs_to_its_end(name: str) -> None:
    with new_installation() as made:
        survey = make_mock_survey(name, made.root / "survey", files=True)
        installation = Installation(root=made.root, extra=survey.environ)
        applied = installation.run("apply", str(survey.file))
        assert applied.returncode == 0, applied.stderr
        done = installation.run("run", name)
        assert done.returncode == 0, done.stdout + done.stderr
        groups = installation.query('SELECT step, key, state FROM "group"')
        assert groups
        assert {state for _, _, state in groups} == {"done"}
