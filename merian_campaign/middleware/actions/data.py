"""Bringing data in: reference catalogues, transfers, raws, visits, and free-form commands."""

from __future__ import annotations

import filecmp
import glob
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from merian_campaign.domain.failures import error_classes
from merian_campaign.domain.safe_text.shell import shown
from merian_campaign.domain.spec.actions.data import (
    DefineVisits,
    IngestRaws,
    ReferenceCatalogue,
    RunCommand,
    TransferDatasets,
)
from merian_campaign.files.refcat_table import list_shards, write_table
from merian_campaign.host.safe_python import SAFE_PATH
from merian_campaign.middleware.actions.runner import (
    ActionError,
    ActionRunner,
    CommandError,
    few,
    last_words,
    reading,
    run_command,
)
from merian_campaign.wms import upstream

_FILES_AT_ONCE = 1000
"""Files on one command line: well below what the kernel takes."""


class ReferenceCatalogueRunner(ActionRunner[ReferenceCatalogue]):
    """The table of shards, the dataset type, ``butler ingest-files``."""

    def check(self) -> None:
        """Check that there are shards."""
        if not Path(self.given.shards).is_dir():
            raise ActionError(f"shards: there is no folder {self.given.shards}")
        if not list_shards(self.given.shards):
            raise ActionError(f"shards: {self.given.shards} holds no files named by trixel, e.g. 147456.fits")

    def _ingested(self) -> set[int]:
        from lsst.daf.butler import MissingCollectionError, MissingDatasetTypeError  # noqa: PLC0415

        with reading(self.repository) as butler:
            try:
                refs = butler.registry.queryDatasets(self.given.name, collections=self.given.collection)
                return {int(ref.dataId[self.given.dimension]) for ref in refs}
            except (MissingCollectionError, MissingDatasetTypeError):
                return set()

    def seen(self) -> str | None:
        """Say that every shard is ingested."""
        ingested = self._ingested()
        shards = list_shards(self.given.shards)
        if not shards.keys() <= ingested:
            return None
        return f"{len(shards)} shards of {self.given.name} are in {self.given.collection}"

    def run(self) -> None:
        """Write the table of the shards that are not there yet, and ingest those."""
        given = self.given
        ingested = self._ingested()
        shards = list_shards(given.shards)
        missing = {index: path for index, path in shards.items() if index not in ingested}
        table, register, ingest = given.commands(repository=self.repository)
        sys.stderr.write(f"+ {shown(table)}\n{len(missing)} of {len(shards)} shards to ingest\n")
        write_table(missing, given.table, dimension=given.dimension)
        run_command(register)
        run_command(ingest)


class TransferDatasetsRunner(ActionRunner[TransferDatasets]):
    """``butler transfer-datasets``."""

    def check(self) -> None:
        """Check that the source opens and has the collections."""
        with reading(self.given.source) as source:
            known = set(source.collections.query("*", flatten_chains=False))
        missing = sorted(set(self.given.collections) - known)
        if missing:
            raise ActionError(f"collections: {self.given.source} has no {few(missing)}")

    def seen(self) -> str | None:
        """Say that every dataset of the source is there."""
        with reading(self.given.source) as source:
            wanted = _dataset_ids(source, self.given)
        if not wanted:
            raise ActionError(f"collections: {few(list(self.given.collections))} hold no such datasets")
        with reading(self.repository) as butler:
            try:
                present = _dataset_ids(butler, self.given, runs=sorted({run for _, run in wanted}))
            except ActionError:
                return None
        if not wanted <= present:
            return None
        return f"{len(wanted)} datasets of {self.given.source} are there"

    def run(self) -> None:
        """Transfer; a butler of a release without ``--limit`` transfers everything anyway."""
        for command in self.given.commands(repository=self.repository):
            try:
                run_command(command)
            except CommandError as error:
                if "No such option" not in error.output or "--limit" not in error.output:
                    raise
                where = command.index("--limit")
                run_command((*command[:where], *command[where + 2 :]))


def _dataset_ids(
    butler: Any,  # noqa: ANN401 - lsst type
    given: TransferDatasets,
    *,
    runs: list[str] | None = None,
) -> set[tuple[str, str]]:
    """Return the datasets of a repository as (UUID, RUN)."""
    known = set(butler.collections.query("*"))
    collections = [name for name in (runs or given.collections) if name in known]
    if not collections:
        return set()
    return {
        (str(ref.id), str(ref.run))
        for name in given.dataset_types or ("*",)
        for dataset_type in butler.registry.queryDatasetTypes(name)
        if not dataset_type.isComponent()
        for ref in butler.registry.queryDatasets(dataset_type, collections=collections, findFirst=False)
    }


class IngestRawsRunner(ActionRunner[IngestRaws]):
    """``butler ingest-raws``."""

    def check(self) -> None:
        """Check that there are files."""
        for pattern in self.given.files:
            if not glob.glob(pattern):  # noqa: PTH207 - patterns may be absolute
                raise ActionError(f"files: nothing matches {pattern}")

    def _files(self) -> list[str]:
        found = {path for pattern in self.given.files for path in glob.glob(pattern)}  # noqa: PTH207
        return sorted(found)

    def _pending(self) -> list[str]:
        """Return the files whose content is not in the repository, told by inode: links keep it.

        A file that is the same as another one, of its name in another folder, is not to be ingested.
        """
        files: dict[tuple[int, int], str] = {}
        for path in self._files():
            files.setdefault(_inode(path), path)
        with reading(self.repository) as butler:
            there = {_inode(path) for path in _raw_files(butler, run=self.given.run)}
        pending = sorted(path for inode, path in files.items() if inode not in there)
        ingested = (path for inode, path in files.items() if inode in there)
        self._copies = _copies(pending, of=ingested) if pending else []
        return sorted({*pending}.difference(self._copies))

    def seen(self) -> str | None:
        """Say that all files are there, but for those that may fail."""
        pending = self._pending()
        return self._words(pending) if not pending else None

    def _words(self, pending: list[str]) -> str:
        total, copies = len(self._files()), self._copies
        text = f"{total - len(pending) - len(copies)} of {total} files are ingested"
        if copies:
            again = "1 is a copy of another" if len(copies) == 1 else f"{len(copies)} are copies of others"
            text += f", {again}: {few(copies)}"
        return text if not pending else f"{text}; not: {few([Path(path).name for path in pending])}"

    def run(self) -> None:
        """Ingest what is not there, some files at a time; unreadable ones are counted afterwards."""
        pending = self._tried = self._pending()
        sys.stderr.write(f"{len(pending)} of {len(self._files())} files to ingest\n")
        errors: list[CommandError] = []
        for start in range(0, len(pending), _FILES_AT_ONCE):
            files = tuple(pending[start : start + _FILES_AT_ONCE])
            try:
                run_command(self.given.command(repository=self.repository, files=files))
            except CommandError as error:
                errors.append(error)
        self._errors = errors

    def after(self) -> str:
        """Count the files that did not get in; those that did are not held up by them."""
        copied = self.given.transfer in {"copy", "auto"}
        tried = len(self._tried)
        pending = [] if copied and not self._errors else self._pending()
        words = self._words(pending)
        if len(pending) <= self.given.allow_failures:
            return words
        said = last_words(self._errors[-1].output.splitlines()) if self._errors else "no error was printed"
        # Files that cannot be read stay so, unless there was trouble around them.
        printed = "\n".join(error.output for error in self._errors)
        hopeless = error_classes.needs_person(printed, checked=True)
        told = f"{words}; {said}{_foreign_key(self._errors)}"
        if hopeless and len(pending) < tried:
            self.unfinished = True
            return told
        raise ActionError(told, needs_person=hopeless)


def _foreign_key(errors: list[CommandError]) -> str:
    if any("FOREIGN KEY" in error.output for error in errors):
        return "; a filter or detector is not registered: define it and run register-instrument with update"
    return ""


def _inode(path: str) -> tuple[int, int]:
    found = Path(path).stat()
    return found.st_dev, found.st_ino


def _copies(files: list[str], *, of: Iterable[str]) -> list[str]:
    """Return the files that are the same, byte for byte, as one of the others, or as one before them."""
    known: dict[tuple[str, int], list[str]] = {}
    for path in of:
        known.setdefault(_name_and_size(path), []).append(path)
    copies: list[str] = []
    for path in files:
        alike = known.setdefault(_name_and_size(path), [])
        if any(filecmp.cmp(path, other, shallow=False) for other in alike):
            copies.append(path)
        else:
            alike.append(path)
    return copies


def _name_and_size(path: str) -> tuple[str, int]:
    return Path(path).name, Path(path).stat().st_size


def _raw_files(butler: Any, *, run: str | None) -> set[str]:  # noqa: ANN401 - lsst type
    """Return the files of all raws, each once."""
    from lsst.daf.butler import MissingDatasetTypeError  # noqa: PLC0415

    runs = [run] if run is not None else sorted(butler.collections.query("*/raw/all"))
    known = set(butler.collections.query("*"))
    runs = [name for name in runs if name in known]
    if not runs:
        return set()
    try:
        refs = list(butler.registry.queryDatasets("raw", collections=runs))
    except MissingDatasetTypeError:
        return set()
    paths: set[str] = set()
    # In one query of the datastore's records: one file of DECam holds all detectors of an exposure.
    for uris in upstream.uris_of(butler, refs, allow_missing=True).values():
        uri = uris.primaryURI
        if uri is not None and uri.scheme == "file" and uri.exists():
            paths.add(uri.ospath)
    return paths


class DefineVisitsRunner(ActionRunner[DefineVisits]):
    """``butler define-visits``."""

    def _without_visit(self) -> tuple[int, int]:
        """Return how many science exposures there are, and how many have no visit."""
        with reading(self.repository) as butler:
            where = "exposure.observation_type = 'science'"
            where = f"{where} AND ({self.given.where})" if self.given.where else where
            instrument = _instrument_name(butler, self.given.instrument)
            records = butler.query_dimension_records(
                "exposure", where=where, instrument=instrument, explain=False, limit=None
            )
            exposures = {record.id for record in records}
            defined = {
                record.exposure
                for record in butler.query_dimension_records(
                    "visit_definition", instrument=instrument, explain=False, limit=None
                )
            }
        return len(exposures), len(exposures - defined)

    def check(self) -> None:
        """Check that there is something to define."""
        if not self._without_visit()[0]:
            raise ActionError("there are no science exposures; is the ingest-raws step before this one?")

    def seen(self) -> str | None:
        """Say that every science exposure belongs to a visit."""
        total, without = self._without_visit()
        return None if without else f"{total} science exposures have their visits"

    def after(self) -> str:
        """Count; exposures that did not look at the sky never get a visit."""
        total, without = self._without_visit()
        if without == total:
            raise ActionError(f"none of {total} science exposures got a visit; see the log")
        rest = f", {without} did not" if without else ""
        return f"{total - without} science exposures got their visits{rest}"

    def advice(self, error: CommandError) -> str:
        """Say who else may write."""
        if "database is locked" in error.output:
            return (
                f"{error.words}; another process writes to this SQLite registry: wait for it, and run again"
            )
        return error.words


def _instrument_name(butler: Any, class_name: str) -> str:  # noqa: ANN401 - lsst type
    for record in butler.query_dimension_records("instrument", explain=False):
        if record.class_name == class_name:
            return str(record.name)
    raise ActionError(f"instrument: {class_name} is not registered; is the register-instrument step before?")


class CommandRunner(ActionRunner[RunCommand]):
    """A free-form command."""

    def seen(self) -> str | None:
        """Say that what it creates is there, or that its own test says so."""
        given = self.given
        if given.creates is not None and Path(given.creates).exists():
            return f"{given.creates} is there"
        if given.unless is None:
            return None
        words = given.filled(given.unless, repository=self.repository)
        try:
            done = subprocess.run(
                words, stdin=subprocess.DEVNULL, capture_output=True, check=False, env=_as_typed()
            )
        except OSError as error:
            raise ActionError(f"unless: {words[0]} cannot be started ({error.strerror})") from None
        return f"`{shown(words)}` says so" if done.returncode == 0 else None

    def run(self) -> None:
        """Run the command as it would run in a terminal."""
        for command in self.given.commands(repository=self.repository):
            run_command(command, environ=_as_typed())

    def after(self) -> str:
        """Look again, where there is something to look at."""
        if self.given.creates is None and self.given.unless is None:
            return "done"
        found = self.seen()
        if found is None:
            what = self.given.creates or shown(self.given.unless or ())
            raise ActionError(f"the command ended well, but `{what}` does not show it")
        return found


def _as_typed() -> dict[str, str]:
    """Return an environment in which a script of a person's finds the modules that lie beside it."""
    return {name: value for name, value in os.environ.items() if name != SAFE_PATH}
