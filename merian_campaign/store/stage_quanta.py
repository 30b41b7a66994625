"""Quanta as COPY text, and the temporary tables they go through.

COPY is the fastest way into PostgreSQL and formatting is its bottleneck, hence one format string a table
and no csv module. Knows nothing of what happens to the rows afterwards.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from hashlib import md5
from operator import attrgetter
from typing import Any

from merian_campaign.domain.quanta import ATTEMPT_FACTS, COLUMN_DIMENSIONS, Attempt, DataIdValue, Quantum
from merian_campaign.domain.states import QuantumState, Verdict
from merian_campaign.store.storable import storable

MESSAGE_CHARACTERS = 2000
"""Longer exception messages are cut: the log has them in full."""

ATTEMPT_COLUMNS = (*ATTEMPT_FACTS, "exception_bases", "inputs", "cpu_seconds", "cores")
"""Columns of an attempt that a quantum also has, for its last attempt."""

OWN_COLUMNS = ("uuid", "charged", "certainty", "slurm_job", "log_tail")
"""Columns of an attempt alone: a success at first try has none of them."""

_INT16 = 2**15 - 1
_LONGEST_CPU = 1e9

_KINDS = {str: "text", str | None: "text", int | None: "integer", datetime | None: "double precision"}
_ATTEMPT = f"""try integer, attempt_state text,
    {", ".join(f"{name} {_KINDS[kind]}" for name, kind in ATTEMPT_FACTS.items())},
    exception_bases text, inputs integer, cpu_seconds real, cores integer, uuid text, charged boolean,
    certainty text, slurm_job text, log_tail text"""
_TEMPORARY_TABLES = f"""
CREATE TEMPORARY TABLE IF NOT EXISTS stage_quantum (
    task text, data_id text, instrument text, visit bigint, exposure bigint, detector integer,
    tract integer, patch integer, band text, physical_filter text, state text, caveats text,
    attempts integer, charged_attempts integer, memory_attempts integer, first_try boolean, has_run boolean,
    blocked_by uuid, tolerated boolean,
    {_ATTEMPT}
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS stage_attempt (
    task text, data_id text, {_ATTEMPT}
) ON COMMIT DELETE ROWS
"""

_NULL = "\\N"
_NO_ATTEMPT = "\t".join(
    [
        *[_NULL, _NULL],
        *("" if kind is str else _NULL for kind in ATTEMPT_FACTS.values()),
        "",
        *[_NULL] * (len(ATTEMPT_COLUMNS) - len(ATTEMPT_FACTS) - 1 + len(OWN_COLUMNS)),
    ]
)


def stage(connection: Any, quanta: Iterable[Quantum]) -> int:  # noqa: ANN401  (a psycopg2 connection)
    """Copy quanta and their attempts into the temporary tables of this connection.

    Parameters
    ----------
    connection : `psycopg2.extensions.connection`
        In a transaction; the tables are emptied at its end.
    quanta : `~collections.abc.Iterable` [`Quantum`]
        Of one group. Of two for the same quantum the later counts, unless only the earlier succeeded.

    Returns
    -------
    number : `int`
        Different quanta.
    """
    chosen: dict[tuple[str, str], Quantum] = {}
    for quantum in quanta:
        key = (quantum.task, quantum.data_id)
        earlier = chosen.get(key)
        if earlier is None or not _succeeded(earlier) or _succeeded(quantum):
            chosen[key] = quantum
    rows = [_quantum_line(quantum) for quantum in chosen.values()]
    attempts = [
        f"{text(quantum.task)}\t{text(quantum.data_id)}\t{_attempt_fields(attempt)}\n"
        for quantum in chosen.values()
        if not is_first_try_success(quantum)
        for attempt in quantum.attempts
    ]
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('pg_temp.stage_attempt') IS NULL")
        if cursor.fetchone()[0]:
            cursor.execute(_TEMPORARY_TABLES)
        if rows:
            cursor.copy_expert("COPY stage_quantum FROM STDIN", _file(rows))
        if attempts:
            cursor.copy_expert("COPY stage_attempt FROM STDIN", _file(attempts))
    return len(rows)


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


def _file(lines: list[str]) -> io.BytesIO:
    return io.BytesIO("".join(lines).encode("utf-8"))


def _succeeded(quantum: Quantum) -> bool:
    return quantum.state is QuantumState.SUCCEEDED


def _quantum_line(quantum: Quantum) -> str:
    attempts = quantum.attempts
    if not attempts:
        counts, last = "0\t0\t0\tf\tf", _NO_ATTEMPT
    elif is_first_try_success(quantum):
        last = _attempt_fields(attempts[0])
        counts = f"1\t{attempts[0].charged:d}\t0\tt\tt"
    else:
        last = _attempt_fields(attempts[-1])
        counts = f"{_counts(attempts)}\tf\tt"
    get = quantum.dimensions.get
    dimensions = "\t".join([_dimension(get(name)) for name in COLUMN_DIMENSIONS])
    return (
        f"{text(quantum.task)}\t{text(quantum.data_id)}\t{dimensions}\t{quantum.state}\t"
        f"{text(quantum.caveats)}\t{counts}\t{_digest(quantum.blocked_by)}\t"
        f"{'t' if quantum.tolerated else _NULL}\t{last}\n"
    )


def _digest(name: tuple[str, str] | None) -> str:
    """Return the digest of a task and a data ID, as `quantum_keys.key` has it."""
    return _NULL if name is None else md5(" ".join(name).encode(), usedforsecurity=False).hexdigest()


def _counts(attempts: tuple[Attempt, ...]) -> str:
    # A blocked attempt never ran, so it is not counted.
    ran = [attempt for attempt in attempts if attempt.state is not QuantumState.BLOCKED]
    charged = sum(attempt.charged for attempt in ran)
    memory = sum(attempt.verdict is Verdict.OUT_OF_MEMORY for attempt in ran)
    return f"{len(ran)}\t{charged}\t{memory}"


def _attempt_fields(attempt: Attempt) -> str:
    facts = "\t".join([field(value) for field, value in zip(_FIELDS, _facts(attempt), strict=True)])
    return (
        f"{attempt.try_number}\t{attempt.state}\t{facts}\t"
        f"{text(' '.join(attempt.exception_bases))}\t{_small(attempt.inputs)}\t{_cpu(attempt.cpu_seconds)}\t"
        f"{_small(attempt.cores)}\t{text(attempt.uuid)}\t{'t' if attempt.charged else 'f'}\t"
        f"{text(attempt.certainty)}\t{text(attempt.slurm_job)}\t{text(attempt.log_tail)}"
    )


def _small(value: int | None) -> str:
    """Return a number that is stored in two bytes; no larger one needs to be told apart from the largest."""
    return _NULL if value is None else str(max(-_INT16, min(_INT16, value)))


def _cpu(value: float | None) -> str:
    return str(value) if value is not None and math.isfinite(value) and value <= _LONGEST_CPU else _NULL


def _number(value: int | None) -> str:
    return _NULL if value is None else str(value)


def _seconds(value: datetime | None) -> str:
    return _NULL if value is None else str(value.timestamp())


def _message(value: str | None) -> str:
    return text(value if value is None else value[:MESSAGE_CHARACTERS])


_KIND_FIELDS: Mapping[Any, Callable[[Any], str]] = {
    str: text,
    str | None: text,
    int | None: _number,
    datetime | None: _seconds,
}
_FIELDS = tuple(
    _message if name == "exception_message" else _KIND_FIELDS[kind] for name, kind in ATTEMPT_FACTS.items()
)
_facts = attrgetter(*ATTEMPT_FACTS)


def _dimension(value: DataIdValue | None) -> str:
    if value is None:
        return _NULL
    return text(value) if isinstance(value, str) else str(value)
