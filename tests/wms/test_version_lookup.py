"""Versions are looked up, not imported; a node with others than the graph's refuses its quanta."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from merian_campaign.domain.execution.provenance import Predicted
from merian_campaign.domain.failures.harvest import conclude
from merian_campaign.domain.failures.judged_attempts import HarvestContext
from merian_campaign.domain.failures.remedy import RequestTable
from merian_campaign.domain.record.snapshot import Remedy
from merian_campaign.domain.states import QuantumState, Verdict
from merian_campaign.host.processes import identity
from merian_campaign.wms import version_lookup
from merian_campaign.wms.job_outcome import JobFailedError
from merian_campaign.wms.journal_writer import JOURNAL_NAME, Journal
from merian_campaign.wms.lease import LEASE_NAME, DriverState, Lease, write_lease
from merian_campaign.wms.node_settings import NodeSettings
from merian_campaign.wms.worker_app import run_job

PACKAGES = {"lsst/pipe/base": "g1+a", "lsst/utils": "g2+b", "lsst/ctrl/bps/parsl": "g3+c"}


def stack_without_records(root: Path) -> Path:
    """A folder as eups adds to PYTHONPATH: packages with a ``version.py``, and no word of pip."""
    for package, version in PACKAGES.items():
        folder = root / package
        folder.mkdir(parents=True)
        (folder / "version.py").write_text(f'__all__ = ("__version__",)\n__version__ = "{version}"\n')
    return root


def test_the_first_on_the_path_is_what_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = version_lookup.take({}).stack
    assert installed["lsst_daf_butler"]
    monkeypatch.syspath_prepend(str(stack_without_records(tmp_path)))
    found = version_lookup.take({}).stack
    assert (found["lsst_pipe_base"], found["lsst_ctrl_bps_parsl"]) == ("g1+a", "g3+c")
    assert found["lsst_daf_butler"] == installed["lsst_daf_butler"]


def test_nothing_of_the_stack_is_imported() -> None:
    script = (
        "import sys; from merian_campaign.wms import version_lookup; found = version_lookup.take();"
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'lsst', 'parsl', 'numpy', 'pydantic'}),"
        " found.others['numpy'])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    import numpy as np  # noqa: PLC0415 - what the other process has not loaded

    assert done.stdout == f"[] {np.__version__}\n"


def test_eups_says_what_is_set_up(tmp_path: Path) -> None:
    chains = tmp_path / "ups_db" / "lsst_distrib"
    chains.mkdir(parents=True)
    (chains / "current.chain").write_text("VERSION = gb29\n")
    (chains / "w_2022_26.chain").write_text("FLAVOR = Linux64\nVERSION = gb29\nQUALIFIERS = \n")
    (chains / "w_2022_27.chain").write_text("FLAVOR = Linux64\nVERSION = gc30\nQUALIFIERS = \n")
    local = tmp_path / "obs decam"
    local.mkdir()
    (local / "filters.py").write_text("N708 = 708\n")
    environ = {
        "EUPS_PATH": f"{tmp_path}:/nowhere",
        "SETUP_EUPS": "eups LOCAL:/eups -f (none) -Z (none)",
        "SETUP_LSST_DISTRIB": f"lsst_distrib gb29 -f Linux64 -Z {tmp_path}",
        "SETUP_OBS_DECAM": f"obs_decam LOCAL:{local} -f (none) -Z (none)",
        "SETUP_ODD": "of another make",
        "CONDA_DEFAULT_ENV": "lsst-scipipe-4.0.0",
    }
    found = version_lookup.take(environ)
    assert sorted(found.stack) == ["lsst_distrib", "obs_decam"]
    assert (found.tag, found.environment) == ("w_2022_26", "lsst-scipipe-4.0.0")
    assert found.stack["obs_decam"].startswith(f"LOCAL:{local}#")
    (local / "__pycache__").mkdir()
    (local / "__pycache__" / "filters.py").write_text("made anew at every run")
    assert version_lookup.take(environ) == found
    (local / "filters.py").write_text("N708 = 709\n")
    assert version_lookup.take(environ).stack["obs_decam"] != found.stack["obs_decam"]


@pytest.mark.parametrize("content", [None, "", "{}", '{"version": 1}', "[1]"])
def test_without_a_record_nothing_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / version_lookup.FILE_NAME).write_text(content)
    assert version_lookup.mismatch(tmp_path) == ""


def test_a_node_with_another_stack_runs_nothing(tmp_path: Path) -> None:
    driver = identity()
    lease = Lease(
        host=driver.host, pid=driver.pid, pid_start=driver.pid_start, counter=1, state=DriverState.RUNNING
    )
    write_lease(tmp_path / LEASE_NAME, lease)
    here = version_lookup.take()
    built = replace(here, stack={**here.stack, "lsst_pipe_base": "g9+z"})
    kept = version_lookup.keep(tmp_path / version_lookup.FILE_NAME, built)
    assert json.loads((tmp_path / version_lookup.FILE_NAME).read_text()) == kept
    request = {
        "job": "one",
        "label": "isr",
        "quanta": ["uuid"],
        "command": f"touch {tmp_path}/ran",
        "stdout": str(tmp_path / "one.stdout"),
        "stderr": str(tmp_path / "one.stderr"),
    }
    settings = NodeSettings(submit=str(tmp_path), driver=driver, warm=False)
    try:
        with pytest.raises(JobFailedError) as caught:
            run_job(settings.to_json(), request)
    finally:
        write_lease(tmp_path / LEASE_NAME, replace(lease, counter=2, state=DriverState.CLOSED))
    words = f"the LSST stack on {driver.host} is not the graph's: lsst_pipe_base g9+z -> "
    assert str(caught.value.outcome.evidence["refused"]).startswith(words)
    assert not (tmp_path / "ran").exists()
    records = Journal(tmp_path / JOURNAL_NAME).read()
    (quantum,) = conclude(
        (),
        predicted=[Predicted(uuid="uuid", task="isr", data_id="{}", dimensions={}, after=())],
        records=records,
        context=HarvestContext(rules=(), requests=RequestTable(), remedy=Remedy(), driver_lost=False),
    )
    assert quantum.state is QuantumState.FAILED
    assert quantum.attempts[-1].verdict is Verdict.CONFIGURATION
    assert words in quantum.attempts[-1].evidence
