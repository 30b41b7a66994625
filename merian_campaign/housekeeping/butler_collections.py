"""RUN collections as a butler repository and its file system show them, and taking them away.

Everything goes through the butler; of the file system only folders of RUN collections below the datastore's
root are looked at, never one that a link leads out of it. The sizes are those of the files, looked at one by
one: what quanta wrote has no size in the datastore's records.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from merian_campaign.domain.errors import CampaignError, UnavailableError
from merian_campaign.domain.safe_text.text import error_line
from merian_campaign.housekeeping.cleaning import ForbiddenError, RunFacts
from merian_campaign.housekeeping.inventory import CollectionSummary
from merian_campaign.wms import upstream

Tell = Callable[[str], None]
"""Takes a line on how far something is."""

_BATCH = 1000


class ButlerHousekeeping:
    """The collections of one butler repository.

    Parameters
    ----------
    repository : `str`
        Where it is.
    """

    def __init__(self, repository: str) -> None:
        self._repository = repository

    @contextmanager
    def _open(self, *, writeable: bool = False) -> Iterator[Any]:
        from lsst.daf.butler import Butler  # noqa: PLC0415 - costs seconds

        try:
            butler = Butler.from_config(self._repository, writeable=writeable)
        except Exception as error:
            raise UnavailableError(
                f"{self._repository}: the repository cannot be opened ({type(error).__name__}: {error})"
            ) from error
        try:
            with butler:
                yield butler
        except (CampaignError, OSError):
            raise
        except Exception as error:
            said = error_line(error)
            raise UnavailableError(f"{self._repository}: the butler cannot do it now ({said})") from error

    # -- looking -----------------------------------------------------------------------------------
    def runs(
        self, names: Sequence[str], *, files: bool, counted: Container[str] = (), tell: Tell
    ) -> Mapping[str, RunFacts]:
        """Return what there is of RUN collections.

        Parameters
        ----------
        names : `~collections.abc.Sequence` [`str`]
            Their names.
        files : `bool`
            Whether to look at the files of their folders: how many, how large, which are known.
        counted : `~collections.abc.Container` [`str`]
            Those whose datasets are counted although some chain shows them.
        tell : callable
            Told how far it is.
        """
        with self._open() as butler, butler.registry.caching_context():
            look = _Look(butler)
            found = {}
            for number, name in enumerate(names, start=1):
                tell(f"looking at {name} ({number} of {len(names)})")
                found[name] = look.run(name, files=files, counted=name in counted)
            return found

    def collections(
        self, names: Iterable[str], *, sizes: bool, tell: Tell
    ) -> Mapping[str, CollectionSummary]:
        """Return what there is of collections of any type; those that do not exist are left out.

        Parameters
        ----------
        names : `~collections.abc.Iterable` [`str`]
            Their names.
        sizes : `bool`
            Whether to add up the files of RUN collections.
        tell : callable
            Told how far it is.
        """
        with self._open() as butler, butler.registry.caching_context():
            look = _Look(butler)
            found = {}
            for name in names:
                tell(f"looking at {name}")
                facts = look.collection(name, sizes=sizes)
                if facts is not None:
                    found[name] = facts
            return found

    # -- taking away -------------------------------------------------------------------------------
    def unchain(self, run: str) -> None:
        """Take a RUN out of every chain it is a child of; nothing happens when it is in none."""
        with self._open(writeable=True) as butler:
            look = _Look(butler)
            with butler.transaction():
                for parent in look.run(run, files=False, shallow=True).parents:
                    butler.collections.remove_from_chain(parent, run)

    def remove_run(self, run: str, *, again: bool) -> None:
        """Remove a RUN and its datasets from registry and datastore; nothing happens when it is gone.

        It must be in no chain: the butler refuses otherwise, but only when the datasets are gone.

        Parameters
        ----------
        run : `str`
            Its name.
        again : `bool`
            Whether an earlier removal was interrupted. It may have left files in the datastore's trash, which
            the registry does not know any more and the datastore still does: then the trash is emptied.
        """
        with self._open(writeable=True) as butler:
            if again:
                upstream.empty_trash(butler)  # what is in it has been given up by its owners
            facts = _Look(butler).run(run, files=False, shallow=True)
            if not facts.registered:
                return
            if facts.parents:
                raise ForbiddenError(f"{run}: was put into {facts.parents[0]} just now; it was not removed")
            butler.removeRuns([run])

    def remove_files(self, run: str) -> int:
        """Remove the files in a RUN's folder that the registry does not know; return how many."""
        with self._open() as butler:
            look = _Look(butler)
            folder = look.folder(run)
            if folder is None:
                return 0
            strays = look.strays(run, folder)
            for path in strays:
                path.unlink(missing_ok=True)
            _remove_empty(folder)
            return len(strays)


class _Look:
    """Questions to one open butler; what was asked before is not asked again."""

    def __init__(self, butler: Any) -> None:  # noqa: ANN401 - lsst type
        self._butler = butler
        roots = [root for root in butler.get_datastore_roots().values() if root is not None]
        # With several datastores, or a remote one, no folder belongs to a RUN as far as we can tell.
        self._root = Path(roots[0].ospath) if len(roots) == 1 and roots[0].isLocal else None
        self._types: dict[str, frozenset[str]] = {}
        self._flat: dict[str, tuple[str, ...]] = {}
        self._shadowed: dict[tuple[str, tuple[str, ...]], int] = {}
        self._holders: dict[str, set[str]] | None = None

    def _info(self, name: str) -> Any:  # noqa: ANN401 - lsst type
        from lsst.daf.butler import MissingCollectionError  # noqa: PLC0415

        try:
            return self._butler.collections.get_info(name, include_parents=True, include_summary=True)
        except MissingCollectionError:
            return None

    def _dataset_types(self, run: str) -> frozenset[str]:
        if run not in self._types:
            info = self._info(run)
            self._types[run] = frozenset(info.dataset_types or ()) if info is not None else frozenset()
        return self._types[run]

    def run(self, name: str, *, files: bool, shallow: bool = False, counted: bool = False) -> RunFacts:
        """Return what there is of a RUN; ``shallow``: only its type and its chains."""
        info = self._info(name)
        folder = self.folder(name)
        kind, parents = "", ()
        if info is not None:
            kind, parents = info.type.name, tuple(sorted(info.parents))
        if shallow or kind not in {"", "RUN"}:
            return RunFacts(run=name, kind=kind, parents=parents, folder=folder is not None)
        size = strays = stray_size = 0
        if files and folder is not None:
            size, strays, stray_size = self._sizes(name, folder)
        seen = self._seen(name, parents) if kind else ""
        return RunFacts(
            run=name,
            kind=kind,
            parents=parents,
            datasets=self._count(name) if kind and (counted or not seen) else 0,
            seen=seen,
            held_by=tuple(sorted(self._held_by(name))) if kind else (),
            folder=folder is not None,
            size=size,
            strays=strays,
            stray_size=stray_size,
        )

    def collection(self, name: str, *, sizes: bool) -> CollectionSummary | None:
        """Return what there is of a collection."""
        info = self._info(name)
        folder = self.folder(name) if info is None or info.type.name == "RUN" else None
        if info is None:
            if folder is None:
                return None
            return CollectionSummary(name=name, kind="", size=_size(_files(folder)) if sizes else None)
        is_run = info.type.name == "RUN"
        size = None
        if sizes and is_run:
            size = _size(_files(folder)) if folder is not None else self._recorded_size(name)
        return CollectionSummary(
            name=name,
            kind=info.type.name,
            children=tuple(info.children),
            datasets=None if info.type.name == "CHAINED" else self._count(name),
            size=size,
        )

    def _count(self, name: str) -> int:
        total = 0
        with self._butler.query() as query:
            for dataset_type in sorted(self._dataset_types(name)):
                found = query.datasets(dataset_type, collections=[name], find_first=False)
                total += found.count(exact=True)
        return total

    # -- what chains show --------------------------------------------------------------------------
    def _seen(self, run: str, parents: Sequence[str]) -> str:
        """Return in words what some chain gives of a RUN before anything else; empty for nothing.

        Only chains that have it as a child count: what none of these gives, no chain above them can give.
        Those in which it comes early are asked first: they answer fast, and mostly that something is seen.
        """
        places = [(self._runs_before(run, parent), parent) for parent in parents]
        for before, parent in sorted(places, key=lambda place: len(place[0])):
            for dataset_type in sorted(self._dataset_types(run)):
                rivals = tuple(other for other in before if dataset_type in self._dataset_types(other))
                number = self._first(run, dataset_type, rivals)
                if number:
                    return f"{number} {dataset_type} of it through {parent}"
        return ""

    def _runs_before(self, run: str, chain: str) -> tuple[str, ...]:
        if chain not in self._flat:
            from lsst.daf.butler import CollectionType  # noqa: PLC0415

            self._flat[chain] = tuple(
                self._butler.collections.query(chain, CollectionType.RUN, flatten_chains=True)
            )
        flat = self._flat[chain]
        return flat[: flat.index(run)]

    def _first(self, run: str, dataset_type: str, rivals: tuple[str, ...]) -> int:
        """Return how many datasets of a type a search through rivals, then the RUN, finds in the RUN."""
        key = (dataset_type, (*rivals, run))
        if key not in self._shadowed:
            refs = self._butler.query_datasets(
                dataset_type, collections=[*rivals, run], find_first=True, limit=None, explain=False
            )
            self._shadowed[key] = sum(1 for ref in refs if ref.run == run)
        return self._shadowed[key]

    def _held_by(self, run: str) -> set[str]:
        """Return TAGGED and CALIBRATION collections that hold datasets of a RUN."""
        if self._holders is None:
            self._holders = {}
            for holder, held in self._associations():
                self._holders.setdefault(held, set()).add(holder)
        return self._holders.get(run, set())

    def _associations(self) -> Iterator[tuple[str, str]]:
        from lsst.daf.butler import CollectionType  # noqa: PLC0415

        kinds = {CollectionType.TAGGED, CollectionType.CALIBRATION}
        for info in self._butler.collections.query_info("*", kinds, include_summary=True):
            for dataset_type in sorted(info.dataset_types or ()):
                found = self._butler.registry.queryDatasetAssociations(
                    dataset_type, collections=[info.name], collectionTypes=kinds, flattenChains=False
                )
                for run in {entry.ref.run for entry in found}:
                    yield info.name, run

    # -- files -------------------------------------------------------------------------------------
    def folder(self, run: str) -> Path | None:
        """Return the folder of a RUN below the datastore's root, if there is one."""
        if self._root is None or not run.strip("/"):
            return None
        folder = self._root / run
        if not folder.is_dir() or folder.is_symlink():
            return None
        root, place = self._root.resolve(), folder.resolve()
        return folder if root in place.parents and place == root / run else None

    def strays(self, run: str, folder: Path) -> list[Path]:
        """Return the files in a RUN's folder that belong to no dataset of any RUN.

        Zip files never: the datastore knows them by what is in them. And none when the datastore knows not
        one of the files of a RUN that holds datasets: then they are called otherwise than we think.
        """
        assert self._root is not None
        inner = [
            self._root / name
            for name in self._butler.collections.query(f"{run}/*", flatten_chains=False)
            if name.startswith(f"{run}/")
        ]
        names = {
            path.relative_to(self._root).as_posix(): path
            for path in _files(folder)
            if path.suffix != ".zip" and not any(other in path.parents for other in inner)
        }
        known = self._known(list(names))
        if not known and self._info(run) is not None and self._count(run):
            return []
        return [path for name, path in names.items() if name not in known]

    def _known(self, names: list[str]) -> set[str]:
        """Return which paths below the root any dataset of the repository has."""
        known: set[str] = set()
        for start in range(0, len(names), _BATCH):
            batch = names[start : start + _BATCH]
            known |= upstream.files_with_refs(self._butler, batch)
            quoted = {quote(name): name for name in batch if quote(name) != name}
            if quoted:
                known.update(quoted[name] for name in upstream.files_with_refs(self._butler, quoted))
        return known

    def _sizes(self, run: str, folder: Path) -> tuple[int, int, int]:
        strays = self.strays(run, folder)
        return _size(_files(folder)), len(strays), _size(strays)

    def _recorded_size(self, run: str) -> int:
        """Return the bytes of a RUN's files, wherever they are."""
        refs = self._butler.query_all_datasets([run], find_first=False, limit=None)
        uris = upstream.uris_of(self._butler, refs, allow_missing=True)
        return sum(uri.size() for found in uris.values() for uri in found.iter_all())


def _files(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        for name in names:
            yield Path(place) / name


def _size(files: Iterable[Path]) -> int:
    total = 0
    for path in files:
        try:
            total += path.lstat().st_size
        except FileNotFoundError:
            continue  # it was just removed
    return total


def _remove_empty(folder: Path) -> None:
    """Remove a folder and those in it, as far as they are empty."""
    for place, _, _ in os.walk(folder, topdown=False):
        try:
            Path(place).rmdir()
        except OSError:
            continue  # something is in it
