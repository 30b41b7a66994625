"""Dictionaries of a campaign: what many quanta have in common, each once, with a number of its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from merian_campaign.domain.execution.quanta import Attempt, DataIdValue, Quantum
from merian_campaign.domain.states import QuantumState
from merian_campaign.store.quanta.quantum_forms import (
    Numbers,
    around,
    called,
    data_form,
    digest,
    is_uuid,
    log_form,
)
from merian_campaign.store.server.storable import storable

__all__ = ["MESSAGE_CHARACTERS", "Shapes"]

_NULL = "\\N"
_INT16 = 2**15 - 1
_NO_ATTEMPT = (None, None, None, None, None)

_COLUMNS = {
    "quantum_kind": ("task", "data_id"),
    "quantum_common": (
        *("instrument", "band", "physical_filter"),
        *("requested_mb", "cores", "exit_code", "log_path"),
    ),
    "quantum_host": ("name",),
    "quantum_failure": (
        *("state", "charged", "signal", "verdict", "evidence", "exception_type", "exception_message"),
        *("exception_bases", "certainty", "rule", "remedy"),
    ),
}
"""Dictionaries, with what an entry of them says."""


@dataclass(frozen=True, slots=True)
class _Form:
    """Of a data ID: what it shares, its numbers, and these as fields of a line."""

    text: str
    numbers: Numbers
    fields: str


type _Entry = tuple[str | int | None, ...]

_NOWHERE: _Entry = (None,)
_PLAIN: _Entry = (str(QuantumState.SUCCEEDED), True, *[None] * 9)
"""How most attempts go, which needs no entry."""

# What has such a number is of one quantum alone.
_NUMBER = re.compile(r"[0-9]{5}")
MESSAGE_CHARACTERS = 2000
"""Longer exception messages are cut: the log has them in full."""


@dataclass(slots=True)
class _Kin:
    """Quanta of one task whose data IDs have one form and the same words, and what logs of theirs are called.

    Most logs are called as the one before was, which is seen by calling them so.
    """

    kind: _Entry
    words: _Entry
    log: str | None = None
    called: Callable[[Numbers, str], str] | None = None
    places: dict[_Entry, int] = field(default_factory=dict)


class Shapes:
    """Where quanta have their task, data ID, log and the like: in the dictionaries of their campaign.

    First each quantum is given a `place`, which many share. Then the places are given their numbers, of which
    `look_up` makes those that are not there.

    Parameters
    ----------
    directory : `str`
        Of the submission whose quanta they are.
    """

    def __init__(self, *, directory: str) -> None:
        self._within = f"{directory}/"
        self._forms: dict[str, _Form] = {}
        self._kin: dict[tuple[object, ...], _Kin] = {}
        self._kinds: dict[_Entry, int] = {}
        self._places: list[tuple[_Entry, _Entry, _Entry]] = []
        self._failures: dict[_Entry, int] = {}

    def place(self, quantum: Quantum) -> tuple[int, str, str | None]:
        """Return the place of a quantum, its numbers as fields of COPY's text format, and its log's UUID.

        There is a UUID only if the path of the log has a form.
        """
        form = self._forms.get(quantum.data_id) or self._form(quantum.data_id)
        kin = self._kin_of(quantum, form)
        if quantum.blocked_by is not None:
            self._kinds[quantum.blocked_by[0], self._form(quantum.blocked_by[1]).text] = 0
        if not quantum.attempts:
            return self._place(kin, _NO_ATTEMPT), form.fields, None
        place, uuid = self._place_of(quantum.attempts[-1], form, kin)
        return place, form.fields, uuid

    def attempt(self, quantum: Quantum, attempt: Attempt) -> tuple[int, str | None, _Entry]:
        """Return the place of an attempt of a quantum that has one, its log's UUID, and how it went."""
        form = self._forms[quantum.data_id]
        how = _how(attempt)
        if how != _PLAIN:
            self._failures[how] = 0
        return *self._place_of(attempt, form, self._kin_of(quantum, form)), how

    def look_up(
        self,
        cursor: Any,  # noqa: ANN401  (of psycopg2)
        *,
        campaign_id: int,
    ) -> list[str]:
        """Return the numbers of all places as fields of COPY's text format: kind, common, host.

        Parameters
        ----------
        cursor : `psycopg2.extensions.cursor`
            In a transaction, in which entries are made that are not there.
        campaign_id : `int`
            Whose the quanta are.
        """
        wanted: dict[str, set[_Entry]] = {
            "quantum_kind": {*self._kinds, *(kin.kind for kin in self._kin.values())},
            "quantum_common": {common for _, common, _ in self._places},
            "quantum_host": {host for _, _, host in self._places if host != _NOWHERE},
            "quantum_failure": set(self._failures),
        }
        found = _numbers(cursor, wanted, campaign_id=campaign_id)
        self._kinds, commons, hosts, self._failures = (found[table] for table in _COLUMNS)
        return [
            f"{self._kinds[kind]}\t{commons[common]}\t{_NULL if host == _NOWHERE else hosts[host]}"
            for kind, common, host in self._places
        ]

    def key(self, task: str, data_id: str) -> str:
        """Return what a quantum is found by in its group, as fields of COPY's text format."""
        form = self._forms[data_id]
        return f"{self._kinds[task, form.text]}\t{form.fields}"

    def failure(self, how: _Entry) -> str:
        """Return the number of how an attempt went, as a field of COPY's text format."""
        return _NULL if how == _PLAIN else str(self._failures[how])

    def _form(self, data_id: str) -> _Form:
        text, numbers = data_form(data_id)
        line = "\t".join([_NULL if number is None else str(number) for number in numbers])
        form = self._forms[data_id] = _Form(text, numbers, line)
        return form

    def _kin_of(self, quantum: Quantum, form: _Form) -> _Kin:
        get = quantum.dimensions.get
        name = (quantum.task, form.text, get("instrument"), get("band"), get("physical_filter"))
        kin = self._kin.get(name)
        if kin is None:
            kin = self._kin[name] = _Kin((quantum.task, form.text), tuple(map(_word, name[2:])))
        return kin

    def _log(self, path: str, uuid: str | None, form: _Form, kin: _Kin) -> tuple[str | None, str | None]:
        """Return the form of the path of a log, and the UUID in it."""
        if kin.called is not None and uuid and path == kin.called(form.numbers, uuid) and is_uuid(uuid):
            return kin.log, uuid
        within = self._within if path.startswith(self._within) else ""
        log, uuid = log_form(f"./{path[len(within) :]}" if within else path, around(form.numbers))
        if log is not None:
            kin.log, kin.called = log, called(log, within=within)
        return log, uuid

    def _place_of(self, attempt: Attempt, form: _Form, kin: _Kin) -> tuple[int, str | None]:
        """Return the place of an attempt, and the UUID in the path of its log."""
        path = attempt.log_path
        log, uuid = (None, None) if path is None else self._log(path, attempt.uuid, form, kin)
        return self._place(
            kin, (attempt.requested_mb, attempt.cores, attempt.exit_code, log, attempt.host)
        ), uuid

    def _place(
        self, kin: _Kin, what: tuple[int | None, int | None, int | None, str | None, str | None]
    ) -> int:
        place = kin.places.get(what)
        if place is None:
            place = kin.places[what] = len(self._places)
            requested_mb, cores, exit_code, log, host = what
            cores = None if cores is None else max(-_INT16, min(_INT16, cores))
            self._places.append((kin.kind, (*kin.words, requested_mb, cores, exit_code, log), (host,)))
        return place


def _how(attempt: Attempt) -> _Entry:
    """Return an entry of ``quantum_failure``; words that are of one quantum alone stay out of it."""
    message = attempt.exception_message
    evidence, message = (
        None if words is None or _NUMBER.search(words) else words
        for words in (attempt.evidence or None, None if message is None else message[:MESSAGE_CHARACTERS])
    )
    return (
        *(str(attempt.state), attempt.charged, attempt.signal, attempt.verdict and str(attempt.verdict)),
        *(evidence, attempt.exception_type, message, " ".join(attempt.exception_bases) or None),
        *(attempt.certainty or None, attempt.rule, attempt.remedy),
    )


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
