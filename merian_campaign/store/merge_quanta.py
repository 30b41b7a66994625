"""SQL that merges staged quanta of one submission into the tables: set-based, idempotent.

Which facts win
    A later submission's over an earlier one's, but a quantum that succeeded stays so. One exception: what
    a submission's live progress called a success, its own (first) harvest may call anything else, because the
    provenance graph is to be trusted more than the journal.
How it ran
    Verdict, exception, memory, times, host and log are those of the last attempt, which may be older than
    the state: a quantum that failed and was then blocked is blocked, and its failure still tells why.
Counts
    Derived from ``quantum_attempt`` plus the one attempt that has no row there, a success at first try.

Generations
    A submission of an older generation only adds attempts. A redo puts all attempts that there are into
    ``quantum_attempt`` and leaves the quanta as if they had never run, so that nothing of it is taken for
    what the next generation did.

INSERT .. ON CONFLICT, not MERGE: MERGE is not safe against concurrent inserts, and without statistics of
the temporary table it may read the whole of ``quantum``. Every update is guarded by IS DISTINCT FROM, so
that merging the same again writes nothing.
"""

from __future__ import annotations

from merian_campaign.domain.quanta import COLUMN_DIMENSIONS
from merian_campaign.store.quantum_keys import key
from merian_campaign.store.stage_quanta import ATTEMPT_COLUMNS, OWN_COLUMNS

# In each: old is what is there, excluded what the submission shows.
_TAKE_STATE = """(CASE WHEN old.state = 'succeeded'
        THEN old.state_submission_id = excluded.state_submission_id
             AND (excluded.state = 'succeeded' OR %(correcting)s)
        ELSE excluded.state_submission_id >= old.state_submission_id END)"""
_TAKE_ATTEMPT = f"""(excluded.submission_id IS NOT NULL
        AND (old.submission_id IS NULL OR excluded.submission_id >= old.submission_id)
        AND (old.state <> 'succeeded' OR {_TAKE_STATE}))"""
# Then there is nothing to add to, and the staged numbers are the whole.
_TAKE_COUNTS = "(old.attempts = 0 AND excluded.attempts > 0)"
_FIRST_TRY = """CASE
        WHEN old.attempts = 0 AND excluded.attempts > 0 THEN excluded.first_try_submission_id
        WHEN old.first_try_submission_id = excluded.submission_id THEN excluded.first_try_submission_id
        ELSE old.first_try_submission_id END"""

_STATE_COLUMNS = ("state", "caveats", "state_submission_id")
_COUNT_COLUMNS = ("attempts", "charged_attempts", "memory_attempts")


def _when(condition: str, column: str) -> str:
    return f"CASE WHEN {condition} THEN excluded.{column} ELSE old.{column} END"


_MERGED = {
    **{name: f"coalesce(excluded.{name}, old.{name})" for name in COLUMN_DIMENSIONS},
    **{name: _when(_TAKE_STATE, name) for name in _STATE_COLUMNS},
    **{name: _when(_TAKE_ATTEMPT, name) for name in (*ATTEMPT_COLUMNS, "submission_id")},
    **{name: _when(_TAKE_COUNTS, name) for name in _COUNT_COLUMNS},
    # Of two quanta with one digest, if ever there are, the second is refused and not taken for the first.
    "task": "CASE WHEN old.task = excluded.task AND old.data_id = excluded.data_id THEN old.task END",
    "first_try_submission_id": _FIRST_TRY,
    "blocked_by": f"CASE WHEN excluded.state = 'blocked' OR NOT {_TAKE_STATE} THEN old.blocked_by END",
    "tolerated": f"CASE WHEN excluded.state = 'blocked' OR NOT {_TAKE_STATE} THEN old.tolerated"
    " ELSE excluded.tolerated END",
}


def _list(names: tuple[str, ...], prefix: str = "") -> str:
    return ", ".join(prefix + name for name in names)


def _staged(names: tuple[str, ...], prefix: str = "") -> str:
    """List staged columns, of which times are seconds, and logs lie where they lie."""
    return ", ".join(
        f"to_timestamp({prefix}{name})"
        if name in {"started", "ended"}
        else _relative(prefix + name)
        if name == "log_path"
        else prefix + name
        for name in names
    )


def _relative(path: str) -> str:
    """Return SQL for a path with a dot in place of the submission's directory; see `full_path`."""
    rest = f"'.' || substr({path}, length(%(within)s))"
    return f"CASE WHEN starts_with({path}, %(within)s) THEN {rest} ELSE {path} END"


MERGE_QUANTA = f"""
INSERT INTO quantum AS old (
    group_id, task, data_id, {_list(COLUMN_DIMENSIONS)}, state, caveats,
    {_list(_COUNT_COLUMNS)}, {_list(ATTEMPT_COLUMNS)},
    state_submission_id, submission_id, first_try_submission_id, tolerated, updated_at
)
SELECT
    %(group_id)s, task, data_id, {_list(COLUMN_DIMENSIONS)}, state, caveats,
    {_list(_COUNT_COLUMNS)}, {_staged(ATTEMPT_COLUMNS)},
    %(submission_id)s, CASE WHEN has_run THEN %(submission_id)s END,
    CASE WHEN first_try THEN %(submission_id)s END, tolerated, %(now)s
FROM stage_quantum
ON CONFLICT (group_id, {key("task", "data_id")}) DO UPDATE
SET {", ".join(f"{name} = {value}" for name, value in _MERGED.items())}, updated_at = excluded.updated_at
WHERE ({_list(tuple(_MERGED), "old.")}) IS DISTINCT FROM ({", ".join(_MERGED.values())})
"""  # noqa: S608  (built from constants of this module)

# What is blocked points at what blocks it, which had to be there first, and may be lost with it.
POINT = f"""
UPDATE quantum AS q SET blocked_by = b.id, tolerated = b.tolerated, updated_at = %(now)s
FROM stage_quantum AS s
JOIN quantum AS b ON b.group_id = %(group_id)s AND {key("b.task", "b.data_id")} = s.blocked_by
WHERE q.group_id = %(group_id)s AND {key("q.task", "q.data_id")} = {key("s.task", "s.data_id")}
  AND q.state = 'blocked' AND q.state_submission_id = %(submission_id)s
  AND (q.blocked_by, q.tolerated) IS DISTINCT FROM (b.id, b.tolerated)
"""  # noqa: S608  (built from constants of this module)

_ROW = ("state", *ATTEMPT_COLUMNS, *OWN_COLUMNS)

# Also the success at first try of a quantum that other submissions had tried before.
MERGE_ATTEMPTS = f"""
INSERT INTO quantum_attempt AS old (quantum_id, submission_id, try, {_list(_ROW)}, recorded_at)
SELECT q.id, %(submission_id)s, a.try, a.attempt_state,
       {_staged(_ROW[1:], "a.")}, %(now)s
FROM (
    SELECT task, data_id, try, attempt_state, {_list(_ROW[1:])} FROM stage_attempt
    UNION ALL
    SELECT task, data_id, try, attempt_state, {_list(_ROW[1:])} FROM stage_quantum
    WHERE first_try
) AS a
JOIN quantum AS q ON q.group_id = %(group_id)s AND {key("q.task", "q.data_id")} = {key("a.task", "a.data_id")}
WHERE q.first_try_submission_id IS DISTINCT FROM %(submission_id)s
ON CONFLICT (quantum_id, submission_id, try) DO UPDATE
SET {", ".join(f"{name} = excluded.{name}" for name in (*_ROW, "recorded_at"))}
WHERE ({_list(_ROW, "old.")}) IS DISTINCT FROM ({_list(_ROW, "excluded.")})
"""  # noqa: S608  (built from constants of this module)

# What live progress had under way, or called a success, and the harvest says nothing of (e.g. a quantum that
# was held back): it is again what its last attempt made of it. Nothing runs in a submission that is over.
SETTLE = """
UPDATE quantum AS q
SET state = CASE WHEN q.submission_id IS NULL THEN 'unknown' ELSE (
        SELECT a.state FROM quantum_attempt AS a WHERE a.quantum_id = q.id
        ORDER BY a.submission_id DESC, a.try DESC LIMIT 1
    ) END,
    updated_at = %(now)s
WHERE q.group_id = %(group_id)s AND q.state_submission_id = %(submission_id)s
  AND (q.state = 'running' OR (q.state IN ('pending', 'unknown') AND q.submission_id IS NOT NULL)
       OR (q.state = 'succeeded' AND q.submission_id IS DISTINCT FROM %(submission_id)s))
  AND NOT EXISTS (SELECT 1 FROM stage_quantum AS s WHERE s.task = q.task AND s.data_id = q.data_id)
"""

RECOUNT_ATTEMPTS = """
UPDATE quantum AS q
SET attempts = r.attempts + (q.first_try_submission_id IS NOT NULL)::integer,
    charged_attempts = r.charged + (q.first_try_submission_id IS NOT NULL)::integer,
    memory_attempts = r.memory,
    updated_at = %(now)s
FROM (
    SELECT a.quantum_id,
           count(*) FILTER (WHERE a.state <> 'blocked') AS attempts,
           count(*) FILTER (
               WHERE a.state <> 'blocked' AND a.charged AND s.number > g.attempts_from
           ) AS charged,
           count(*) FILTER (WHERE a.verdict = 'out_of_memory' AND s.generation = g.generation) AS memory
    FROM "group" AS g
    JOIN submission AS s ON s.group_id = g.id
    JOIN quantum_attempt AS a ON a.submission_id = s.id
    WHERE g.id = %(group_id)s
    GROUP BY a.quantum_id
) AS r
WHERE q.id = r.quantum_id
  AND (q.attempts, q.charged_attempts, q.memory_attempts) IS DISTINCT FROM (
      r.attempts + (q.first_try_submission_id IS NOT NULL)::integer,
      r.charged + (q.first_try_submission_id IS NOT NULL)::integer,
      r.memory
  )
"""

FORGET_COUNTS = """
DELETE FROM quantum_count AS n
WHERE n.group_id = %(group_id)s AND NOT EXISTS (
    SELECT 1 FROM quantum AS q
    WHERE q.group_id = n.group_id AND q.task = n.task AND q.state = n.state
)
"""

# Counted anew rather than added to: a wrong number cannot last, and no trigger has to fire a row.
RECOUNT = """
INSERT INTO quantum_count AS old (group_id, task, state, n)
SELECT group_id, task, state, count(*) FROM quantum WHERE group_id = %(group_id)s
GROUP BY group_id, task, state
ON CONFLICT (group_id, task, state) DO UPDATE SET n = excluded.n WHERE old.n <> excluded.n
"""

COUNT_ANEW = (RECOUNT_ATTEMPTS, FORGET_COUNTS, RECOUNT)
"""What follows every change of a group's quanta."""

# What `KEEP_ATTEMPTS` and `SUPERSEDE` do together is a redo; all is counted anew afterwards.
KEEP_ATTEMPTS = f"""
INSERT INTO quantum_attempt (
    quantum_id, submission_id, try, state, {_list(ATTEMPT_COLUMNS)}, charged, recorded_at
)
SELECT id, submission_id, 1, 'succeeded', {_list(ATTEMPT_COLUMNS)}, true, %(now)s
FROM quantum
WHERE group_id = %(group_id)s AND first_try_submission_id = submission_id
ON CONFLICT (quantum_id, submission_id, try) DO NOTHING
"""  # noqa: S608  (built from constants of this module)

SUPERSEDE = f"""
UPDATE quantum
SET state = 'superseded', caveats = '', charged_attempts = 0, memory_attempts = 0, submission_id = NULL,
    first_try_submission_id = NULL, blocked_by = NULL, tolerated = NULL, updated_at = %(now)s,
    {", ".join(f"{name} = DEFAULT" for name in ATTEMPT_COLUMNS)}
WHERE group_id = %(group_id)s
"""  # noqa: S608
