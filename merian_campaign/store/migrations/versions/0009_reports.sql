-- Where tracts and visits lie on the sky, so that reports need no butler; and stable views for people's own queries.

CREATE TABLE sky_region (
    campaign_id bigint NOT NULL,
    kind text NOT NULL,
    number bigint NOT NULL,
    ra double precision[] NOT NULL,
    "dec" double precision[] NOT NULL,
    CONSTRAINT pk_sky_region PRIMARY KEY (campaign_id, kind, number),
    CONSTRAINT ck_sky_region_kind CHECK (kind IN ('tract', 'visit')),
    CONSTRAINT fk_sky_region_campaign_id FOREIGN KEY (campaign_id) REFERENCES campaign (id)
);
COMMENT ON TABLE sky_region IS 'Corners of tracts and visits, in degrees (ICRS) and in the order in which sphgeom has them';

-- Like quantum_status, these are stable: columns are added, never renamed, dropped or given another meaning.
-- The first two read the rollup and the third the index of what has not succeeded, so they are quick at any size;
-- the last two read all quanta of the campaigns that are asked for.
CREATE VIEW group_status AS
SELECT
    c.name AS campaign,
    g.step,
    g.key AS "group",
    g.ordinal,
    CASE WHEN g.selection_dimension = 'tract' AND cardinality(g.selection_values) = 1
         THEN g.selection_values[1]::integer END AS tract,
    CASE WHEN g.selection_dimension = 'day_obs' AND cardinality(g.selection_values) = 1
         THEN g.selection_values[1]::integer END AS night,
    g.state,
    g.reason,
    g.accepted,
    coalesce(s.n, 0)::integer AS submissions,
    coalesce(n.expected, 0)::integer AS expected,
    coalesce(n.succeeded, 0)::integer AS succeeded,
    coalesce(n.failed, 0)::integer AS failed,
    coalesce(n.blocked, 0)::integer AS blocked,
    coalesce(n.open, 0)::integer AS open,
    g.updated_at
FROM "group" AS g
JOIN campaign AS c ON c.id = g.campaign_id
LEFT JOIN LATERAL (SELECT count(*) AS n FROM submission AS s WHERE s.group_id = g.id) AS s ON true
LEFT JOIN LATERAL (
    SELECT sum(q.n) AS expected,
           sum(q.n) FILTER (WHERE q.state = 'succeeded') AS succeeded,
           sum(q.n) FILTER (WHERE q.state = 'failed') AS failed,
           sum(q.n) FILTER (WHERE q.state = 'blocked') AS blocked,
           sum(q.n) FILTER (WHERE q.state IN ('pending', 'running', 'unknown')) AS open
    FROM quantum_count AS q WHERE q.group_id = g.id AND q.state <> 'superseded'
) AS n ON true;
COMMENT ON VIEW group_status IS 'Stable: one row a group (one step on one selection) of every campaign';
COMMENT ON COLUMN group_status.campaign IS 'Name of the campaign';
COMMENT ON COLUMN group_status.step IS 'Step of the campaign';
COMMENT ON COLUMN group_status."group" IS 'Key of the group within its step';
COMMENT ON COLUMN group_status.ordinal IS 'Place of the step in the campaign file';
COMMENT ON COLUMN group_status.tract IS 'The tract it selects; NULL unless it is one';
COMMENT ON COLUMN group_status.night IS 'The night (day_obs) it selects; NULL unless it is one';
COMMENT ON COLUMN group_status.state IS 'waiting, ready, running, done, needs_review, blocked or cancelled';
COMMENT ON COLUMN group_status.reason IS 'Why it is in this state, in words';
COMMENT ON COLUMN group_status.accepted IS 'Whether a person accepted it as it is';
COMMENT ON COLUMN group_status.submissions IS 'Submissions so far; beyond the first they are afterburners';
COMMENT ON COLUMN group_status.expected IS 'Quanta of its graphs';
COMMENT ON COLUMN group_status.succeeded IS 'Quanta that succeeded';
COMMENT ON COLUMN group_status.failed IS 'Quanta whose last attempt failed';
COMMENT ON COLUMN group_status.blocked IS 'Quanta behind failed ones';
COMMENT ON COLUMN group_status.open IS 'All other quanta: pending, running or unknown';
COMMENT ON COLUMN group_status.updated_at IS 'When its state last changed';

CREATE VIEW tract_status AS
SELECT
    campaign,
    tract,
    count(*)::integer AS groups,
    count(*) FILTER (WHERE state = 'done')::integer AS done,
    count(*) FILTER (WHERE state = 'needs_review')::integer AS needs_review,
    bool_and(state = 'done') AS releasable,
    sum(expected)::integer AS expected,
    sum(succeeded)::integer AS succeeded,
    sum(failed)::integer AS failed,
    sum(blocked)::integer AS blocked,
    sum(open)::integer AS open,
    max(updated_at) AS updated_at
FROM group_status
WHERE tract IS NOT NULL
GROUP BY campaign, tract;
COMMENT ON VIEW tract_status IS 'Stable: one row a tract of every campaign, over the groups that select this one tract';
COMMENT ON COLUMN tract_status.campaign IS 'Name of the campaign';
COMMENT ON COLUMN tract_status.tract IS 'Tract';
COMMENT ON COLUMN tract_status.groups IS 'Groups (steps) of the tract';
COMMENT ON COLUMN tract_status.done IS 'Of these, done';
COMMENT ON COLUMN tract_status.needs_review IS 'Of these, waiting for a person';
COMMENT ON COLUMN tract_status.releasable IS 'Whether all of them are done';
COMMENT ON COLUMN tract_status.expected IS 'Quanta of their graphs';
COMMENT ON COLUMN tract_status.succeeded IS 'Quanta that succeeded';
COMMENT ON COLUMN tract_status.failed IS 'Quanta whose last attempt failed';
COMMENT ON COLUMN tract_status.blocked IS 'Quanta behind failed ones';
COMMENT ON COLUMN tract_status.open IS 'All other quanta';
COMMENT ON COLUMN tract_status.updated_at IS 'When one of the groups last changed its state';

CREATE VIEW failure_causes AS
SELECT
    c.name AS campaign,
    g.step,
    q.task,
    coalesce(q.verdict, 'unknown') AS verdict,
    coalesce(q.exception_type, '') AS exception,
    count(*)::integer AS quanta,
    count(DISTINCT q.group_id)::integer AS groups,
    count(DISTINCT q.tract)::integer AS tracts,
    min(q.id) AS example,
    max(q.ended) AS last_ended
FROM quantum AS q
JOIN "group" AS g ON g.id = q.group_id
JOIN campaign AS c ON c.id = g.campaign_id
WHERE q.state = 'failed'
GROUP BY c.name, g.step, q.task, coalesce(q.verdict, 'unknown'), coalesce(q.exception_type, '');
COMMENT ON VIEW failure_causes IS 'Stable: failed quanta by step, task, verdict and exception';
COMMENT ON COLUMN failure_causes.campaign IS 'Name of the campaign';
COMMENT ON COLUMN failure_causes.step IS 'Step of the campaign';
COMMENT ON COLUMN failure_causes.task IS 'Task label in the pipeline';
COMMENT ON COLUMN failure_causes.verdict IS 'Why the last attempts failed';
COMMENT ON COLUMN failure_causes.exception IS 'Type of their exception; empty for none';
COMMENT ON COLUMN failure_causes.quanta IS 'Quanta that failed so';
COMMENT ON COLUMN failure_causes.groups IS 'In how many groups';
COMMENT ON COLUMN failure_causes.tracts IS 'In how many tracts';
COMMENT ON COLUMN failure_causes.example IS 'Number of one of them, as the command log takes it';
COMMENT ON COLUMN failure_causes.last_ended IS 'End of the latest attempt';

CREATE VIEW task_usage AS
SELECT
    c.name AS campaign,
    g.step,
    q.task,
    count(*)::integer AS quanta,
    max(q.requested_mb) AS requested_mb,
    percentile_disc(0.5) WITHIN GROUP (ORDER BY q.peak_mb) AS peak_mb_median,
    max(q.peak_mb) AS peak_mb,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM q.ended - q.started)::double precision) AS seconds_median,
    max(extract(epoch FROM q.ended - q.started))::double precision AS seconds_longest,
    sum(extract(epoch FROM q.ended - q.started))::double precision / 3600 AS hours
FROM quantum AS q
JOIN "group" AS g ON g.id = q.group_id
JOIN campaign AS c ON c.id = g.campaign_id
WHERE q.attempts > 0
GROUP BY c.name, g.step, q.task;
COMMENT ON VIEW task_usage IS 'Stable: memory and time of the last attempts by step and task';
COMMENT ON COLUMN task_usage.campaign IS 'Name of the campaign';
COMMENT ON COLUMN task_usage.step IS 'Step of the campaign';
COMMENT ON COLUMN task_usage.task IS 'Task label in the pipeline';
COMMENT ON COLUMN task_usage.quanta IS 'Quanta that have run';
COMMENT ON COLUMN task_usage.requested_mb IS 'Largest memory request, MiB';
COMMENT ON COLUMN task_usage.peak_mb_median IS 'Median peak memory, MiB';
COMMENT ON COLUMN task_usage.peak_mb IS 'Largest peak memory, MiB';
COMMENT ON COLUMN task_usage.seconds_median IS 'Median run time';
COMMENT ON COLUMN task_usage.seconds_longest IS 'Longest run time';
COMMENT ON COLUMN task_usage.hours IS 'Sum of the run times';

CREATE VIEW throughput_by_hour AS
SELECT
    c.name AS campaign,
    date_trunc('hour', q.ended, 'UTC') AS hour,
    g.step,
    count(*) FILTER (WHERE q.state = 'succeeded')::integer AS succeeded,
    count(*) FILTER (WHERE q.state = 'failed')::integer AS failed
FROM quantum AS q
JOIN "group" AS g ON g.id = q.group_id
JOIN campaign AS c ON c.id = g.campaign_id
WHERE q.ended IS NOT NULL
GROUP BY c.name, date_trunc('hour', q.ended, 'UTC'), g.step;
COMMENT ON VIEW throughput_by_hour IS 'Stable: quanta by the hour (UTC) in which their last attempt ended';
COMMENT ON COLUMN throughput_by_hour.campaign IS 'Name of the campaign';
COMMENT ON COLUMN throughput_by_hour.hour IS 'Beginning of the hour';
COMMENT ON COLUMN throughput_by_hour.step IS 'Step of the campaign';
COMMENT ON COLUMN throughput_by_hour.succeeded IS 'Of these, succeeded';
COMMENT ON COLUMN throughput_by_hour.failed IS 'Of these, failed';
