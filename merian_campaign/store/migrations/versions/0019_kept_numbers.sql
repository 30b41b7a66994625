-- What usage, completeness and reports say, kept by group, so that they do not read every quantum; and how long quanta waited
-- for their turn. Two passes over the quanta.

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

CREATE TABLE group_runs (
    group_id bigint NOT NULL,
    task text NOT NULL,
    n integer NOT NULL,
    failed integer NOT NULL,
    requested_mb integer,
    peak_mb integer,
    seconds double precision,
    seconds_longest double precision,
    requests integer[] NOT NULL,
    requests_n integer[] NOT NULL,
    peaks smallint[] NOT NULL,
    peaks_n integer[] NOT NULL,
    times smallint[] NOT NULL,
    times_n integer[] NOT NULL,
    CONSTRAINT pk_group_runs PRIMARY KEY (group_id, task),
    CONSTRAINT fk_group_runs_group_id FOREIGN KEY (group_id) REFERENCES "group" (id)
);
COMMENT ON TABLE group_runs IS 'Cache: executions of a group that is over, by task, with requests (MiB) and bins of peaks and run times as of group_usage; never the truth';

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

CREATE VIEW counted_runs AS
SELECT g.id AS group_id, u.*
FROM "group" AS g
CROSS JOIN LATERAL (
    SELECT k.task,
           (sum(k.n) FILTER (WHERE k.kind = 7))::integer AS n,
           (sum(k.failed) FILTER (WHERE k.kind = 7))::integer AS failed,
           max(k.requested_mb) AS requested_mb,
           max(k.peak_mb) AS peak_mb,
           sum(k.seconds) FILTER (WHERE k.kind = 7) AS seconds,
           max(k.seconds_longest) AS seconds_longest,
           coalesce(array_agg(k.request ORDER BY k.request) FILTER (WHERE k.kind = 3 AND k.request IS NOT NULL), '{}') AS requests,
           coalesce(array_agg(k.n ORDER BY k.request) FILTER (WHERE k.kind = 3 AND k.request IS NOT NULL), '{}') AS requests_n,
           coalesce(array_agg(k.peak ORDER BY k.peak) FILTER (WHERE k.kind = 5 AND k.peak IS NOT NULL), '{}') AS peaks,
           coalesce(array_agg(k.n ORDER BY k.peak) FILTER (WHERE k.kind = 5 AND k.peak IS NOT NULL), '{}') AS peaks_n,
           coalesce(array_agg(k.took ORDER BY k.took) FILTER (WHERE k.kind = 6 AND k.took IS NOT NULL), '{}') AS times,
           coalesce(array_agg(k.n ORDER BY k.took) FILTER (WHERE k.kind = 6 AND k.took IS NOT NULL), '{}') AS times_n
    FROM (
        SELECT r.task, r.request, r.peak, r.took, grouping(r.request, r.peak, r.took) AS kind,
               count(*)::integer AS n, sum(r.failed)::integer AS failed, max(r.request) AS requested_mb,
               max(r.peak_mb) AS peak_mb, sum(r.seconds) AS seconds, max(r.seconds) AS seconds_longest
        FROM (
            SELECT e.task, e.failed, e.requested_mb AS request, e.peak_mb, s.seconds,
                   round(50 * ln(greatest(e.peak_mb, 1)::double precision))::smallint AS peak,
                   round(50 * ln(greatest(s.seconds, 0.001)))::smallint AS took
            FROM (
                SELECT q.task, 0 AS failed, q.requested_mb, q.peak_mb, q.started, q.ended
                FROM quantum AS q
                WHERE q.group_id = g.id AND q.first_try_submission_id = q.submission_id
                UNION ALL
                SELECT q.task, (a.state <> 'succeeded')::integer, a.requested_mb, a.peak_mb, a.started, a.ended
                FROM submission AS s
                JOIN quantum_attempt AS a ON a.submission_id = s.id
                JOIN quantum AS q ON q.id = a.quantum_id
                WHERE s.group_id = g.id AND a.state IN ('succeeded', 'failed', 'unknown')
            ) AS e
            CROSS JOIN LATERAL (SELECT date_part('epoch', e.ended - e.started) AS seconds) AS s
        ) AS r
        GROUP BY GROUPING SETS ((r.task), (r.task, r.request), (r.task, r.peak), (r.task, r.took))
    ) AS k
    GROUP BY k.task
) AS u;

CREATE VIEW counted_cells AS
SELECT g.id AS group_id, u.*
FROM "group" AS g
CROSS JOIN LATERAL (
    SELECT coalesce(q.tract, -1) AS tract, coalesce(q.band, '') AS band, q.state, count(*)::integer AS n,
           (count(*) FILTER (WHERE q.caveats <> '' AND q.state = 'succeeded'))::integer AS caveats,
           (count(*) FILTER (WHERE q.caveats ~ '[NA]' AND q.state = 'succeeded'))::integer AS no_work,
           (count(*) FILTER (WHERE q.caveats ~ '[U]' AND q.state = 'succeeded'))::integer AS upstream,
           (count(*) FILTER (WHERE q.caveats ~ '[D]' AND q.state = 'succeeded'))::integer AS unprocessable,
           (count(*) FILTER (WHERE q.caveats ~ '[P]' AND q.state = 'succeeded'))::integer AS partial
    FROM quantum AS q
    WHERE q.group_id = g.id AND q.state <> 'superseded'
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

INSERT INTO group_hours (group_id, hour, succeeded, failed, runs_succeeded, runs_failed)
SELECT group_id, hour, succeeded, failed, runs_succeeded, runs_failed
FROM counted_hours AS u
WHERE EXISTS (SELECT 1 FROM group_usage AS k WHERE k.group_id = u.group_id);

INSERT INTO group_runs (
    group_id, task, n, failed, requested_mb, peak_mb, seconds, seconds_longest,
    requests, requests_n, peaks, peaks_n, times, times_n
)
SELECT group_id, task, n, failed, requested_mb, peak_mb, seconds, seconds_longest,
       requests, requests_n, peaks, peaks_n, times, times_n
FROM counted_runs AS u
WHERE EXISTS (SELECT 1 FROM group_usage AS k WHERE k.group_id = u.group_id);

INSERT INTO group_cells (group_id, tract, band, state, n, caveats, no_work, upstream, unprocessable, partial)
SELECT group_id, tract, band, state, n, caveats, no_work, upstream, unprocessable, partial
FROM counted_cells AS u
WHERE EXISTS (SELECT 1 FROM group_usage AS k WHERE k.group_id = u.group_id);

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
           least(exp(min(b.bin) FILTER (WHERE 2 * b.upto >= b.total) / 50.0::double precision), max(b.longest)) AS wait_seconds_median,
           max(b.longest) AS wait_seconds_longest,
           max(b.seconds) / 3600 AS wait_hours
    FROM (
        SELECT c.name AS campaign, g.step, w.task, p.bin,
               max(max(w.seconds_longest)) OVER (PARTITION BY c.name, g.step, w.task) AS longest,
               sum(sum(w.seconds) FILTER (WHERE p.bin = w.waits[1])) OVER (PARTITION BY c.name, g.step, w.task) AS seconds,
               sum(sum(p.n)) OVER (PARTITION BY c.name, g.step, w.task) AS total,
               sum(sum(p.n)) OVER (PARTITION BY c.name, g.step, w.task ORDER BY p.bin) AS upto
        FROM campaign AS c
        JOIN "group" AS g ON g.campaign_id = c.id
        JOIN submission AS s ON s.group_id = g.id
        JOIN queue_wait AS w ON w.submission_id = s.id
        CROSS JOIN LATERAL unnest(w.waits, w.waits_n) AS p (bin, n)
        GROUP BY c.name, g.step, w.task, p.bin
    ) AS b
    GROUP BY b.campaign, b.step, b.task
) AS w ON w.campaign = u.campaign AND w.step = u.step AND w.task = u.task;
COMMENT ON COLUMN task_usage.wait_seconds_median IS 'Median time from when an execution could start until it did, to within a hundredth; NULL: not known';
COMMENT ON COLUMN task_usage.wait_seconds_longest IS 'Longest such time';
COMMENT ON COLUMN task_usage.wait_hours IS 'Sum of such times';

-- What the blocks of a submission that is under way worked so far, up to where its journal was followed.
ALTER TABLE submission ADD COLUMN busy jsonb;
