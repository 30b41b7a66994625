"""Every number of a report, counted once more: in plain SQL over the tables, without a query of the program.

A table is a query whose columns are named as those of the report's JSON. Of one campaign, as it stands now.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from html.parser import HTMLParser
from typing import Any, Final

import psycopg2

type Row = dict[str, Any]

# Each execution once: successes at first try have no attempt of their own.
_RAN: Final = """
ran AS MATERIALIZED (
    SELECT q.id, g.step, q.task, 'succeeded' AS state, q.started, q.ended, q.peak_mb, q.requested_mb
    FROM quantum q JOIN g ON g.id = q.group_id WHERE q.first_try_submission_id = q.submission_id
    UNION ALL
    SELECT q.id, g.step, q.task, a.state, a.started, a.ended, a.peak_mb, a.requested_mb
    FROM quantum_attempt a JOIN quantum q ON q.id = a.quantum_id JOIN g ON g.id = q.group_id
    WHERE a.state <> 'blocked'
)"""

_WITH: Final = f"""
WITH g AS (
    SELECT g.*, row_number() OVER (ORDER BY g.ordinal, g.id) AS place
    FROM "group" g JOIN campaign c ON c.id = g.campaign_id WHERE c.name = %(name)s
), q AS (
    SELECT q.*, g.step, g.state AS group_state,
           CASE WHEN q.tract IS NOT NULL THEN q.tract
                WHEN g.selection_dimension = 'tract' AND array_length(g.selection_values, 1) = 1
                THEN g.selection_values[1] END AS of_tract
    FROM quantum q JOIN g ON g.id = q.group_id WHERE q.state <> 'superseded'
), {_RAN}
"""

_QUANTA: Final = """
count(q.id) AS expected, count(q.id) FILTER (WHERE q.state = 'succeeded') AS succeeded,
count(q.id) FILTER (WHERE q.state = 'failed') AS failed,
count(q.id) FILTER (WHERE q.state = 'blocked') AS {blocked},
count(q.id) FILTER (WHERE q.state IN ('pending', 'running', 'unknown')) AS open"""

# How long a quantum ran in a block is from a journal; what is beyond the block's own life is no hour of it.
_BLOCKS: Final = """
SELECT step, queued / 3600.0 AS queued, ran / 3600.0 AS ran, least(busy, ran) / 3600.0 AS busy, lost
FROM (
    SELECT g.step, j.busy_seconds AS busy, j.fate IN ('node_lost', 'preempted') AS lost,
           extract(epoch FROM coalesce(j.started, j.ended, %(at)s) - j.submitted) AS queued,
           extract(epoch FROM coalesce(j.ended, %(at)s) - j.started) AS ran
    FROM slurm_job j JOIN submission s ON s.id = j.submission_id JOIN g ON g.id = s.group_id
    WHERE j.role = 'block'
) AS j"""

TABLES: Final[Mapping[str, str]] = {
    "steps": f"""
        SELECT gs.*, {_QUANTA.format(blocked="quanta_blocked")}
        FROM (SELECT step, count(*) AS groups, count(*) FILTER (WHERE state = 'done') AS done,
                     count(*) FILTER (WHERE state = 'running') AS running,
                     count(*) FILTER (WHERE state = 'needs_review') AS needs_review,
                     count(*) FILTER (WHERE state IN ('blocked', 'cancelled')) AS blocked,
                     count(*) FILTER (WHERE state IN ('waiting', 'ready')) AS waiting
              FROM g GROUP BY step) AS gs LEFT JOIN q ON q.step = gs.step
        GROUP BY gs.step, gs.groups, gs.done, gs.running, gs.needs_review, gs.blocked, gs.waiting""",
    "groups": f"""
        SELECT g.step, g.key AS "group", g.state,
               (SELECT count(*) FROM submission s WHERE s.group_id = g.id) AS submissions,
               {_QUANTA.format(blocked="blocked")}
        FROM g LEFT JOIN q ON q.group_id = g.id GROUP BY g.id, g.step, g.key, g.state""",
    "tracts": """
        WITH t AS (
            SELECT o.tract, bool_and(o.done) AS releasable, count(*) AS steps, array_agg(o.step) AS own,
                   count(*) FILTER (WHERE o.done_so_far) AS reached
            FROM (SELECT u.tract, g.step, g.state = 'done' AS done,
                         bool_and(g.state = 'done')
                             OVER (PARTITION BY u.tract ORDER BY g.place) AS done_so_far
                  FROM g, unnest(g.selection_values) AS u (tract) WHERE g.selection_dimension = 'tract') AS o
            GROUP BY o.tract
        ), n AS MATERIALIZED (
            SELECT q.of_tract, q.step, q.state, count(*) AS n,
                   count(*) FILTER (WHERE q.caveats <> '') AS caveats,
                   count(*) FILTER (WHERE q.group_state = 'done') AS of_done
            FROM q GROUP BY 1, 2, 3
        ), v AS (
            SELECT u.tract, count(DISTINCT w.visit) AS visits
            FROM visit_overlap o JOIN campaign c ON c.id = o.campaign_id AND c.name = %(name)s,
                 unnest(o.tracts) AS u (tract), unnest(o.visits) AS w (visit)
            WHERE o.taken GROUP BY u.tract
        )
        SELECT t.tract, t.releasable, t.steps, t.reached, coalesce(max(v.visits), 0) AS visits,
               coalesce(sum(n), 0) AS expected,
               coalesce(sum(n) FILTER (WHERE n.state = 'succeeded'), 0) AS succeeded,
               coalesce(sum(n) FILTER (WHERE n.state = 'failed'), 0) AS failed,
               coalesce(sum(n) FILTER (WHERE n.state = 'blocked'), 0) AS blocked,
               coalesce(sum(n) FILTER (WHERE n.state IN ('pending', 'running', 'unknown')), 0) AS open,
               coalesce(sum(n.caveats) FILTER (WHERE n.state = 'succeeded'), 0) AS caveats,
               coalesce(sum(n.of_done) FILTER (WHERE n.state <> 'succeeded'), 0) AS accepted
        FROM t LEFT JOIN n ON n.of_tract = t.tract AND n.step = ANY (t.own) LEFT JOIN v ON v.tract = t.tract
        GROUP BY t.tract, t.releasable, t.steps, t.reached""",
    "completeness": f"""
        SELECT q.of_tract AS tract, q.step, coalesce(q.band, '') AS band, {_QUANTA.format(blocked="blocked")},
               count(*) FILTER (WHERE q.state = 'succeeded' AND q.caveats <> '') AS caveats,
               count(*) FILTER (WHERE q.state <> 'succeeded' AND q.group_state = 'done') AS accepted
        FROM q WHERE q.of_tract IS NOT NULL GROUP BY q.of_tract, q.step, coalesce(q.band, '')""",
    "causes": """
        SELECT q.step, q.task, coalesce(q.verdict, 'unknown') AS verdict,
               coalesce(q.exception_type, '') AS exception, count(*) AS quanta,
               count(DISTINCT q.group_id) AS groups, count(DISTINCT q.of_tract) AS tracts
        FROM q WHERE q.state = 'failed' GROUP BY 1, 2, 3, 4""",
    "usage": """
        SELECT step, task, count(*) AS executions, count(*) FILTER (WHERE state <> 'succeeded') AS failed,
               max(requested_mb) AS requested_mb, max(peak_mb) AS peak_mb,
               percentile_disc(0.5) WITHIN GROUP (ORDER BY requested_mb) AS requested_mb_median,
               percentile_disc(0.5) WITHIN GROUP (ORDER BY peak_mb) AS peak_mb_median,
               percentile_disc(0.95) WITHIN GROUP (ORDER BY peak_mb) AS peak_mb_p95,
               percentile_disc(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM ended - started))
                   AS seconds_median,
               percentile_disc(0.95) WITHIN GROUP (ORDER BY extract(epoch FROM ended - started))
                   AS seconds_p95,
               max(extract(epoch FROM ended - started)) AS seconds_longest,
               coalesce(sum(extract(epoch FROM ended - started)), 0) / 3600 AS hours,
               (SELECT sum(w.n) FROM queue_wait w JOIN submission s ON s.id = w.submission_id
                JOIN g ON g.id = s.group_id WHERE g.step = ran.step AND w.task = ran.task) AS waited,
               (SELECT max(w.seconds_longest) FROM queue_wait w JOIN submission s ON s.id = w.submission_id
                JOIN g ON g.id = s.group_id WHERE g.step = ran.step AND w.task = ran.task)
                   AS wait_seconds_longest,
               (SELECT sum(w.seconds) FROM queue_wait w JOIN submission s ON s.id = w.submission_id
                JOIN g ON g.id = s.group_id WHERE g.step = ran.step AND w.task = ran.task) / 3600
                   AS wait_hours
        FROM ran GROUP BY step, task""",
    "progress": """
        SELECT floor(extract(epoch FROM ended) / %(span)s) * %(span)s AS start, step,
               count(*) FILTER (WHERE what = 'succeeded') AS succeeded,
               count(*) FILTER (WHERE what IN ('failed', 'unknown')) AS failed,
               count(*) FILTER (WHERE what = 'stands') AS done
        FROM (SELECT ended, step, state AS what FROM ran
              UNION ALL SELECT ended, step, 'stands' FROM q WHERE state = 'succeeded') AS both_of
        WHERE ended IS NOT NULL GROUP BY 1, 2""",
    "blocks": f"""
        SELECT step, count(*) AS blocks, coalesce(sum(queued), 0) AS queued_hours,
               coalesce(sum(ran), 0) AS ran_hours,
               coalesce(sum(busy), 0) AS busy_hours, coalesce(sum(ran - busy), 0) AS idle_hours,
               coalesce(sum(ran) FILTER (WHERE busy IS NULL), 0) AS unknown_hours,
               count(*) FILTER (WHERE lost) AS lost, coalesce(sum(ran) FILTER (WHERE lost), 0) AS lost_hours
        FROM ({_BLOCKS}) AS b GROUP BY step""",
    "submissions": """
        SELECT g.step, g.key AS "group", s.number, s.state, coalesce(s.outcome, '') AS outcome,
               s.run_collection, s.created_at,
               CASE WHEN s.claimed_at <= %(at)s THEN s.claimed_at END AS claimed_at,
               CASE WHEN s.finished_at <= %(at)s THEN s.finished_at END AS finished_at
        FROM submission s JOIN g ON g.id = s.group_id""",
    "changes": """
        SELECT step, group_key AS "group", first AS from_state, last AS to_state FROM (
            SELECT e.step, e.group_key, (array_agg(coalesce(e.from_state, '') ORDER BY e.id))[1] AS first,
                   (array_agg(e.to_state ORDER BY e.id DESC))[1] AS last
            FROM event e JOIN campaign c ON c.id = e.campaign_id AND c.name = %(name)s
            WHERE e.submission_id IS NULL AND e.group_key IS NOT NULL AND e.to_state IS NOT NULL
              AND e.at > %(since)s AND e.at <= %(at)s
            GROUP BY e.step, e.group_key) AS m WHERE first <> last""",
    "revisions": """
        SELECT r.number, r.actor, r.sha256, r.applied_at
        FROM revision r JOIN campaign c ON c.id = r.campaign_id AND c.name = %(name)s""",
    "stacks": """
        SELECT s.versions_sha AS digest, count(*) AS submissions
        FROM submission s JOIN g ON g.id = s.group_id WHERE s.versions_sha <> '' GROUP BY 1""",
}

HEADLINE: Final = f"""
SELECT (SELECT count(DISTINCT u) FROM g, unnest(g.selection_values) u
        WHERE selection_dimension = 'tract') AS tracts,
       (SELECT count(*) FROM (SELECT u FROM g, unnest(g.selection_values) u
                              WHERE selection_dimension = 'tract' GROUP BY u
                              HAVING bool_and(g.state = 'done')) AS t) AS releasable,
       (SELECT count(*) FROM g) AS groups, (SELECT count(*) FROM g WHERE state = 'done') AS done,
       (SELECT count(*) FROM g WHERE state = 'running') AS running,
       (SELECT count(*) FROM g WHERE state = 'needs_review') AS needs_you,
       (SELECT count(*) FROM g WHERE state = 'blocked') AS blocked_groups,
       (SELECT count(*) FROM q) AS expected, (SELECT count(*) FROM q WHERE state = 'succeeded') AS succeeded,
       (SELECT count(*) FROM q WHERE state = 'failed') AS failed,
       (SELECT count(*) FROM q WHERE state = 'blocked') AS blocked,
       (SELECT count(*) FROM q WHERE state IN ('pending', 'running', 'unknown')) AS open,
       (SELECT count(*) FROM ran) AS executions,
       (SELECT coalesce(sum(extract(epoch FROM ended - started)), 0) / 3600 FROM ran) AS quantum_hours,
       (SELECT coalesce(sum(ran), 0) FROM ({_BLOCKS}) AS b) AS block_hours,
       (SELECT count(*) FROM ran WHERE state = 'succeeded' AND ended > %(since)s) AS done_since,
       (SELECT count(*) FROM ran WHERE state <> 'succeeded' AND ended > %(since)s) AS failed_since
"""


def differences(
    connection: psycopg2.extensions.connection, report: Mapping[str, Any], *, since: datetime | None
) -> list[str]:
    """Return what a report, as its JSON has it, tells differently from the tables; empty if nothing.

    Parameters
    ----------
    connection : `psycopg2.extensions.connection`
        To a database in which nothing moves.
    report : `~collections.abc.Mapping`
        The report.
    since : `datetime.datetime` or `None`
        From when on it tells changes.
    """
    at = datetime.fromisoformat(report["headline"]["at"])
    values = {
        "name": report["campaign"], "at": at, "since": since or at, "span": report["progress_seconds"],
    }  # fmt: skip
    (headline,) = _counted(connection, HEADLINE, values)
    found = [
        f"headline {name}: {report['headline'][name]!r}, counted {counted!r}"
        for name, counted in headline.items()
        if not _same(report["headline"][name], counted)
    ]
    for table, query in TABLES.items():
        # What no graph has yet is an estimate, and no count.
        counted = [line for line in report[table] if not line.get("estimated")]
        found += _lines(table, counted, _counted(connection, query, values))
    return found


def _counted(
    connection: psycopg2.extensions.connection, query: str, values: Mapping[str, object]
) -> list[Row]:
    with connection.cursor() as cursor:
        # A query with tables of its own goes on with those that all have.
        cursor.execute(_WITH + re.sub(r"^\s*WITH ", ", ", query), dict(values))
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


_KEYS: Final = ("step", "group", "number", "tract", "band", "task", "verdict", "exception", "start", "digest")
"""Of a line: what tells it from the others of its table."""


def _lines(table: str, told: list[Row], counted: list[Row]) -> Iterator[str]:
    keys = [name for name in _KEYS if counted and name in counted[0]]
    by_key = {tuple(_plain(row[name]) for name in keys): row for row in counted}
    if len(told) != len(counted):
        yield f"{table}: {len(told)} lines, counted {len(counted)}"
    for line in told:
        key = tuple(_plain(line[name]) for name in keys)
        row = by_key.get(key)
        if row is None:
            yield f"{table}: {key} is told, and not there"
            continue
        for name, value in row.items():
            if name not in keys and not _same(line[name], value):
                yield f"{table} {key} {name}: {line[name]!r}, counted {value!r}"


def _plain(value: Any) -> Any:
    """Return times as seconds, as the key of a line."""
    if isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\dT", value):
        return datetime.fromisoformat(value).timestamp()
    return float(value) if type(value).__name__ == "Decimal" else value


def _same(told: Any, counted: Any) -> bool:
    if isinstance(counted, datetime):
        return told is not None and datetime.fromisoformat(told) == counted
    if type(counted).__name__ == "Decimal" or isinstance(counted, float):
        return told is not None and abs(float(told) - float(counted)) <= 1e-6 * max(1.0, abs(float(counted)))
    return bool(told == counted)


class PageNumbers(HTMLParser):
    """The tables and facts of a page as a reader sees them, blanks between thousands taken out.

    Parameters
    ----------
    page : `str`
        HTML.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.facts: dict[str, str] = {}
        self.tables: dict[str, list[dict[str, str]]] = {}
        self._section = self._fact = self._said = ""
        self._over = False
        self._heads: list[str] = []
        self._row: list[str] = []
        self._text: list[str] | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin what is read."""
        if tag == "section":
            self._section = dict(attrs).get("id") or ""
        elif tag == "table":
            self._heads = []
        elif tag == "tr":
            self._row, self._over = [], dict(attrs).get("class") == "over"
        elif tag == "th" and (said := dict(attrs).get("aria-label")):
            # What is read aloud is what it is called; what is seen stands below a common heading.
            self._said, self._text = said, []
        elif tag in {"th", "td", "dt", "dd"}:
            self._text = []

    def handle_data(self, data: str) -> None:
        """Collect words."""
        if self._text is not None:
            self._text.append(data)

    def handle_endtag(self, tag: str) -> None:
        """End what is read."""
        words = "".join(self._text or ()).replace("\N{NARROW NO-BREAK SPACE}", "").strip()
        match tag:
            case "th" if not self._over:
                self._heads.append(self._said or words)
                self._said = ""
            case "td" if not self._over:
                self._row.append(words)
            case "dt":
                self._fact = words
            case "dd":
                self.facts[self._fact] = words
            case "tr" if self._row:
                line = dict(zip(self._heads, self._row, strict=False))
                self.tables.setdefault(self._section, []).append(line)
        if tag in {"th", "td", "dt", "dd"}:
            self._text = None
