"""What exceptions are by class, by the real middleware: noted when caught, or looked up."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from merian_campaign.domain.execution.quanta import Attempt
from merian_campaign.domain.failures.rules import Evidence, judge
from merian_campaign.domain.states import QuantumState, Verdict
from merian_campaign.middleware.exception_bases import look_up

MODULE = """
import abc
import lsst.pipe.base as pipe_base

class Alg(pipe_base.AlgorithmError):
    metadata = None

class Narrow(Alg):
    pass

class Other(RuntimeError):
    pass
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "case_errors.py").write_text(MODULE)
    (tmp_path / "case_crash.py").write_text("import os\nos.kill(os.getpid(), 11)\n")
    (tmp_path / "case_hang.py").write_text("import time\ntime.sleep(600)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def test_looked_up_by_name(module: Path) -> None:
    del module
    verdicts = {
        "case_errors.Alg": Verdict.ALGORITHM,
        "case_errors.Narrow": Verdict.ALGORITHM,
        "case_errors.Other": Verdict.UNKNOWN,
        "lsst.pipe.base.AnnotatedPartialOutputsError": Verdict.ALGORITHM,
        "lsst.pipe.base.InvalidQuantumError": Verdict.CONFIGURATION,
    }
    bases = look_up([*verdicts, "case_errors.Missing", "nothing.Here", "ValueError", "x; y"])
    failed = Attempt(try_number=1, state=QuantumState.FAILED)
    found = {
        name: judge(
            Evidence(task="t", attempt=replace(failed, exception_type=name, exception_bases=tuple(known)))
        ).verdict
        for name, known in bases.items()
    }
    assert found == verdicts


@pytest.mark.parametrize("bad", ["case_crash.Error", "case_hang.Error"])
def test_a_module_that_cannot_be_imported_costs_no_more_than_its_own_answer(module: Path, bad: str) -> None:
    del module
    assert look_up([bad], seconds=1.0) == {}


def test_noted_where_the_middleware_catches_them(module: Path) -> None:
    """In a process of its own, for it changes the middleware of its process."""
    program = """
import case_errors, lsst.pipe.base.single_quantum_executor as executor
from merian_campaign.wms.exceptions import watch_exceptions
noted = watch_exceptions()
for error in (case_errors.Narrow("x"), ValueError("y"), *[type(f"E{n}", (OSError,), {})() for n in range(9)]):
    print(executor.get_full_type_name(error))
print(noted["case_errors.Narrow"][1:3], noted["ValueError"][0], len(noted))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=module, capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert lines[:2] == ["case_errors.Narrow", "ValueError"]
    assert lines[-1] == "['case_errors.Alg', 'lsst.pipe.base.AlgorithmError'] ValueError 5"
