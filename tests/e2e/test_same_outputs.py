"""Nothing lost, nothing doubled: retried faults leave the same datasets and values as no faults at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e_help import Installation

from merian_campaign.demo.compare import compare_collections

pytestmark = pytest.mark.e2e

CHAINS = (
    "DECam/calib/demo/bias",
    "DECam/calib/demo/crosstalk",
    "DECam/calib/demo/flat",
    *(f"DECam/runs/demo/{step}" for step in ("step1", "step2a", "step2b", "step2c", "step2d", "step3")),
)


@pytest.fixture(scope="module")
def undisturbed() -> Iterator[Path]:
    """The demo without faults, in an installation of its own."""
    root = Path(tempfile.mkdtemp(prefix="merian-e2e-")).resolve()
    root.chmod(0o711)
    installation = Installation(root=root)
    done = installation.run("demo", "--dir", str(root / "demo"), "--no-faults")
    assert done.returncode == 0, done.stdout + done.stderr
    yield root / "demo"
    installation.run("db", "stop")
    left = installation.processes()
    shutil.rmtree(root, ignore_errors=True)
    assert not left, f"processes left behind: {left}"


@pytest.mark.parametrize("chain", CHAINS)
def test_retried_faults_leave_the_same_datasets(demo: Path, undisturbed: Path, chain: str) -> None:
    found = compare_collections(
        repository=demo / "repo", other_repository=undisturbed / "repo", first=chain, second=chain
    )
    # The algorithm error is never cured: what hangs on it is missing, in its tract only.
    expected = [each for each in found if chain.endswith("step3") and "tract=9814" in each.data_id]
    assert found == expected
    assert bool(expected) == chain.endswith("step3")
    assert {each.problem for each in expected} <= {"missing in the first"}
