"""Errors that a person can act on, each with the exit code the command line returns.

The codes follow ``sysexits.h`` where it has one: 65 bad data, 69 service unavailable, 75 try again
later, 77 no permission, 78 configuration; 2 is what command-line parsers use for bad usage.
"""

from __future__ import annotations

from dataclasses import dataclass


class CampaignError(Exception):
    """Something a person can put right; printed as a message, never as a traceback.

    Parameters
    ----------
    message : `str`
        What was found, where, and what to do.
    """

    exit_code = 1


class BadInputError(CampaignError):
    """A file, argument or name that cannot be used."""

    exit_code = 2


class UnavailableError(CampaignError):
    """A service the command needs (database, butler, scheduler) does not answer."""

    exit_code = 69


class BusyError(CampaignError):
    """Another process holds the lock; the same command works later."""

    exit_code = 75


class SchemaVersionError(CampaignError):
    """The tracking database is of another schema version than this program."""

    exit_code = 78


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing wrong with a file a person wrote.

    Parameters
    ----------
    file : `str`
        Path as the person gave it.
    line : `int` or `None`
        1-based line, where it is known.
    field : `str`
        Dotted path of the field, e.g. ``steps[step1].group_by``.
    message : `str`
        What was found and what to do.
    """

    file: str
    line: int | None
    field: str
    message: str

    def __str__(self) -> str:
        """One line: file, line, field, message."""
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{where}: {self.field}: {self.message}" if self.field else f"{where}: {self.message}"


class BadFileError(BadInputError):
    """A file with one or more problems; all of them are listed at once.

    Parameters
    ----------
    problems : `tuple` [`Problem`, ...]
        In file order.
    """

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems
