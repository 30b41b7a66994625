"""Errors that a person can act on, each with the exit code the command line returns.

The codes follow ``sysexits.h`` where it has one: 65 bad data, 69 service unavailable, 75 try again
later, 77 no permission, 78 configuration; 2 is what command-line parsers use for bad usage.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from merian_campaign.domain.safe_text.text import clean, one_line

MOST_PROBLEMS: Final = 50
"""Problems of a file that are shown; more are counted. A file of something else altogether has a million."""

_LONGEST_MESSAGE: Final = 1000
_LONGEST_SAID: Final = 100_000


class CampaignError(Exception):
    """Something a person can put right; printed as a message, never as a traceback.

    Parameters
    ----------
    message : `str`
        What was found, where, and what to do. Names and values in it come from outside: it is made inert.
    """

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        super().__init__(clean(message, limit=_LONGEST_SAID))


class BadInputError(CampaignError):
    """A file, argument or name that cannot be used."""

    exit_code = 2


class NoCampaignError(BadInputError):
    """A name that no campaign has.

    Parameters
    ----------
    name : `str`
        The name.
    there : `~collections.abc.Iterable` [`str`]
        Names that campaigns have.
    """

    def __init__(self, name: str, *, there: Iterable[str]) -> None:
        names = ", ".join(there)
        known = f"there are: {names}" if names else "there is none yet"
        super().__init__(f"no campaign is called {name!r} ({known}); `merian-campaign apply FILE` makes one")


class UnavailableError(CampaignError):
    """A service the command needs (database, butler, scheduler) does not answer."""

    exit_code = 69


class DatabaseUnavailableError(UnavailableError):
    """The tracking database does not answer, or cannot do it now; it says nothing of what is under way."""


class CalledOffError(CampaignError):
    """What was waited for is not wanted any more."""


class ForeignError(CampaignError):
    """A submission's directory is of another tracking database, or of an earlier campaign of the name."""

    exit_code = 65


class RefusedRowsError(CampaignError):
    """The tracking database does not take what a group left behind: values it cannot hold, or that clash."""

    exit_code = 65


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
        name = clean(self.file, limit=4000)
        where = name if self.line is None else f"{name}:{self.line}"
        message = one_line(self.message, limit=_LONGEST_MESSAGE)
        field = one_line(self.field)
        return f"{where}: {field}: {message}" if field else f"{where}: {message}"


class BadFileError(BadInputError):
    """A file with one or more problems; they are listed at once, up to `MOST_PROBLEMS`.

    Parameters
    ----------
    problems : `tuple` [`Problem`, ...]
        In file order.
    unseen : `int`, optional
        How many more there are.
    """

    def __init__(self, problems: tuple[Problem, ...], *, unseen: int = 0) -> None:
        lines = [str(problem) for problem in problems[:MOST_PROBLEMS]]
        more = unseen + len(problems) - len(lines)
        if more:
            lines.append(f"{clean(problems[0].file, limit=4000)}: and {more} more problems")
        super().__init__("\n".join(lines))
        self.problems = problems[:MOST_PROBLEMS]
