"""SQL text of a report. Columns are named like the fields of the rows they fill.

Of a moment that is past, states are told by the events and the attempts: what has not changed since is as it
was, of all else the last attempt before it counts.
"""

from __future__ import annotations

from merian_campaign.store.quanta.group_summaries import summary
from merian_campaign.store.quanta.quantum_keys import full_path
from merian_campaign.store.reading.queries import GROUP_COUNTS, LAST_ATTEMPT, OF_STEP_AND_TRACT

CAMPAIGN = """
SELECT c.id, c.state, c.file,
       (SELECT r.spec FROM revision AS r WHERE r.campaign_id = c.id AND r.applied_at <= %(at)s
        ORDER BY r.number DESC LIMIT 1) AS spec,
       (SELECT min(s.created_at) FROM submission AS s JOIN "group" AS g ON g.id = s.group_id
        WHERE g.campaign_id = c.id) AS began,
       (SELECT max(s.finished_at) FROM submission AS s JOIN "group" AS g ON g.id = s.group_id
        WHERE g.campaign_id = c.id) AS ended,
       (SELECT max(t.started_at) FROM tick AS t WHERE t.campaign_id = c.id AND t.started_at <= %(at)s)
           AS last_tick,
       (SELECT e.to_state FROM event AS e
        WHERE e.campaign_id = c.id AND e.group_id IS NULL AND e.to_state IN ('active', 'paused', 'cancelled')
          AND e.at <= %(at)s
        ORDER BY e.id DESC LIMIT 1) AS state_then
FROM campaign AS c WHERE c.name = %(name)s
"""

GROUPS = """
SELECT g.id, g.step, g.key AS "group", g.ordinal, g.selection_dimension AS dimension,
       g.selection_values AS "values",
       CASE WHEN %(past)s THEN coalesce(e.to_state, 'waiting') ELSE g.state END AS state,
       CASE WHEN %(past)s THEN coalesce(e.reason, '') ELSE g.reason END AS reason,
       g.accepted AND (NOT %(past)s OR coalesce(e.to_state, 'waiting') = 'done') AS accepted,
       coalesce(s.n, 0)::integer AS submissions, coalesce(s.empty_graph, false) AS empty_graph,
       r.reason AS remade,
       CASE WHEN %(past)s THEN coalesce(e.at, g.created_at) ELSE g.updated_at END AS updated_at
FROM "group" AS g
LEFT JOIN (
    SELECT s.group_id, count(*) AS n,
           coalesce(bool_or(s.outcome = 'empty' AND s.finished_at <= %(at)s), false) AS empty_graph
    FROM submission AS s JOIN "group" AS g ON g.id = s.group_id
    WHERE g.campaign_id = %(campaign_id)s AND s.created_at <= %(at)s
    GROUP BY s.group_id
) AS s ON s.group_id = g.id
LEFT JOIN (
    SELECT DISTINCT ON (e.group_id) e.group_id, e.to_state, e.reason, e.at
    FROM event AS e
    WHERE %(past)s AND e.campaign_id = %(campaign_id)s AND e.submission_id IS NULL AND e.to_state IS NOT NULL
      AND e.group_id IS NOT NULL AND e.at <= %(at)s
    ORDER BY e.group_id, e.id DESC
) AS e ON e.group_id = g.id
LEFT JOIN (
    SELECT DISTINCT ON (e.group_id) e.group_id, e.kind, e.reason
    FROM event AS e
    WHERE e.campaign_id = %(campaign_id)s AND e.kind IN ('redo', 'publish') AND e.at <= %(at)s
    ORDER BY e.group_id, e.id DESC
) AS r ON r.group_id = g.id AND r.kind = 'redo'
WHERE g.campaign_id = %(campaign_id)s AND g.created_at <= %(at)s
ORDER BY g.ordinal, g.id
"""

_TRACT = """coalesce(q.tract,
       CASE WHEN g.selection_dimension = 'tract' AND cardinality(g.selection_values) = 1
            THEN g.selection_values[1]::integer END)"""

_NOW = """
SELECT q.id, q.group_id, q.task, q.tract, q.patch, q.band, q.caveats, q.state, q.verdict, q.exception_type,
       q.ended, q.blocked_by
FROM quantum AS q JOIN "group" AS g ON g.id = q.group_id WHERE g.campaign_id = %(campaign_id)s
"""

# A success that has no row of its own.
_TOLD_THEN = "(q.kept_submission_id = q.submission_id AND q.ended <= %(at)s)"
_THEN = f"""
SELECT q.id, q.group_id, q.task, q.tract, q.patch, q.band,
       CASE WHEN q.updated_at <= %(at)s THEN q.caveats ELSE '' END AS caveats,
       CASE WHEN q.updated_at <= %(at)s THEN q.state
            WHEN {_TOLD_THEN} THEN 'succeeded'
            ELSE coalesce(a.state, 'pending') END AS state,
       CASE WHEN q.updated_at <= %(at)s OR {_TOLD_THEN} THEN q.verdict ELSE a.verdict END AS verdict,
       CASE WHEN q.updated_at <= %(at)s OR {_TOLD_THEN} THEN q.exception_type ELSE a.exception_type END
           AS exception_type,
       CASE WHEN q.updated_at <= %(at)s OR {_TOLD_THEN} THEN q.ended ELSE a.ended END AS ended,
       CASE WHEN q.updated_at <= %(at)s THEN q.blocked_by END AS blocked_by
FROM quantum AS q
JOIN "group" AS g ON g.id = q.group_id
LEFT JOIN (
    SELECT DISTINCT ON (a.quantum_id) a.quantum_id, a.state, a.verdict, a.exception_type, a.ended
    FROM stored_attempt AS a
    JOIN submission AS s ON s.id = a.submission_id
    JOIN "group" AS g ON g.id = s.group_id
    WHERE g.campaign_id = %(campaign_id)s AND coalesce(a.ended, a.recorded_at) <= %(at)s
    ORDER BY a.quantum_id, a.submission_id DESC, a.try DESC
) AS a ON a.quantum_id = q.id
WHERE g.campaign_id = %(campaign_id)s
  AND EXISTS (SELECT 1 FROM submission AS s WHERE s.group_id = g.id AND s.claimed_at <= %(at)s)
"""  # noqa: S608  (built from constants of this module)


# By the letters of the middleware (`lsst.pipe.base.QuantumSuccessCaveats.concise`).
_CAVEATS = [
    f"(count(*) FILTER (WHERE q.caveats ~ '[{letters}]' AND q.state = 'succeeded'))::integer AS {name}"
    for name, letters in (("no_work", "NA"), ("upstream", "U"), ("unprocessable", "D"), ("partial", "P"))
]


def cells(*, past: bool) -> str:
    """Return the query for quanta by group, tract, band and state."""
    if not past:
        return _CELLS_KEPT
    return f"""
SELECT q.group_id, {_TRACT} AS tract, q.band, q.state, count(*)::integer AS n,
       (count(*) FILTER (WHERE q.caveats <> '' AND q.state = 'succeeded'))::integer AS caveats,
       {", ".join(_CAVEATS)}
FROM ({_THEN}) AS q JOIN "group" AS g ON g.id = q.group_id
WHERE q.state <> 'superseded'
GROUP BY 1, 2, 3, 4
"""  # noqa: S608  (built from constants of this module)


_SUMS = ", ".join(
    f"sum(q.{name})::integer AS {name}"
    for name in ("n", "caveats", "no_work", "upstream", "unprocessable", "partial")
)
_CELLS_KEPT = f"""
SELECT q.group_id, {_TRACT.replace("q.tract", "nullif(q.tract, -1)")} AS tract, nullif(q.band, '') AS band,
       q.state, {_SUMS}
FROM {summary("group_cells")} AS q JOIN "group" AS g ON g.id = q.group_id
WHERE g.campaign_id = %(campaign_id)s
GROUP BY 1, 2, 3, 4
"""  # noqa: S608  (built from constants of this module)


_CAUSES_WANTED = f"""{OF_STEP_AND_TRACT}
      AND (%(task)s::text IS NULL OR q.task = %(task)s)
      AND (%(verdict)s::text IS NULL OR coalesce(q.verdict, 'unknown') = %(verdict)s)"""

FAILED_ATTEMPTS = f"""
SELECT count(*)::integer AS n
FROM stored_attempt AS a
JOIN submission AS s ON s.id = a.submission_id
JOIN "group" AS g ON g.id = s.group_id
JOIN quantum AS q ON q.id = a.quantum_id
WHERE a.state IN ('failed', 'unknown') AND {OF_STEP_AND_TRACT}
  AND (%(task)s::text IS NULL OR q.task = %(task)s)
  AND (%(verdict)s::text IS NULL OR coalesce(a.verdict, 'unknown') = %(verdict)s)
"""  # noqa: S608  (built from constants of this module)

COUNTS_BY_GROUP = f"""
SELECT g.id AS group_id, {GROUP_COUNTS} FROM "group" AS g WHERE g.campaign_id = %(campaign_id)s
"""  # noqa: S608  (names)


def causes(*, past: bool, chosen: bool = False) -> str:
    """Return the query for failed quanta by cause; of a step, tract, task and verdict if ``chosen``."""
    wanted = _CAUSES_WANTED if chosen else "true"
    states = _THEN if past else _NOW
    return f"""
WITH f AS (
    SELECT g.step, g.ordinal, q.task, coalesce(q.verdict, 'unknown') AS verdict,
           coalesce(q.exception_type, '') AS exception, q.group_id, q.id, q.ended, {_TRACT} AS tract, q.patch
    FROM ({states}) AS q JOIN "group" AS g ON g.id = q.group_id
    WHERE q.state = 'failed' AND {wanted}
), b AS (
    SELECT q.blocked_by, {_TRACT} AS tract, q.patch
    FROM ({states}) AS q JOIN "group" AS g ON g.id = q.group_id
    WHERE q.state = 'blocked' AND q.blocked_by IS NOT NULL AND q.group_id IN (SELECT f.group_id FROM f)
), touched AS (
    SELECT * FROM f
    UNION ALL
    SELECT f.step, f.ordinal, f.task, f.verdict, f.exception, f.group_id, NULL, NULL, b.tract, b.patch
    FROM f JOIN b ON b.blocked_by = f.id
), c AS (
    SELECT step, min(ordinal) AS ordinal, task, verdict, exception, count(id)::integer AS quanta,
           (count(*) - count(id))::integer AS behind,
           array_agg(DISTINCT group_id) AS group_ids, count(DISTINCT tract)::integer AS tracts,
           (count(DISTINCT (tract, patch)) FILTER (WHERE patch IS NOT NULL))::integer AS patches,
           max(ended) AS last_ended, min(id) AS example
    FROM touched
    GROUP BY step, task, verdict, exception
)
SELECT c.*, g.key AS "group", q.data_id, q.evidence, q.exception_message AS message, l.certainty, l.log_tail,
       {full_path("q.log_path", "s.directory")} AS log_path
FROM c JOIN quantum AS q ON q.id = c.example JOIN "group" AS g ON g.id = q.group_id
LEFT JOIN submission AS s ON s.id = q.submission_id
{LAST_ATTEMPT}
ORDER BY c.quanta DESC, c.ordinal, c.task, c.verdict, c.exception
"""  # noqa: S608  (built from constants of this module)


def unpointed(*, past: bool) -> str:
    """Return the query for blocked quanta of which it is not on record what blocks them, by group."""
    return f"""
SELECT q.group_id, count(*)::integer AS n FROM ({_THEN if past else _NOW}) AS q
WHERE q.state = 'blocked' AND q.blocked_by IS NULL GROUP BY 1
"""  # noqa: S608  (built from constants of this module)


# Each execution once: a success that is the last may stand with its quantum, any other is an attempt. A
# quantum that was done again after a redo has several that succeeded; the last of them is what makes it done.
_FIRST_TRY = """q.kept_submission_id = q.submission_id AND (NOT %(past)s OR q.ended <= %(at)s)"""

_DONE = f"""a.state = 'succeeded' AND (%(past)s OR q.state = 'succeeded')
       AND ({_FIRST_TRY}) IS NOT TRUE
       AND row_number() OVER (PARTITION BY a.quantum_id, a.state = 'succeeded'
                              ORDER BY a.submission_id DESC, a.try DESC) = 1"""


def _executions(*, done: str) -> str:
    """Return the query for executions; ``done`` says which attempts make a quantum done."""
    return f"""
SELECT g.step, q.task, 'succeeded' AS state, q.requested_mb, q.peak_mb, q.started, q.ended, true AS done
FROM quantum AS q JOIN "group" AS g ON g.id = q.group_id
WHERE g.campaign_id = %(campaign_id)s AND {_FIRST_TRY}
UNION ALL
SELECT g.step, q.task, a.state, a.requested_mb, a.peak_mb, a.started, a.ended, {done} AS done
FROM stored_attempt AS a
JOIN submission AS s ON s.id = a.submission_id
JOIN "group" AS g ON g.id = s.group_id
JOIN quantum AS q ON q.id = a.quantum_id
WHERE g.campaign_id = %(campaign_id)s AND a.state IN ('succeeded', 'failed', 'unknown')
  AND (NOT %(past)s OR coalesce(a.ended, a.recorded_at) <= %(at)s)
"""  # noqa: S608  (built from constants of this module)


_EXECUTIONS = _executions(done="NULL")
_SECONDS = "extract(epoch FROM e.ended - e.started)::double precision"

USAGE = f"""
SELECT e.step, e.task, count(*)::integer AS executions,
       (count(*) FILTER (WHERE e.state <> 'succeeded'))::integer AS failed,
       percentile_disc(0.5) WITHIN GROUP (ORDER BY e.requested_mb) AS requested_mb_median,
       max(e.requested_mb) AS requested_mb,
       percentile_disc(0.5) WITHIN GROUP (ORDER BY e.peak_mb) AS peak_mb_median,
       percentile_disc(0.95) WITHIN GROUP (ORDER BY e.peak_mb) AS peak_mb_p95,
       max(e.peak_mb) AS peak_mb,
       percentile_disc(0.5) WITHIN GROUP (ORDER BY {_SECONDS}) AS seconds_median,
       percentile_disc(0.95) WITHIN GROUP (ORDER BY {_SECONDS}) AS seconds_p95,
       max({_SECONDS}) AS seconds_longest, coalesce(sum({_SECONDS}), 0) / 3600 AS hours
FROM ({_EXECUTIONS}) AS e
GROUP BY e.step, e.task
"""  # noqa: S608  (built from constants of this module)

EXECUTIONS_KEPT = """
SELECT coalesce(sum(k.runs), 0)::integer AS n FROM group_usage AS k JOIN "group" AS g ON g.id = k.group_id
WHERE g.campaign_id = %(campaign_id)s
"""

# Of bins, the one in which the median lies, and that of 95%.
_BINNED = """
SELECT b.step, b.task, b.kind,
       min(b.bin) FILTER (WHERE 2 * b.upto >= b.total) AS median,
       min(b.bin) FILTER (WHERE 20 * b.upto >= 19 * b.total) AS p95
FROM (
    SELECT b.*, sum(b.n) OVER (PARTITION BY b.step, b.task, b.kind) AS total,
           sum(b.n) OVER (PARTITION BY b.step, b.task, b.kind ORDER BY b.bin) AS upto
    FROM (SELECT u.step, u.task, h.kind, h.bin, sum(h.n) AS n
          FROM u CROSS JOIN LATERAL (BINS) AS h (kind, bin, n) GROUP BY 1, 2, 3, 4) AS b
) AS b
GROUP BY b.step, b.task, b.kind"""

_RUN_BINS = """SELECT 1, r.* FROM unnest(u.requests, u.requests_runs) AS r (bin, n)
    UNION ALL SELECT 2, p.* FROM unnest(u.peaks, u.peaks_runs) AS p (bin, n)
    UNION ALL SELECT 3, t.* FROM unnest(u.times, u.times_runs) AS t (bin, n)"""


def _value(name: str, kind: int, most: str) -> str:
    """Return SQL for what a bin stands for."""
    return f"least(exp((max(b.{name}) FILTER (WHERE b.kind = {kind})) / 50.0::double precision), {most})"


USAGE_KEPT = f"""
WITH u AS MATERIALIZED (
    SELECT g.step, k.* FROM {summary("group_usage")} AS k JOIN "group" AS g ON g.id = k.group_id
    WHERE g.campaign_id = %(campaign_id)s
), whole AS (
    SELECT u.step, u.task, sum(u.runs)::integer AS executions, sum(u.runs_failed)::integer AS failed,
           max(u.runs_requested_mb) AS requested_mb, max(u.runs_peak_mb) AS peak_mb,
           max(u.runs_longest) AS seconds_longest, coalesce(sum(u.runs_seconds), 0) / 3600 AS hours
    FROM u GROUP BY 1, 2 HAVING sum(u.runs) > 0
)
SELECT w.step, w.task, w.executions, w.failed, max(b.median) FILTER (WHERE b.kind = 1) AS requested_mb_median,
       w.requested_mb, round({_value("median", 2, "w.peak_mb")})::integer AS peak_mb_median,
       round({_value("p95", 2, "w.peak_mb")})::integer AS peak_mb_p95, w.peak_mb,
       {_value("median", 3, "w.seconds_longest")} AS seconds_median,
       {_value("p95", 3, "w.seconds_longest")} AS seconds_p95, w.seconds_longest, w.hours
FROM whole AS w LEFT JOIN ({_BINNED.replace("BINS", _RUN_BINS)}) AS b USING (step, task)
GROUP BY w.step, w.task, w.executions, w.failed, w.requested_mb, w.peak_mb, w.seconds_longest, w.hours
"""  # noqa: S608  (built from constants of this module)
"""The same from the summaries, medians and 95% to within a hundredth."""

# Known since a submission is over.
WAITS = f"""
WITH u AS MATERIALIZED (
    SELECT g.step, k.* FROM queue_wait AS k JOIN submission AS s ON s.id = k.submission_id
    JOIN "group" AS g ON g.id = s.group_id
    WHERE g.campaign_id = %(campaign_id)s AND (NOT %(past)s OR s.finished_at <= %(at)s)
), whole AS (
    SELECT u.step, u.task, sum(u.n)::integer AS waited, max(u.seconds_longest) AS wait_seconds_longest,
           sum(u.seconds) / 3600 AS wait_hours
    FROM u GROUP BY 1, 2
)
SELECT w.step, w.task, w.waited, {_value("median", 4, "w.wait_seconds_longest")} AS wait_seconds_median,
       {_value("p95", 4, "w.wait_seconds_longest")} AS wait_seconds_p95, w.wait_seconds_longest, w.wait_hours
FROM whole AS w
JOIN ({_BINNED.replace("BINS", "SELECT 4, p.* FROM unnest(u.waits, u.waits_n) AS p (bin, n)")}) AS b
    USING (step, task)
GROUP BY w.step, w.task, w.waited, w.wait_seconds_longest, w.wait_hours
"""  # noqa: S608  (built from constants of this module)

PROGRESS = f"""
SELECT date_bin(%(span)s * interval '1 second', e.ended, '2000-01-01Z') AS start, e.step,
       (count(*) FILTER (WHERE e.state = 'succeeded'))::integer AS succeeded,
       (count(*) FILTER (WHERE e.state <> 'succeeded'))::integer AS failed,
       (count(*) FILTER (WHERE e.done))::integer AS done
FROM ({_executions(done=_DONE)}) AS e
WHERE e.ended IS NOT NULL
GROUP BY 1, 2 ORDER BY 1, 2
"""  # noqa: S608  (built from constants of this module)

PROGRESS_KEPT = f"""
SELECT date_bin(%(span)s * interval '1 second', h.hour, '2000-01-01Z') AS start, g.step,
       sum(h.runs_succeeded)::integer AS succeeded, sum(h.runs_failed)::integer AS failed,
       sum(h.succeeded)::integer AS done
FROM {summary("group_hours")} AS h JOIN "group" AS g ON g.id = h.group_id
WHERE g.campaign_id = %(campaign_id)s
GROUP BY 1, 2 HAVING sum(h.runs_succeeded + h.runs_failed + h.succeeded) > 0 ORDER BY 1, 2
"""  # noqa: S608  (built from constants of this module)
"""The same from the summaries, for spans of whole hours."""

ENDED_SINCE = f"""
SELECT (count(*) FILTER (WHERE e.state = 'succeeded'))::integer AS succeeded_since,
       (count(*) FILTER (WHERE e.state <> 'succeeded'))::integer AS failed_since
FROM ({_EXECUTIONS}) AS e WHERE e.ended > %(since)s
"""  # noqa: S608  (built from constants of this module)

SUBMISSIONS = """
SELECT g.step, g.key AS "group",
       CASE WHEN g.selection_dimension = 'tract' AND cardinality(g.selection_values) = 1
            THEN g.selection_values[1]::integer END AS tract,
       s.number,
       CASE WHEN NOT %(past)s OR s.finished_at <= %(at)s THEN s.state
            WHEN s.claimed_at <= %(at)s THEN 'running' ELSE 'prepared' END AS state,
       CASE WHEN NOT %(past)s OR s.finished_at <= %(at)s THEN s.outcome END AS outcome,
       s.reason, s.remedy, s.run_collection, s.created_at,
       CASE WHEN s.claimed_at <= %(at)s THEN s.claimed_at END AS claimed_at,
       CASE WHEN s.finished_at <= %(at)s THEN s.finished_at END AS finished_at
FROM submission AS s JOIN "group" AS g ON g.id = s.group_id
WHERE g.campaign_id = %(campaign_id)s AND s.created_at <= %(at)s
ORDER BY g.ordinal, s.created_at, s.id
"""

STACKS = """
SELECT s.versions_sha AS digest, coalesce(min(s.versions ->> 'short'), '') AS short,
       count(*)::integer AS submissions, min(s.created_at) AS first, max(s.created_at) AS last
FROM submission AS s JOIN "group" AS g ON g.id = s.group_id
WHERE g.campaign_id = %(campaign_id)s AND s.versions_sha <> '' AND s.created_at <= %(at)s
GROUP BY s.versions_sha ORDER BY first
"""

REVISIONS = """
SELECT number, actor, applied_at, sha256, text FROM revision
WHERE campaign_id = %(campaign_id)s AND applied_at <= %(at)s
ORDER BY number
"""

EVENTS = """
SELECT at, kind, actor, reason, step, group_key AS "group", submission_number AS submission,
       from_state, to_state
FROM event
WHERE campaign_id = %(campaign_id)s AND at > %(since)s AND at <= %(at)s AND submission_id IS NULL
ORDER BY id
"""

REGIONS = """
SELECT kind, number, ra, "dec" FROM sky_region WHERE campaign_id = %(campaign_id)s ORDER BY kind, number
"""

VISITS = """
SELECT t.tract, count(DISTINCT v.visit)::integer AS visits
FROM visit_overlap AS o, unnest(o.tracts) AS t (tract), unnest(o.visits) AS v (visit)
WHERE o.campaign_id = %(campaign_id)s AND o.taken
GROUP BY t.tract
"""

VISIT_IDS = """
SELECT DISTINCT v.visit FROM visit_overlap AS o, unnest(o.visits) AS v (visit)
WHERE o.campaign_id = %(campaign_id)s AND o.taken ORDER BY v.visit
"""
