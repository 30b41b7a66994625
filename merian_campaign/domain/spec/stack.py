"""How the LSST environment (the «stack») is set up that drivers and workers run in."""

from __future__ import annotations

import re
import shlex
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from merian_campaign.domain.spec.base import Strict, brief, tuple_of

_PLAIN = re.compile(r"[A-Za-z0-9_.,:/@%+=~ -]+")
_ENVIRONMENT = re.compile(r"[A-Za-z0-9_.+-]+")


def _one_or_more(value: object) -> object:
    """Take a text alone for a list of one."""
    return (value,) if isinstance(value, str) else tuple_of(value)


class Stack(Strict):
    """What is done, in this order, before a driver starts: load, setup, packages, prelude."""

    load: Annotated[
        str | None, Field(min_length=1, description="Script to source first, e.g. .../loadLSST.sh.")
    ] = None
    environment: Annotated[
        str | None, Field(description="LSST_CONDA_ENV_NAME for it: an older Rubin environment.")
    ] = None
    setup: Annotated[
        tuple[str, ...],
        BeforeValidator(_one_or_more),
        Field(description="Arguments of eups `setup`, e.g. lsst_distrib -t w_2022_26."),
    ] = ()
    packages: Annotated[
        tuple[str, ...],
        BeforeValidator(_one_or_more),
        Field(description="Folders of local packages, built: setup -j -r FOLDER."),
    ] = ()
    prelude: Annotated[str, Field(description="More bash text; a line that fails ends the driver.")] = ""
    changes: Annotated[
        Literal["refused", "allowed"],
        Field(description="Whether a group may go on with other versions than it began with."),
    ] = "refused"

    @model_validator(mode="after")
    def _check(self) -> Stack:
        for line in self.setup:
            if not line.strip() or not _PLAIN.fullmatch(line):
                raise ValueError(
                    f"setup: found {brief(line)}; write what follows `setup`, e.g. lsst_distrib -t w_2022_26 "
                    "(anything else belongs into prelude:)"
                )
        if self.environment is not None and not _ENVIRONMENT.fullmatch(self.environment):
            raise ValueError(
                f"environment: found {self.environment!r}; `mamba env list` shows the names of environments"
            )
        for name, text in (("load", self.load or ""), ("prelude", self.prelude), *_named(self.packages)):
            if "\0" in text or (name != "prelude" and "\n" in text):
                raise ValueError(f"{name}: found {brief(text)}, which no shell takes")
        return self

    @property
    def sets_up(self) -> bool:
        """Whether there is anything to do before a driver starts."""
        return bool(self.load or self.environment or self.setup or self.packages or self.prelude.strip())


def _named(packages: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    return tuple(("packages", entry) for entry in packages)


def in_force(*, campaign: Stack | None, site: Stack | None) -> Stack:
    """Return the stack of a campaign on a site: what the campaign says, and the site's word on the rest."""
    given: dict[str, object] = {}
    for stack in (site, campaign):
        if stack is not None:
            given.update({key: getattr(stack, key) for key in stack.model_fields_set})
    return Stack.model_validate(given)


def setup_words(line: str) -> tuple[str, ...]:
    """Return the words of one line of ``setup``."""
    return tuple(shlex.split(line))
