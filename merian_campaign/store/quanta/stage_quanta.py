"""Quanta as COPY text, and the temporary tables they go through.

COPY is the fastest way into PostgreSQL and formatting is its bottleneck, hence one format string a table
and no csv module. Knows nothing of what happens to the rows afterwards.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from operator import attrgetter
from typing import Any

from merian_campaign.domain.execution.quanta import ATTEMPT_FACTS, Attempt, Quantum
from merian_campaign.domain.states import QuantumState, Verdict
from merian_campaign.store.quanta.quantum_entries import MESSAGE_CHARACTERS, Shapes
from merian_campaign.store.quanta.quantum_keys import ATTEMPT_COLUMNS, key
from merian_campaign.store.server.storable import storable

_OWN_COLUMNS = 5
"""Of an attempt alone: ``uuid``, ``charged``, ``certainty``, ``slurm_job``, ``log_tail``."""

_INT16 = 2**15 - 1
_CHUNK = 1 << 18
_LONGEST_CPU = 1e9

_KINDS = {
    str: "text DEFAULT ''",
    str | None: "text",
    int | None: "integer",
    datetime | None: "double precision",
}
_NUMBERS = "visit bigint, exposure bigint, detector smallint, tract integer, patch integer"
ATTEMPT = f"""try integer DEFAULT 1, attempt_state text DEFAULT 'succeeded',
    {", ".join(f"{name} {_KINDS[kind]}" for name, kind in ATTEMPT_FACTS.items())},
    exception_bases text DEFAULT '', inputs smallint, cpu_seconds real, cores integer, uuid text,
    charged boolean DEFAULT true, certainty text DEFAULT '', slurm_job text, log_tail text"""
"""Columns of `attempt_fields`."""
_KEY = f"key bigint GENERATED ALWAYS AS ({key('').replace('.', '')}) STORED"
# What is not said of a quantum, a success at its first try has; and what its dictionaries say of its attempt.
_TEMPORARY_TABLES = f"""
CREATE TEMPORARY TABLE IF NOT EXISTS stage_quantum (
    kind_id integer, common_id integer, host_id integer, {_NUMBERS}, log_uuid uuid, caveats text,
    state text DEFAULT 'succeeded',
    attempts integer DEFAULT 1, charged_attempts integer DEFAULT 1, memory_attempts integer DEFAULT 0,
    first_try boolean DEFAULT true, has_run boolean DEFAULT true, tolerated boolean,
    {ATTEMPT}, {_KEY}
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS stage_attempt (
    common_id integer, host_id integer, failure_id integer, log_uuid uuid, kind_id integer, {_NUMBERS},
    {ATTEMPT}, {_KEY}
) ON COMMIT DELETE ROWS
"""
_USUAL_COLUMNS = """kind_id, common_id, host_id, visit, exposure, detector, tract, patch, log_uuid, caveats,
    peak_mb, started, ended, inputs, cpu_seconds, slurm_job"""
# Few submissions have any, and each table costs every session its making.
_TABLE_OF_BLOCKED = f"""
CREATE TEMPORARY TABLE IF NOT EXISTS stage_blocked (
    kind_id integer, {_NUMBERS}, by_kind_id integer, by_{_NUMBERS.replace(", ", ", by_")}
) ON COMMIT DELETE ROWS
"""
FOUND = """
SELECT to_regclass('pg_temp.stage_blocked') IS NOT NULL,
       EXISTS (SELECT FROM quantum_row WHERE group_id = %(group_id)s)
"""
"""Whether any that are blocked were staged in this session, and whether the group has quanta already."""

_NULL = "\\N"
_NO_ATTEMPT = "\t".join(
    [
        *[_NULL, _NULL],
        *("" if kind is str else _NULL for kind in ATTEMPT_FACTS.values()),
        "",
        *[_NULL] * (len(ATTEMPT_COLUMNS) - len(ATTEMPT_FACTS) - 1 + _OWN_COLUMNS),
    ]
)


def stage(
    connection: Any,  # noqa: ANN401  (a psycopg2 connection)
    quanta: Iterable[Quantum],
    *,
    campaign_id: int,
    directory: str,
) -> int:
    """Copy quanta and their attempts into the temporary tables of this connection.

    Parameters
    ----------
    connection : `psycopg2.extensions.connection`
        In a transaction; the tables are emptied at its end.
    quanta : `~collections.abc.Iterable` [`Quantum`]
        Of one group. Of two for the same quantum the later counts, unless only the earlier succeeded.
    campaign_id : `int`
        Whose dictionaries they use.
    directory : `str`
        Of the submission; logs in it are said relative to it.

    Returns
    -------
    number : `int`
        Different quanta.
    """
    chosen: dict[tuple[str, str], Quantum] = {}
    for quantum in quanta:
        name = (quantum.task, quantum.data_id)
        earlier = chosen.get(name)
        if earlier is None or not _succeeded(earlier) or _succeeded(quantum):
            chosen[name] = quantum
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('pg_temp.stage_attempt') IS NULL")
        if cursor.fetchone()[0]:
            cursor.execute(_TEMPORARY_TABLES)
        for target, lines in _lines(cursor, chosen.values(), campaign_id=campaign_id, directory=directory):
            if lines and target == "stage_blocked":
                cursor.execute(_TABLE_OF_BLOCKED)
            if lines:
                cursor.copy_expert(f"COPY {target} FROM STDIN", file_of(lines), size=_CHUNK)
    return len(chosen)


def is_first_try_success(quantum: Quantum) -> bool:
    """Whether, as far as its submission shows, it succeeded at once: such an attempt needs no row."""
    return (
        len(quantum.attempts) == 1
        and quantum.attempts[0].state is QuantumState.SUCCEEDED
        and quantum.attempts[0].try_number == 1
    )


def text(value: str | None) -> str:
    r"""Return a value as a field of COPY's text format.

    Parameters
    ----------
    value : `str` or `None`
        `None` is NULL. What PostgreSQL cannot hold is spelled out.
    """
    if value is None:
        return _NULL
    if value.isprintable() and "\\" not in value:
        return value
    return (
        storable(value).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
    )


def file_of(lines: list[str]) -> io.BytesIO:
    """Return lines as a file to copy from."""
    return io.BytesIO("".join(lines).encode("utf-8"))


def _succeeded(quantum: Quantum) -> bool:
    return quantum.state is QuantumState.SUCCEEDED


def _lines(
    cursor: Any,  # noqa: ANN401  (of psycopg2)
    quanta: Iterable[Quantum],
    *,
    campaign_id: int,
    directory: str,
) -> Iterator[tuple[str, list[str]]]:
    """Yield tables, or columns of them, with the lines that go there."""
    shapes = Shapes(directory=directory)
    # Lists of numbers and texts, for a container a quantum keeps the garbage collector busy.
    places: tuple[list[int], list[int]] = ([], [])
    fields: tuple[list[str], list[str]] = ([], [])
    others: list[Quantum] = []
    tried = []
    for quantum in quanta:
        place, numbers, uuid = shapes.place(quantum)
        usual = uuid is not None and _is_usual(quantum, uuid=uuid)
        if usual:
            rest = _usual_fields(quantum.caveats, quantum.attempts[0])
        else:
            rest = _quantum_fields(quantum)
            others.append(quantum)
            if not is_first_try_success(quantum):
                tried += [(quantum, one, *shapes.attempt(quantum, one)) for one in quantum.attempts]
        places[usual].append(place)
        fields[usual].append(f"{numbers}\t{uuid or _NULL}\t{rest}")
    known = shapes.look_up(cursor, campaign_id=campaign_id)
    shared = [one.partition("\t")[2] for one in known]
    targets = ("stage_quantum", f"stage_quantum ({_USUAL_COLUMNS})")
    for target, of, rests in zip(targets, places, fields, strict=True):
        yield target, [f"{known[place]}\t{rest}" for place, rest in zip(of, rests, strict=True)]
    yield (
        "stage_attempt",
        [
            f"{shared[place]}\t{shapes.failure(how)}\t{uuid or _NULL}\t"
            f"{shapes.key(quantum.task, quantum.data_id)}\t{attempt_fields(attempt)}\n"
            for quantum, attempt, place, uuid, how in tried
        ],
    )
    yield (
        "stage_blocked",
        [
            f"{shapes.key(quantum.task, quantum.data_id)}\t{shapes.key(*quantum.blocked_by)}\n"
            for quantum in others
            if quantum.blocked_by is not None
        ],
    )


def _is_usual(quantum: Quantum, *, uuid: str) -> bool:
    """Say whether `_USUAL_COLUMNS` say all of a quantum whose log has a form, and this UUID in it."""
    return (
        quantum.state is QuantumState.SUCCEEDED
        and len(quantum.attempts) == 1
        and quantum.attempts[0].uuid == uuid
        and not quantum.tolerated
        and _unusual(quantum.attempts[0]) == _USUAL
    )


def _usual_fields(caveats: str, attempt: Attempt) -> str:
    """Return those of `_USUAL_COLUMNS` that its shape does not say."""
    peak, begin, end = attempt.peak_mb, attempt.started, attempt.ended
    return (
        f"{text(caveats) if caveats else ''}\t{_NULL if peak is None else peak}\t"
        f"{_NULL if begin is None else begin.timestamp()}\t{_NULL if end is None else end.timestamp()}\t"
        f"{_small(attempt.inputs)}\t{_cpu(attempt.cpu_seconds)}\t{text(attempt.slurm_job)}\n"
    )


def _quantum_fields(quantum: Quantum) -> str:
    attempts = quantum.attempts
    if not attempts:
        counts, last = "0\t0\t0\tf\tf", _NO_ATTEMPT
    elif is_first_try_success(quantum):
        last = attempt_fields(attempts[0])
        counts = f"1\t{attempts[0].charged:d}\t0\tt\tt"
    else:
        last = attempt_fields(attempts[-1])
        counts = f"{_counts(attempts)}\tf\tt"
    tolerated = "t" if quantum.tolerated else _NULL
    return f"{text(quantum.caveats)}\t{quantum.state}\t{counts}\t{tolerated}\t{last}\n"


def _counts(attempts: tuple[Attempt, ...]) -> str:
    # A blocked attempt never ran, so it is not counted.
    ran = [attempt for attempt in attempts if attempt.state is not QuantumState.BLOCKED]
    charged = sum(attempt.charged for attempt in ran)
    memory = sum(attempt.verdict is Verdict.OUT_OF_MEMORY for attempt in ran)
    return f"{len(ran)}\t{charged}\t{memory}"


def attempt_fields(attempt: Attempt) -> str:
    """Return an attempt as fields of COPY's text format."""
    # Most are NULL, of which nothing needs to be made.
    facts = "\t".join(
        [
            _NULL if value is None else field(value)
            for field, value in zip(_FIELDS, _facts(attempt), strict=True)
        ]
    )
    bases = attempt.exception_bases
    own = "\t".join(
        [
            _NULL if value is None else text(value)
            for value in (attempt.certainty, attempt.slurm_job, attempt.log_tail)
        ]
    )
    return (
        f"{attempt.try_number}\t{attempt.state}\t{facts}\t{text(' '.join(bases)) if bases else ''}\t"
        f"{_small(attempt.inputs)}\t{_cpu(attempt.cpu_seconds)}\t{_small(attempt.cores)}\t"
        f"{text(attempt.uuid)}\t{'t' if attempt.charged else 'f'}\t{own}"
    )


def _small(value: int | None) -> str:
    """Return a number that is stored in two bytes; no larger one needs to be told apart from the largest."""
    return _NULL if value is None else str(max(-_INT16, min(_INT16, value)))


def _cpu(value: float | None) -> str:
    return str(value) if value is not None and math.isfinite(value) and value <= _LONGEST_CPU else _NULL


def _seconds(value: datetime) -> str:
    return str(value.timestamp())


def _message(value: str) -> str:
    return text(value[:MESSAGE_CHARACTERS])


_KIND_FIELDS: Mapping[Any, Callable[[Any], str]] = {
    str: text,
    str | None: text,
    int | None: str,
    datetime | None: _seconds,
}
_FIELDS = tuple(
    _message if name == "exception_message" else _KIND_FIELDS[kind] for name, kind in ATTEMPT_FACTS.items()
)
_facts = attrgetter(*ATTEMPT_FACTS)

_ONE_SUCCESS = Attempt(try_number=1, state=QuantumState.SUCCEEDED)
_unusual = attrgetter(
    *(
        "try_number",
        "state",
        "charged",
        "verdict",
        "evidence",
        "exception_type",
        "exception_message",
        "signal",
    ),
    *("rule", "remedy", "exception_bases", "certainty", "log_tail"),
)
_USUAL = _unusual(_ONE_SUCCESS)
"""What most attempts have of all that neither their quantum's columns nor its dictionaries say."""
