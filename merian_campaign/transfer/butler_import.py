"""Bringing an export into a butler repository: what of it is missing there, and registering just that.

It goes through the butler alone, so SQLite and PostgreSQL are alike. Datasets keep their UUIDs: those that
the repository has already are seen, and skipped.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from merian_campaign.domain.errors import BadInputError, CampaignError, UnavailableError
from merian_campaign.domain.safe_text.text import error_line
from merian_campaign.host.inside import open_inside
from merian_campaign.middleware.actions.perform import share_with_group
from merian_campaign.transfer.manifest import BUTLER_FILE, Manifest, merged_chain

Tell = Callable[[str], None]
"""Takes a line on how far something is."""

_BATCH = 500
_SHOWN = 5


class ButlerImport:
    """One export and one open butler; made by `opened`.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The destination.
    repository : `str`
        Where that is.
    """

    def __init__(self, butler: Any, repository: str) -> None:  # noqa: ANN401 - lsst type
        self._butler = butler
        self._repository = repository
        self._found: Any = None
        self._missing: list[tuple[str, Any]] = []

    @classmethod
    @contextmanager
    def opened(cls, repository: str) -> Iterator[ButlerImport]:
        """Open a repository for an import.

        Raises
        ------
        UnavailableError
            Raised if it cannot be opened.
        """
        from lsst.daf.butler import Butler  # noqa: PLC0415 - costs seconds

        share_with_group(repository)
        try:
            butler = Butler.from_config(repository, writeable=True)
        except Exception as error:
            raise UnavailableError(
                f"{repository}: the repository cannot be opened ({type(error).__name__}: {error})"
            ) from error
        try:
            with butler:
                yield cls(butler, repository)
        except (CampaignError, OSError):
            raise
        except Exception as error:
            said = error_line(error)
            raise UnavailableError(
                f"{repository}: the import has stopped ({said}); what was imported stays, and the same "
                "command goes on"
            ) from error

    def root(self) -> Path | None:
        """Return the folder that files are copied into; `None` when that is no folder."""
        roots = [root for root in self._butler.get_datastore_roots().values() if root is not None]
        return Path(roots[0].ospath) if roots and roots[0].isLocal else None

    def look(self, folder: Path, manifest: Manifest, *, chain: str, tell: Tell) -> tuple[str, ...]:
        """Read an export and compare it with the repository; nothing is written.

        Returns
        -------
        paths : `tuple` [`str`, ...]
            Files of datasets that the repository does not have.

        Raises
        ------
        BadInputError
            Raised if something in it contradicts what the repository has.
        """
        from lsst.daf.butler.transfers import YamlRepoImportBackend  # noqa: PLC0415

        tell(f"reading {folder / BUTLER_FILE}")
        try:
            with os.fdopen(open_inside(folder, BUTLER_FILE), encoding="utf-8") as stream:
                self._found = YamlRepoImportBackend(stream, self._butler)
        except Exception as error:
            written_with = ", ".join(f"{name} {text}" for name, text in manifest.versions.items())
            raise BadInputError(
                f"{folder / BUTLER_FILE}: this butler cannot read it ({type(error).__name__}: {error}); it "
                f"was written with {written_with}"
            ) from error
        problems = [*self._skymaps(), *self._dataset_types(), *self._collections(chain)]
        known = {entry.path for entry in manifest.files}
        for (name, run), records in self._found.datasets.items():
            tell(f"comparing {name} of {run}")
            problems += self._compare(name, run, records, known)
        if problems:
            more = f"\n  and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
            raise BadInputError(
                f"nothing was imported into {self._repository}, for the export contradicts it:\n  "
                + "\n  ".join(problems[:_SHOWN])
                + more
            )
        return tuple(path for path, _ in self._missing)

    def _records(self, element: str) -> list[Any]:
        return list(self._found.dimensions.get(self._butler.dimensions[element], ()))

    def _skymaps(self) -> Iterator[str]:
        here = {
            record.name: record.hash
            for record in self._butler.query_dimension_records("skymap", limit=None, explain=False)
        }
        by_hash = {value: name for name, value in here.items()}
        for record in self._records("skymap"):
            if record.name in here and here[record.name] != record.hash:
                yield (
                    f"the sky map {record.name} is another one here: hash {here[record.name].hex()[:12]}, in "
                    f"the export {record.hash.hex()[:12]}; tracts and patches would not mean the same"
                )
            elif record.name not in here and record.hash in by_hash:
                yield f"the sky map {record.name} is called {by_hash[record.hash]} here"

    def _dataset_types(self) -> Iterator[str]:
        from lsst.daf.butler import MissingDatasetTypeError  # noqa: PLC0415

        for dataset_type in self._found.datasetTypes:
            try:
                here = self._butler.get_dataset_type(dataset_type.name)
            except MissingDatasetTypeError:
                continue
            if here != dataset_type:
                yield f"the dataset type {dataset_type.name} is {here} here, in the export {dataset_type}"

    def _collections(self, chain: str) -> Iterator[str]:
        for name, wanted in (*((run, "RUN") for run in self._found.runs), (chain, "CHAINED")):
            kind = self._kind(name)
            if kind and kind != wanted:
                yield f"{name} is a {kind} collection here, and must be a {wanted} one"

    def _kind(self, name: str) -> str:
        from lsst.daf.butler import MissingCollectionError  # noqa: PLC0415

        try:
            return str(self._butler.collections.get_info(name).type.name)
        except MissingCollectionError:
            return ""

    def _compare(self, name: str, run: str, records: Sequence[Any], known: set[str]) -> Iterator[str]:
        """Note what is missing; yield what contradicts."""
        here = self._datasets(name, run)
        for dataset in records:
            path = dataset.path.ospath if hasattr(dataset.path, "ospath") else str(dataset.path)
            if path not in known:
                yield f"{path} is not in the manifest"
                continue
            for ref in dataset.refs:
                other = here.get(ref.dataId)
                if other is not None and other != ref.id:
                    yield f"{run} has another {name} for {ref.dataId}: {other}, in the export {ref.id}"
            if any(ref.dataId not in here for ref in dataset.refs):
                self._missing.append((path, dataset))

    def _datasets(self, name: str, run: str) -> dict[Any, Any]:
        from lsst.daf.butler import MissingDatasetTypeError  # noqa: PLC0415

        if not self._kind(run):
            return {}
        try:
            refs = self._butler.query_datasets(name, collections=[run], limit=None, explain=False)
        except MissingDatasetTypeError:
            return {}
        return {ref.dataId: ref.id for ref in refs}

    def load(self, folder: Path, *, transfer: str, skip: Sequence[str], tell: Tell) -> int:
        """Register what is missing, and take its files over; return how many datasets.

        Each batch is one transaction of registry and datastore. What is in an interrupted one is done again.

        Parameters
        ----------
        folder : `pathlib.Path`
            The export.
        transfer : `str`
            How the files get there: copy, move, hardlink ...
        skip : `~collections.abc.Sequence` [`str`]
            Dimensions whose records are left alone altogether.
        tell : callable
            Told how far it is.

        Raises
        ------
        BadInputError
            Raised, before anything is registered, if records are left out that are not there.
        """
        butler = self._butler
        self._require(skip)
        if self._missing:
            for dataset_type in self._found.datasetTypes:
                butler.registry.registerDatasetType(dataset_type)
            for run in sorted(self._found.runs):
                butler.collections.register(run, doc=self._found.collectionDocs.get(run))
            tell("inserting dimension records")
            with butler.transaction():
                for element in butler.dimensions.sorted(self._found.dimensions.keys()):
                    if element.name not in skip:
                        records = self._found.dimensions[element]
                        butler.registry.insertDimensionData(element, *records, skip_existing=True)
        for start in range(0, len(self._missing), _BATCH):
            tell(f"importing {start} of {len(self._missing)} datasets")
            batch = []
            for path, dataset in self._missing[start : start + _BATCH]:
                dataset.path = str((folder / path).absolute())
                batch.append(dataset)
            butler.ingest(*batch, transfer=transfer, skip_existing=True)
        return len(self._missing)

    def _require(self, skip: Sequence[str]) -> None:
        """Refuse to leave out records that the repository does not have."""
        for name in ("instrument", "skymap", "tract"):
            if name in skip and self._missing:
                here = {
                    record.dataId
                    for record in self._butler.query_dimension_records(name, limit=None, explain=False)
                }
                lacking = [str(record.dataId) for record in self._records(name) if record.dataId not in here]
                if lacking:
                    raise BadInputError(
                        f"--skip-dimensions {name}: {self._repository} does not have {lacking[0]}; leave the "
                        "option out, what is there stays as it is anyway"
                    )

    def put_chain(self, chain: str, runs: Sequence[str]) -> bool:
        """Make a chain show RUNs, in this order, before what else it has; return whether it changed."""
        from lsst.daf.butler import CollectionType  # noqa: PLC0415

        butler = self._butler
        butler.collections.register(chain, CollectionType.CHAINED)
        existing = tuple(butler.collections.get_info(chain).children)
        wanted = merged_chain(existing, runs)
        if wanted == existing:
            return False
        butler.collections.redefine_chain(chain, wanted)
        return True
