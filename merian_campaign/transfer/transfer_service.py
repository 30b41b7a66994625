"""Exporting a campaign's final datasets, and importing an export: the order of calls."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.record.applied_spec import applied_spec
from merian_campaign.domain.record.snapshot import CampaignView
from merian_campaign.domain.spec import CampaignSpec
from merian_campaign.services.find import find_campaign
from merian_campaign.services.ports import Store
from merian_campaign.services.runtime import Runtime
from merian_campaign.transfer import exports, received
from merian_campaign.transfer.manifest import (
    BUTLER_FILE,
    ExportRequest,
    FileEntry,
    Manifest,
    SelectedDatasets,
    wish,
)

Tell = Callable[[str], None]
"""Takes a line on how far something is."""

LINKS = frozenset({"link", "hardlink", "symlink", "relsymlink", "direct"})
"""Ways to take files over that need them to stay where they are."""


class Source(Protocol):
    """A repository that is exported from."""

    def select(self, wish: ExportRequest, *, tell: Tell) -> SelectedDatasets:
        """Find the datasets of a wish, and their files."""

    def open_file(self, uri: str) -> AbstractContextManager[IO[bytes]]:
        """Open a file of a dataset for reading."""

    def write(self, file: Path) -> None:
        """Write what ``butler import`` reads."""


class Destination(Protocol):
    """A repository that is imported into."""

    def root(self) -> Path | None:
        """Return the folder that files are copied into; `None` when that is no folder."""

    def look(self, folder: Path, manifest: Manifest, *, chain: str, tell: Tell) -> tuple[str, ...]:
        """Compare an export with the repository; return the files of what is missing there."""

    def load(self, folder: Path, *, transfer: str, skip: Sequence[str], tell: Tell) -> int:
        """Register what is missing, and take its files over; return how many datasets."""

    def put_chain(self, chain: str, runs: Sequence[str]) -> bool:
        """Make a chain show RUNs in this order; return whether it changed."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What exporting did.

    Parameters
    ----------
    manifest : `Manifest`
        What the export holds.
    copied, dropped : `int`
        Files that were copied now, and that were removed as not wanted any more.
    changed : `bool`
        Whether anything of the export, its archive included, was written.
    """

    manifest: Manifest
    copied: int
    dropped: int
    changed: bool


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What importing did.

    Parameters
    ----------
    datasets, known : `int`
        Datasets that were registered now, and that were there before.
    chain : `str`
        Chain that shows them.
    chained : `bool`
        Whether it was changed.
    """

    datasets: int
    known: int
    chain: str
    chained: bool


@dataclass(frozen=True, kw_only=True)
class Export:
    """Exports a campaign.

    Parameters
    ----------
    store : `Store`
        The tracking database.
    open_source : callable
        Opens a butler repository, given default values of dimensions.
    versions : callable
        Returns versions of packages, by name.
    runtime : `Runtime`
        Who asks, and when.
    tell : callable
        Told how far it is.
    """

    store: Store
    open_source: Callable[[str, Mapping[str, str]], AbstractContextManager[Source]]
    versions: Callable[[], dict[str, str]]
    runtime: Runtime
    tell: Tell

    def run(
        self,
        name: str,
        *,
        folder: Path,
        types: Sequence[str],
        tracts: Sequence[int],
        where: str,
        archive: Path | None,
    ) -> Exported:
        """Bring an export up to date; killed and repeated, it copies only what is missing.

        Parameters
        ----------
        name : `str`
            The campaign.
        folder : `pathlib.Path`
            New, empty, or an earlier export of this campaign.
        types, tracts, where
            What to export, see `wish`.
        archive : `pathlib.Path` or `None`
            Tar file to pack it into.
        """
        campaign = find_campaign(self.store, name)
        spec = applied_spec(campaign)
        wanted = wish(spec, self.store.snapshot(name), types=types, tracts=tracts, where=where)
        if archive is not None and archive.resolve().is_relative_to(folder.resolve()):
            raise BadInputError(f"{archive}: the archive cannot lie in the folder that goes into it")
        defaults = {"instrument": spec.instrument} | ({"skymap": spec.skymap} if spec.skymap else {})
        with self.open_source(spec.butler, defaults) as source:
            selected = source.select(wanted, tell=self.tell)
            with exports.locked(folder):
                return self._write(campaign, spec, wanted, selected, source, folder=folder, archive=archive)

    def _write(
        self,
        campaign: CampaignView,
        spec: CampaignSpec,
        wanted: ExportRequest,
        selected: SelectedDatasets,
        source: Source,
        *,
        folder: Path,
        archive: Path | None,
    ) -> Exported:
        copied = exports.claim(folder, campaign=campaign.name, repository=spec.butler)
        todo = exports.missing(folder, selected.files, copied, tell=self.tell)
        exports.require_space(folder, sum(file.size for file in todo), what="the export")
        extra = set(copied) - {file.path for file in selected.files}
        if todo or extra:
            exports.open_again(folder)
        copied |= exports.copy(folder, todo, open_file=source.open_file, tell=self.tell)
        dropped = exports.drop(folder, extra, ())
        self.tell(f"writing {BUTLER_FILE}")
        part = folder / f".{BUTLER_FILE}.part"
        part.unlink(missing_ok=True)  # it could be a link
        source.write(part)
        exports.place_butler_file(folder, part)
        manifest = Manifest(
            campaign=campaign.name,
            revision=campaign.revision,
            campaign_sha256=campaign.sha256,
            repository=spec.butler,
            created=self.runtime.clock().isoformat(timespec="seconds"),
            searched=list(wanted.chains),
            where=wanted.where,
            chain=wanted.chain,
            runs=list(selected.runs),
            dataset_types=dict(selected.types),
            incomplete=list(wanted.incomplete),
            skymaps=dict(selected.skymaps),
            versions=self.versions(),
            butler_file=exports.entry_of(folder, BUTLER_FILE),
            files=[exports.listed(copied[file.path]) for file in selected.files],
        )
        changed = exports.write_manifest(folder, manifest)
        if archive is not None:
            changed |= exports.pack(folder, archive, manifest, tell=self.tell)
        return Exported(manifest=manifest, copied=len(todo), dropped=dropped, changed=changed)


def import_export(
    *,
    place: Path,
    open_destination: Callable[[], AbstractContextManager[Destination]],
    chain: str | None,
    transfer: str,
    skip: Sequence[str],
    tell: Tell,
) -> Imported:
    """Import an export; run twice, it has one effect.

    Nothing is registered before every file that is needed was compared with its checksum.

    Parameters
    ----------
    place : `pathlib.Path`
        Folder of an export, or its archive.
    open_destination : callable
        Opens the repository.
    chain : `str` or `None`
        Chain that shall show it; `None` for the one of its manifest.
    transfer : `str`
        How the files get into the repository.
    skip : `~collections.abc.Sequence` [`str`]
        Dimensions whose records are left alone altogether.
    tell : callable
        Told how far it is.

    Raises
    ------
    BadInputError
        Raised if the export is damaged, or contradicts what the repository has.
    """
    if place.is_file() and transfer in LINKS:
        raise BadInputError(
            f"{place}: --transfer {transfer} would point into what is unpacked for the import only; "
            "unpack it (tar -xf), or use copy or move"
        )
    with received.unpacked(place, tell=tell) as folder:
        manifest = exports.read_manifest(folder)
        received.verify(folder, [manifest.butler_file], tell=tell)
        name = chain or manifest.chain
        with open_destination() as destination:
            missing = set(destination.look(folder, manifest, chain=name, tell=tell))
            needed = [entry for entry in manifest.files if entry.path in missing]
            received.verify(folder, needed, tell=tell)
            root = destination.root()
            if transfer == "copy" and root is not None:
                exports.require_space(root, sum(entry.size for entry in needed), what="the import")
            with _unchanging(folder, needed, transfer=transfer, root=root, tell=tell) as (files, how):
                datasets = destination.load(files, transfer=how, skip=skip, tell=tell)
            chained = destination.put_chain(name, manifest.runs)
    known = sum(manifest.dataset_types.values()) - datasets
    return Imported(datasets=datasets, known=known, chain=name, chained=chained)


@contextmanager
def _unchanging(
    folder: Path, needed: Sequence[FileEntry], *, transfer: str, root: Path | None, tell: Tell
) -> Iterator[tuple[Path, str]]:
    """Give the folder from which files are taken over, and how: nobody else may exchange them meanwhile."""
    others = received.shared(folder, needed)
    if not others or transfer in LINKS:
        yield folder, transfer
    elif transfer == "move":
        raise BadInputError(
            f"--transfer move: {others}; or use copy, which takes nothing but the files of the manifest"
        )
    else:
        beside = root if root is not None else Path(tempfile.gettempdir())
        with received.taken_over(folder, needed, beside=beside, tell=tell) as copied:
            yield copied, "move"
