-- Small rows: what many quanta have in common is said once, what a success at its first try always has is not stored.
-- The table is quantum_row; the view quantum has the columns that the table quantum had. A few passes over the quanta:
-- some minutes for millions, and room for as many small rows beside the old ones.

-- Task and data ID. Numbers of the data ID that have a column stand in it as places, which format() fills again
-- (merian_campaign/store/quanta/quantum_forms.py).
CREATE TABLE quantum_kind (
    id integer GENERATED ALWAYS AS IDENTITY,
    campaign_id bigint NOT NULL,
    digest uuid NOT NULL,
    task text NOT NULL,
    data_id text NOT NULL,
    CONSTRAINT pk_quantum_kind PRIMARY KEY (id),
    CONSTRAINT uq_quantum_kind_campaign_id_digest UNIQUE (campaign_id, digest),
    CONSTRAINT fk_quantum_kind_campaign_id FOREIGN KEY (campaign_id) REFERENCES campaign (id)
);
COMMENT ON TABLE quantum_kind IS 'Task and data ID of quanta that differ in numbers alone; the numbers are columns of quantum_row';

-- Of the last attempt, but for the first three.
CREATE TABLE quantum_common (
    id integer GENERATED ALWAYS AS IDENTITY,
    campaign_id bigint NOT NULL,
    digest uuid NOT NULL,
    instrument text,
    band text,
    physical_filter text,
    requested_mb integer,
    cores smallint,
    exit_code integer,
    log_path text,
    CONSTRAINT pk_quantum_common PRIMARY KEY (id),
    CONSTRAINT uq_quantum_common_campaign_id_digest UNIQUE (campaign_id, digest),
    CONSTRAINT fk_quantum_common_campaign_id FOREIGN KEY (campaign_id) REFERENCES campaign (id)
);
COMMENT ON TABLE quantum_common IS 'What many quanta have in common beside task and data ID; the path of a log with places for numbers and UUID';

CREATE TABLE quantum_host (
    id integer GENERATED ALWAYS AS IDENTITY,
    campaign_id bigint NOT NULL,
    digest uuid NOT NULL,
    name text NOT NULL,
    CONSTRAINT pk_quantum_host PRIMARY KEY (id),
    CONSTRAINT uq_quantum_host_campaign_id_digest UNIQUE (campaign_id, digest),
    CONSTRAINT fk_quantum_host_campaign_id FOREIGN KEY (campaign_id) REFERENCES campaign (id)
);
COMMENT ON TABLE quantum_host IS 'Where quanta ran';

-- In this order nothing is lost to alignment. NULL is what most have: see the view.
CREATE TABLE quantum_row (
    id bigint GENERATED ALWAYS AS IDENTITY,
    updated_at timestamptz NOT NULL,
    started timestamptz,
    ended timestamptz,
    visit bigint,
    exposure bigint,
    blocked_by bigint,
    group_id integer NOT NULL,
    kind_id integer NOT NULL,
    common_id integer NOT NULL,
    host_id integer,
    submission_id integer,
    state_submission_id integer,
    first_try_submission_id integer,
    attempts integer,
    charged_attempts integer,
    memory_attempts integer,
    tract integer,
    patch integer,
    peak_mb integer,
    cpu_seconds real,
    signal integer,
    detector smallint,
    inputs smallint,
    no_first_try boolean,
    tolerated boolean,
    log_uuid uuid,
    state text,
    caveats text,
    verdict text,
    evidence text,
    exception_type text,
    exception_message text,
    exception_bases text,
    rule text,
    remedy text,
    log_path text,
    CONSTRAINT pk_quantum_row PRIMARY KEY (id),
    CONSTRAINT ck_quantum_row_state CHECK (state IN ('pending', 'running', 'succeeded', 'failed', 'blocked', 'unknown', 'superseded')),
    CONSTRAINT ck_quantum_row_verdict CHECK (verdict IN ('out_of_memory', 'walltime', 'node_lost', 'preempted', 'infrastructure', 'algorithm', 'configuration', 'unknown'))
);
COMMENT ON TABLE quantum_row IS 'Current state of each predicted quantum, as short as it can be stored; read the view quantum instead';

ALTER TABLE quantum RENAME TO quantum_before;

-- The forms of what is there, as merian_campaign/store/quanta/quantum_forms.py makes them; chr(37) is the sign of a place.
CREATE TEMPORARY TABLE shaped ON COMMIT DROP AS
WITH known AS (
    SELECT q.id, g.campaign_id, q.task, q.instrument, q.band, q.physical_filter, q.requested_mb, q.cores, q.exit_code,
           q.host, q.log_path, ',' || replace(q.data_id, chr(37), chr(37) || chr(37)) || ',' AS data_id,
           -- Only what the data ID says itself.
           CASE WHEN strpos(',' || q.data_id || ',', ',visit=' || q.visit || ',') > 0 THEN q.visit END AS visit,
           CASE WHEN strpos(',' || q.data_id || ',', ',exposure=' || q.exposure || ',') > 0 THEN q.exposure END AS exposure,
           CASE WHEN q.detector BETWEEN 0 AND 32767 AND strpos(',' || q.data_id || ',', ',detector=' || q.detector || ',') > 0
                THEN q.detector END AS detector,
           CASE WHEN strpos(',' || q.data_id || ',', ',tract=' || q.tract || ',') > 0 THEN q.tract END AS tract,
           CASE WHEN strpos(',' || q.data_id || ',', ',patch=' || q.patch || ',') > 0 THEN q.patch END AS patch,
           substring(q.log_path FROM '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}') AS log_uuid
    FROM quantum_before AS q JOIN "group" AS g ON g.id = q.group_id
), places AS (
    SELECT k.id, d.data_id, l.log_path
    FROM known AS k
    CROSS JOIN LATERAL (
        SELECT replace(k.data_id, coalesce(',visit=' || k.visit || ',', chr(1)), ',visit=' || chr(37) || '1$s,') AS data_id
    ) AS d1
    CROSS JOIN LATERAL (
        SELECT replace(d1.data_id, coalesce(',exposure=' || k.exposure || ',', chr(1)), ',exposure=' || chr(37) || '2$s,') AS data_id
    ) AS d2
    CROSS JOIN LATERAL (
        SELECT replace(d2.data_id, coalesce(',detector=' || k.detector || ',', chr(1)), ',detector=' || chr(37) || '3$s,') AS data_id
    ) AS d3
    CROSS JOIN LATERAL (
        SELECT replace(d3.data_id, coalesce(',tract=' || k.tract || ',', chr(1)), ',tract=' || chr(37) || '4$s,') AS data_id
    ) AS d4
    CROSS JOIN LATERAL (
        SELECT replace(d4.data_id, coalesce(',patch=' || k.patch || ',', chr(1)), ',patch=' || chr(37) || '5$s,') AS data_id
    ) AS d
    CROSS JOIN LATERAL (
        SELECT CASE WHEN k.log_uuid IS NOT NULL
                    THEN replace(replace(k.log_path, chr(37), chr(37) || chr(37)), k.log_uuid, chr(37) || '6$s') END AS log_path
    ) AS l0
    CROSS JOIN LATERAL (
        SELECT replace(replace(replace(l0.log_path,
                   coalesce('/' || k.visit || '/', chr(1)), '/' || chr(37) || '1$s/'),
                   coalesce('_' || k.visit || '_', chr(1)), '_' || chr(37) || '1$s_'),
                   coalesce('_' || k.visit || '.', chr(1)), '_' || chr(37) || '1$s.') AS log_path
    ) AS l1
    CROSS JOIN LATERAL (
        SELECT replace(replace(replace(l1.log_path,
                   coalesce('/' || k.exposure || '/', chr(1)), '/' || chr(37) || '2$s/'),
                   coalesce('_' || k.exposure || '_', chr(1)), '_' || chr(37) || '2$s_'),
                   coalesce('_' || k.exposure || '.', chr(1)), '_' || chr(37) || '2$s.') AS log_path
    ) AS l2
    CROSS JOIN LATERAL (
        SELECT replace(replace(replace(l2.log_path,
                   coalesce('/' || k.detector || '/', chr(1)), '/' || chr(37) || '3$s/'),
                   coalesce('_' || k.detector || '_', chr(1)), '_' || chr(37) || '3$s_'),
                   coalesce('_' || k.detector || '.', chr(1)), '_' || chr(37) || '3$s.') AS log_path
    ) AS l3
    CROSS JOIN LATERAL (
        SELECT replace(replace(replace(l3.log_path,
                   coalesce('/' || k.tract || '/', chr(1)), '/' || chr(37) || '4$s/'),
                   coalesce('_' || k.tract || '_', chr(1)), '_' || chr(37) || '4$s_'),
                   coalesce('_' || k.tract || '.', chr(1)), '_' || chr(37) || '4$s.') AS log_path
    ) AS l4
    CROSS JOIN LATERAL (
        SELECT replace(replace(replace(l4.log_path,
                   coalesce('/' || k.patch || '/', chr(1)), '/' || chr(37) || '5$s/'),
                   coalesce('_' || k.patch || '_', chr(1)), '_' || chr(37) || '5$s_'),
                   coalesce('_' || k.patch || '.', chr(1)), '_' || chr(37) || '5$s.') AS log_path
    ) AS l
), formed AS (
    SELECT k.*, substr(p.data_id, 2, length(p.data_id) - 2) AS data_form,
           -- A number of five digits that is none of the data ID's would make a form of every log.
           CASE WHEN p.log_path !~ '[0-9]{5}' THEN p.log_path END AS log_form
    FROM known AS k JOIN places AS p ON p.id = k.id
)
SELECT id, campaign_id, task, data_form, visit, exposure, detector, tract, patch, instrument, band, physical_filter,
       requested_mb, cores, exit_code, log_form, CASE WHEN log_form IS NOT NULL THEN log_uuid::uuid END AS log_uuid,
       CASE WHEN log_form IS NULL THEN log_path END AS log_path, host,
       md5('=' || task || chr(31) || '=' || data_form)::uuid AS kind,
       md5(concat_ws(chr(31), coalesce('=' || instrument, ''), coalesce('=' || band, ''), coalesce('=' || physical_filter, ''),
                     coalesce('=' || requested_mb, ''), coalesce('=' || cores, ''), coalesce('=' || exit_code, ''),
                     coalesce('=' || log_form, '')))::uuid AS common,
       md5('=' || host)::uuid AS place
FROM formed;

INSERT INTO quantum_kind (campaign_id, digest, task, data_id)
SELECT DISTINCT ON (campaign_id, kind) campaign_id, kind, task, data_form FROM shaped;
INSERT INTO quantum_common (campaign_id, digest, instrument, band, physical_filter, requested_mb, cores, exit_code, log_path)
SELECT DISTINCT ON (campaign_id, common)
       campaign_id, common, instrument, band, physical_filter, requested_mb, cores, exit_code, log_form
FROM shaped;
INSERT INTO quantum_host (campaign_id, digest, name)
SELECT DISTINCT ON (campaign_id, place) campaign_id, place, host FROM shaped WHERE host IS NOT NULL;
ANALYZE shaped;

INSERT INTO quantum_row (
    id, updated_at, started, ended, visit, exposure, blocked_by, group_id, kind_id, common_id, host_id, submission_id,
    state_submission_id, first_try_submission_id, attempts, charged_attempts, memory_attempts, tract, patch, peak_mb,
    cpu_seconds, signal, detector, inputs, no_first_try, tolerated, log_uuid, state, caveats, verdict, evidence,
    exception_type, exception_message, exception_bases, rule, remedy, log_path
) OVERRIDING SYSTEM VALUE
SELECT q.id, q.updated_at, q.started, q.ended, s.visit, s.exposure, q.blocked_by, q.group_id, k.id, c.id, h.id,
       q.submission_id, nullif(q.state_submission_id, q.submission_id),
       nullif(q.first_try_submission_id, q.submission_id), nullif(q.attempts, 1), nullif(q.charged_attempts, 1),
       nullif(q.memory_attempts, 0), s.tract, s.patch, q.peak_mb, q.cpu_seconds, q.signal, s.detector, q.inputs,
       CASE WHEN q.first_try_submission_id IS NULL AND q.submission_id IS NOT NULL THEN true END, q.tolerated,
       s.log_uuid, nullif(q.state, 'succeeded'), nullif(q.caveats, ''), q.verdict, nullif(q.evidence, ''),
       q.exception_type, q.exception_message, nullif(q.exception_bases, ''), q.rule, q.remedy, s.log_path
FROM quantum_before AS q
JOIN shaped AS s ON s.id = q.id
JOIN quantum_kind AS k ON k.campaign_id = s.campaign_id AND k.digest = s.kind
JOIN quantum_common AS c ON c.campaign_id = s.campaign_id AND c.digest = s.common
LEFT JOIN quantum_host AS h ON h.campaign_id = s.campaign_id AND h.digest = s.place
ORDER BY q.id;
SELECT setval(pg_get_serial_sequence('quantum_row', 'id'), greatest((SELECT max(id) FROM quantum_before), 1));

-- A number takes half of what the digest of a text took.
CREATE UNIQUE INDEX uq_quantum_row_key ON quantum_row (
    group_id, hash_record_extended(ROW(kind_id, visit, exposure, detector, tract, patch), '0')
);
CREATE INDEX ix_quantum_row_visit ON quantum_row (visit) WHERE visit IS NOT NULL;
CREATE INDEX ix_quantum_row_exposure ON quantum_row (exposure) WHERE exposure IS NOT NULL;
CREATE INDEX ix_quantum_row_tract_patch ON quantum_row (tract, patch) WHERE tract IS NOT NULL;
CREATE INDEX ix_quantum_row_ended ON quantum_row USING brin (ended) WITH (pages_per_range = 32);
CREATE INDEX ix_quantum_row_updated_at ON quantum_row USING brin (updated_at) WITH (pages_per_range = 32);
CREATE INDEX ix_quantum_row_open ON quantum_row (group_id, kind_id, coalesce(state, 'succeeded'))
    WHERE coalesce(state, 'succeeded') NOT IN ('succeeded', 'superseded');
-- The planner knows nothing of a column that is mostly NULL and read through an expression.
CREATE STATISTICS st_quantum_row_state ON (coalesce(state, 'succeeded')) FROM quantum_row;

ALTER TABLE quantum_attempt DROP CONSTRAINT fk_quantum_attempt_quantum_id;
ALTER TABLE quantum_row ADD CONSTRAINT fk_quantum_row_group_id FOREIGN KEY (group_id) REFERENCES "group" (id);
ALTER TABLE quantum_attempt ADD CONSTRAINT fk_quantum_attempt_quantum_id FOREIGN KEY (quantum_id) REFERENCES quantum_row (id);

CREATE VIEW quantum AS
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
    coalesce(q.first_try_submission_id, CASE WHEN q.no_first_try IS NULL THEN q.submission_id END)
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
    hash_record_extended(ROW(q.kind_id, q.visit, q.exposure, q.detector, q.tract, q.patch), '0') AS key
FROM quantum_row AS q
LEFT JOIN quantum_kind AS k ON k.id = q.kind_id
LEFT JOIN quantum_common AS c ON c.id = q.common_id
LEFT JOIN quantum_host AS h ON h.id = q.host_id;
COMMENT ON VIEW quantum IS 'Current state of each predicted quantum: one task on one data ID of one group';

-- Views that read the table read this one; their columns, rights and comments stay.
DO $$
DECLARE
    reader regclass;
BEGIN
    FOR reader IN
        SELECT DISTINCT r.ev_class::regclass FROM pg_depend AS d JOIN pg_rewrite AS r ON r.oid = d.objid
        WHERE d.classid = 'pg_rewrite'::regclass AND d.refobjid = 'quantum_before'::regclass
    LOOP
        EXECUTE 'CREATE OR REPLACE VIEW ' || reader || ' AS '
            || regexp_replace(pg_get_viewdef(reader), '\mquantum_before\M', 'quantum', 'g');
    END LOOP;
END
$$;
DROP TABLE quantum_before;

-- Of tables that were empty the planner would think that they stay so.
DO $$
BEGIN
    IF EXISTS (SELECT FROM quantum_row) THEN
        ANALYZE quantum_row, quantum_kind, quantum_common, quantum_host;
    END IF;
END
$$;

-- Where the time of a submission went, seconds by part (merian_campaign/domain/record/wall_time.py); NULL: nobody wrote it down.
ALTER TABLE submission ADD COLUMN wall jsonb;
