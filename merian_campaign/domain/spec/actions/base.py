"""What all butler actions share: strict arguments, and the command lines that a person would type."""

from __future__ import annotations

import re
import shlex
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from merian_campaign.domain.spec.base import Strict
from merian_campaign.domain.spec.words import Collection, inert

__all__ = ["Action", "Collection", "Command", "Text", "Words", "listed", "shown"]

Text = Annotated[str, Field(min_length=1), AfterValidator(inert)]
Words = tuple[Text, ...]

Command = tuple[str, ...]


_PATTERN = re.compile(r"[\w@%+=:,./*?#\[\]~-]+")
_SPECIAL = re.compile(r'["$`\\!]')


def shown(command: Command) -> str:
    """Return a command line as a person types it: glob patterns are left for the shell to expand."""
    return " ".join(_quoted(word) for word in command)


def _quoted(word: str) -> str:
    if _PATTERN.fullmatch(word):
        return word
    # Data queries are full of single quotes.
    return f'"{word}"' if "'" in word and not _SPECIAL.search(word) else shlex.quote(word)


def listed(value: object) -> object:
    """Accept a list where the model has a tuple."""
    return tuple(value) if isinstance(value, list) else value


class Action(Strict):
    """Arguments of one butler action."""

    PATHS: ClassVar[tuple[str, ...]] = ()
    """Arguments that are paths: relative ones are taken from the campaign file's folder."""

    def commands(self, *, repository: str) -> tuple[Command, ...]:
        """Return the command lines that do the action, in order.

        Parameters
        ----------
        repository : `str`
            Butler repository.
        """
        raise NotImplementedError
