"""Butler actions: what a person would type, done once and seen in the repository before it is repeated."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable, Mapping
from typing import Any

from merian_campaign.domain.spec.actions import ACTIONS, CertifyCalibrations, CollectionChain
from merian_campaign.domain.spec.base import Strict


class ActionError(Exception):
    """An action that could not be done; the message is the butler's own last words."""


def command_line(*, name: str, repository: str, arguments: Mapping[str, Any]) -> list[str]:
    """Return the ``butler`` command line of an action."""
    given = ACTIONS[name].model_validate(dict(arguments))
    return list(given.commands(repository=repository)[0])


def perform(*, name: str, repository: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Do an action unless it is done.

    Returns
    -------
    answer : `dict`
        ``command`` as a person would type it, ``changed``, and ``found`` in words.

    Raises
    ------
    ActionError
        Raised if the butler refuses it.
    """
    given = ACTIONS[name].model_validate(dict(arguments))
    command = command_line(name=name, repository=repository, arguments=arguments)
    found = _SEEN[name](repository, given)
    shown = shlex.join(command)
    if found is not None:
        return {"command": shown, "changed": False, "found": found}
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise ActionError(f"{shown}: {lines[-1] if lines else f'exit code {done.returncode}'}")
    return {"command": shown, "changed": True, "found": "done"}


def _certified(repository: str, given: Strict) -> str | None:
    """Say what is certified already, when it is exactly what would be."""
    from astropy.time import Time  # noqa: PLC0415 - comes with the butler, costs a second
    from lsst.daf.butler import Butler, MissingCollectionError, MissingDatasetTypeError, Timespan  # noqa: PLC0415

    assert isinstance(given, CertifyCalibrations)
    wanted = Timespan(
        Time(given.begin, scale="tai", format="isot"), Time(given.end, scale="tai", format="isot")
    )
    with Butler.from_config(repository) as butler:
        try:
            refs = set(
                butler.registry.queryDatasets(given.dataset_type, collections=given.input, findFirst=True)
            )
            certified = {
                association.ref
                for association in butler.registry.queryDatasetAssociations(
                    given.dataset_type, collections=given.output
                )
                if association.timespan == wanted
            }
        except (MissingCollectionError, MissingDatasetTypeError):
            return None
    if not refs or not refs <= certified:
        return None
    return f"{len(refs)} {given.dataset_type} already certified for these dates"


def _chained(repository: str, given: Strict) -> str | None:
    """Say that a chain is already as wanted."""
    from lsst.daf.butler import Butler, MissingCollectionError  # noqa: PLC0415

    assert isinstance(given, CollectionChain)
    with Butler.from_config(repository) as butler:
        try:
            children = butler.collections.get_info(given.parent).children
        except MissingCollectionError:
            return None
    return "the chain is already as wanted" if children == given.children else None


_SEEN: Mapping[str, Callable[[str, Strict], str | None]] = {
    "certify-calibrations": _certified,
    "collection-chain": _chained,
}
