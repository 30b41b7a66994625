-- What made a harvest slow on the server's side.

-- Looked up for every quantum, which took a third of the time in which they were inserted. A harvest holds the row of its
-- group locked, a group that has submissions is deleted with its campaign alone, and after its quanta.
ALTER TABLE quantum_row DROP CONSTRAINT IF EXISTS fk_quantum_row_group_id;

-- The same numbers. date_part() is a float at once, and date_bin() adds nothing but days of 24 hours.
CREATE OR REPLACE VIEW counted_usage AS
SELECT g.id AS group_id, u.*
FROM "group" AS g
CROSS JOIN LATERAL (
    SELECT k.task,
           (sum(k.n) FILTER (WHERE k.kind = 3))::integer AS n,
           max(k.requested_mb) AS requested_mb,
           max(k.peak_mb) AS peak_mb,
           sum(k.seconds) FILTER (WHERE k.kind = 3) AS seconds,
           max(k.seconds_longest) AS seconds_longest,
           coalesce(array_agg(k.peak ORDER BY k.peak) FILTER (WHERE k.kind = 1 AND k.peak IS NOT NULL), '{}') AS peaks,
           coalesce(array_agg(k.n ORDER BY k.peak) FILTER (WHERE k.kind = 1 AND k.peak IS NOT NULL), '{}') AS peaks_n,
           coalesce(array_agg(k.took ORDER BY k.took) FILTER (WHERE k.kind = 2 AND k.took IS NOT NULL), '{}') AS times,
           coalesce(array_agg(k.n ORDER BY k.took) FILTER (WHERE k.kind = 2 AND k.took IS NOT NULL), '{}') AS times_n
    FROM (
        SELECT r.task, r.peak, r.took, grouping(r.peak, r.took) AS kind, count(*)::integer AS n,
               max(r.requested_mb) AS requested_mb, max(r.peak_mb) AS peak_mb, sum(r.seconds) AS seconds,
               max(r.seconds) AS seconds_longest
        FROM (
            SELECT q.task, q.requested_mb, q.peak_mb, s.seconds,
                   round(50 * ln(greatest(q.peak_mb, 1)::double precision))::smallint AS peak,
                   round(50 * ln(greatest(s.seconds, 0.001)))::smallint AS took
            FROM quantum AS q
            CROSS JOIN LATERAL (SELECT date_part('epoch', q.ended - q.started) AS seconds) AS s
            WHERE q.group_id = g.id AND q.attempts > 0
        ) AS r
        GROUP BY GROUPING SETS ((r.task), (r.task, r.peak), (r.task, r.took))
    ) AS k
    GROUP BY k.task
) AS u;

CREATE OR REPLACE VIEW counted_hours AS
SELECT g.id AS group_id, h.*
FROM "group" AS g
CROSS JOIN LATERAL (
    SELECT date_bin('1 hour', q.ended, '2000-01-01 00:00:00+00') AS hour,
           count(*) FILTER (WHERE q.state = 'succeeded')::integer AS succeeded,
           count(*) FILTER (WHERE q.state = 'failed')::integer AS failed
    FROM quantum AS q
    WHERE q.group_id = g.id AND q.ended IS NOT NULL
    GROUP BY 1
) AS h;
