"""A campaign in files, and back: the same rows under other ids, or nothing."""

from __future__ import annotations

import hashlib
import json
import subprocess
from contextlib import closing
from pathlib import Path

import pyarrow.parquet
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812
from store_help import Given, at, failed, quantum, rows, worked

from merian_campaign.domain.errors import BadInputError, CampaignError
from merian_campaign.domain.record.overlaps import Overlaps, SkyExposure
from merian_campaign.host.regular_files import DamagedFileError
from merian_campaign.store import schema
from merian_campaign.store.archive import MANIFEST
from merian_campaign.store.campaign_rows import refers_to, rows_of, tables
from merian_campaign.store.server import migrate
from merian_campaign.store.server.connection import open_connection
from merian_campaign.store.store import PostgresStore

ODD = "a \"quoted\"\nword, \\N and \\. and \t, \N{GREEK SMALL LETTER ALPHA}; '';"


def _filled(given: Given, name: str = "demo") -> None:
    """Every table with rows, among them empty text, NULL, and what CSV finds hard."""
    first, second = given.campaign(name, tracts=(9813, 9814))
    given.harvested(
        given.prepared(first).id,
        quantum(1, failed(exception_message=ODD)),
        quantum(2, worked(exit_code=None)),
    )
    given.prepared(second)
    campaign = given.store.campaign(name)
    assert campaign is not None
    given.store.tick_started(campaign_id=campaign.id, host="h", pid=1, now=at(0))
    seen = (SkyExposure(exposure=1, day_obs=20210318, visits=(7, 8), tracts=(9813,)),
            SkyExposure(exposure=2, day_obs=20210318))  # fmt: skip
    overlaps = Overlaps(exposures=seen, basis=ODD, seen_at=at(0.5))
    given.store.record_overlaps(campaign_id=campaign.id, overlaps=overlaps, actor="tick", now=at(0))


def _content(sql: Connection, name: str) -> dict[str, list[tuple[object, ...]]]:
    """All rows of a campaign without their ids, which differ."""
    found = {}
    for table in tables():
        columns = [
            f'"{column.name}"'
            for column in table.columns
            if column.name != "id" and refers_to(column) is None
        ]
        where = rows_of(table, campaign=f"(SELECT id FROM campaign WHERE name = '{name}')")
        found[table.name] = rows(sql, f'SELECT {", ".join(columns)} FROM "{table.name}" WHERE {where}')
        found[table.name].sort(key=repr)
    return found


def _joined(sql: Connection, name: str) -> list[tuple[object, ...]]:
    """What hangs together over ids, with and without foreign keys."""
    return rows(
        sql,
        f"""SELECT g.key, q.data_id, s.number, l.number, f.number, a.try, e.kind, e.submission_number
        FROM campaign c JOIN "group" g ON g.campaign_id = c.id JOIN submission s ON s.group_id = g.id
        LEFT JOIN quantum q ON q.state_submission_id = s.id AND q.group_id = g.id
        LEFT JOIN submission l ON l.id = q.submission_id
        LEFT JOIN submission f ON f.id = q.first_try_submission_id
        LEFT JOIN quantum_attempt a ON a.quantum_id = q.id AND a.submission_id = s.id
        LEFT JOIN event e ON e.submission_id = s.id AND e.group_id = g.id AND e.campaign_id = c.id
        WHERE c.name = '{name}' ORDER BY 1, 2, 3, 4, 5, 6, 7, 8""",
    )


def test_a_campaign_goes_and_comes_back_as_it_was(
    store: PostgresStore, given: Given, sql: Connection, tmp_path: Path
) -> None:
    _filled(given)
    _filled(given, "other")
    before, joined, other = _content(sql, "demo"), _joined(sql, "demo"), _content(sql, "other")
    assert any(row[5] == 1 for row in joined)
    written = store.write_archive("demo", tmp_path / "a")
    assert written.rows == {name: len(found) for name, found in before.items()}
    with pytest.raises(BadInputError, match="on record already"):
        store.read_archive(tmp_path / "a")
    store.forget("demo")
    assert store.campaign("demo") is None
    ids = rows(sql, "SELECT max(id) FROM quantum")
    store.read_archive(tmp_path / "a")
    assert _content(sql, "demo") == before
    assert _joined(sql, "demo") == joined
    assert _content(sql, "other") == other
    assert rows(sql, "SELECT max(id) FROM quantum") > ids
    # It goes on from there.
    group = store.snapshot("demo").groups[0]
    assert group.counts == store.snapshot("other").groups[0].counts
    given.prepared(group.id, number=2)


def test_another_database_takes_it(
    store: PostgresStore, given: Given, sql: Connection, tmp_path: Path, empty_url: str
) -> None:
    _filled(given)
    store.write_archive("demo", tmp_path)
    migrate.upgrade(empty_url)
    with PostgresStore(empty_url) as there:
        _filled(Given(there), "mine")
        there.read_archive(tmp_path)
        assert {found.name for found in there.campaigns()} == {"mine", "demo"}
        assert there.board("demo")[0].counts == store.board("demo")[0].counts


def test_the_files_are_read_without_this_package(store: PostgresStore, given: Given, tmp_path: Path) -> None:
    _filled(given)
    store.write_archive("demo", tmp_path)

    def read(table: str) -> list[dict[str, object]]:
        return pyarrow.parquet.read_table(tmp_path / f"{table}.parquet").to_pylist()  # type: ignore[no-any-return]

    (failure,) = [row for row in read("quantum_failure") if row["exception_message"]]
    assert (failure["exception_message"], failure["charged"]) == (ODD, True)
    (attempt,) = [row for row in read("attempt_row") if row["failure_id"] == failure["id"]]
    assert attempt["ended"] == at(2)
    assert {row["id"]: row["exit_code"] for row in read("quantum_common")}[attempt["common_id"]] == 1
    assert {file.name for file in tmp_path.iterdir()} == {
        MANIFEST, *(f"{table.name}.parquet" for table in schema.metadata.sorted_tables)
    }  # fmt: skip


def test_an_archive_of_fewer_numbers_comes_back_with_all(
    store: PostgresStore, given: Given, sql: Connection, tmp_path: Path
) -> None:
    """Of schema 0018: its summaries say nothing of executions, and there are none by tract and band."""
    _filled(given)
    before = _content(sql, "demo")
    assert before["group_usage"]
    assert before["group_cells"]
    store.write_archive("demo", tmp_path)
    store.forget("demo")
    later = {
        "group_usage": ("runs", "requests", "peaks_runs", "times_runs"),
        "group_hours": ("runs",),
        "submission": ("busy",),
        "group": ("quanta_", "submissions", "no_graph"),
    }
    said = json.loads((tmp_path / MANIFEST).read_text())
    for name in ("group_cells", "queue_wait"):
        (tmp_path / f"{name}.parquet").unlink()
        del said["sha256"][name]
    for name, beginnings in later.items():
        file = tmp_path / f"{name}.parquet"
        found = pyarrow.parquet.read_table(file)
        left = [
            column
            for column in found.column_names
            if not column.startswith(beginnings) and (name, column) != ("group", "stack")
        ]
        pyarrow.parquet.write_table(found.select(left), file)
        said["sha256"][name] = hashlib.sha256(file.read_bytes()).hexdigest()
    (tmp_path / MANIFEST).write_text(json.dumps(said | {"schema": "0018"}))
    store.read_archive(tmp_path)
    assert _content(sql, "demo") == before


def _torn(folder: Path) -> None:
    file = folder / "quantum_row.parquet"
    file.write_bytes(file.read_bytes()[:-7])


def _missing(folder: Path) -> None:
    (folder / "event.parquet").unlink()


def _linked(folder: Path) -> None:
    (folder / "tick.parquet").rename(folder.parent / "tick.parquet")
    (folder / "tick.parquet").symlink_to(folder.parent / "tick.parquet")


def _later(folder: Path) -> None:
    said = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(said | {"schema": "9999"}))


def _unfinished(folder: Path) -> None:
    (folder / MANIFEST).unlink()


def _nonsense(folder: Path) -> None:
    (folder / MANIFEST).write_text("[1]")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_torn, "quantum_row.parquet.*checksum"),
        (_missing, "event.parquet"),
        (_linked, "tick.parquet.*link"),
        (_later, "later version"),
        (_unfinished, "no archive of a campaign"),
        (_nonsense, MANIFEST),
    ],
)
def test_a_damaged_archive_is_refused_and_nothing_of_it_taken(
    store: PostgresStore, given: Given, sql: Connection, tmp_path: Path, damage: object, words: str
) -> None:
    _filled(given)
    store.write_archive("demo", tmp_path / "a")
    store.forget("demo")
    assert callable(damage)
    damage(tmp_path / "a")
    with pytest.raises((CampaignError, DamagedFileError), match=words):
        store.read_archive(tmp_path / "a")
    assert all(rows(sql, f'SELECT count(*) FROM "{table.name}"') == [(0,)] for table in tables())


def test_a_folder_that_holds_something_else_is_left_alone(
    store: PostgresStore, given: Given, tmp_path: Path
) -> None:
    _filled(given)
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(BadInputError, match=r"holds 'thesis\.tex' already"):
        store.write_archive("demo", tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]
    store.write_archive("demo", tmp_path / "a")
    with pytest.raises(BadInputError, match="holds an archive already"):
        store.write_archive("demo", tmp_path / "a")
    # One that was not finished is, at whatever moment that was.
    (tmp_path / "a" / MANIFEST).rename(tmp_path / "a" / f".{MANIFEST}.0123456789ab.tmp")
    store.write_archive("demo", tmp_path / "a")


def test_a_full_disk_is_told_with_its_folder(store: PostgresStore, given: Given, tmp_path: Path) -> None:
    _filled(given)
    mount = ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted")
    try:
        with pytest.raises(OSError, match="No space left") as caught:
            store.write_archive("demo", tmp_path / "a")
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)
    assert caught.value.filename == str(tmp_path / "a")


MANY = """
INSERT INTO quantum_row (group_id, kind_id, common_id, patch, submission_id, started, ended, updated_at)
SELECT q.group_id, q.kind_id, q.common_id, n, q.submission_id, q.started + n * interval '1 s',
       q.ended + n * interval '1 s', q.updated_at
FROM (SELECT * FROM quantum_row ORDER BY id LIMIT 1) AS q, generate_series(1000, 40000) AS n
"""
PAGES = """
SELECT sum(pg_relation_size(indexrelid))::bigint FROM pg_index WHERE indrelid = 'quantum_row'::regclass
"""


def test_a_large_campaign_comes_back_in_order_and_takes_the_room_that_it_had(
    empty_url: str, tmp_path: Path
) -> None:
    """A join of tables that are larger than the server's memory for it comes in no order."""
    migrate.upgrade(empty_url)
    with PostgresStore(empty_url) as store, closing(open_connection(empty_url)) as connection:
        _filled(Given(store))
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(MANY)
            database = connection.info.dbname
            for setting in ("work_mem = '64kB'", "enable_mergejoin = off"):
                cursor.execute(f'ALTER DATABASE "{database}" SET {setting}')
    with PostgresStore(empty_url) as store, closing(open_connection(empty_url)) as connection:
        connection.autocommit = True
        ((before,),) = rows(connection, PAGES)
        number = store.write_archive("demo", tmp_path).rows["quantum_row"]
        for _ in range(2):
            store.forget("demo")
            store.read_archive(tmp_path)
            placed = rows(connection, "SELECT id FROM quantum_row ORDER BY ctid")
            assert placed == sorted(placed)
            # What the server makes its plans of.
            known = "SELECT reltuples::integer FROM pg_class WHERE oid = 'quantum_row'::regclass"
            assert rows(connection, known) == [(number,)]
            ((after,),) = rows(connection, PAGES)
            assert after < 1.3 * before
