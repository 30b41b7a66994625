"""A campaign's rows as Parquet files, one for each table, and back; other programs read them too."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Boolean, Column, Connection, DateTime, Float, Integer, Table, text

from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.record.records import ArchivedCampaign
from merian_campaign.domain.states import FORMER_VERDICTS
from merian_campaign.host.atomic_files import write_atomically
from merian_campaign.host.regular_files import DamagedFileError, open_regular, read_json_object
from merian_campaign.store.board import KEEP_BOARD
from merian_campaign.store.campaign_rows import identified, refers_to, rows_of, tables
from merian_campaign.store.campaigns import require_campaign
from merian_campaign.store.forget import vacuum
from merian_campaign.store.quanta.group_summaries import SUMMARIES, SUMMARISE
from merian_campaign.store.server.database import Database, raw
from merian_campaign.store.server.schema_version import KNOWN

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["MANIFEST", "ArchiveStore"]

MANIFEST = "archive.json"
"""Name of the file that is written last: what has none is no archive."""

_FORMAT = 3
"""1 had quanta in full, 2 attempts."""

_BLOCK = 1 << 20
_LONGEST_ROW = 64 * _BLOCK
_LARGEST = 1 << 40


class ArchiveStore(Database):
    """The part of the store that writes a campaign's rows into files, and reads them."""

    def write_archive(self, name: str, folder: Path) -> ArchivedCampaign:
        """Write all rows of a campaign, as of one moment, into Parquet files in a folder.

        Parameters
        ----------
        name : `str`
            The campaign.
        folder : `~pathlib.Path`
            New, empty, or of an archive that was not finished.

        Raises
        ------
        BadInputError
            Raised if the folder holds something else, or there is no such campaign.
        ModuleNotFoundError
            Raised if pyarrow is not there.
        """
        _require_room(folder)
        rows: dict[str, int] = {}
        sha256: dict[str, str] = {}
        with self._reading() as connection:
            campaign = require_campaign(connection, name)
            connection.execute(text("SET LOCAL TimeZone = 'UTC'"))
            connection.execute(text("SET LOCAL DateStyle = 'ISO'"))
            folder.mkdir(parents=True, exist_ok=True)
            for table in tables():
                file = _file(folder, table)
                rows[table.name] = _write_table(connection, table, campaign_id=campaign.id, file=file)
                sha256[table.name] = _sha256(file)
        written = {"format": _FORMAT, "campaign": name, "schema": KNOWN[-1], "rows": rows, "sha256": sha256}
        write_atomically(folder / MANIFEST, json.dumps(written, indent=1) + "\n")
        return ArchivedCampaign(campaign=name, schema=KNOWN[-1], rows=rows, sha256=sha256)

    def read_archive(self, folder: Path) -> ArchivedCampaign:
        """Put an archived campaign on record again, with ids of its own; all of it, or nothing.

        Raises
        ------
        BadInputError
            Raised if there is a campaign of that name, or the archive is of a later version.
        DamagedFileError
            Raised if a file is missing or is not the one that was written.
        ModuleNotFoundError
            Raised if pyarrow is not there.
        """
        found = archived_campaign(folder)
        with self._transaction() as connection:
            there = connection.execute(
                text("SELECT 1 FROM campaign WHERE name = :name"), {"name": found.campaign}
            )
            if there.first() is not None:
                raise BadInputError(
                    f"the campaign {found.campaign!r} is on record already, and nothing of it is "
                    f"overwritten: `merian-campaign forget {found.campaign}` first, if it is the same one"
                )
            connection.execute(text("SET LOCAL DateStyle = 'ISO'"))
            columns = {
                table.name: _stage_table(connection, table, file=_file(folder, table), found=found)
                for table in tables()
            }
            for table in identified():
                connection.execute(text(_NEW_IDS.format(table=table.name)))
            earlier = found.schema != KNOWN[-1]
            for table in tables():
                if not (earlier and table.name in SUMMARIES):
                    connection.execute(text(_insert(table, columns[table.name])))
            if earlier:
                _summarise(connection, found.campaign)
        vacuum(self._engine)
        return found


def archived_campaign(folder: Path) -> ArchivedCampaign:
    """Return what an archive says that it holds.

    Raises
    ------
    BadInputError
        Raised if the folder is none, or of a later version than this program.
    """
    manifest = folder / MANIFEST
    if not folder.is_dir():
        raise BadInputError(f"{folder}: no folder; name the one that `archive` wrote")
    values = read_json_object(manifest, follow=False)
    if values is None:
        raise BadInputError(f"{folder}: no archive of a campaign; it has no {MANIFEST}")
    match values:
        case {
            "format": int(version),
            "campaign": str(campaign),
            "schema": str(schema),
            "rows": dict(rows),
            "sha256": dict(sha256),
        }:
            if version > _FORMAT or schema not in KNOWN:
                raise BadInputError(
                    f"{manifest}: written by a later version (format {version}, schema {schema}; known here: "
                    f"{_FORMAT}, {KNOWN[-1]}); use that version"
                )
            if version < _FORMAT:
                raise BadInputError(
                    f"{manifest}: written by an earlier version (format {version}, schema {schema}): put it "
                    "on record with that version, upgrade its database, and archive it again"
                )
            return ArchivedCampaign(campaign=campaign, schema=schema, rows=rows, sha256=sha256)
    raise DamagedFileError(manifest, "not what an archive of a campaign says of itself")


_ALL = """
    SELECT g.id FROM "group" AS g JOIN campaign AS c ON c.id = g.campaign_id
    WHERE c.name = %(name)s
"""
_OVER = f"""{_ALL}
      AND NOT EXISTS (SELECT 1 FROM submission AS s WHERE s.group_id = g.id AND s.state <> 'finished')
"""  # noqa: S608  (built from constants of this module)


def _summarise(connection: Connection, name: str) -> None:
    """Make the summaries of a campaign's groups, of which an earlier version had fewer numbers."""
    with raw(connection).cursor() as cursor:
        for groups, statements in ((_ALL, KEEP_BOARD), (_OVER, SUMMARISE)):
            cursor.execute(groups, {"name": name})
            for (group_id,) in cursor.fetchall():
                for statement in statements:
                    cursor.execute(statement, {"group_id": group_id})


_NEW_IDS = """
    CREATE TEMPORARY TABLE "new_{table}" ON COMMIT DROP AS
    SELECT id AS old, nextval(pg_get_serial_sequence('"{table}"', 'id')) AS new
    FROM (SELECT id FROM "old_{table}" ORDER BY id) AS known
"""


def _require_room(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise BadInputError(f"{folder}: not a folder")
    ours = {_file(folder, table).name for table in tables()}
    for path in folder.iterdir():
        # What a kill leaves of the file that is written last.
        unfinished = path.name.startswith(f".{MANIFEST}.") and path.suffix == ".tmp"
        if path.name not in ours and not unfinished:
            what = "an archive" if path.name == MANIFEST else f"{path.name!r}"
            raise BadInputError(f"{folder}: holds {what} already; name a new or an empty folder")


def _file(folder: Path, table: Table) -> Path:
    return folder / f"{table.name}.parquet"


def _write_table(connection: Connection, table: Table, *, campaign_id: int, file: Path) -> int:
    """Write a table's rows of one campaign; return how many there are."""
    import pyarrow as pa  # noqa: PLC0415 - of an extra
    import pyarrow.parquet as pq  # noqa: PLC0415

    schema = pa.schema([(column.name, _arrow_type(column)) for column in table.columns])
    listed = ", ".join(f'"{name}"' for name in schema.names)
    ours = rows_of(table, campaign=str(int(campaign_id)))
    query = f'SELECT {listed} FROM "{table.name}" WHERE {ours} ORDER BY 1'  # noqa: S608 - names of the schema
    with _scratch(file.parent) as text_file:
        with raw(connection).cursor() as cursor:
            cursor.copy_expert(f"COPY ({query}) TO STDOUT (FORMAT csv)", text_file)
        if not text_file.tell():
            with _exclusive(file) as stream, pq.ParquetWriter(stream, schema, compression="zstd"):
                return 0
        try:
            return _convert(text_file, schema, file=file, block=_BLOCK)
        except pa.ArrowInvalid:
            # Of a row that is longer than a block.
            return _convert(text_file, schema, file=file, block=_LONGEST_ROW)


def _convert(text_file: IO[bytes], schema: pa.Schema, *, file: Path, block: int) -> int:
    """Write rows as a Parquet file; return how many there are."""
    import pyarrow.csv as pa_csv  # noqa: PLC0415 - of an extra
    import pyarrow.parquet as pq  # noqa: PLC0415

    text_file.seek(0)
    with _exclusive(file) as stream, pq.ParquetWriter(stream, schema, compression="zstd") as writer:
        batches = pa_csv.open_csv(
            text_file,
            # A block is in memory thirty times over: as text, in columns, compressed.
            read_options=pa_csv.ReadOptions(column_names=schema.names, block_size=block, use_threads=False),
            parse_options=pa_csv.ParseOptions(newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(
                column_types=schema,
                true_values=["t"],
                false_values=["f"],
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
        number = 0
        for batch in batches:
            writer.write_batch(batch)
            number += batch.num_rows
        return number


def _arrow_type(column: Column[Any]) -> pa.DataType:
    """Return the type of a column's values; arrays and JSON stay PostgreSQL's text."""
    import pyarrow as pa  # noqa: PLC0415 - of an extra

    match column.type:
        case BigInteger():
            return pa.int64()
        case Integer():
            return pa.int32()
        case Float():
            return pa.float64()
        case Boolean():
            return pa.bool_()
        case DateTime():
            return pa.timestamp("us", tz="UTC")
    return pa.string()


def _stage_table(
    connection: Connection, table: Table, *, file: Path, found: ArchivedCampaign
) -> tuple[str, ...]:
    """Copy a file into a temporary table ``old_TABLE``; return the columns that it has."""
    import pyarrow as pa  # noqa: PLC0415 - of an extra
    import pyarrow.csv as pa_csv  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    if table.name not in found.sha256 and found.schema != KNOWN[-1]:
        # A table that came later.
        connection.execute(_empty_copy(table, [column.name for column in table.columns]))
        return ()
    if not os.path.lexists(file):
        raise DamagedFileError(file, "missing")
    with os.fdopen(open_regular(file, limit=_LARGEST, follow=False), "rb") as stream:
        if _digest(stream) != found.sha256.get(table.name):
            raise DamagedFileError(file, "not the file that was written (its checksum differs)")
        stream.seek(0)
        try:
            source = pq.ParquetFile(stream)
        except pa.ArrowException as error:
            raise DamagedFileError(file, f"no Parquet file: {error}") from None
        names = source.schema_arrow.names
        strange = set(names) - {column.name for column in table.columns}
        if strange:
            raise DamagedFileError(file, f"has columns that are not known here: {', '.join(sorted(strange))}")
        connection.execute(_empty_copy(table, names))
        listed = ", ".join(f'"{name}"' for name in names)
        with _scratch(None) as text_file:
            options = pa_csv.WriteOptions(include_header=False, quoting_style="all_valid")
            with pa_csv.CSVWriter(text_file, source.schema_arrow, write_options=options) as writer:
                for batch in source.iter_batches():
                    writer.write_batch(batch)
            text_file.seek(0)
            with raw(connection).cursor() as cursor:
                cursor.copy_expert(f'COPY "old_{table.name}" ({listed}) FROM STDIN (FORMAT csv)', text_file)
    return tuple(names)


def _empty_copy(table: Table, names: list[str]) -> Any:  # noqa: ANN401 - of SQLAlchemy
    listed = ", ".join(f'"{name}"' for name in names)
    rows = f'SELECT {listed} FROM "{table.name}" WITH NO DATA'  # noqa: S608 - names of the schema
    return text(f'CREATE TEMPORARY TABLE "old_{table.name}" ON COMMIT DROP AS {rows}')


def _insert(table: Table, names: tuple[str, ...]) -> str:
    """Return the statement that takes a table's rows over, with new ids for old ones.

    In the order of their keys: what was written together lies together again. Joins of large tables come in
    no order, in which times are found by no range of pages.
    """
    if not names:
        return "SELECT 1"
    values, joins = [], []
    order = ", ".join(str(1 + names.index(column.name)) for column in table.primary_key)
    for name in names:
        refers = table.name if name == "id" else refers_to(table.columns[name])
        if refers is None:
            values.append(_renamed(f'o."{name}"') if name == "verdict" else f'o."{name}"')
            continue
        values.append(f'"of_{name}".new')
        joins.append(f'LEFT JOIN "new_{refers}" AS "of_{name}" ON "of_{name}".old = o."{name}"')
    listed = ", ".join(f'"{name}"' for name in names)
    return (
        f'INSERT INTO "{table.name}" ({listed}) OVERRIDING SYSTEM VALUE '  # noqa: S608 - names of the schema
        f'SELECT {", ".join(values)} FROM "old_{table.name}" AS o {" ".join(joins)} ORDER BY {order}'
    )


def _renamed(verdict: str) -> str:
    """Return SQL for a verdict, of which an archive may have the name of an earlier version."""
    cases = " ".join(f"WHEN '{old}' THEN '{new}'" for old, new in FORMER_VERDICTS.items())
    return f"CASE {verdict} {cases} ELSE {verdict} END"


@contextmanager
def _scratch(folder: Path | None) -> Iterator[IO[bytes]]:
    """Open a file without a name, for what is too large for memory; a full disk is told with its folder."""
    try:
        with tempfile.TemporaryFile(dir=folder) as stream:
            yield stream
    except OSError as error:
        error.filename = error.filename or str(folder or tempfile.gettempdir())
        raise


@contextmanager
def _exclusive(file: Path) -> Iterator[IO[bytes]]:
    """Make a file that was not there; one of an archive that was not finished is replaced."""
    file.unlink(missing_ok=True)
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    with os.fdopen(handle, "wb") as stream:
        yield stream
        stream.flush()
        os.fsync(stream.fileno())


def _sha256(file: Path) -> str:
    with os.fdopen(open_regular(file, limit=_LARGEST, follow=False), "rb") as stream:
        return _digest(stream)


def _digest(stream: BufferedReader) -> str:
    return hashlib.file_digest(stream, "sha256").hexdigest()
