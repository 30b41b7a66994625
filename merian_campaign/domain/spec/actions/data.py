"""Actions that bring data in: reference catalogues, raws, visits; and the free-form command."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from merian_campaign.domain.safe_text.shell import ShellPattern
from merian_campaign.domain.spec.actions.base import Action, Collection, Command, Text, Words, listed
from merian_campaign.domain.spec.actions.repository import InstrumentClass
from merian_campaign.domain.spec.base import MOST_CORES, MOST_IDS
from merian_campaign.domain.spec.words import VARIABLE_PATTERN, CollectionList, DatasetTypeName

Transfer = Annotated[
    Literal["auto", "link", "symlink", "hardlink", "copy", "relsymlink", "direct"],
    Field(description="How files come into the datastore."),
]
"""Not ``move``: an action that is repeated would not find its files."""


class ReferenceCatalogue(Action):
    """A sharded reference catalogue: its table of files, its dataset type, ``butler ingest-files``."""

    NAME: ClassVar[str] = "reference-catalogue"
    PATHS: ClassVar[tuple[str, ...]] = ("shards", "table")

    name: Annotated[DatasetTypeName, Field(description="Dataset type, e.g. gaia_dr2_20200414.")]
    shards: Annotated[Text, Field(description="Folder of shards, files named by trixel: 147456.fits.")]
    table: Annotated[Text, Field(description="The table of files to write (.ecsv).")]
    collection: Annotated[Collection, Field(description="RUN to ingest into.")] = "refcats/gen2"
    storage_class: Annotated[
        str, Field(max_length=64, pattern=VARIABLE_PATTERN, description="Of the dataset type.")
    ] = "SimpleCatalog"
    dimension: Annotated[
        str, Field(pattern=r"^(htm|healpix)[0-9]{1,2}$", description="Pixels that its files are named by.")
    ] = "htm7"
    transfer: Transfer = "link"

    def commands(self, *, repository: str) -> tuple[Command, ...]:
        """Return the command lines."""
        return (
            ("merian-campaign", "refcat-table", self.shards, self.table, "--dimension", self.dimension),
            ("butler", "register-dataset-type", repository, self.name, self.storage_class, self.dimension),
            (
                "butler", "ingest-files", "-t", self.transfer,
                repository, self.name, self.collection, self.table,
            ),
        )  # fmt: skip


class TransferDatasets(Action):
    """``butler transfer-datasets``: datasets of another repository, e.g. its reference catalogues."""

    NAME: ClassVar[str] = "transfer-datasets"
    REPOSITORIES: ClassVar[tuple[str, ...]] = ("source",)

    source: Annotated[Text, Field(description="The other repository.")]
    collections: Annotated[CollectionList, Field(min_length=1, description="Of the other one.")]
    dataset_types: Annotated[Words, BeforeValidator(listed), Field(description="Default: all.")] = ()
    transfer: Transfer = "link"

    def commands(self, *, repository: str) -> tuple[Command, ...]:
        """Return the command line; without ``--limit 0`` it would stop at 20000 datasets with a warning."""
        types = [word for name in self.dataset_types for word in ("-d", name)]
        return (
            (
                "butler", "transfer-datasets", "--register-dataset-types", "-t", self.transfer,
                "--collections", ",".join(self.collections), *types, "--limit", "0",
                self.source, repository,
            ),
        )  # fmt: skip


class IngestRaws(Action):
    """``butler ingest-raws``: raw files by glob patterns; those that are in already are left alone."""

    NAME: ClassVar[str] = "ingest-raws"
    PATHS: ClassVar[tuple[str, ...]] = ("files",)

    files: Annotated[
        Words, BeforeValidator(listed), Field(min_length=1, description="Glob patterns of raw files.")
    ]
    transfer: Transfer = "link"
    run: Annotated[
        Collection | None, Field(description="RUN they go to; default: the instrument's, e.g. DECam/raw/all.")
    ] = None
    processes: Annotated[int, Field(ge=1, le=MOST_CORES, description="Processes that read headers.")] = 1
    allow_failures: Annotated[
        int, Field(ge=0, le=MOST_IDS, description="So many files may be unreadable.")
    ] = 0

    def commands(self, *, repository: str) -> tuple[Command, ...]:
        """Return the command line, patterns as they are."""
        patterns = tuple(ShellPattern(pattern) for pattern in self.files)
        return (self.command(repository=repository, files=patterns),)

    def command(self, *, repository: str, files: tuple[str, ...]) -> Command:
        """Return the command line for these files."""
        run = () if self.run is None else ("--output-run", self.run)
        several = () if self.processes == 1 else ("-j", str(self.processes))
        return ("butler", "ingest-raws", repository, *files, "--transfer", self.transfer, *run, *several)


class DefineVisits(Action):
    """``butler define-visits``: visits of science exposures. One process: more lock each other out."""

    NAME: ClassVar[str] = "define-visits"

    instrument: InstrumentClass
    where: Annotated[str, Field(description="Data query, to define only some.")] = ""

    def commands(self, *, repository: str) -> tuple[Command, ...]:
        """Return the command line."""
        where = ("--where", self.where) if self.where else ()
        return (("butler", "define-visits", repository, self.instrument, *where),)


class RunCommand(Action):
    """Any other command, as a list of words; no shell reads it."""

    NAME: ClassVar[str] = "command"
    PATHS: ClassVar[tuple[str, ...]] = ("creates",)

    run: Annotated[
        Words,
        BeforeValidator(listed),
        Field(min_length=1, description="Program and arguments; {butler} stands for the repository."),
    ]
    creates: Annotated[Text | None, Field(description="Done when this path exists.")] = None
    unless: Annotated[
        Words | None,
        BeforeValidator(listed),
        Field(description="Done when this command ends with exit code 0."),
    ] = None

    def commands(self, *, repository: str) -> tuple[Command, ...]:
        """Return the command line."""
        return (self.filled(self.run, repository=repository),)

    def filled(self, words: tuple[str, ...], *, repository: str) -> Command:
        """Return words with the repository put in."""
        return tuple(word.replace("{butler}", repository) for word in words)
