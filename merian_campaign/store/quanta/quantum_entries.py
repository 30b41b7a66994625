"""Dictionaries of a campaign: what many quanta have in common, each once, with a number of its own."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from merian_campaign.domain.execution.quanta import DataIdValue, Quantum
from merian_campaign.store.quanta.quantum_forms import around, data_form, digest, log_form
from merian_campaign.store.server.storable import storable

__all__ = ["Shapes"]

_NULL = "\\N"
_INT16 = 2**15 - 1

_COLUMNS = {
    "quantum_kind": ("task", "data_id"),
    "quantum_common": (
        *("instrument", "band", "physical_filter"),
        *("requested_mb", "cores", "exit_code", "log_path"),
    ),
    "quantum_host": ("name",),
}
"""Dictionaries, with what an entry of them says."""


@dataclass(frozen=True, slots=True)
class _Form:
    """Of a data ID: what it shares, its numbers as fields of a line, and where they stand in a log's path."""

    text: str
    numbers: str
    places: tuple[tuple[str, str], ...]


type _Entry = tuple[str | int | None, ...]


class Shapes:
    """Where quanta have their task, data ID, log and the like: in the dictionaries of their campaign.

    Parameters
    ----------
    cursor : `psycopg2.extensions.cursor`
        In a transaction, in which entries are made that are not there.
    quanta : `~collections.abc.Iterable` [`Quantum`]
        Of one submission.
    campaign_id : `int`
        Whose they are.
    directory : `str`
        Of the submission.
    """

    def __init__(
        self,
        cursor: Any,  # noqa: ANN401  (of psycopg2)
        quanta: Collection[Quantum],
        *,
        campaign_id: int,
        directory: str,
    ) -> None:
        self._within = f"{directory}/"
        self._forms: dict[str, _Form] = {}
        # Lists of numbers and texts, for a container a quantum keeps the garbage collector busy.
        commons: dict[_Entry, int] = {}
        of_common: list[int] = []
        uuids: list[str] = []
        for quantum in quanta:
            common, uuid = self._rest(quantum)
            of_common.append(commons.setdefault(common, len(commons)))
            uuids.append(uuid or _NULL)
        of_host = [quantum.attempts[-1].host if quantum.attempts else None for quantum in quanta]
        kinds: set[_Entry] = {(quantum.task, self._forms[quantum.data_id].text) for quantum in quanta}
        for quantum in quanta:
            if quantum.blocked_by is not None:
                task, data_id = quantum.blocked_by
                kinds.add((task, self._form(data_id).text))
        wanted: dict[str, Collection[_Entry]] = {
            "quantum_kind": kinds,
            "quantum_common": commons,
            "quantum_host": {(host,) for host in set(of_host) if host is not None},
        }
        found = _numbers(cursor, wanted, campaign_id=campaign_id)
        self._kinds, numbers, hosts = (found[table] for table in _COLUMNS)
        by_place = [numbers[common] for common in commons]
        places = {host: number for (host,), number in hosts.items()} | {None: _NULL}
        self.lines = [
            f"{self.key(quantum.task, quantum.data_id)}\t{by_place[common]}\t{places[host]}\t{uuid}"
            for quantum, common, host, uuid in zip(quanta, of_common, of_host, uuids, strict=True)
        ]

    def key(self, task: str, data_id: str) -> str:
        """Return what a quantum is found by in its group, as fields of COPY's text format."""
        form = self._forms[data_id]
        return f"{self._kinds[task, form.text]}\t{form.numbers}"

    def _form(self, data_id: str) -> _Form:
        text, numbers = data_form(data_id)
        line = "\t".join([_NULL if number is None else str(number) for number in numbers])
        form = self._forms[data_id] = _Form(text, line, around(numbers))
        return form

    def _rest(self, quantum: Quantum) -> tuple[_Entry, str | None]:
        """Return what a quantum has in common with others, and the UUID of its log."""
        form = self._forms.get(quantum.data_id) or self._form(quantum.data_id)
        get = quantum.dimensions.get
        words = (_word(get("instrument")), _word(get("band")), _word(get("physical_filter")))
        if not quantum.attempts:
            return (*words, None, None, None, None), None
        last = quantum.attempts[-1]
        path, within = last.log_path, self._within
        if path is not None and path.startswith(within):
            path = f".{path[len(within) - 1 :]}"
        log, uuid = log_form(path, form.places)
        cores = None if last.cores is None else max(-_INT16, min(_INT16, last.cores))
        return (*words, last.requested_mb, cores, last.exit_code, log), uuid


def _word(value: DataIdValue | None) -> str | None:
    return value if value is None or isinstance(value, str) else str(value)


def _numbers(
    cursor: Any,  # noqa: ANN401  (of psycopg2)
    wanted: Mapping[str, Iterable[_Entry]],
    *,
    campaign_id: int,
) -> dict[str, dict[_Entry, int]]:
    """Return the numbers of entries of dictionaries, by table; those that are not there are made."""
    digests = {
        (table, entry): digest(*stored)
        for table, entries in wanted.items()
        for entry in entries
        for stored in (_stored(entry),)
    }
    known = _known(cursor, list(digests.values()), campaign_id=campaign_id)
    missing: dict[str, dict[str, _Entry]] = {table: {} for table in _COLUMNS}
    for (table, entry), of in digests.items():
        if (table, of) not in known:
            missing[table][of] = _stored(entry)
    if any(missing.values()):
        _make(cursor, missing, campaign_id=campaign_id)
        known = _known(cursor, list(digests.values()), campaign_id=campaign_id)
    numbers: dict[str, dict[_Entry, int]] = {table: {} for table in _COLUMNS}
    for (table, entry), of in digests.items():
        numbers[table][entry] = known[table, of]
    return numbers


def _stored(entry: _Entry) -> _Entry:
    return tuple(storable(part) if isinstance(part, str) else part for part in entry)


def _make(
    cursor: Any,  # noqa: ANN401  (of psycopg2)
    missing: Mapping[str, Mapping[str, _Entry]],
    *,
    campaign_id: int,
) -> None:
    from psycopg2.extras import execute_values  # noqa: PLC0415 - commands that only read need none of it

    # In this order everywhere, so that two transactions never wait for each other.
    for table, columns in _COLUMNS.items():
        if entries := sorted(missing[table].items()):
            names = ", ".join(("campaign_id", "digest", *columns))
            execute_values(
                cursor,
                f"INSERT INTO {table} ({names}) VALUES %s ON CONFLICT DO NOTHING",  # noqa: S608 - our own names
                [(campaign_id, of, *stored) for of, stored in entries],
            )


_KNOWN = " UNION ALL ".join(
    f"SELECT '{table}', replace(digest::text, '-', ''), id FROM {table}"  # noqa: S608 - names of the schema
    " WHERE campaign_id = %(campaign_id)s AND digest = ANY(%(digests)s::uuid[])"
    for table in _COLUMNS
)


def _known(
    cursor: Any,  # noqa: ANN401  (of psycopg2)
    digests: list[str],
    *,
    campaign_id: int,
) -> dict[tuple[str, str], int]:
    cursor.execute(_KNOWN, {"campaign_id": campaign_id, "digests": digests})
    return {(table, of): number for table, of, number in cursor.fetchall()}
