-- Attempts as small as quanta: what many have in common is said once, and a success at the first try of a submission that its
-- quantum tells is not told again. The table is attempt_row; the view quantum_attempt has what the table quantum_attempt had.
-- One pass over the attempts.

CREATE TABLE quantum_failure (
    id integer GENERATED ALWAYS AS IDENTITY,
    campaign_id bigint NOT NULL,
    digest uuid NOT NULL,
    state text NOT NULL,
    charged boolean NOT NULL,
    signal integer,
    verdict text,
    evidence text,
    exception_type text,
    exception_message text,
    exception_bases text,
    certainty text,
    rule text,
    remedy text,
    CONSTRAINT pk_quantum_failure PRIMARY KEY (id),
    CONSTRAINT uq_quantum_failure_campaign_id_digest UNIQUE (campaign_id, digest),
    CONSTRAINT ck_quantum_failure_state CHECK (state IN ('pending', 'running', 'succeeded', 'failed', 'blocked', 'unknown', 'superseded')),
    CONSTRAINT ck_quantum_failure_verdict CHECK (verdict IN ('out_of_memory', 'walltime', 'node_lost', 'preempted', 'infrastructure', 'algorithm', 'configuration', 'unknown')),
    CONSTRAINT fk_quantum_failure_campaign_id FOREIGN KEY (campaign_id) REFERENCES campaign (id)
);
COMMENT ON TABLE quantum_failure IS 'How attempts went that were no plain success: what many have in common';

-- In this order nothing is lost to alignment.
CREATE TABLE attempt_row (
    quantum_id bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    started timestamptz,
    ended timestamptz,
    submission_id integer NOT NULL,
    common_id integer NOT NULL,
    host_id integer,
    failure_id integer,
    peak_mb integer,
    cpu_seconds real,
    inputs smallint,
    try smallint NOT NULL,
    log_uuid uuid,
    uuid text,
    slurm_job text,
    evidence text,
    exception_message text,
    log_path text,
    log_tail text
);
COMMENT ON TABLE attempt_row IS 'Attempts that their quanta do not tell, as short as they can be stored; read the view quantum_attempt instead';

-- Attempts of before keep their rows, for they may say more than their quanta, and logs stay where they were said.
CREATE TEMPORARY TABLE attempts_shaped ON COMMIT DROP AS
SELECT a.*, k.campaign_id, c.instrument, c.band, c.physical_filter,
       md5(concat_ws(chr(31), coalesce('=' || c.instrument, ''), coalesce('=' || c.band, ''), coalesce('=' || c.physical_filter, ''),
                     coalesce('=' || a.requested_mb, ''), coalesce('=' || a.cores, ''), coalesce('=' || a.exit_code, ''), ''))::uuid
           AS common,
       md5('=' || a.host)::uuid AS place,
       CASE WHEN a.evidence ~ '[0-9]{5}' THEN a.evidence END AS own_evidence,
       CASE WHEN a.exception_message ~ '[0-9]{5}' THEN a.exception_message END AS own_message
FROM quantum_attempt AS a
JOIN quantum_row AS q ON q.id = a.quantum_id
JOIN quantum_kind AS k ON k.id = q.kind_id
JOIN quantum_common AS c ON c.id = q.common_id;

CREATE TEMPORARY TABLE attempts_ended ON COMMIT DROP AS
SELECT quantum_id, submission_id, try, campaign_id, state, charged, signal, verdict,
       CASE WHEN own_evidence IS NULL THEN nullif(evidence, '') END AS evidence, exception_type,
       CASE WHEN own_message IS NULL THEN exception_message END AS exception_message,
       nullif(exception_bases, '') AS exception_bases, nullif(certainty, '') AS certainty, rule, remedy, NULL::uuid AS failure
FROM attempts_shaped;
UPDATE attempts_ended AS e
SET failure = md5(ROW(state, charged, signal, verdict, evidence, exception_type, exception_message, exception_bases, certainty,
                      rule, remedy)::text)::uuid
WHERE ROW(signal, verdict, evidence, exception_type, exception_message, exception_bases, certainty, rule, remedy) IS DISTINCT FROM
          ROW(NULL::integer, NULL::text, NULL::text, NULL::text, NULL::text, NULL::text, NULL::text, NULL::text, NULL::text)
   OR state <> 'succeeded' OR NOT charged;

INSERT INTO quantum_failure (
    campaign_id, digest, state, charged, signal, verdict, evidence, exception_type, exception_message, exception_bases,
    certainty, rule, remedy
)
SELECT DISTINCT ON (campaign_id, failure) campaign_id, failure, state, charged, signal, verdict, evidence, exception_type,
       exception_message, exception_bases, certainty, rule, remedy
FROM attempts_ended WHERE failure IS NOT NULL;
INSERT INTO quantum_common (campaign_id, digest, instrument, band, physical_filter, requested_mb, cores, exit_code)
SELECT DISTINCT ON (campaign_id, common) campaign_id, common, instrument, band, physical_filter, requested_mb, cores, exit_code
FROM attempts_shaped
ON CONFLICT DO NOTHING;
INSERT INTO quantum_host (campaign_id, digest, name)
SELECT DISTINCT ON (campaign_id, place) campaign_id, place, host FROM attempts_shaped WHERE host IS NOT NULL
ON CONFLICT DO NOTHING;

INSERT INTO attempt_row (
    quantum_id, recorded_at, started, ended, submission_id, common_id, host_id, failure_id, peak_mb, cpu_seconds, inputs,
    try, uuid, slurm_job, evidence, exception_message, log_path, log_tail
)
SELECT s.quantum_id, s.recorded_at, s.started, s.ended, s.submission_id, c.id, h.id, f.id, s.peak_mb, s.cpu_seconds, s.inputs,
       s.try, s.uuid, s.slurm_job, s.own_evidence, s.own_message, s.log_path, s.log_tail
FROM attempts_shaped AS s
JOIN attempts_ended AS e ON e.quantum_id = s.quantum_id AND e.submission_id = s.submission_id AND e.try = s.try
JOIN quantum_common AS c ON c.campaign_id = s.campaign_id AND c.digest = s.common
LEFT JOIN quantum_host AS h ON h.campaign_id = s.campaign_id AND h.digest = s.place
LEFT JOIN quantum_failure AS f ON f.campaign_id = s.campaign_id AND f.digest = e.failure
ORDER BY s.submission_id, s.try, s.quantum_id;

ALTER TABLE quantum_attempt RENAME TO attempt_before;
ALTER TABLE attempt_row ADD CONSTRAINT pk_attempt_row PRIMARY KEY (submission_id, try, quantum_id);
CREATE INDEX ix_attempt_row_quantum_id ON attempt_row (quantum_id);
-- Of those quanta that may tell an attempt which the view quantum_attempt shows.
CREATE INDEX ix_quantum_row_again ON quantum_row (id) WHERE attempts > 1;
ALTER TABLE attempt_row ADD CONSTRAINT fk_attempt_row_submission_id FOREIGN KEY (submission_id) REFERENCES submission (id);
ALTER TABLE attempt_row ADD CONSTRAINT fk_attempt_row_quantum_id FOREIGN KEY (quantum_id) REFERENCES quantum_row (id);

CREATE OR REPLACE VIEW quantum AS
SELECT
    q.id,
    q.group_id,
    k.task,
    format(k.data_id, q.visit, q.exposure, q.detector, q.tract, q.patch) AS data_id,
    c.instrument,
    q.visit,
    q.exposure,
    q.detector::integer AS detector,
    q.tract,
    q.patch,
    c.band,
    c.physical_filter,
    coalesce(q.state, 'succeeded') AS state,
    coalesce(q.caveats, '') AS caveats,
    coalesce(q.attempts, 1) AS attempts,
    coalesce(q.charged_attempts, 1) AS charged_attempts,
    coalesce(q.memory_attempts, 0) AS memory_attempts,
    q.verdict,
    coalesce(q.evidence, '') AS evidence,
    q.exception_type,
    q.exception_message,
    -- What is of an attempt says nothing where there is none.
    CASE WHEN q.submission_id IS NOT NULL THEN c.exit_code END AS exit_code,
    q.signal,
    q.peak_mb,
    CASE WHEN q.submission_id IS NOT NULL THEN c.requested_mb END AS requested_mb,
    q.started,
    q.ended,
    h.name AS host,
    CASE WHEN q.submission_id IS NULL THEN NULL
         WHEN q.log_uuid IS NULL THEN q.log_path
         ELSE format(c.log_path, q.visit, q.exposure, q.detector, q.tract, q.patch, q.log_uuid) END AS log_path,
    coalesce(q.state_submission_id, q.submission_id) AS state_submission_id,
    q.submission_id,
    CASE WHEN q.attempts IS NULL THEN coalesce(q.first_try_submission_id, CASE WHEN q.no_first_try IS NULL THEN q.submission_id END) END
        AS first_try_submission_id,
    q.updated_at,
    coalesce(q.exception_bases, '') AS exception_bases,
    q.inputs,
    q.cpu_seconds,
    CASE WHEN q.submission_id IS NOT NULL THEN c.cores END AS cores,
    q.blocked_by,
    q.tolerated,
    q.rule,
    q.remedy,
    q.kind_id,
    hash_record_extended(ROW(q.kind_id, q.visit, q.exposure, q.detector, q.tract, q.patch), '0') AS key,
    coalesce(q.first_try_submission_id, CASE WHEN q.no_first_try IS NULL THEN q.submission_id END) AS kept_submission_id
FROM quantum_row AS q
LEFT JOIN quantum_kind AS k ON k.id = q.kind_id
LEFT JOIN quantum_common AS c ON c.id = q.common_id
LEFT JOIN quantum_host AS h ON h.id = q.host_id;

CREATE VIEW stored_attempt AS
SELECT
    a.quantum_id,
    a.submission_id,
    a.try::integer AS try,
    coalesce(f.state, 'succeeded') AS state,
    f.verdict,
    coalesce(a.evidence, f.evidence, '') AS evidence,
    f.exception_type,
    coalesce(a.exception_message, f.exception_message) AS exception_message,
    c.exit_code,
    f.signal,
    a.peak_mb,
    c.requested_mb,
    a.started,
    a.ended,
    h.name AS host,
    CASE WHEN a.log_uuid IS NULL THEN a.log_path
         ELSE format(c.log_path, q.visit, q.exposure, q.detector, q.tract, q.patch, a.log_uuid) END AS log_path,
    coalesce(a.uuid, a.log_uuid::text) AS uuid,
    coalesce(f.charged, true) AS charged,
    a.recorded_at,
    coalesce(f.exception_bases, '') AS exception_bases,
    a.inputs,
    a.cpu_seconds,
    c.cores,
    coalesce(f.certainty, '') AS certainty,
    a.slurm_job,
    a.log_tail,
    f.rule,
    f.remedy
FROM attempt_row AS a
LEFT JOIN quantum_row AS q ON q.id = a.quantum_id
LEFT JOIN quantum_common AS c ON c.id = a.common_id
LEFT JOIN quantum_host AS h ON h.id = a.host_id
LEFT JOIN quantum_failure AS f ON f.id = a.failure_id;
COMMENT ON VIEW stored_attempt IS 'Attempts that their quanta do not tell; the view quantum_attempt has those too that only quanta tell';

CREATE VIEW quantum_attempt AS
SELECT a.quantum_id, a.submission_id::bigint AS submission_id, a.try, a.state, a.verdict, a.evidence, a.exception_type,
       a.exception_message, a.exit_code, a.signal, a.peak_mb, a.requested_mb, a.started, a.ended, a.host, a.log_path, a.uuid,
       a.charged, a.recorded_at, a.exception_bases, a.inputs, a.cpu_seconds, a.cores, a.certainty, a.slurm_job, a.log_tail,
       a.rule, a.remedy
FROM stored_attempt AS a
UNION ALL
SELECT q.id, q.submission_id, 1, 'succeeded', NULL, '', NULL, NULL, q.exit_code, NULL, q.peak_mb, q.requested_mb, q.started,
       q.ended, q.host, q.log_path,
       -- BPS calls a log after its quantum, wherever it lies.
       coalesce(r.log_uuid::text, substring(q.log_path FROM '/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})_[^/]*$')),
       true, q.updated_at, '', q.inputs, q.cpu_seconds, q.cores, '', NULL, NULL,
       NULL, NULL
FROM quantum AS q JOIN quantum_row AS r ON r.id = q.id
WHERE q.kept_submission_id = q.submission_id AND r.attempts > 1;
COMMENT ON VIEW quantum_attempt IS 'Every attempt that was not a success at first try, and every one of older generations; never overwritten by a later one';

-- The same numbers. A harvest reads them of its group.
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
                           -- It succeeded at the first try of a submission, which has no attempt of its own.
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
                SELECT t.task, coalesce(f.state, 'succeeded') <> 'succeeded' AS failed, c.requested_mb AS request, a.peak_mb, s.seconds,
                       CASE WHEN a.peak_mb IS NOT NULL THEN round(50 * ln(greatest(a.peak_mb, 1)::double precision))::smallint END AS peak,
                       CASE WHEN s.seconds IS NOT NULL THEN round(50 * ln(greatest(s.seconds, 0.001)))::smallint END AS took
                FROM submission AS b
                JOIN attempt_row AS a ON a.submission_id = b.id
                JOIN quantum_row AS q ON q.id = a.quantum_id
                JOIN quantum_kind AS t ON t.id = q.kind_id
                JOIN quantum_common AS c ON c.id = a.common_id
                LEFT JOIN quantum_failure AS f ON f.id = a.failure_id
                CROSS JOIN LATERAL (SELECT date_part('epoch', a.ended - a.started) AS seconds) AS s
                WHERE b.group_id = g.id AND coalesce(f.state, 'succeeded') IN ('succeeded', 'failed', 'unknown')
            ) AS r
            GROUP BY GROUPING SETS ((r.task, r.failed, r.request), (r.task, r.failed, r.peak), (r.task, r.failed, r.took))
        ) AS m
        GROUP BY m.task, m.kind, m.request, m.peak, m.took
    ) AS k
    GROUP BY k.task
) AS u;

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
        SELECT q.ended, coalesce(q.state, 'succeeded') AS state,
               CASE WHEN coalesce(q.first_try_submission_id, CASE WHEN q.no_first_try IS NULL THEN q.submission_id END) = q.submission_id
                    THEN 'succeeded' END AS went
        FROM quantum_row AS q WHERE q.group_id = g.id
        UNION ALL
        SELECT a.ended, NULL, coalesce(f.state, 'succeeded')
        FROM submission AS s
        JOIN attempt_row AS a ON a.submission_id = s.id
        LEFT JOIN quantum_failure AS f ON f.id = a.failure_id
        WHERE s.group_id = g.id AND coalesce(f.state, 'succeeded') IN ('succeeded', 'failed', 'unknown')
    ) AS e
    WHERE e.ended IS NOT NULL
    GROUP BY 1
) AS h;

-- What others have made of the table reads the view.
DO $$
DECLARE
    reader regclass;
BEGIN
    FOR reader IN
        SELECT DISTINCT r.ev_class::regclass FROM pg_depend AS d JOIN pg_rewrite AS r ON r.oid = d.objid
        WHERE d.classid = 'pg_rewrite'::regclass AND d.refobjid = 'attempt_before'::regclass
    LOOP
        EXECUTE 'CREATE OR REPLACE VIEW ' || reader || ' AS '
            || regexp_replace(pg_get_viewdef(reader), '\mattempt_before\M', 'quantum_attempt', 'g');
    END LOOP;
END
$$;
DROP TABLE attempt_before;

-- Of tables that were empty the planner would think that they stay so.
DO $$
BEGIN
    IF EXISTS (SELECT FROM attempt_row) THEN
        ANALYZE attempt_row, quantum_failure, quantum_common, quantum_host;
    END IF;
END
$$;
