"""Actions that make a repository ready: itself, its instrument, filters, sky maps, curated calibrations."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field

from merian_campaign.domain.spec.actions.base import Action, Command, Text, Words, listed
from merian_campaign.domain.spec.base import brief
from merian_campaign.domain.spec.words import SkymapName

_CLASS = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def _class_name(value: str) -> str:
    if not _CLASS.fullmatch(value):
        raise ValueError(
            f"found {brief(value)}; write the class's full name, e.g. lsst.obs.decam.DarkEnergyCamera"
        )
    return value


InstrumentClass = Annotated[
    str,
    AfterValidator(_class_name),
    Field(description="Full name of the instrument's class, e.g. lsst.obs.decam.DarkEnergyCamera."),
]


def _none_if_empty(value: object) -> object:
    return None if value == "" else value


class Create(Action):
    """``butler create``: an empty repository, on SQLite, or on PostgreSQL as a seed file says."""

    NAME: ClassVar[str] = "create"
    PATHS: ClassVar[tuple[str, ...]] = ("seed_config",)

    seed_config: Annotated[
        Text | None,
        BeforeValidator(_none_if_empty),
        Field(description="YAML with registry.db, for one on PostgreSQL; empty or left out: SQLite."),
    ] = None
    group_writable: Annotated[
        bool,
        Field(
            description="All of the group may write, submissions too: chmod ug+rw,g+s, and a umask that "
            "leaves the group its bits. A group that is not the user's own has to be one of the site's "
            "trusted_groups."
        ),
    ] = False

    def commands(self, *, repository: str) -> tuple[Command, ...]:
        """Return the command lines."""
        seed = () if self.seed_config is None else ("--seed-config", self.seed_config)
        folder: tuple[Command, ...] = (("mkdir", "-p", repository),)
        if self.group_writable:
            folder += (("chmod", "ug+rw,g+s", repository),)
        return (*folder, ("butler", "create", *seed, repository))


class RegisterInstrument(Action):
    """``butler register-instrument``: the camera, its detectors and filters; again when filters are new."""

    NAME: ClassVar[str] = "register-instrument"

    instrument: InstrumentClass
    update: Annotated[bool, Field(description="Change records that differ from the class.")] = False

    def commands(self, *, repository: str) -> tuple[Command, ...]:
        """Return the command line."""
        update = ("--update",) if self.update else ()
        return (("butler", "register-instrument", repository, self.instrument, *update),)


class CheckFilters(Action):
    """A check: the registry knows these filters."""

    NAME: ClassVar[str] = "check-filters"

    filters: Annotated[
        Words, BeforeValidator(listed), Field(min_length=1, description="Physical filters, whole names.")
    ]

    def commands(self, *, repository: str) -> tuple[Command, ...]:
        """Return the command line that shows the filters to a person."""
        return (("butler", "query-dimension-records", repository, "physical_filter"),)


class RegisterSkymap(Action):
    """``butler register-skymap``: one sky map; a step for each."""

    NAME: ClassVar[str] = "register-skymap"
    PATHS: ClassVar[tuple[str, ...]] = ("config_file",)

    name: Annotated[SkymapName, Field(description="Name of the sky map, e.g. decam_rings_v1.")]
    config_file: Annotated[Text | None, Field(description="Configuration file, as -C.")] = None
    config: Annotated[
        Words, BeforeValidator(listed), Field(description="Overrides as field=value, as -c.")
    ] = ()

    def commands(self, *, repository: str) -> tuple[Command, ...]:
        """Return the command line."""
        file = () if self.config_file is None else ("-C", self.config_file)
        overrides = [word for entry in (f"name={self.name}", *self.config) for word in ("-c", entry)]
        return (("butler", "register-skymap", repository, *file, *overrides),)


class WriteCuratedCalibrations(Action):
    """``butler write-curated-calibrations``: camera, defects and what else the instrument brings."""

    NAME: ClassVar[str] = "write-curated-calibrations"

    instrument: InstrumentClass
    labels: Annotated[
        Words, BeforeValidator(listed), Field(description="Labels, where the instrument wants some.")
    ] = ()
    expect: Annotated[
        Words,
        BeforeValidator(listed),
        Field(min_length=1, description="Dataset types that are there when it is done."),
    ] = ("camera",)

    def commands(self, *, repository: str) -> tuple[Command, ...]:
        """Return the command line."""
        return (("butler", "write-curated-calibrations", repository, self.instrument, *self.labels),)
