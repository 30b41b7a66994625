"""Errors that pass by themselves, and those that only a person can mend; and how long to wait."""

from __future__ import annotations

from datetime import timedelta

import pytest

from merian_campaign.domain.failures.error_classes import needs_person, pause_after

PASSING = [
    "sqlite3.OperationalError: database is locked",
    "sqlalchemy.exc.OperationalError: (psycopg2.OperationalError) could not connect to server: refused",
    "server closed the connection unexpectedly",
    "FATAL: sorry, too many clients already",
    "OSError: [Errno 116] Stale file handle: '/projects/MERIAN/repo/butler.yaml'",
    "OSError: [Errno 28] No space left on device",
    "the butler helper died; see driver.log",
    "TimeoutError: timed out",
]
HOPELESS = [
    'psycopg2.OperationalError: connection to server failed: FATAL: database "merian" does not exist',
    "psycopg2.OperationalError: FATAL: password authentication failed for user merian",
    "ValueError: unknown sky map configuration",
    "sqlite3.IntegrityError: FOREIGN KEY constraint failed",
    "Error: Invalid value for '--transfer': 'steal' is not one of",
    "Error: No such option: --limits",
    "ModuleNotFoundError: No module named 'lsst.obs.decam'",
    "lsst.pex.config.config.FieldValidationError: Field 'pixelScale' failed validation",
    "lsst.daf.butler.registry._exceptions.ConflictingDefinitionError: Existing dataset type differs",
    "MissingCollectionError: No collection with name 'DECam/calib' found",
    "FileNotFoundError: [Errno 2] No such file or directory: '/raw/a.fits'",
    "buttler: cannot be started (No such file or directory)",
    "PermissionError: [Errno 13] Permission denied: '/projects/MERIAN/repo'",
]


@pytest.mark.parametrize("text", PASSING)
def test_what_passes(text: str) -> None:
    assert not needs_person(text, checked=False)
    assert not needs_person(text, checked=True)


@pytest.mark.parametrize("text", HOPELESS)
def test_what_stays(text: str) -> None:
    assert needs_person(text, checked=False)


def test_what_nobody_knows() -> None:
    """A command's unknown error may pass; what a check of ours found stays as it is."""
    assert not needs_person("exit code 17", checked=False)
    assert needs_person("shards: there is no folder /refcats", checked=True)


def test_both_at_once_is_tried_again() -> None:
    assert not needs_person("FOREIGN KEY constraint failed\ndatabase is locked", checked=False)


def test_pauses_grow_up_to_an_hour() -> None:
    found = [pause_after(failures) for failures in (1, 2, 3, 4, 5, 6, 500)]
    seconds, minutes = timedelta(seconds=30), timedelta(minutes=1)
    assert found == [seconds, 2 * minutes, 8 * minutes, 32 * minutes, *[60 * minutes] * 3]
