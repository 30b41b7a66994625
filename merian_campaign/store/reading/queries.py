"""SQL text of what is read. Columns are named like the fields of the records they fill."""

from __future__ import annotations

from merian_campaign.domain.execution.attempt_facts import COLUMN_DIMENSIONS
from merian_campaign.domain.failures.rule_remedy import AGAIN_REMEDIES, HELD_REMEDIES
from merian_campaign.domain.states import FINAL_VERDICTS
from merian_campaign.store.board import BOARD_COUNTS
from merian_campaign.store.quanta.quantum_keys import ATTEMPT_COLUMNS, full_path

GROUP_COUNTS = ", ".join(f"g.{column} AS {state}" for state, column in BOARD_COUNTS.items())

_ANEW = "g.generation > greatest(g.published, 1) AND (g.state <> 'done' OR g.published > 0)"
_RARE = ", ".join(
    [
        *(f"nullif(g.{column}, 0) AS {state}" for state, column in BOARD_COUNTS.items()),
        *("nullif(g.stack, '') AS stack", "nullif(g.no_graph, false) AS no_graph"),
        f"nullif({_ANEW}, false) AS anew",
    ]
)

BOARD = f"""
SELECT g.id AS place, g.step, g.key AS "group", g.ordinal,
       CASE WHEN g.selection_dimension = 'tract' AND cardinality(g.selection_values) = 1
            THEN g.selection_values[1] END AS tract,
       g.state, g.reason, g.submissions, {_RARE}
FROM "group" AS g
WHERE g.campaign_id = %(campaign_id)s
"""  # noqa: S608  (names)
"""Without an order: the server would sort whole rows, for as long as all the rest takes.

And what of most groups is nothing is NULL, which neither end has to spell.
"""

BOARD_STEPS = """
SELECT s.step ->> 'name' AS step, (s.number - 1)::integer AS ordinal, s.step ? 'action' AS action,
       r.spec -> 'tracts' ? 'discover'
       AND (s.step -> 'group_by' = '"tract"'
            OR s.step -> 'group_by' ->> 'kind' = 'tract' AND s.step -> 'group_by' -> 'tracts' IS NULL)
       AND NOT EXISTS (
           SELECT 1 FROM "group" AS g
           WHERE g.campaign_id = %(campaign_id)s AND g.step = s.step ->> 'name'
       ) AS undiscovered
FROM (
    SELECT r.spec FROM revision AS r WHERE r.campaign_id = %(campaign_id)s ORDER BY r.number DESC LIMIT 1
) AS r
CROSS JOIN jsonb_array_elements(r.spec -> 'steps') WITH ORDINALITY AS s (step, number)
"""
"""Of each step what its groups do not say: whether it is an action, and whether its tracts are unknown."""


BEGAN = """
SELECT least(c.created_at,
             (SELECT min(r.applied_at) FROM revision AS r WHERE r.campaign_id = c.id),
             (SELECT min(s.created_at) FROM submission AS s JOIN "group" AS g ON g.id = s.group_id
              WHERE g.campaign_id = c.id)) AS began
FROM campaign AS c WHERE c.id = %(campaign_id)s
"""


BEGUN_ANEW = """
SELECT DISTINCT ON (e.group_id) g.step, g.key AS "group", e.reason
FROM event AS e JOIN "group" AS g ON g.id = e.group_id
WHERE e.campaign_id = %(campaign_id)s AND e.kind = 'redo'
ORDER BY e.group_id, e.id DESC
"""


_EVIDENCE = ("certainty", "slurm_job", "log_tail")


def _how(alias: str, directory: str = "s.directory", *, evidence: str = "l") -> str:
    """Return the columns of an attempt; ``evidence`` is the alias of its row among the attempts."""
    columns = {name: f"{alias}.{name}" for name in ATTEMPT_COLUMNS}
    columns["log_path"] = f"{full_path(columns['log_path'], directory)} AS log_path"
    return ", ".join([*columns.values(), *(f"{evidence}.{name}" for name in _EVIDENCE)])


# Of the last attempt of a quantum, if that has a row.
LAST_ATTEMPT = """LEFT JOIN LATERAL (
    SELECT a.certainty, a.slurm_job, a.log_tail FROM stored_attempt AS a
    WHERE a.quantum_id = q.id AND a.submission_id = q.submission_id ORDER BY a.try DESC LIMIT 1
) AS l ON true"""


OF_STEP_AND_TRACT = """g.campaign_id = %(campaign_id)s
  AND (%(step)s::text IS NULL OR g.step = %(step)s)
  AND (%(tract)s::integer IS NULL OR q.tract = %(tract)s
       OR (g.selection_dimension = 'tract' AND g.selection_values = ARRAY[%(tract)s]::bigint[]))"""

_UNSUCCESSFUL = "a.state <> 'succeeded' AND s.generation = g.generation AND g.campaign_id = %(campaign_id)s"

_OF_TRACT = """
SELECT o.id FROM quantum_row AS o WHERE o.tract = %(tract)s
UNION
SELECT o.id FROM quantum_row AS o JOIN "group" AS t ON t.id = o.group_id
WHERE t.campaign_id = %(campaign_id)s AND t.selection_dimension = 'tract'
  AND t.selection_values = ARRAY[%(tract)s]::bigint[]"""


def within(query: str, *, tract: int | None) -> str:
    """Return a query so that, of one tract, it begins with the quanta of that, found by index.

    Without it the planner reads all that has not succeeded, in every tract, to find those of one; and all
    attempts.
    """
    if tract is None:
        return query
    for condition, quantum in ((OF_STEP_AND_TRACT, "q.id"), (_UNSUCCESSFUL, "a.quantum_id")):
        query = query.replace(condition, f"{condition}\n  AND {quantum} = ANY (ARRAY({_OF_TRACT}))")
    return query


_NOT_SUCCEEDED = f"""
SELECT g.ordinal, g.id AS group_order, q.id, g.step, g.key, q.task, q.data_id, q.state, q.attempts,
       {_how("q")}, q.blocked_by, s.number
FROM quantum AS q
JOIN "group" AS g ON g.id = q.group_id
LEFT JOIN submission AS s ON s.id = q.submission_id
{LAST_ATTEMPT}
WHERE q.state NOT IN ('succeeded', 'superseded')
  AND (q.state NOT IN ('pending', 'running') OR (q.attempts > 0 AND q.submission_id IS NOT NULL))
  AND {OF_STEP_AND_TRACT}"""  # noqa: S608  (built from constants of this module)

# From the attempts, which are few, to their quanta: the succeeded are many.
_RECOVERED = f"""
SELECT g.ordinal, g.id AS group_order, q.id, g.step, g.key, q.task, q.data_id, q.state, q.attempts,
       {_how("a", "a.directory", evidence="a")}, q.blocked_by, a.number
FROM (
    SELECT DISTINCT ON (a.quantum_id) a.*, s.number, s.directory
    FROM stored_attempt AS a
    JOIN submission AS s ON s.id = a.submission_id
    JOIN "group" AS g ON g.id = s.group_id
    WHERE {_UNSUCCESSFUL}
    ORDER BY a.quantum_id, a.submission_id DESC, a.try DESC
) AS a
JOIN quantum AS q ON q.id = a.quantum_id
JOIN "group" AS g ON g.id = q.group_id
WHERE q.state = 'succeeded' AND {OF_STEP_AND_TRACT}"""  # noqa: S608  (built from constants of this module)

_FAILURE_COLUMNS = (
    'id AS quantum_id, step, key AS "group", task, data_id, state, attempts, '
    + ", ".join((*ATTEMPT_COLUMNS, *_EVIDENCE))
    + ", blocked_by, number AS submission"
)
_FAILURE_ORDER = "ORDER BY ordinal, group_order, task, data_id"

FAILURES = f"SELECT {_FAILURE_COLUMNS} FROM ({_NOT_SUCCEEDED}) AS f {_FAILURE_ORDER}"  # noqa: S608
FAILURES_AND_RECOVERED = (
    f"SELECT {_FAILURE_COLUMNS} FROM ({_NOT_SUCCEEDED} UNION ALL {_RECOVERED}) AS f {_FAILURE_ORDER}"  # noqa: S608
)

_FOUND = f"""
SELECT q.id AS quantum_id, g.step, g.key AS "group", q.task, q.data_id, q.state, q.attempts,
       {_how("q")}, q.blocked_by, s.number AS submission
"""
_OF_QUANTUM = f"""
JOIN "group" AS g ON g.id = q.group_id
LEFT JOIN submission AS s ON s.id = q.submission_id
{LAST_ATTEMPT}
"""

QUANTUM = f"""{_FOUND} FROM quantum AS q {_OF_QUANTUM}
WHERE q.id = %(id)s AND g.campaign_id = %(campaign_id)s
"""

# From the rollup, which says where there are any, to the index of what has not succeeded.
FAILED_QUANTA = f"""{_FOUND} FROM quantum_count AS n
JOIN quantum AS q ON q.group_id = n.group_id AND q.task = n.task AND q.state = 'failed' {_OF_QUANTUM}
WHERE n.state = 'failed' AND {OF_STEP_AND_TRACT}
ORDER BY g.ordinal, g.id, q.task, q.data_id
LIMIT %(limit)s
"""

_KNOWN = ", ".join(f"CASE WHEN q.{name} IS NOT NULL THEN '{name}' END" for name in COLUMN_DIMENSIONS)

TASK_EXAMPLES = f"""
SELECT t.step, t.task, q.data_id, array_remove(ARRAY[{_KNOWN}], NULL) AS columns
FROM (
    SELECT g.step, n.task, min(n.group_id) AS group_id, min(g.ordinal) AS ordinal
    FROM quantum_count AS n JOIN "group" AS g ON g.id = n.group_id
    WHERE g.campaign_id = %(campaign_id)s AND n.n > 0 AND (%(step)s::text IS NULL OR g.step = %(step)s)
      AND (%(task)s::text IS NULL OR n.task = %(task)s)
    GROUP BY g.step, n.task
) AS t
CROSS JOIN LATERAL (
    SELECT q.* FROM quantum AS q WHERE q.group_id = t.group_id AND q.task = t.task LIMIT 1
) AS q
ORDER BY t.ordinal, t.task
"""  # noqa: S608  (built from constants of this module)

QUANTA_OF_A_TASK = f"""
WITH f AS MATERIALIZED (
    SELECT q.id
    FROM "group" AS g JOIN quantum AS q ON q.group_id = g.id
    WHERE g.campaign_id = %(campaign_id)s AND g.step = %(step)s AND q.task = %(task)s
      AND (%(tract)s::bigint IS NULL OR g.selection_dimension <> 'tract'
           OR %(tract)s = ANY (g.selection_values))
      AND CONDITION
    LIMIT %(limit)s
)
{_FOUND}
FROM f JOIN quantum AS q ON q.id = f.id
{_OF_QUANTUM}
ORDER BY g.ordinal, g.id, q.task, q.data_id
"""  # noqa: S608  (built from constants of this module)

_TOLD_BY_QUANTUM = "(SELECT NULL AS certainty, NULL AS slurm_job, NULL AS log_tail) AS l"
"""Of an attempt that has no row of its own: a success at the first try of a submission, the last of all."""

QUANTUM_ATTEMPTS = f"""
SELECT q.task, q.data_id, s.number AS submission, a.try AS try_number, a.state, {_how("a", evidence="a")}
FROM stored_attempt AS a
JOIN quantum AS q ON q.id = a.quantum_id
JOIN submission AS s ON s.id = a.submission_id
WHERE a.quantum_id = %(id)s AND a.state <> 'blocked'
UNION ALL
SELECT q.task, q.data_id, s.number, 1, 'succeeded', {_how("q")}
FROM {_TOLD_BY_QUANTUM} CROSS JOIN quantum AS q
JOIN submission AS s ON s.id = q.kept_submission_id
WHERE q.id = %(id)s AND q.submission_id = q.kept_submission_id
ORDER BY submission, try_number
"""  # noqa: S608  (built from constants of this module)

_NOT_ALWAYS = """q.id IN (
    SELECT b.quantum_id FROM submission AS t JOIN stored_attempt AS b ON b.submission_id = t.id
    WHERE t.group_id = %(group_id)s AND b.state <> 'succeeded'
)"""
# Of quanta that did not always succeed: after a redo, every attempt before it has a row.
ATTEMPTS = f"""
SELECT q.task, q.data_id, s.number AS submission, a.try AS try_number, a.state, {_how("a", evidence="a")}
FROM submission AS s
JOIN stored_attempt AS a ON a.submission_id = s.id
JOIN quantum AS q ON q.id = a.quantum_id
WHERE s.group_id = %(group_id)s AND {_NOT_ALWAYS}
UNION ALL
SELECT q.task, q.data_id, s.number, 1, 'succeeded', {_how("q")}
FROM {_TOLD_BY_QUANTUM} CROSS JOIN quantum AS q
JOIN submission AS s ON s.id = q.kept_submission_id
WHERE q.submission_id = q.kept_submission_id AND {_NOT_ALWAYS}
ORDER BY task, data_id, submission, try_number
"""  # noqa: S608  (built from constants of this module)

EVENTS = """
SELECT at, kind, actor, reason, step, group_key AS "group", submission_number AS submission,
       from_state, to_state, group_id, before
FROM event
WHERE campaign_id = %(campaign_id)s AND (%(group_id)s::bigint IS NULL OR group_id = %(group_id)s)
  AND (%(since)s::timestamptz IS NULL OR at >= %(since)s)
ORDER BY id DESC
LIMIT %(limit)s
"""

CAMPAIGNS = """
SELECT c.name, c.state, c.reason, c.file, t.finished_at AS ticked_at, t.error,
       (SELECT max(number) FROM revision WHERE campaign_id = c.id) AS revision,
       count(g.id)::integer AS groups,
       count(g.id) FILTER (WHERE g.state = 'done')::integer AS done,
       count(g.id) FILTER (WHERE g.state IN ('ready', 'waiting'))::integer AS ready,
       count(g.id) FILTER (WHERE g.state = 'running')::integer AS running,
       count(g.id) FILTER (WHERE g.state = 'needs_review')::integer AS review,
       count(g.id) FILTER (WHERE g.state = 'done' AND starts_with(g.reason, %(stale)s))::integer AS stale
FROM campaign AS c
LEFT JOIN "group" AS g ON g.campaign_id = c.id
LEFT JOIN LATERAL (
    SELECT coalesce(finished_at, started_at) AS finished_at, error FROM tick
    WHERE campaign_id = c.id ORDER BY id DESC LIMIT 1
) AS t ON true
GROUP BY c.id, t.finished_at, t.error
ORDER BY c.name
"""

LAST_CANCELS = """
SELECT DISTINCT ON (group_id) at, kind, actor, reason, step, group_key AS "group",
       submission_number AS submission, from_state, to_state, group_id, before
FROM event
WHERE campaign_id = %(campaign_id)s AND kind = 'cancel' AND group_id IS NOT NULL
ORDER BY group_id, id DESC
"""
_FINAL = ", ".join(f"'{verdict}'" for verdict in sorted(FINAL_VERDICTS))
_HELD_BY_RULE = " OR ".join(f"starts_with(q.remedy, '{remedy}')" for remedy in sorted(HELD_REMEDIES))
_AGAIN_BY_RULE = ", ".join(f"'{remedy}'" for remedy in sorted(AGAIN_REMEDIES))

HELD = f"""
SELECT q.task, q.data_id, {", ".join("q." + name for name in COLUMN_DIMENSIONS)}
FROM quantum AS q
JOIN "group" AS g ON g.id = q.group_id
JOIN submission AS s ON s.id = q.submission_id
WHERE q.group_id = %(group_id)s AND q.state NOT IN ('succeeded', 'superseded')
  AND (q.verdict IN ({_FINAL}) AND coalesce(q.remedy, '') NOT IN ({_AGAIN_BY_RULE}) OR {_HELD_BY_RULE})
  AND s.number > g.attempts_from
ORDER BY q.task, q.data_id
"""  # noqa: S608  (built from constants of this module)

SUCCEEDED_SINCE = """
SELECT count(*)::integer AS n FROM quantum AS q JOIN "group" AS g ON g.id = q.group_id
WHERE g.campaign_id = %(campaign_id)s AND q.state = 'succeeded' AND q.ended > %(since)s
"""

JOBS = """
SELECT g.step, g.key AS "group", s.number AS submission, j.role, j.job_id, j.name, j.slurm_state, j.fate,
       j.reason, j.cancelled_by, j.exit_code, j.signal, j.nodes, j.submitted, j.started, j.ended, j.restarts,
       j.busy_seconds
FROM slurm_job AS j
JOIN submission AS s ON s.id = j.submission_id
JOIN "group" AS g ON g.id = s.group_id
WHERE g.campaign_id = %(campaign_id)s
ORDER BY g.ordinal, g.id, s.number, j.submitted NULLS LAST, j.id
"""

WALL = """
SELECT g.step, count(*)::integer AS submissions, jsonb_agg(s.wall) AS walls
FROM submission AS s JOIN "group" AS g ON g.id = s.group_id
WHERE g.campaign_id = %(campaign_id)s AND s.wall IS NOT NULL
GROUP BY g.step ORDER BY min(g.ordinal)
"""

MADE_FROM = """
SELECT number, generation, basis, combines, gathers
FROM submission WHERE group_id = %(group_id)s ORDER BY number
"""

# A success that is the last attempt may be told by its quantum, until that is superseded. A quantum that was
# left as it is costs nothing: it has never run.
COSTS = """
WITH wanted AS (
    SELECT id, step, key, published FROM "group"
    WHERE campaign_id = %(campaign_id)s AND step || '/' || key = ANY(%(names)s)
), ran AS (
    SELECT w.step, w.key, q.task, q.id, q.started, q.ended, q.requested_mb
    FROM wanted AS w JOIN quantum AS q ON q.group_id = w.id
    JOIN submission AS s ON s.id = q.kept_submission_id AND s.generation = w.published
    UNION ALL
    SELECT w.step, w.key, q.task, q.id, a.started, a.ended, a.requested_mb
    FROM wanted AS w JOIN quantum AS q ON q.group_id = w.id
    JOIN stored_attempt AS a ON a.quantum_id = q.id
    JOIN submission AS s ON s.id = a.submission_id AND s.generation = w.published
)
SELECT step, key AS "group", task, count(DISTINCT id) AS quanta,
       coalesce(sum(extract(epoch FROM ended - started)) FILTER (WHERE ended > started), 0)::float / 3600
           AS hours,
       coalesce(
           sum(requested_mb * extract(epoch FROM ended - started)) FILTER (WHERE ended > started), 0
       )::float / 3600 / 1024 AS gb_hours
FROM ran GROUP BY step, key, task ORDER BY step, key, task
"""
