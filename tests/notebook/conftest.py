"""A stack and a repository that are there by name only: enough to render the campaigns of the survey."""

from __future__ import annotations

from pathlib import Path

import pytest
from notebook_help import Rendered, render_campaign

PIPELINES = (
    "cp/pipelines/DarkEnergyCamera/cpBias.yaml",
    "cp/pipelines/DarkEnergyCamera/cpFlat.yaml",
    "cp/pipelines/DECam/cpBias.yaml",
    "cp/pipelines/DECam/cpFlat.yaml",
    "drp/pipelines/DECam/DRP-Merian.yaml",
    "drp/pipelines/DECam/isrForCrosstalkSources.yaml",
    "repo/butler.yaml",
)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stack")
    for name in PIPELINES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


@pytest.fixture(scope="session")
def notebook(stack: Path) -> Rendered:
    """The notebook's own reduction."""
    return render_campaign("merian-9813", stack)


@pytest.fixture(scope="session")
def release(stack: Path) -> Rendered:
    """The data release."""
    return render_campaign("merian-dr", stack)
