"""What all butler actions share: strict arguments, and command lines as lists of words."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from merian_campaign.domain.spec.base import Strict
from merian_campaign.domain.spec.words import Collection, inert

__all__ = ["Action", "Collection", "Command", "Text", "Words", "listed"]

Text = Annotated[str, Field(min_length=1), AfterValidator(inert)]
Words = tuple[Text, ...]

Command = tuple[str, ...]


def listed(value: object) -> object:
    """Accept a list where the model has a tuple."""
    return tuple(value) if isinstance(value, list) else value


class Action(Strict):
    """Arguments of one butler action."""

    NAME: ClassVar[str]
    """What a step calls it; that of the ``butler`` subcommand, where there is one."""

    PATHS: ClassVar[tuple[str, ...]] = ()
    """Arguments that are paths: relative ones are taken from the campaign file's folder."""

    REPOSITORIES: ClassVar[tuple[str, ...]] = ()
    """Arguments that are butler repositories: labels of the butler's index, URIs or paths."""

    def commands(self, *, repository: str) -> tuple[Command, ...]:
        """Return the command lines that do the action, in order.

        Parameters
        ----------
        repository : `str`
            Butler repository.
        """
        raise NotImplementedError
