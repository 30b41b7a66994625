"""Signatures of failures as the system, the databases and the middleware write them, with their verdicts."""

from __future__ import annotations

import errno
import os
import sqlite3

import psycopg2
import psycopg2.errors
import pytest
import sqlalchemy.exc

from merian_campaign.domain.quanta import Attempt
from merian_campaign.domain.rules import Evidence, judge
from merian_campaign.domain.states import QuantumState, Verdict

_OF_THE_SYSTEM = (
    *("EIO", "ESTALE", "ENOSPC", "EDQUOT", "EROFS", "EMFILE", "ENFILE", "ENOLCK", "EREMOTEIO", "EAGAIN"),
    *("ECONNRESET", "ECONNREFUSED", "ETIMEDOUT", "EHOSTUNREACH", "ENETUNREACH", "ENOTCONN", "EPIPE"),
)
_TRANSIENT: tuple[BaseException, ...] = (
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
    *((error, Verdict.TRANSIENT) for error in _TRANSIENT),
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
