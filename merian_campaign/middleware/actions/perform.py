"""Butler actions: what a person would type, done once and seen in the repository before it is repeated."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from merian_campaign.domain.safe_text.shell import shown
from merian_campaign.domain.spec.actions import ACTIONS
from merian_campaign.host.modes import group_umask, is_shared
from merian_campaign.middleware.actions import collections, data, half_registered, repository
from merian_campaign.middleware.actions.runner import RUNNERS, ActionError, CommandError

__all__ = ["ActionError", "perform", "share_with_group"]

_MODULES = (collections, data, repository)
"""Whose runners there are: importing a module registers them."""


def perform(*, name: str, repository: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Do an action unless it is done.

    Parameters
    ----------
    name : `str`
        Name of the action.
    repository : `str`
        Butler repository.
    arguments : `~collections.abc.Mapping`
        As in the campaign file.

    Returns
    -------
    answer : `dict`
        ``command`` as a person would type it, with what came of it behind a ``#``; ``changed``; ``found``
        in words; ``unfinished`` when a person has to see to the rest.

    Raises
    ------
    ActionError
        Raised if it cannot be done, with the reason and what to do.
    """
    try:
        return _perform(name=name, repository=repository, arguments=arguments)
    except Exception as error:
        removed = half_registered.unregister(repository) if half_registered.is_told_by(error) else ()
        if not removed:
            raise
        raise ActionError(
            f"the registry's disk is full, or was: it had no tables for {', '.join(removed)}; what was left "
            "of these dataset types was unregistered, and the next try registers them anew",
            needs_person=False,
        ) from error


def _perform(*, name: str, repository: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Do an action unless it is done."""
    given = ACTIONS[name].model_validate(dict(arguments))
    runner = RUNNERS[type(given)](repository=repository, given=given)
    command = " && ".join(shown(words) for words in given.commands(repository=repository))
    runner.check()
    found = runner.seen()
    if found is not None:
        return {"command": command, "changed": False, "found": found}
    try:
        runner.run()
    except CommandError as error:
        text = f"{error.command}: {runner.advice(error)}"
        raise ActionError(text, needs_person=error.needs_person) from error
    words = runner.after()
    return {
        "command": f"{command}  # {words}",
        "changed": True,
        "found": words,
        "unfinished": runner.unfinished,
    }


def share_with_group(repository: str) -> None:
    """Set this process's umask to what the repository's folder asks for: its group may write, or not.

    Parameters
    ----------
    repository : `str`
        Butler repository: its folder, or its configuration file there.
    """
    if is_shared(repository):
        os.umask(group_umask())
