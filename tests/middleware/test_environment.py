"""The environment that a submission's processes get."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from merian_campaign.middleware.actions.perform import share_with_group
from merian_campaign.middleware.actions.runner import last_words
from merian_campaign.middleware.bps_run import last_error
from merian_campaign.middleware.programs import environment
from merian_campaign.wms.zipfix import is_broken, is_broken_at_start, mend


def test_programs_of_the_middleware_find_this_environment_first() -> None:
    made = environment({"PATH": "/usr/bin:/bin"}, marker="/somewhere#run1")
    assert made["PATH"].split(":")[1:] == ["/usr/bin", "/bin"]
    assert made["MERIAN_CAMPAIGN_SUBMISSION"] == "/somewhere#run1"


def test_a_python_of_their_own_reads_large_graphs() -> None:
    """A defect of zipfile in some releases of Python loses members of large archives; ours is mended."""
    mend()
    assert not is_broken()
    code = "from merian_campaign.wms.zipfix import is_broken; raise SystemExit(is_broken())"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment({"PYTHONPATH": "/kept"}, marker="x"), check=False
    )
    assert done.returncode == 0


def test_what_was_on_the_pythonpath_stays() -> None:
    paths = environment({"PYTHONPATH": "/kept"}, marker="x")["PYTHONPATH"].split(":")
    assert paths[-1] == "/kept"
    assert len(paths) == (2 if is_broken_at_start() else 1)


@pytest.mark.parametrize(("mode", "mask"), [(0o2775, 0o007), (0o755, 0o027)])
@pytest.mark.parametrize("name", ["", "butler.yaml"])
def test_what_the_group_may_write_is_made_for_the_group(
    tmp_path: Path, mode: int, mask: int, name: str
) -> None:
    (tmp_path / "butler.yaml").touch()
    tmp_path.chmod(mode)
    before = os.umask(0o027)
    try:
        share_with_group(str(tmp_path / name))
        assert os.umask(0o027) == mask
    finally:
        os.umask(before)


def test_the_last_error_of_a_log_is_its_reason() -> None:
    log = "INFO starting\nTraceback (most recent call last):\n  File x\nValueError: no such tract\nINFO bye\n"
    assert last_error(log) == "ValueError: no such tract"
    assert last_error("") == "no output"


FULL = """\
sqlalchemy.exc.OperationalError: (sqlite3.OperationalError) database or disk is full
During handling of the above exception, another exception occurred:
sqlalchemy.exc.OperationalError: (sqlite3.OperationalError) no such savepoint: sa_savepoint_1
(Background on this error at: https://sqlalche.me/e/21/e3q8)
"""
ABORTED = """\
psycopg2.errors.DiskFull: could not extend file "base/5/1259": No space left on device
psycopg2.errors.InFailedSqlTransaction: current transaction is aborted, commands ignored until end of transaction block
"""  # noqa: E501 - as it is printed


@pytest.mark.parametrize(("log", "words"), [(FULL, "disk is full"), (ABORTED, "No space left on device")])
def test_what_a_database_refuses_afterwards_is_no_reason(log: str, words: str) -> None:
    assert words in last_error(log)
    assert words in last_words(log.splitlines())
    assert "savepoint" in last_error("sqlite3.OperationalError: no such savepoint: sa_savepoint_1")
