from pathlib import Path

import pytest
from survey_help import Survey, make_survey


@pytest.fixture
def survey(tmp_path: Path) -> Survey:
    return make_survey(tmp_path)
