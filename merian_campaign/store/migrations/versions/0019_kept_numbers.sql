-- What usage, completeness and reports say, kept by group, so that they do not read every quantum; and how long quanta waited
-- for their turn. Three passes over the quanta.

-- Known where a journal was read at the end of a submission: there is nothing for submissions of before.
CREATE TABLE queue_wait (
    submission_id bigint NOT NULL,
    task text NOT NULL,
    n integer NOT NULL,
    seconds double precision NOT NULL,
    seconds_longest double precision NOT NULL,
    waits smallint[] NOT NULL,
    waits_n integer[] NOT NULL,
    CONSTRAINT pk_queue_wait PRIMARY KEY (submission_id, task),
    CONSTRAINT fk_queue_wait_submission_id FOREIGN KEY (submission_id) REFERENCES submission (id)
);
COMMENT ON TABLE queue_wait IS 'Executions of a submission by task: seconds from when they could start until they did, with bins: fifty times the logarithm, and how many';

CREATE TABLE group_cells (
    group_id bigint NOT NULL,
    tract integer NOT NULL,
    band text NOT NULL,
    state text NOT NULL,
    n integer NOT NULL,
    caveats integer NOT NULL,
    no_work integer NOT NULL,
    upstream integer NOT NULL,
    unprocessable integer NOT NULL,
    partial integer NOT NULL,
    CONSTRAINT pk_group_cells PRIMARY KEY (group_id, tract, band, state),
    CONSTRAINT ck_group_cells_state CHECK (state IN ('pending', 'running', 'succeeded', 'failed', 'blocked', 'unknown', 'superseded')),
    CONSTRAINT fk_group_cells_group_id FOREIGN KEY (group_id) REFERENCES "group" (id)
);
COMMENT ON TABLE group_cells IS 'Cache: quanta of a group that is over, by tract (-1: none), band (empty: none) and state, and successes by their caveats; never the truth';

-- Last attempts, and all executions, of which most are the same. Quanta are summed by the numbers of their dictionaries, which
-- is quicker than by words. What is not known is in no bin; a bin may have none of one of the two.
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
           coalesce(array_agg(k.peak ORDER BY k.peak) FILTER (WHERE k.kind = 5 AND k.peak IS NOT NULL), '{}') AS peaks,
           coalesce(array_agg(k.n ORDER BY k.peak) FILTER (WHERE k.kind = 5 AND k.peak IS NOT NULL), '{}') AS peaks_n,
           coalesce(array_agg(k.took ORDER BY k.took) FILTER (WHERE k.kind = 6 AND k.took IS NOT NULL), '{}') AS times,
           coalesce(array_agg(k.n ORDER BY k.took) FILTER (WHERE k.kind = 6 AND k.took IS NOT NULL), '{}') AS times_n,
           (sum(k.runs) FILTER (WHERE k.kind = 3))::integer AS runs,
           (sum(k.failed) FILTER (WHERE k.kind = 3))::integer AS runs_failed,
           max(k.runs_requested_mb) AS runs_requested_mb,
           max(k.runs_peak_mb) AS runs_peak_mb,
           sum(k.runs_seconds) FILTER (WHERE k.kind = 3) AS runs_seconds,
           max(k.runs_longest) AS runs_longest,
           coalesce(array_agg(k.request ORDER BY k.request) FILTER (WHERE k.kind = 3 AND k.request IS NOT NULL), '{}') AS requests,
           coalesce(array_agg(k.runs ORDER BY k.request) FILTER (WHERE k.kind = 3 AND k.request IS NOT NULL), '{}') AS requests_runs,
           coalesce(array_agg(k.runs ORDER BY k.peak) FILTER (WHERE k.kind = 5 AND k.peak IS NOT NULL), '{}') AS peaks_runs,
           coalesce(array_agg(k.runs ORDER BY k.took) FILTER (WHERE k.kind = 6 AND k.took IS NOT NULL), '{}') AS times_runs
    FROM (
        SELECT m.task, m.kind, m.request, m.peak, m.took,
               coalesce(sum(m.n) FILTER (WHERE m.last), 0)::integer AS n,
               max(m.request) FILTER (WHERE m.last) AS requested_mb,
               max(m.peak_mb) FILTER (WHERE m.last) AS peak_mb,
               sum(m.seconds) FILTER (WHERE m.last) AS seconds,
               max(m.longest) FILTER (WHERE m.last) AS seconds_longest,
               coalesce(sum(m.n) FILTER (WHERE m.run), 0)::integer AS runs,
               coalesce(sum(m.n) FILTER (WHERE m.failed), 0)::integer AS failed,
               max(m.request) FILTER (WHERE m.run) AS runs_requested_mb,
               max(m.peak_mb) FILTER (WHERE m.run) AS runs_peak_mb,
               sum(m.seconds) FILTER (WHERE m.run) AS runs_seconds,
               max(m.longest) FILTER (WHERE m.run) AS runs_longest
        FROM (
            SELECT t.task, true AS last, i.run, false AS failed, i.kind, c.requested_mb AS request, i.peak, i.took,
                   i.n, i.peak_mb, i.seconds, i.longest
            FROM (
                SELECT r.kind_id, r.common_id, r.run, r.peak, r.took, grouping(r.common_id, r.peak, r.took) AS kind,
                       count(*) AS n, max(r.peak_mb) AS peak_mb, sum(r.seconds) AS seconds, max(r.seconds) AS longest
                FROM (
                    SELECT q.kind_id, q.peak_mb, s.seconds,
                           CASE WHEN q.submission_id IS NOT NULL THEN q.common_id END AS common_id,
                           -- It succeeded at its first try, which has no attempt of its own.
                           coalesce(q.submission_id
                               = coalesce(q.first_try_submission_id, CASE WHEN q.no_first_try IS NULL THEN q.submission_id END),
                               false) AS run,
                           CASE WHEN q.peak_mb IS NOT NULL THEN round(50 * ln(greatest(q.peak_mb, 1)::double precision))::smallint END AS peak,
                           CASE WHEN s.seconds IS NOT NULL THEN round(50 * ln(greatest(s.seconds, 0.001)))::smallint END AS took
                    FROM quantum_row AS q
                    CROSS JOIN LATERAL (SELECT date_part('epoch', q.ended - q.started) AS seconds) AS s
                    WHERE q.group_id = g.id AND coalesce(q.attempts, 1) > 0
                ) AS r
                GROUP BY GROUPING SETS ((r.kind_id, r.run, r.common_id), (r.kind_id, r.run, r.peak), (r.kind_id, r.run, r.took))
            ) AS i
            JOIN quantum_kind AS t ON t.id = i.kind_id
            LEFT JOIN quantum_common AS c ON c.id = i.common_id
            UNION ALL
            SELECT r.task, false, true, r.failed, grouping(r.request, r.peak, r.took), r.request, r.peak, r.took,
                   count(*), max(r.peak_mb), sum(r.seconds), max(r.seconds)
            FROM (
                SELECT q.task, a.state <> 'succeeded' AS failed, a.requested_mb AS request, a.peak_mb, s.seconds,
                       CASE WHEN a.peak_mb IS NOT NULL THEN round(50 * ln(greatest(a.peak_mb, 1)::double precision))::smallint END AS peak,
                       CASE WHEN s.seconds IS NOT NULL THEN round(50 * ln(greatest(s.seconds, 0.001)))::smallint END AS took
                FROM submission AS b
                JOIN quantum_attempt AS a ON a.submission_id = b.id
                JOIN quantum AS q ON q.id = a.quantum_id
                CROSS JOIN LATERAL (SELECT date_part('epoch', a.ended - a.started) AS seconds) AS s
                WHERE b.group_id = g.id AND a.state IN ('succeeded', 'failed', 'unknown')
            ) AS r
            GROUP BY GROUPING SETS ((r.task, r.failed, r.request), (r.task, r.failed, r.peak), (r.task, r.failed, r.took))
        ) AS m
        GROUP BY m.task, m.kind, m.request, m.peak, m.took
    ) AS k
    GROUP BY k.task
) AS u;

CREATE VIEW counted_cells AS
SELECT g.id AS group_id, u.*
FROM "group" AS g
CROSS JOIN LATERAL (
    SELECT coalesce(k.tract, -1) AS tract, coalesce(c.band, '') AS band, k.state, sum(k.n)::integer AS n,
           coalesce(sum(k.n) FILTER (WHERE k.caveats <> ''), 0)::integer AS caveats,
           coalesce(sum(k.n) FILTER (WHERE k.caveats ~ '[NA]'), 0)::integer AS no_work,
           coalesce(sum(k.n) FILTER (WHERE k.caveats ~ '[U]'), 0)::integer AS upstream,
           coalesce(sum(k.n) FILTER (WHERE k.caveats ~ '[D]'), 0)::integer AS unprocessable,
           coalesce(sum(k.n) FILTER (WHERE k.caveats ~ '[P]'), 0)::integer AS partial
    FROM (
        SELECT r.tract, r.common_id, coalesce(r.state, 'succeeded') AS state,
               CASE WHEN r.state IS NULL THEN r.caveats END AS caveats, count(*) AS n
        FROM quantum_row AS r
        WHERE r.group_id = g.id AND r.state IS DISTINCT FROM 'superseded'
        GROUP BY 1, 2, 3, 4
    ) AS k
    JOIN quantum_common AS c ON c.id = k.common_id
    GROUP BY 1, 2, 3
) AS u;

-- Executions too.
CREATE OR REPLACE VIEW counted_hours AS
SELECT g.id AS group_id, h.*
FROM "group" AS g
CROSS JOIN LATERAL (
    SELECT date_bin('1 hour', e.ended, '2000-01-01 00:00:00+00') AS hour,
           count(*) FILTER (WHERE e.state = 'succeeded')::integer AS succeeded,
           count(*) FILTER (WHERE e.state = 'failed')::integer AS failed,
           count(*) FILTER (WHERE e.went = 'succeeded')::integer AS runs_succeeded,
           count(*) FILTER (WHERE e.went <> 'succeeded')::integer AS runs_failed
    FROM (
        SELECT q.ended, q.state,
               CASE WHEN q.first_try_submission_id = q.submission_id THEN 'succeeded' END AS went
        FROM quantum AS q WHERE q.group_id = g.id
        UNION ALL
        SELECT a.ended, NULL, a.state
        FROM submission AS s JOIN quantum_attempt AS a ON a.submission_id = s.id
        WHERE s.group_id = g.id AND a.state IN ('succeeded', 'failed', 'unknown')
    ) AS e
    WHERE e.ended IS NOT NULL
    GROUP BY 1
) AS h;

DELETE FROM group_hours;
ALTER TABLE group_hours ADD COLUMN runs_succeeded integer NOT NULL;
ALTER TABLE group_hours ADD COLUMN runs_failed integer NOT NULL;
COMMENT ON TABLE group_hours IS 'Cache: last attempts, and all executions, of a group that is over, by the hour (UTC) in which they ended; never the truth';

-- Of the same groups as before.
CREATE TEMPORARY TABLE summarised ON COMMIT DROP AS SELECT DISTINCT group_id FROM group_usage;
DELETE FROM group_usage;
ALTER TABLE group_usage ADD COLUMN runs integer NOT NULL;
ALTER TABLE group_usage ADD COLUMN runs_failed integer NOT NULL;
ALTER TABLE group_usage ADD COLUMN runs_requested_mb integer;
ALTER TABLE group_usage ADD COLUMN runs_peak_mb integer;
ALTER TABLE group_usage ADD COLUMN runs_seconds double precision;
ALTER TABLE group_usage ADD COLUMN runs_longest double precision;
ALTER TABLE group_usage ADD COLUMN requests integer[] NOT NULL;
ALTER TABLE group_usage ADD COLUMN requests_runs integer[] NOT NULL;
ALTER TABLE group_usage ADD COLUMN peaks_runs integer[] NOT NULL;
ALTER TABLE group_usage ADD COLUMN times_runs integer[] NOT NULL;
COMMENT ON TABLE group_usage IS 'Cache: last attempts, and all executions (runs), of a group that is over, by task, with bins of peaks (MiB) and run times (s): fifty times the logarithm, and how many; never the truth';

INSERT INTO group_usage (
    group_id, task, n, requested_mb, peak_mb, seconds, seconds_longest, peaks, peaks_n, times, times_n,
    runs, runs_failed, runs_requested_mb, runs_peak_mb, runs_seconds, runs_longest,
    requests, requests_runs, peaks_runs, times_runs
)
SELECT group_id, task, n, requested_mb, peak_mb, seconds, seconds_longest, peaks, peaks_n, times, times_n,
       runs, runs_failed, runs_requested_mb, runs_peak_mb, runs_seconds, runs_longest,
       requests, requests_runs, peaks_runs, times_runs
FROM counted_usage WHERE group_id IN (SELECT group_id FROM summarised);

INSERT INTO group_hours (group_id, hour, succeeded, failed, runs_succeeded, runs_failed)
SELECT group_id, hour, succeeded, failed, runs_succeeded, runs_failed
FROM counted_hours WHERE group_id IN (SELECT group_id FROM summarised);

INSERT INTO group_cells (group_id, tract, band, state, n, caveats, no_work, upstream, unprocessable, partial)
SELECT group_id, tract, band, state, n, caveats, no_work, upstream, unprocessable, partial
FROM counted_cells WHERE group_id IN (SELECT group_id FROM summarised);

CREATE OR REPLACE VIEW throughput_by_hour AS
SELECT
    c.name AS campaign,
    h.hour,
    g.step,
    sum(h.succeeded)::integer AS succeeded,
    sum(h.failed)::integer AS failed
FROM campaign AS c
JOIN "group" AS g ON g.campaign_id = c.id
JOIN (
    SELECT * FROM group_hours
    UNION ALL
    SELECT * FROM counted_hours AS u
    WHERE NOT EXISTS (SELECT 1 FROM group_hours AS k WHERE k.group_id = u.group_id)
) AS h ON h.group_id = g.id
GROUP BY c.name, h.hour, g.step
HAVING sum(h.succeeded) + sum(h.failed) > 0;

CREATE OR REPLACE VIEW task_usage AS
SELECT u.*, w.wait_seconds_median, w.wait_seconds_longest, w.wait_hours
FROM (
    SELECT
        w.campaign,
        w.step,
        w.task,
        max(w.total) FILTER (WHERE w.kind = 0)::integer AS quanta,
        max(w.requested_mb) AS requested_mb,
        round(exp(min(w.bin) FILTER (WHERE w.kind = 1 AND 2 * w.upto >= w.total) / 50.0::double precision))::integer AS peak_mb_median,
        max(w.peak_mb) AS peak_mb,
        exp(min(w.bin) FILTER (WHERE w.kind = 2 AND 2 * w.upto >= w.total) / 50.0::double precision) AS seconds_median,
        max(w.seconds_longest) AS seconds_longest,
        sum(w.seconds) / 3600 AS hours
    FROM (
        SELECT b.*,
               sum(b.n) OVER (PARTITION BY b.campaign, b.step, b.task, b.kind) AS total,
               sum(b.n) OVER (PARTITION BY b.campaign, b.step, b.task, b.kind ORDER BY b.bin) AS upto
        FROM (
            SELECT c.name AS campaign, g.step, u.task, h.kind, h.bin, sum(h.n) AS n,
                   max(u.requested_mb) FILTER (WHERE h.kind = 0) AS requested_mb,
                   max(u.peak_mb) FILTER (WHERE h.kind = 0) AS peak_mb,
                   max(u.seconds_longest) FILTER (WHERE h.kind = 0) AS seconds_longest,
                   sum(u.seconds) FILTER (WHERE h.kind = 0) AS seconds
            FROM campaign AS c
            JOIN "group" AS g ON g.campaign_id = c.id
            JOIN (
                SELECT * FROM group_usage
                UNION ALL
                SELECT * FROM counted_usage AS u
                WHERE NOT EXISTS (SELECT 1 FROM group_usage AS k WHERE k.group_id = u.group_id)
            ) AS u ON u.group_id = g.id
            CROSS JOIN LATERAL (
                SELECT 0 AS kind, NULL::smallint AS bin, u.n
                UNION ALL SELECT 1, p.bin, p.n FROM unnest(u.peaks, u.peaks_n) AS p (bin, n)
                UNION ALL SELECT 2, t.bin, t.n FROM unnest(u.times, u.times_n) AS t (bin, n)
            ) AS h
            GROUP BY c.name, g.step, u.task, h.kind, h.bin
        ) AS b
    ) AS w
    GROUP BY w.campaign, w.step, w.task
) AS u
LEFT JOIN (
    SELECT b.campaign, b.step, b.task,
           least(exp(min(b.bin) FILTER (WHERE b.kind = 1 AND 2 * b.upto >= b.total) / 50.0::double precision), max(b.longest)) AS wait_seconds_median,
           max(b.longest) AS wait_seconds_longest,
           sum(b.seconds) / 3600 AS wait_hours
    FROM (
        SELECT h.*,
               sum(h.n) OVER (PARTITION BY h.campaign, h.step, h.task, h.kind) AS total,
               sum(h.n) OVER (PARTITION BY h.campaign, h.step, h.task, h.kind ORDER BY h.bin) AS upto
        FROM (
            SELECT c.name AS campaign, g.step, q.task, p.kind, p.bin, sum(p.n) AS n, sum(p.seconds) AS seconds, max(p.longest) AS longest
            FROM campaign AS c
            JOIN "group" AS g ON g.campaign_id = c.id
            JOIN submission AS s ON s.group_id = g.id
            JOIN queue_wait AS q ON q.submission_id = s.id
            CROSS JOIN LATERAL (
                SELECT 0 AS kind, NULL::smallint AS bin, q.n, q.seconds, q.seconds_longest AS longest
                UNION ALL SELECT 1, w.bin, w.n, NULL, NULL FROM unnest(q.waits, q.waits_n) AS w (bin, n)
            ) AS p
            GROUP BY c.name, g.step, q.task, p.kind, p.bin
        ) AS h
    ) AS b
    GROUP BY b.campaign, b.step, b.task
) AS w ON w.campaign = u.campaign AND w.step = u.step AND w.task = u.task;
COMMENT ON COLUMN task_usage.wait_seconds_median IS 'Median time from when an execution could start until it did, to within a hundredth; NULL: not known';
COMMENT ON COLUMN task_usage.wait_seconds_longest IS 'Longest such time';
COMMENT ON COLUMN task_usage.wait_hours IS 'Sum of such times';

-- What the blocks of a submission that is under way worked so far, up to where its journal was followed.
ALTER TABLE submission ADD COLUMN busy jsonb;
