-- Of quanta that were made again and have no attempt of their own yet, memory and run time have no median: bins of their earlier
-- executions are there, with none of them. Views alone.

CREATE OR REPLACE VIEW task_usage AS
SELECT u.*, w.wait_seconds_median, w.wait_seconds_longest, w.wait_hours
FROM (
    SELECT
        w.campaign,
        w.step,
        w.task,
        max(w.total) FILTER (WHERE w.kind = 0)::integer AS quanta,
        max(w.requested_mb) AS requested_mb,
        round(exp(min(w.bin) FILTER (WHERE w.kind = 1 AND w.total > 0 AND 2 * w.upto >= w.total) / 50.0::double precision))::integer AS peak_mb_median,
        max(w.peak_mb) AS peak_mb,
        exp(min(w.bin) FILTER (WHERE w.kind = 2 AND w.total > 0 AND 2 * w.upto >= w.total) / 50.0::double precision) AS seconds_median,
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
