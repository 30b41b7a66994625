"""SQL that merges staged quanta of one submission into the tables: set-based, idempotent.

Which facts win
    A later submission's over an earlier one's, but a quantum that succeeded stays so. One exception: what
    a submission's live progress called a success, its own (first) harvest may call anything else, because the
    provenance graph is to be trusted more than the journal.
How it ran
    Verdict, exception, memory, times, host and log are those of the last attempt, which may be older than
    the state: a quantum that failed and was then blocked is blocked, and its failure still tells why.
Counts
    Derived from ``attempt_row`` plus the one attempt that has no row there: the last one, if it was a success
    at the first try of its submission.

Generations
    A submission of an older generation only adds attempts. A redo puts all attempts that there are into
    ``attempt_row`` and leaves the quanta as if they had never run, so that nothing of it is taken for
    what the next generation did.

INSERT .. ON CONFLICT, not MERGE: MERGE is not safe against concurrent inserts, and without statistics of
the temporary table it may read the whole of ``quantum``. Every update is guarded by IS DISTINCT FROM, so
that merging the same again writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from merian_campaign.store.board import KEEP_COUNTS
from merian_campaign.store.quanta.quantum_forms import NUMBERED
from merian_campaign.store.quanta.quantum_keys import ATTEMPT_COLUMNS, key, short, whole

# In each: old is what is there, excluded what the submission shows.
_TAKE_STATE = f"""(CASE WHEN {whole("old", "state")} = 'succeeded'
        THEN {whole("old", "state_submission_id")} = {whole("excluded", "state_submission_id")}
             AND ({whole("excluded", "state")} = 'succeeded' OR %(correcting)s)
        ELSE {whole("excluded", "state_submission_id")} >= {whole("old", "state_submission_id")} END)"""
_TAKE_ATTEMPT = f"""(excluded.submission_id IS NOT NULL
        AND (old.submission_id IS NULL OR excluded.submission_id >= old.submission_id)
        AND ({whole("old", "state")} <> 'succeeded' OR {_TAKE_STATE}))"""
# Then there is nothing to add to, and the staged numbers are the whole.
_TAKE_COUNTS = f"({whole('old', 'attempts')} = 0 AND {whole('excluded', 'attempts')} > 0)"
_OLD_FIRST_TRY = whole("old", "first_try_submission_id")
_NEW_FIRST_TRY = whole("excluded", "first_try_submission_id")
# One that has a row stays there: then its submission is the one of the last attempt.
_TOLD = f"""({_OLD_FIRST_TRY} IS NULL AND {_NEW_FIRST_TRY} IS NOT NULL AND {_TAKE_ATTEMPT}
        AND old.submission_id IS DISTINCT FROM excluded.submission_id)"""
_FIRST_TRY = f"""CASE
        WHEN {_TAKE_COUNTS} OR {_TOLD} OR {_OLD_FIRST_TRY} = excluded.submission_id THEN {_NEW_FIRST_TRY}
        ELSE {_OLD_FIRST_TRY} END"""

_STATE_COLUMNS = ("state", "caveats", "state_submission_id")
_COUNT_COLUMNS = ("attempts", "charged_attempts", "memory_attempts")
_COMMON = ("requested_mb", "cores", "exit_code", "host")
"""Columns of an attempt that a quantum has through its dictionaries."""

_ROW_COLUMNS = (
    *(name for name in ATTEMPT_COLUMNS if name not in _COMMON),
    *("common_id", "host_id", "log_uuid", "submission_id"),
)
"""Columns of a row that are of the last attempt."""


def _when(condition: str, column: str) -> str:
    return f"CASE WHEN {condition} THEN {whole('excluded', column)} ELSE {whole('old', column)} END"


_OLD_NAME, _NEW_NAME = (
    f"({', '.join(f'{alias}.{name}' for name in ('kind_id', *NUMBERED))})" for alias in ("old", "excluded")
)
_BLOCKED = f"{whole('excluded', 'state')} = 'blocked'"
_MERGED = {
    **{name: _when(_TAKE_STATE, name) for name in _STATE_COLUMNS},
    **{name: _when(_TAKE_ATTEMPT, name) for name in _ROW_COLUMNS},
    **{name: _when(_TAKE_COUNTS, name) for name in _COUNT_COLUMNS},
    # Of two quanta with one digest, if ever there are, the second is refused and not taken for the first.
    "kind_id": f"CASE WHEN {_OLD_NAME} IS NOT DISTINCT FROM {_NEW_NAME} THEN old.kind_id END",
    "first_try_submission_id": _FIRST_TRY,
    "blocked_by": f"CASE WHEN {_BLOCKED} OR NOT {_TAKE_STATE} THEN old.blocked_by END",
    # A verdict has it, so that it goes with an attempt; what is blocked has it of what it stands behind.
    "tolerated": f"CASE WHEN {_BLOCKED} OR {_TAKE_ATTEMPT} IS NOT TRUE"
    " THEN old.tolerated ELSE excluded.tolerated END",
}


def _short(values: Mapping[str, str]) -> dict[str, str]:
    """Return what is stored of these values."""
    of = values["submission_id"]
    stored = {name: short(name, value, submission_id=of) for name, value in values.items()}
    return {
        **stored,
        "no_first_try": short("no_first_try", values["first_try_submission_id"], submission_id=of),
    }


def _list(names: Iterable[str], prefix: str = "") -> str:
    return ", ".join(prefix + name for name in names)


def _of_stage(name: str, prefix: str) -> str:
    """Return a staged column, of which times are seconds, and logs lie where they lie."""
    column = prefix + name
    if name in {"started", "ended"}:
        return f"to_timestamp({column})"
    return _relative(column) if name == "log_path" else column


def _relative(path: str) -> str:
    """Return SQL for a path with a dot in place of the submission's directory; see `full_path`."""
    rest = f"'.' || substr({path}, length(%(within)s))"
    return f"CASE WHEN starts_with({path}, %(within)s) THEN {rest} ELSE {path} END"


_NEW = _short(
    {
        **{
            name: f"s.{name}"
            for name in ("kind_id", *NUMBERED, "state", "caveats", *_COUNT_COLUMNS, "tolerated")
        },
        **{name: _of_stage(name, "s.") for name in _ROW_COLUMNS},
        # In the path of a log that has a form, the UUID is all that is its own.
        "log_path": f"CASE WHEN s.log_uuid IS NULL THEN {_of_stage('log_path', 's.')} END",
        "state_submission_id": "%(submission_id)s",
        "submission_id": "CASE WHEN s.has_run THEN %(submission_id)s END",
        "first_try_submission_id": "CASE WHEN s.first_try THEN %(submission_id)s END",
    }
)

# Sorted as the index of the key, whose pages fill up so.
_INSERT = f"""
INSERT INTO quantum_row AS old (group_id, updated_at, {_list(_NEW)})
SELECT %(group_id)s, %(now)s, {", ".join(_NEW.values())}
FROM stage_quantum AS s
"""  # noqa: S608  (built from constants of this module)
_SORTED = "ORDER BY s.key\n"
_UPDATE = f"""
ON CONFLICT (group_id, {key("old").replace("old.", "")}) DO UPDATE
SET {", ".join(f"{name} = {value}" for name, value in _short(_MERGED).items())},
    updated_at = excluded.updated_at
WHERE ({", ".join(whole("old", name) for name in _MERGED)}) IS DISTINCT FROM ({", ".join(_MERGED.values())})
"""
# Merged, it would stay as it is. A conflict would lock the row, and write that.
_UNCHANGED = f"""
SELECT FROM quantum_row AS q
WHERE q.group_id = %(group_id)s AND {key("q")} = s.key AND (q.blocked_by IS NULL OR q.state = 'blocked')
  AND record_image_eq(ROW({_list(_NEW, "q.")}), ROW({", ".join(_NEW.values())}))
"""

FIRST_QUANTA = _INSERT + _SORTED
"""For a group that has none yet."""

MERGE_QUANTA = _INSERT + _SORTED + _UPDATE
MERGE_AGAIN = f"{_INSERT}WHERE NOT EXISTS ({_UNCHANGED})\n{_SORTED}{_UPDATE}"
"""The same, for quanta most of which are there as they are."""

# What is blocked points at what blocks it, which had to be there first, and may be lost with it.
POINT = f"""
UPDATE quantum_row AS q SET blocked_by = b.id, tolerated = b.tolerated, updated_at = %(now)s
FROM stage_blocked AS s
JOIN quantum_row AS b ON b.group_id = %(group_id)s AND {key("b")} = {key("s").replace("s.", "s.by_")}
WHERE q.group_id = %(group_id)s AND {key("q")} = {key("s")}
  AND q.state = 'blocked' AND {whole("q", "state_submission_id")} = %(submission_id)s
  AND (q.blocked_by, q.tolerated) IS DISTINCT FROM (b.id, b.tolerated)
"""  # noqa: S608  (built from constants of this module)

# Of a plain success, which is all that quanta are staged as, there is no entry.
_OF_ATTEMPT = {
    **{name: f"a.{name}" for name in ("common_id", "host_id", "failure_id", "log_uuid", "peak_mb")},
    **{name: f"a.{name}" for name in ("cpu_seconds", "inputs", "slurm_job", "log_tail")},
    **{name: _of_stage(name, "a.") for name in ("started", "ended")},
    "uuid": "CASE WHEN a.uuid IS DISTINCT FROM a.log_uuid::text THEN a.uuid END",
    "evidence": "CASE WHEN f.evidence IS NULL THEN nullif(a.evidence, '') END",
    "exception_message": "CASE WHEN f.exception_message IS NULL THEN a.exception_message END",
    "log_path": f"CASE WHEN a.log_uuid IS NULL THEN {_of_stage('log_path', 'a.')} END",
}
_STAGED_ATTEMPT = _list(
    (
        *("key", "try", "common_id", "host_id", "log_uuid", "peak_mb", "cpu_seconds", "inputs", "slurm_job"),
        *("log_tail", "started", "ended", "uuid", "evidence", "exception_message", "log_path"),
    )
)

# Also the success at first try of a quantum that tells of another one: of a known group.
MERGE_ATTEMPTS = f"""
INSERT INTO attempt_row AS old (quantum_id, submission_id, try, {_list(_OF_ATTEMPT)}, recorded_at)
SELECT q.id, %(submission_id)s, a.try, {_list(_OF_ATTEMPT.values())}, %(now)s
FROM (
    SELECT failure_id, {_STAGED_ATTEMPT} FROM stage_attempt
    UNION ALL
    SELECT NULL, {_STAGED_ATTEMPT} FROM stage_quantum WHERE first_try AND %(known)s
) AS a
LEFT JOIN quantum_failure AS f ON f.id = a.failure_id
JOIN quantum_row AS q ON q.group_id = %(group_id)s AND {key("q")} = a.key
WHERE {whole("q", "first_try_submission_id")} IS DISTINCT FROM %(submission_id)s
ORDER BY a.try, q.id
ON CONFLICT (submission_id, try, quantum_id) DO UPDATE
SET {", ".join(f"{name} = excluded.{name}" for name in (*_OF_ATTEMPT, "recorded_at"))}
WHERE ({_list(_OF_ATTEMPT, "old.")}) IS DISTINCT FROM ({_list(_OF_ATTEMPT, "excluded.")})
"""  # noqa: S608  (built from constants of this module)

# What live progress had under way, or called a success, and the harvest says nothing of (e.g. a quantum that
# was held back): it is again what its last attempt made of it. Nothing runs in a submission that is over.
SETTLE = f"""
UPDATE quantum_row AS q
SET state = nullif(CASE WHEN q.submission_id IS NULL THEN 'unknown'
        WHEN {whole("q", "first_try_submission_id")} = q.submission_id THEN 'succeeded' ELSE (
        SELECT a.state FROM stored_attempt AS a WHERE a.quantum_id = q.id
        ORDER BY a.submission_id DESC, a.try DESC LIMIT 1
    ) END, 'succeeded'),
    state_submission_id = {whole("q", "state_submission_id")},
    updated_at = %(now)s
WHERE q.group_id = %(group_id)s AND {whole("q", "state_submission_id")} = %(submission_id)s
  AND (q.state = 'running' OR (q.state IN ('pending', 'unknown') AND q.submission_id IS NOT NULL)
       OR ({whole("q", "state")} = 'succeeded' AND q.submission_id IS DISTINCT FROM %(submission_id)s))
  AND NOT EXISTS (SELECT 1 FROM stage_quantum AS s WHERE s.key = {key("q")})
"""  # noqa: S608  (built from constants of this module)

_FIRST = whole("q", "first_try_submission_id")
_FIRST_CHARGED = f"""(
    SELECT count(*)::integer FROM submission AS s JOIN "group" AS g ON g.id = s.group_id
    WHERE s.id = {_FIRST} AND s.number > g.attempts_from
)"""  # noqa: S608  (built from constants of this module)
_RECOUNTED = {
    "attempts": f"r.attempts + ({_FIRST} IS NOT NULL)::integer",
    "charged_attempts": f"r.charged + {_FIRST_CHARGED}",
    "memory_attempts": "r.memory",
}

RECOUNT_ATTEMPTS = f"""
UPDATE quantum_row AS q
SET {", ".join(f"{name} = {short(name, value, submission_id='NULL')}" for name, value in _RECOUNTED.items())},
    updated_at = %(now)s
FROM (
    SELECT a.quantum_id,
           count(*) FILTER (WHERE f.state IS DISTINCT FROM 'blocked') AS attempts,
           count(*) FILTER (
               WHERE f.state IS DISTINCT FROM 'blocked' AND f.charged IS NOT FALSE
                     AND s.number > g.attempts_from
           ) AS charged,
           count(*) FILTER (WHERE f.verdict = 'out_of_memory' AND s.generation = g.generation) AS memory
    FROM "group" AS g
    JOIN submission AS s ON s.group_id = g.id
    JOIN attempt_row AS a ON a.submission_id = s.id
    LEFT JOIN quantum_failure AS f ON f.id = a.failure_id
    WHERE g.id = %(group_id)s
    GROUP BY a.quantum_id
) AS r
WHERE q.id = r.quantum_id
  AND ({", ".join(whole("q", name) for name in _RECOUNTED)})
      IS DISTINCT FROM ({", ".join(_RECOUNTED.values())})
"""  # noqa: S608  (built from constants of this module)

_COUNTED = f"""
    SELECT c.group_id, k.task, c.state, sum(c.n)::integer AS n
    FROM (
        SELECT group_id, kind_id, {whole("q", "state")} AS state, count(*) AS n
        FROM quantum_row AS q {{where}} GROUP BY 1, 2, 3
    ) AS c
    JOIN quantum_kind AS k ON k.id = c.kind_id
    GROUP BY 1, 2, 3
"""  # noqa: S608  (built from constants of this module)

# Counted anew rather than added to: a wrong number cannot last, and no trigger has to fire a row.
RECOUNT = f"""
WITH made AS MATERIALIZED ({_COUNTED.format(where="WHERE q.group_id = %(group_id)s")}), gone AS (
    DELETE FROM quantum_count AS n
    WHERE n.group_id = %(group_id)s
      AND NOT EXISTS (SELECT FROM made AS m WHERE m.task = n.task AND m.state = n.state)
)
INSERT INTO quantum_count AS old (group_id, task, state, n)
SELECT %(group_id)s, task, state, n FROM made
ON CONFLICT (group_id, task, state) DO UPDATE SET n = excluded.n WHERE old.n <> excluded.n
"""  # noqa: S608  (built from constants of this module)

DIFFERENT_COUNTS = f"""
SELECT group_id, coalesce(sum(n.n), 0)::integer, coalesce(sum(m.n), 0)::integer
FROM quantum_count AS n
FULL JOIN ({_COUNTED.format(where="")}) AS m USING (group_id, task, state)
GROUP BY group_id HAVING bool_or(n.n IS DISTINCT FROM m.n)
"""  # noqa: S608  (built from constants of this module)
"""Groups of which `quantum_count` is not what the quanta say: how many it has, and how many there are."""

COUNT_ANEW = (RECOUNT_ATTEMPTS, RECOUNT, KEEP_COUNTS)
"""What follows every change of a group's quanta."""

_KEPT = _list(
    (
        *("common_id", "host_id", "log_uuid", "log_path", "peak_mb", "cpu_seconds", "inputs"),
        *("started", "ended"),
    )
)
# What `KEEP_ATTEMPTS` and `SUPERSEDE` do together is a redo; all is counted anew afterwards.
KEEP_ATTEMPTS = f"""
INSERT INTO attempt_row (quantum_id, submission_id, try, {_KEPT}, recorded_at)
SELECT id, submission_id, 1, {_KEPT}, %(now)s
FROM quantum_row AS q
WHERE group_id = %(group_id)s AND {whole("q", "first_try_submission_id")} = submission_id
ON CONFLICT (submission_id, try, quantum_id) DO NOTHING
"""  # noqa: S608  (built from constants of this module)

SUPERSEDE = f"""
UPDATE quantum_row AS q
SET state = 'superseded', caveats = NULL, charged_attempts = 0, memory_attempts = NULL, submission_id = NULL,
    state_submission_id = {whole("q", "state_submission_id")}, first_try_submission_id = NULL,
    no_first_try = NULL, blocked_by = NULL, tolerated = NULL, updated_at = %(now)s,
    {", ".join(f"{name} = NULL" for name in _ROW_COLUMNS if name not in {"common_id", "submission_id"})}
WHERE group_id = %(group_id)s
"""  # noqa: S608
