import sys
from pathlib import Path

import pytest
from survey_help import Survey, make_survey

# For the processes of their own in which fuzz tests read files.
sys.path.append(str(Path(__file__).parents[1] / "fuzz"))


@pytest.fixture
def survey(tmp_path: Path) -> Survey:
    return make_survey(tmp_path)
