"""What a butler repository has of an export, and the file that ``butler import`` reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any

from merian_campaign.domain.errors import BadInputError, UnavailableError
from merian_campaign.domain.safe_text.text import first_line
from merian_campaign.transfer.manifest import ExportRequest, SelectedDatasets, SourceFile, chosen_types
from merian_campaign.wms import upstream

Tell = Callable[[str], None]
"""Takes a line on how far something is."""

_PACKAGES = ("merian-campaign", "lsst-daf-butler", "lsst-pipe-base", "lsst-resources")
_BATCH = 1000


class ButlerExport:
    """One export out of one open butler; made by `opened`.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The source.
    instrument : `str`
        The campaign's instrument, which the destination may not know yet; empty to leave it out.
    """

    def __init__(self, butler: Any, instrument: str) -> None:  # noqa: ANN401 - lsst type
        self._butler = butler
        self._instrument = instrument
        self._refs: list[Any] = []
        self._paths: dict[Any, str] = {}

    @classmethod
    @contextmanager
    def opened(cls, repository: str, defaults: Mapping[str, str]) -> Iterator[ButlerExport]:
        """Open a repository for an export.

        Parameters
        ----------
        repository : `str`
            Where it is.
        defaults : `~collections.abc.Mapping`
            Instrument and sky map that data queries mean unless they say otherwise.

        Raises
        ------
        UnavailableError
            Raised if it cannot be opened.
        """
        from lsst.daf.butler import Butler  # noqa: PLC0415 - costs seconds

        try:
            butler = Butler.from_config(repository, writeable=False)
        except Exception as error:
            raise UnavailableError(
                f"{repository}: the repository cannot be opened ({type(error).__name__}: {error})"
            ) from error
        with butler, butler.clone(dataId=_known(butler, defaults)) as ready:
            yield cls(ready, defaults.get("instrument", ""))

    def select(self, wish: ExportRequest, *, tell: Tell) -> SelectedDatasets:
        """Find the datasets of a wish, and their files.

        Raises
        ------
        BadInputError
            Raised if there are none, or the query is refused.
        """
        chains = self._existing(wish.chains)
        counts = {}
        for name in chosen_types(self._types(chains), wish.types):
            tell(f"looking for {name}")
            refs = self._query(name, chains, wish.where)
            if refs:
                counts[name] = len(refs)
            self._refs += refs
        if not self._refs:
            where = f" where {wish.where}" if wish.where else ""
            raise BadInputError(f"{', '.join(chains)} hold nothing of {', '.join(wish.types)}{where}")
        files = self._files(tell=tell)
        order = self._butler.collections.query(chains, flatten_chains=True)
        used = {ref.run for ref in self._refs}
        return SelectedDatasets(
            files=tuple(sorted(files, key=lambda file: file.path)),
            types=tuple(sorted(counts.items())),
            runs=tuple(dict.fromkeys(name for name in order if name in used)),
            skymaps=self._skymaps(),
        )

    def _existing(self, chains: Sequence[str]) -> list[str]:
        from lsst.daf.butler import MissingCollectionError  # noqa: PLC0415

        found = []
        for name in chains:
            try:
                self._butler.collections.get_info(name)
            except MissingCollectionError:
                continue
            found.append(name)
        if not found:
            raise BadInputError(
                f"the repository has none of {', '.join(chains)} yet; `merian-campaign status` says how far "
                "the campaign is"
            )
        return found

    def _types(self, chains: Sequence[str]) -> set[str]:
        runs = self._butler.collections.query_info(chains, flatten_chains=True, include_summary=True)
        return {name for info in runs for name in info.dataset_types or ()}

    def _query(self, name: str, chains: Sequence[str], where: str) -> list[Any]:
        try:
            found = self._butler.query_datasets(
                name, collections=chains, find_first=True, where=where, limit=None, explain=False,
                with_dimension_records=True,
            )  # fmt: skip
        except Exception as error:
            raise BadInputError(
                f"--where: the butler refuses {where!r} for {name}: {first_line(str(error))}"
            ) from error
        return list(found)

    def _files(self, *, tell: Tell) -> Iterator[SourceFile]:
        roots = [root for root in self._butler.get_datastore_roots().values() if root is not None]
        for start in range(0, len(self._refs), _BATCH):
            tell(f"looking at {start} of {len(self._refs)} files")
            batch = self._refs[start : start + _BATCH]
            found = upstream.uris_of(self._butler, batch)
            for ref in batch:
                yield self._file(ref, found[ref], roots)

    def _file(self, ref: Any, uris: Any, roots: list[Any]) -> SourceFile:  # noqa: ANN401 - lsst types
        uri = uris.primaryURI
        if uri is None or uri.fragment:
            raise BadInputError(
                f"{ref}: is stored in parts or in a zip file, which the butler cannot export; leave "
                f"{ref.datasetType.name} out (--types)"
            )
        inside = next((path for root in roots if (path := uri.relative_to(root)) is not None), None)
        path = inside or f"outside/{ref.id}/{uri.basename()}"
        self._paths[ref.id] = path
        try:
            size = uri.size()
        except FileNotFoundError:
            raise BadInputError(f"{uri}: the file of {ref} is not there") from None
        place = uri.ospath if uri.isLocal else str(uri)
        return SourceFile(path=path, uri=place, dataset=str(ref.id), size=size)

    def _skymaps(self) -> tuple[tuple[str, str], ...]:
        names = {ref.dataId["skymap"] for ref in self._refs if "skymap" in ref.dataId.dimensions}
        records = self._butler.query_dimension_records("skymap", limit=None, explain=False)
        return tuple(sorted((record.name, record.hash.hex()) for record in records if record.name in names))

    def _of_instrument(self, element: str) -> list[Any]:
        records = self._butler.query_dimension_records(
            element, instrument=self._instrument, limit=None, explain=False
        )
        return sorted(records, key=lambda record: str(record.dataId))

    @contextmanager
    def open_file(self, uri: str) -> Iterator[IO[bytes]]:
        """Open a file of a dataset for reading."""
        if "://" not in uri:
            with Path(uri).open("rb") as stream:
                yield stream
            return
        from lsst.resources import ResourcePath  # noqa: PLC0415

        with ResourcePath(uri).open("rb") as remote:
            yield remote

    def write(self, file: Path) -> None:
        """Write what ``butler import`` reads; the datasets' files are not looked at."""

        def place(dataset: Any) -> Any:  # noqa: ANN401 - lsst type
            dataset.path = self._paths[dataset.refs[0].id]
            return dataset

        with self._butler.export(filename=str(file), format="yaml", transfer=None) as export:
            export.saveDatasets(self._refs, rewrite=place)
            # Bands are known to a registry by the filters of its instruments alone.
            for element in ("instrument", "physical_filter") if self._instrument else ():
                export.saveDimensionData(element, self._of_instrument(element))


def _known(butler: Any, values: Mapping[str, str]) -> dict[str, str]:  # noqa: ANN401 - lsst type
    """Return the values of dimensions that the repository has: others cannot be defaults."""
    return {
        name: value
        for name, value in values.items()
        if value in {record.name for record in butler.query_dimension_records(name, explain=False)}
    }


def versions() -> dict[str, str]:
    """Return the versions of the packages that make an export."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
