"""Making a repository ready: itself, its instrument, filters, sky maps, curated calibrations."""

from __future__ import annotations

import os
import re
import stat
import sys
from pathlib import Path
from typing import Any

from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.safe_text.shell import quoted
from merian_campaign.domain.spec.actions.repository import (
    CheckFilters,
    Create,
    RegisterInstrument,
    RegisterSkymap,
    WriteCuratedCalibrations,
)
from merian_campaign.files.bounded_yaml import read_data
from merian_campaign.host.modes import group_umask
from merian_campaign.middleware.actions.runner import (
    ActionError,
    ActionRunner,
    CommandError,
    few,
    reading,
    run_command,
)

_HALF_MADE = re.compile(r"butler\.yaml|gen3\.sqlite3(-\w+)?")


class CreateRunner(ActionRunner[Create]):
    """``butler create``."""

    def check(self) -> None:
        """Check the seed file and, for a server with passwords, the file that holds them."""
        if self.given.seed_config is None:
            return
        path = Path(self.given.seed_config)
        if not path.is_file():
            raise ActionError(
                f"seed_config: {path} does not exist; write it with datastore.root and registry.db"
            )
        url = _registry_url(path)
        if url.startswith("postgresql"):
            check_credentials(os.environ)

    def seen(self) -> str | None:
        """Say that the repository is there and opens."""
        if not (Path(self.repository) / "butler.yaml").is_file():
            return None
        try:
            with reading(self.repository):
                return f"the repository {self.repository} is there"
        except ActionError:
            if self._half_made():
                return None
            raise

    def _half_made(self) -> bool:
        """Say whether a creation was cut short: nothing is there but a configuration and a database."""
        entries = [entry.name for entry in Path(self.repository).iterdir()]
        return self.given.seed_config is None and all(_HALF_MADE.fullmatch(name) for name in entries)

    def run(self) -> None:
        """Create it, removing what an earlier creation left that was cut short."""
        folder = Path(self.repository)
        if (folder / "butler.yaml").is_file():
            sys.stderr.write(f"{folder}: an earlier creation was cut short; its remains are removed\n")
            for entry in list(folder.iterdir()):
                entry.unlink()
        umask = group_umask() if self.given.group_writable else -1
        for command in self.given.commands(repository=self.repository):
            run_command(command, umask=umask)
        database = folder / "gen3.sqlite3"
        if self.given.group_writable and database.is_file():
            run_command(("chmod", "ug+rw", str(database)))


def _registry_url(path: Path) -> str:
    try:
        content = read_data(path)
    except BadInputError as error:
        raise ActionError(f"seed_config: {error}") from None
    registry = content.get("registry") if isinstance(content, dict) else None
    url = registry.get("db") if isinstance(registry, dict) else None
    if not isinstance(url, str):
        raise ActionError(
            f"seed_config: {path} has no registry.db; write e.g. postgresql+psycopg2://HOST:5432/merian"
        )
    return url


def check_credentials(environ: Any) -> None:  # noqa: ANN401 - any mapping of text
    """Check the file of database passwords: present, and readable by its owner only.

    Raises
    ------
    ActionError
        Raised with what to do.
    """
    path = Path(
        environ.get("LSST_DB_AUTH") or Path(environ.get("HOME", "~")).expanduser() / ".lsst/db-auth.yaml"
    )
    if not path.is_file():
        if environ.get("PGPASSFILE") or environ.get("PGPASSWORD"):
            return
        raise ActionError(
            f"{path} does not exist: the butler reads the database's user name and password there; write it, "
            "mode 0600, with a url, username and password for each server"
        )
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ActionError(
            f"{path} has mode {mode:04o}, others may read the password in it; `chmod 600 {quoted(str(path))}`"
        )


class RegisterInstrumentRunner(ActionRunner[RegisterInstrument]):
    """``butler register-instrument``."""

    def seen(self) -> str | None:
        """Say that the instrument and all filters of its class are registered."""
        wanted = _filters_of_class(self.given.instrument)
        with reading(self.repository) as butler:
            found = {
                record.class_name: record.name
                for record in butler.query_dimension_records("instrument", explain=False)
            }
            name = found.get(self.given.instrument)
            if name is None:
                return None
            known = _filters(butler, instrument=name)
        if not wanted <= known:
            return None
        return f"{name} is registered with {len(known)} filters"

    def run(self) -> None:
        """Register it; with ``--update`` when the instrument is known and filters were added."""
        given = self.given
        with reading(self.repository) as butler:
            known = {
                record.class_name for record in butler.query_dimension_records("instrument", explain=False)
            }
        if given.instrument in known:
            given = given.model_copy(update={"update": True})
        for command in given.commands(repository=self.repository):
            run_command(command)

    def advice(self, error: CommandError) -> str:
        """Point at the package when the class cannot be found."""
        if "No module named" in error.output or "could not be imported" in error.output.lower():
            return f"{error.words}; is the package of {self.given.instrument} set up?"
        return error.words


def _filters_of_class(name: str) -> set[str]:
    """Return the physical filters that an instrument's class defines, as far as it can be imported."""
    from lsst.utils import doImportType  # noqa: PLC0415

    try:
        definitions = getattr(doImportType(name), "filterDefinitions", ())
    except Exception as error:  # noqa: BLE001 - whatever a package does when it is imported
        raise ActionError(
            f"instrument: {name} cannot be imported ({error}); is its package set up?"
        ) from None
    return {str(entry.physical_filter) for entry in definitions}


def _filters(butler: Any, *, instrument: str | None = None) -> set[str]:  # noqa: ANN401 - lsst type
    records = butler.query_dimension_records("physical_filter", explain=False)
    return {record.name for record in records if instrument in {None, record.instrument}}


class CheckFiltersRunner(ActionRunner[CheckFilters]):
    """A check; there is nothing to do."""

    def seen(self) -> str | None:
        """Say that all filters are registered."""
        with reading(self.repository) as butler:
            known = _filters(butler)
        missing = sorted(set(self.given.filters) - known)
        if not missing:
            return f"{len(self.given.filters)} filters are registered"
        raise ActionError(
            f"filters that the registry does not know: {few(missing)} (it knows {len(known)}). Define them "
            "in the filters file of the instrument's package and in skymap's packers, set that package up, "
            "and run register-instrument again with update; otherwise ingest-raws fails with FOREIGN KEY "
            "constraint failed"
        )


class RegisterSkymapRunner(ActionRunner[RegisterSkymap]):
    """``butler register-skymap``."""

    def check(self) -> None:
        """Check the configuration file."""
        file = self.given.config_file
        if file is not None and not Path(file).is_file():
            raise ActionError(f"config_file: {file} does not exist")

    def seen(self) -> str | None:
        """Say that the sky map is there, as dimension and as dataset."""
        from lsst.daf.butler import MissingCollectionError, MissingDatasetTypeError  # noqa: PLC0415

        name = self.given.name
        with reading(self.repository) as butler:
            records = butler.query_dimension_records("skymap", explain=False)
            if name not in {record.name for record in records}:
                return None
            try:
                refs = butler.query_datasets("skyMap", collections="skymaps", skymap=name, explain=False)
            except (MissingCollectionError, MissingDatasetTypeError):
                return None
            tracts = len(butler.query_dimension_records("tract", skymap=name, explain=False, limit=None))
        return f"{name} is registered with {tracts} tracts" if refs else None


class CuratedCalibrationsRunner(ActionRunner[WriteCuratedCalibrations]):
    """``butler write-curated-calibrations``."""

    def seen(self) -> str | None:
        """Say that all expected dataset types are there."""
        present = self._present()
        if all(present.values()):
            return "already there: " + ", ".join(f"{number} {name}" for name, number in present.items())
        return None

    def _present(self) -> dict[str, int]:
        from lsst.daf.butler import CollectionType, MissingDatasetTypeError  # noqa: PLC0415

        found = dict.fromkeys(self.given.expect, 0)
        with reading(self.repository) as butler:
            # Instruments put what they write with labels below them: another label, another writing.
            pattern = "/".join(("*/calib", *self.given.labels, "*"))
            runs = sorted(butler.collections.query(pattern, collection_types=CollectionType.RUN))
            # What campaigns made lies deeper than what instruments bring.
            for name in found if runs else ():
                try:
                    refs = butler.registry.queryDatasets(name, collections=runs)
                    found[name] = sum(1 for _ in refs)
                except MissingDatasetTypeError:
                    continue
        return found

    def advice(self, error: CommandError) -> str:
        """Explain a conflict: part of the calibrations is there from an earlier writing."""
        if "Conflict" not in error.output and "constraint" not in error.output:
            return error.words
        present = self._present()
        missing = [name for name, number in present.items() if not number]
        return (
            f"{error.words}; an earlier writing was cut short or wrote other types: {few(missing)} missing. "
            "Remove its RUNs (`butler remove-runs`, collections */calib/unbounded and */calib/curated/*) and "
            "run again, or correct `expect`"
        )
