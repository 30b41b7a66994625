"""Signatures of failures as the system, the databases and the middleware write them, with their verdicts."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
from typing import Any

import psycopg2
import psycopg2.errors
import pytest
import sqlalchemy.exc

from merian_campaign.domain.execution.journal import JournalEvent, JournalRecord
from merian_campaign.domain.execution.quanta import Attempt
from merian_campaign.domain.failures.block_verdict import of_block
from merian_campaign.domain.failures.rules import Evidence, judge
from merian_campaign.domain.slurm.slurm_jobs import SlurmJob
from merian_campaign.domain.states import QuantumState, Verdict

_OF_THE_SYSTEM = (
    *("EIO", "ESTALE", "ENOSPC", "EDQUOT", "EROFS", "EMFILE", "ENFILE", "ENOLCK", "EREMOTEIO", "EAGAIN"),
    *("ECONNRESET", "ECONNREFUSED", "ETIMEDOUT", "EHOSTUNREACH", "ENETUNREACH", "ENOTCONN", "EPIPE"),
)
_INFRASTRUCTURE: tuple[BaseException, ...] = (
    *(OSError(getattr(errno, name), os.strerror(getattr(errno, name)), "/repo/a") for name in _OF_THE_SYSTEM),
    *(
        psycopg2.OperationalError(words)
        for words in (
            "server closed the connection unexpectedly",
            "SSL SYSCALL error: EOF detected",
            'connection to server at "db", port 5432 failed: FATAL:  sorry, too many clients already',
            'connection to server at "db", port 5432 failed: FATAL:  the database system is starting up',
        )
    ),
    psycopg2.errors.AdminShutdown("terminating connection due to administrator command"),
    psycopg2.errors.DeadlockDetected("deadlock detected"),
    psycopg2.errors.SerializationFailure("could not serialize access due to concurrent update"),
    psycopg2.errors.DiskFull('could not extend file "base/1/2": No space left on device'),
    psycopg2.errors.OutOfMemory("out of memory"),
    psycopg2.errors.TooManyConnections("remaining connection slots are reserved"),
    psycopg2.errors.LockNotAvailable("canceling statement due to lock timeout"),
    sqlite3.OperationalError("database is locked"),
    sqlite3.OperationalError("disk I/O error"),
    sqlalchemy.exc.OperationalError("SELECT 1", {}, Exception("server closed the connection unexpectedly")),
    TimeoutError("timed out"),
    ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
    BrokenPipeError(errno.EPIPE, "Broken pipe"),
)
_CONFIGURATION: tuple[BaseException, ...] = (
    ModuleNotFoundError("No module named 'lsst.meas.extensions.shapeHSM'"),
    ImportError("cannot import name 'Task'"),
    SyntaxError("invalid syntax"),
    psycopg2.OperationalError('FATAL:  password authentication failed for user "ana"'),
    psycopg2.OperationalError('FATAL:  database "lsst" does not exist'),
    psycopg2.OperationalError('FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "ana"'),
)
_MEMORY: tuple[BaseException, ...] = (
    MemoryError(),
    MemoryError("std::bad_alloc"),
    RuntimeError("std::bad_alloc"),
    OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
)
_UNKNOWN: tuple[BaseException, ...] = (
    ValueError("cannot convert float NaN to integer"),
    KeyError("base_PsfFlux_instFlux"),
    IndexError("index 0 is out of bounds for axis 0 with size 0"),
    TypeError("'NoneType' object is not subscriptable"),
    AttributeError("'NoneType' object has no attribute 'getPsf'"),
    ZeroDivisionError("division by zero"),
    AssertionError(),
    RuntimeError("No usable sources"),
    RuntimeError("maximum memory of the model not set"),
    FloatingPointError("overflow encountered in multiply"),
    RecursionError("maximum recursion depth exceeded"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    FileNotFoundError(errno.ENOENT, "No such file or directory", "/repo/a.fits"),
    PermissionError(errno.EACCES, "Permission denied", "/repo/a.fits"),
    psycopg2.errors.UniqueViolation("duplicate key value violates unique constraint"),
    psycopg2.errors.UndefinedColumn('column "a" does not exist'),
    StopIteration(),
)
CORPUS = [
    *((error, Verdict.INFRASTRUCTURE) for error in _INFRASTRUCTURE),
    *((error, Verdict.CONFIGURATION) for error in _CONFIGURATION),
    *((error, Verdict.OUT_OF_MEMORY) for error in _MEMORY),
    *((error, Verdict.UNKNOWN) for error in _UNKNOWN),
]


def name(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


@pytest.mark.parametrize(("error", "verdict"), CORPUS, ids=lambda value: repr(value)[:60])
def test_verdict(error: BaseException, verdict: Verdict) -> None:
    bases = tuple(name(kind) for kind in type(error).__mro__)
    attempt = Attempt(
        try_number=1,
        state=QuantumState.FAILED,
        exit_code=1,
        exception_type=name(type(error)),
        exception_message=str(error),
        exception_bases=bases,
    )
    found = judge(Evidence(task="isr", attempt=attempt, started=True, ended=True))
    assert found.verdict is verdict, found.evidence


_OF_PIPELINES = (
    "meas.algorithms.measureApCorr.MeasureApCorrError",
    *("meas.astrom.exceptions.BadAstrometryFit", "meas.astrom.exceptions.AstrometryFitFailure"),
    *("meas.astrom.exceptions.MatcherFailure", "meas.extensions.psfex.psfexPsfDeterminer.PsfexNoStarsError"),
    "meas.extensions.psfex.psfexPsfDeterminer.PsfexTooFewGoodStarsError",
    "meas.extensions.piff.piffPsfDeterminer.PiffTooFewGoodStarsError",
    *("pipe.tasks.repair.TooManyCosmicRays", "pipe.tasks.measurePsf.NonfinitePsfShapeError"),
    *(
        "ip.diffim.psfMatch.NoKernelCandidatesError",
        "ip.diffim.subtractImages.InsufficientKernelSourcesError",
    ),
    *("ip.diffim.detectAndMeasure.BadSubtractionError", "pipe.tasks.calibrateImage.AllCentroidsFlaggedError"),
    "pipe.tasks.calibrateImage.NoPsfStarsToStarsMatchError",
    "meas.algorithms.subtractBackground.TooManyMaskedPixelsError",
    "pipe.tasks.skyCorrection.NoUsableBackgroundSuperpixelsError",
    "drp.tasks.gbdesAstrometricFit.CholeskyError",
)
"""Classes of the Science Pipelines that derive from `AlgorithmError`, of which few names say so."""


@pytest.mark.parametrize("kind", _OF_PIPELINES)
def test_an_algorithm_error_is_told_by_its_class(kind: str) -> None:
    bases = tuple(f"lsst.pipe.base.{base}" for base in ("AlgorithmError", "RepeatableQuantumError"))
    known = Attempt(
        try_number=1, state=QuantumState.FAILED, exit_code=1, exception_type=f"lsst.{kind}",
        exception_message="12 of 10", exception_bases=(f"lsst.{kind}", *bases, "RuntimeError"),
    )  # fmt: skip
    assert judge(Evidence(task="isr", attempt=known, started=True, ended=True)).verdict is Verdict.ALGORITHM


def _job(state: str, *, reason: str = "", number: int | None = None) -> SlurmJob:
    return SlurmJob(job_id="7", name="b", state=state, reason=reason, nodes="n1", signal=number)


_BLOCKS = [
    (_job("OUT_OF_MEMORY"), 900, Verdict.OUT_OF_MEMORY),
    (_job("OUT_OF_MEMORY"), 90, Verdict.NODE_LOST),
    (_job("NODE_FAIL", reason="NodeDown"), None, Verdict.NODE_LOST),
    (_job("BOOT_FAIL"), None, Verdict.NODE_LOST),
    (_job("PREEMPTED"), None, Verdict.PREEMPTED),
    (_job("TIMEOUT", reason="TimeLimit"), None, Verdict.WALLTIME),
    (_job("DEADLINE"), None, Verdict.WALLTIME),
    (_job("CANCELLED by 0"), None, Verdict.NODE_LOST),
    (_job("FAILED", number=9), 900, Verdict.OUT_OF_MEMORY),
    (_job("FAILED", reason="NonZeroExitCode"), None, Verdict.NODE_LOST),
]
"""How Slurm says that a block ended, MiB that a quantum of 500 had then, and what that means for it."""


@pytest.mark.parametrize(("job", "peak", "verdict"), _BLOCKS, ids=lambda value: str(value)[:60])
def test_what_slurm_says_of_the_block(job: SlurmJob, peak: int | None, verdict: Verdict) -> None:
    start = JournalRecord(event=JournalEvent.STARTED, job="a", requested_mb=500, slurm_job="7")
    last = JournalRecord(event=JournalEvent.ENDED, job="a", requested_mb=500, peak_mb=peak)
    attempt = Attempt(try_number=1, state=QuantumState.FAILED)
    block = of_block(job, record=last, start=start)
    found = judge(Evidence(task="isr", attempt=attempt, started=True, ended=True, block=block))
    assert found.verdict is verdict, found.evidence


_PROCESSES: list[tuple[dict[str, Any], dict[str, Any], Verdict]] = [
    # The guard measured it, whatever the kernel did.
    ({"signal": signal.SIGKILL}, {"journal_verdict": "out_of_memory", "ended": True}, Verdict.OUT_OF_MEMORY),
    ({"signal": signal.SIGTERM}, {"journal_verdict": "walltime", "ended": True}, Verdict.WALLTIME),
    ({}, {"journal_verdict": "node_lost"}, Verdict.NODE_LOST),
    ({}, {"journal_verdict": "refused"}, Verdict.CONFIGURATION),
    # It started, and its worker, manager or node went away.
    ({}, {"started": True}, Verdict.NODE_LOST),
    ({"signal": signal.SIGKILL}, {"started": True, "ended": True, "driver_lost": True}, Verdict.NODE_LOST),
    # Exit codes that the middleware defines.
    ({"exit_code": 20}, {"started": True, "ended": True}, Verdict.ALGORITHM),
    ({"exit_code": 21}, {"started": True, "ended": True}, Verdict.CONFIGURATION),
    # A signal alone says nothing of memory.
    ({"signal": signal.SIGKILL}, {"started": True, "ended": True}, Verdict.UNKNOWN),
    ({"signal": signal.SIGSEGV}, {"started": True, "ended": True}, Verdict.UNKNOWN),
    ({"signal": signal.SIGBUS}, {"started": True, "ended": True}, Verdict.UNKNOWN),
    ({"signal": signal.SIGABRT}, {"started": True, "ended": True}, Verdict.UNKNOWN),
    ({"exit_code": 1}, {"started": True, "ended": True}, Verdict.UNKNOWN),
    ({"exit_code": 0}, {"started": True, "ended": True}, Verdict.UNKNOWN),
]


@pytest.mark.parametrize(("ended", "seen", "verdict"), _PROCESSES, ids=lambda value: str(value)[:60])
def test_how_the_process_ended(ended: dict[str, Any], seen: dict[str, Any], verdict: Verdict) -> None:
    attempt = Attempt(try_number=1, state=QuantumState.FAILED, peak_mb=400, requested_mb=500, **ended)
    found = judge(Evidence(task="isr", attempt=attempt, **seen))
    assert found.verdict is verdict, found.evidence


def test_the_corpus_is_large_enough() -> None:
    verdicts = [
        *(verdict for _, verdict in CORPUS),
        *(Verdict.ALGORITHM for _ in _OF_PIPELINES),
        *(verdict for _, _, verdict in (*_BLOCKS, *_PROCESSES)),
    ]
    unknown = verdicts.count(Verdict.UNKNOWN)
    assert len(verdicts) - unknown >= 60
    assert unknown >= 15
    assert set(verdicts) == set(Verdict)
