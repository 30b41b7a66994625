-- What a passing trouble is called: one look at each row.

ALTER TABLE quantum DROP CONSTRAINT ck_quantum_verdict;
ALTER TABLE quantum_attempt DROP CONSTRAINT ck_quantum_attempt_verdict;
UPDATE quantum SET verdict = 'infrastructure' WHERE verdict = 'transient';
UPDATE quantum_attempt SET verdict = 'infrastructure' WHERE verdict = 'transient';
ALTER TABLE quantum ADD CONSTRAINT ck_quantum_verdict CHECK (verdict IN ('out_of_memory', 'walltime', 'node_lost', 'preempted', 'infrastructure', 'algorithm', 'configuration', 'unknown'));
ALTER TABLE quantum_attempt ADD CONSTRAINT ck_quantum_attempt_verdict CHECK (verdict IN ('out_of_memory', 'walltime', 'node_lost', 'preempted', 'infrastructure', 'algorithm', 'configuration', 'unknown'));
COMMENT ON COLUMN quantum_status.verdict IS
    'Why the last attempt failed: out_of_memory, walltime, node_lost, preempted, infrastructure, algorithm, configuration or unknown; NULL unless it failed';

-- What the views of use and throughput are made from, so that they do not read every quantum. A group has a summary from
-- its harvest on until one of its quanta changes; a group without one is counted from its quanta.
CREATE TABLE group_usage (
    group_id bigint NOT NULL,
    task text NOT NULL,
    n integer NOT NULL,
    requested_mb integer,
    peak_mb integer,
    seconds double precision,
    seconds_longest double precision,
    peaks smallint[] NOT NULL,
    peaks_n integer[] NOT NULL,
    times smallint[] NOT NULL,
    times_n integer[] NOT NULL,
    CONSTRAINT pk_group_usage PRIMARY KEY (group_id, task),
    CONSTRAINT fk_group_usage_group_id FOREIGN KEY (group_id) REFERENCES "group" (id)
);
COMMENT ON TABLE group_usage IS 'Cache: last attempts of a group that is over, by task, with bins of peaks (MiB) and run times (s): fifty times the logarithm, and how many; never the truth';

CREATE TABLE group_hours (
    group_id bigint NOT NULL,
    hour timestamp with time zone NOT NULL,
    succeeded integer NOT NULL,
    failed integer NOT NULL,
    CONSTRAINT pk_group_hours PRIMARY KEY (group_id, hour),
    CONSTRAINT fk_group_hours_group_id FOREIGN KEY (group_id) REFERENCES "group" (id)
);
COMMENT ON TABLE group_hours IS 'Cache: last attempts of a group that is over, by the hour (UTC) in which they ended; never the truth';

CREATE VIEW counted_usage AS
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
            CROSS JOIN LATERAL (SELECT extract(epoch FROM q.ended - q.started)::double precision AS seconds) AS s
            WHERE q.group_id = g.id AND q.attempts > 0
        ) AS r
        GROUP BY GROUPING SETS ((r.task), (r.task, r.peak), (r.task, r.took))
    ) AS k
    GROUP BY k.task
) AS u;

CREATE VIEW counted_hours AS
SELECT g.id AS group_id, h.*
FROM "group" AS g
CROSS JOIN LATERAL (
    SELECT date_trunc('hour', q.ended, 'UTC') AS hour,
           count(*) FILTER (WHERE q.state = 'succeeded')::integer AS succeeded,
           count(*) FILTER (WHERE q.state = 'failed')::integer AS failed
    FROM quantum AS q
    WHERE q.group_id = g.id AND q.ended IS NOT NULL
    GROUP BY 1
) AS h;

INSERT INTO group_usage (group_id, task, n, requested_mb, peak_mb, seconds, seconds_longest, peaks, peaks_n, times, times_n)
SELECT group_id, task, n, requested_mb, peak_mb, seconds, seconds_longest, peaks, peaks_n, times, times_n
FROM counted_usage AS u
WHERE NOT EXISTS (SELECT 1 FROM submission AS s WHERE s.group_id = u.group_id AND s.state <> 'finished');

INSERT INTO group_hours (group_id, hour, succeeded, failed)
SELECT group_id, hour, succeeded, failed
FROM counted_hours AS u
WHERE NOT EXISTS (SELECT 1 FROM submission AS s WHERE s.group_id = u.group_id AND s.state <> 'finished');

CREATE OR REPLACE VIEW task_usage AS
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
GROUP BY w.campaign, w.step, w.task;
COMMENT ON COLUMN task_usage.peak_mb_median IS 'Median peak memory, MiB, to within a hundredth';
COMMENT ON COLUMN task_usage.seconds_median IS 'Median run time, to within a hundredth';

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
    WHERE NOT EXISTS (SELECT 1 FROM group_usage AS k WHERE k.group_id = u.group_id)
) AS h ON h.group_id = g.id
GROUP BY c.name, h.hour, g.step;

-- What quanta used, by the number of their own inputs too: anew from what is on record, in one pass over the quanta.
ALTER TABLE memory_use ADD COLUMN datasets integer NOT NULL DEFAULT 0;
ALTER TABLE memory_use DROP CONSTRAINT pk_memory_use;
DELETE FROM memory_use;
ALTER TABLE memory_use ADD CONSTRAINT pk_memory_use PRIMARY KEY (campaign_id, step, task, inputs, needed_more, peak_mb, datasets);

INSERT INTO memory_use (campaign_id, step, task, inputs, datasets, needed_more, peak_mb, n, seconds)
SELECT g.campaign_id, g.step, q.task,
       CASE WHEN e.number > 0 THEN (2 ^ floor(log(2, e.number)))::integer ELSE 0 END,
       CASE WHEN u.inputs > 0 THEN (2 ^ floor(log(2, u.inputs)))::integer ELSE 0 END,
       u.needed_more, u.peak_mb, count(*), sum(u.seconds)
FROM (
    SELECT id AS quantum_id, submission_id, inputs, false AS needed_more,
           ceil(exp(ceil(ln(greatest(peak_mb, 1)) / 0.05) * 0.05))::integer AS peak_mb,
           coalesce(extract(epoch FROM ended - started), 0)::double precision AS seconds
    FROM quantum WHERE first_try_submission_id = submission_id AND peak_mb > 0
    UNION ALL
    SELECT quantum_id, submission_id, inputs, state = 'failed',
           ceil(exp(ceil(ln(greatest(peak_mb, 1)) / 0.05) * 0.05))::integer,
           coalesce(extract(epoch FROM ended - started), 0)::double precision
    FROM quantum_attempt
    WHERE peak_mb > 0 AND (state = 'succeeded' OR (state = 'failed' AND verdict = 'out_of_memory'))
) AS u
JOIN quantum AS q ON q.id = u.quantum_id
JOIN "group" AS g ON g.id = q.group_id
JOIN (
    SELECT id, coalesce(jsonb_array_length(basis -> 'exposures'), 0) AS number FROM submission
) AS e ON e.id = u.submission_id
GROUP BY 1, 2, 3, 4, 5, 6, 7;
