-- The tracking database, first version.

CREATE TABLE campaign (
    id bigint GENERATED ALWAYS AS IDENTITY,
    name text NOT NULL,
    state text NOT NULL,
    file text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT pk_campaign PRIMARY KEY (id),
    CONSTRAINT ck_campaign_state CHECK (state IN ('active', 'paused', 'cancelled')),
    CONSTRAINT uq_campaign_name UNIQUE (name)
);
COMMENT ON TABLE campaign IS 'What a survey lead launched: one campaign file';

CREATE TABLE revision (
    id bigint GENERATED ALWAYS AS IDENTITY,
    campaign_id bigint NOT NULL,
    number integer NOT NULL,
    text text NOT NULL,
    sha256 text NOT NULL,
    spec jsonb NOT NULL,
    actor text NOT NULL,
    applied_at timestamptz NOT NULL,
    CONSTRAINT pk_revision PRIMARY KEY (id),
    CONSTRAINT uq_revision_campaign_id_number UNIQUE (campaign_id, number),
    CONSTRAINT fk_revision_campaign_id FOREIGN KEY (campaign_id) REFERENCES campaign (id)
);
COMMENT ON TABLE revision IS 'A campaign file as applied, and what it resolved to; the highest number is in force';

CREATE TABLE "group" (
    id bigint GENERATED ALWAYS AS IDENTITY,
    campaign_id bigint NOT NULL,
    step text NOT NULL,
    key text NOT NULL,
    ordinal integer NOT NULL,
    selection_dimension text DEFAULT '' NOT NULL,
    selection_values bigint[] DEFAULT '{}' NOT NULL,
    state text NOT NULL,
    reason text DEFAULT '' NOT NULL,
    accepted boolean DEFAULT false NOT NULL,
    attempts_from integer DEFAULT 0 NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT pk_group PRIMARY KEY (id),
    CONSTRAINT ck_group_state CHECK (state IN ('waiting', 'ready', 'running', 'done', 'needs_review', 'blocked', 'cancelled')),
    CONSTRAINT uq_group_campaign_id_step_key UNIQUE (campaign_id, step, key),
    CONSTRAINT fk_group_campaign_id FOREIGN KEY (campaign_id) REFERENCES campaign (id)
);
COMMENT ON TABLE "group" IS 'One step on one data-ID selection: the unit of work';

CREATE TABLE submission (
    id bigint GENERATED ALWAYS AS IDENTITY,
    group_id bigint NOT NULL,
    number integer NOT NULL,
    state text NOT NULL,
    outcome text,
    repository text DEFAULT '' NOT NULL,
    run_collection text DEFAULT '' NOT NULL,
    directory text NOT NULL,
    remedy jsonb NOT NULL,
    reason text DEFAULT '' NOT NULL,
    driver_host text,
    driver_pid integer,
    driver_started bigint,
    epoch integer DEFAULT 0 NOT NULL,
    cancel_requested boolean DEFAULT false NOT NULL,
    created_at timestamptz NOT NULL,
    launched_at timestamptz,
    claimed_at timestamptz,
    lease_expires_at timestamptz,
    finished_at timestamptz,
    CONSTRAINT pk_submission PRIMARY KEY (id),
    CONSTRAINT ck_submission_state CHECK (state IN ('prepared', 'running', 'finished')),
    CONSTRAINT ck_submission_outcome CHECK (outcome IN ('succeeded', 'partial', 'empty', 'failed', 'lost', 'cancelled')),
    CONSTRAINT ck_submission_number CHECK (number >= 1),
    CONSTRAINT ck_submission_finished CHECK ((state = 'finished') = (outcome IS NOT NULL) AND (state = 'finished') = (finished_at IS NOT NULL)),
    CONSTRAINT uq_submission_group_id_number UNIQUE (group_id, number),
    CONSTRAINT fk_submission_group_id FOREIGN KEY (group_id) REFERENCES "group" (id)
);
CREATE UNIQUE INDEX uq_submission_run_collection ON submission (repository, run_collection) WHERE run_collection <> '';
CREATE UNIQUE INDEX uq_submission_unfinished ON submission (group_id) WHERE state <> 'finished';
COMMENT ON TABLE submission IS 'One BPS run (or action) of one group; number 1 is the first, later ones are afterburners';

CREATE TABLE quantum (
    id bigint GENERATED ALWAYS AS IDENTITY,
    group_id bigint NOT NULL,
    task text NOT NULL,
    data_id text NOT NULL,
    instrument text,
    visit bigint,
    exposure bigint,
    detector integer,
    tract integer,
    patch integer,
    band text,
    physical_filter text,
    state text NOT NULL,
    caveats text DEFAULT '' NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    charged_attempts integer DEFAULT 0 NOT NULL,
    memory_attempts integer DEFAULT 0 NOT NULL,
    verdict text,
    evidence text DEFAULT '' NOT NULL,
    exception_type text,
    exception_message text,
    exit_code integer,
    signal integer,
    peak_mb integer,
    requested_mb integer,
    started timestamptz,
    ended timestamptz,
    host text,
    log_path text,
    state_submission_id bigint NOT NULL,
    submission_id bigint,
    first_try_submission_id bigint,
    updated_at timestamptz NOT NULL,
    CONSTRAINT pk_quantum PRIMARY KEY (id),
    CONSTRAINT ck_quantum_state CHECK (state IN ('pending', 'running', 'succeeded', 'failed', 'blocked', 'unknown')),
    CONSTRAINT ck_quantum_verdict CHECK (verdict IN ('out_of_memory', 'walltime', 'node_lost', 'transient', 'algorithm', 'configuration', 'unknown')),
    CONSTRAINT uq_quantum_group_id_task_data_id UNIQUE (group_id, task, data_id),
    CONSTRAINT fk_quantum_group_id FOREIGN KEY (group_id) REFERENCES "group" (id)
);
CREATE INDEX ix_quantum_open ON quantum (group_id, task, state) WHERE state <> 'succeeded';
COMMENT ON TABLE quantum IS 'Current state of each predicted quantum: one task on one data ID of one group';

CREATE TABLE quantum_attempt (
    quantum_id bigint NOT NULL,
    submission_id bigint NOT NULL,
    try integer NOT NULL,
    state text NOT NULL,
    verdict text,
    evidence text DEFAULT '' NOT NULL,
    exception_type text,
    exception_message text,
    exit_code integer,
    signal integer,
    peak_mb integer,
    requested_mb integer,
    started timestamptz,
    ended timestamptz,
    host text,
    log_path text,
    uuid text,
    charged boolean NOT NULL,
    recorded_at timestamptz NOT NULL,
    CONSTRAINT pk_quantum_attempt PRIMARY KEY (quantum_id, submission_id, try),
    CONSTRAINT ck_quantum_attempt_state CHECK (state IN ('pending', 'running', 'succeeded', 'failed', 'blocked', 'unknown')),
    CONSTRAINT ck_quantum_attempt_verdict CHECK (verdict IN ('out_of_memory', 'walltime', 'node_lost', 'transient', 'algorithm', 'configuration', 'unknown')),
    CONSTRAINT fk_quantum_attempt_quantum_id FOREIGN KEY (quantum_id) REFERENCES quantum (id),
    CONSTRAINT fk_quantum_attempt_submission_id FOREIGN KEY (submission_id) REFERENCES submission (id)
);
CREATE INDEX ix_quantum_attempt_submission_id ON quantum_attempt (submission_id);
COMMENT ON TABLE quantum_attempt IS 'Every attempt that was not a success at first try; never overwritten by a later one';

CREATE TABLE quantum_count (
    group_id bigint NOT NULL,
    task text NOT NULL,
    state text NOT NULL,
    n integer NOT NULL,
    CONSTRAINT pk_quantum_count PRIMARY KEY (group_id, task, state),
    CONSTRAINT ck_quantum_count_state CHECK (state IN ('pending', 'running', 'succeeded', 'failed', 'blocked', 'unknown')),
    CONSTRAINT fk_quantum_count_group_id FOREIGN KEY (group_id) REFERENCES "group" (id)
);
COMMENT ON TABLE quantum_count IS 'Cache: quanta by state, recounted in the transaction that changes them; never the truth';

CREATE TABLE event (
    id bigint GENERATED ALWAYS AS IDENTITY,
    at timestamptz NOT NULL,
    campaign_id bigint NOT NULL,
    group_id bigint,
    step text,
    group_key text,
    submission_id bigint,
    submission_number integer,
    kind text NOT NULL,
    actor text NOT NULL,
    reason text DEFAULT '' NOT NULL,
    from_state text,
    to_state text,
    CONSTRAINT pk_event PRIMARY KEY (id),
    CONSTRAINT fk_event_campaign_id FOREIGN KEY (campaign_id) REFERENCES campaign (id)
);
CREATE INDEX ix_event_campaign_id_id ON event (campaign_id, id);
COMMENT ON TABLE event IS 'Every transition: when, who, from, to, why; append-only (a trigger refuses the rest)';

CREATE TABLE tick (
    id bigint GENERATED ALWAYS AS IDENTITY,
    campaign_id bigint NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    actions integer,
    error text,
    CONSTRAINT pk_tick PRIMARY KEY (id),
    CONSTRAINT fk_tick_campaign_id FOREIGN KEY (campaign_id) REFERENCES campaign (id)
);
CREATE INDEX ix_tick_campaign_id ON tick (campaign_id);
COMMENT ON TABLE tick IS 'One pass of the reconciler';

-- The record of what happened is written once. (A superuser can still disable the trigger; nobody does so
-- by mistake.)
CREATE FUNCTION event_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Forgetting a whole campaign is the one way out; see merian_campaign/store/forget.py.
    IF TG_OP = 'DELETE' AND current_setting('merian_campaign.forget', true) = 'on' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'table event is append-only' USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON event
    FOR EACH STATEMENT EXECUTE FUNCTION event_is_append_only();

-- The one thing here that others may build on: columns are added, never renamed, dropped or given another
-- meaning.
CREATE VIEW quantum_status AS
SELECT
    c.name AS campaign,
    g.step,
    g.key AS "group",
    q.instrument,
    q.tract,
    q.patch,
    q.band,
    q.physical_filter,
    q.visit,
    q.exposure,
    q.detector,
    q.task,
    q.data_id,
    q.state,
    q.caveats,
    q.attempts,
    q.verdict,
    q.evidence,
    q.exception_type AS exception,
    q.exception_message,
    q.exit_code,
    q.signal,
    q.peak_mb,
    q.requested_mb,
    q.started,
    q.ended,
    q.host,
    q.log_path,
    s.number AS submission,
    q.updated_at
FROM quantum AS q
JOIN "group" AS g ON g.id = q.group_id
JOIN campaign AS c ON c.id = g.campaign_id
LEFT JOIN submission AS s ON s.id = q.submission_id;

COMMENT ON VIEW quantum_status IS
    'Stable: one row a predicted quantum of every campaign, with its current state and its last attempt';
COMMENT ON COLUMN quantum_status.campaign IS 'Name of the campaign';
COMMENT ON COLUMN quantum_status.step IS 'Step of the campaign';
COMMENT ON COLUMN quantum_status."group" IS 'Key of the group within its step';
COMMENT ON COLUMN quantum_status.instrument IS
    'Of the data ID; NULL when it has none (so for all dimensions)';
COMMENT ON COLUMN quantum_status.tract IS 'Of the data ID';
COMMENT ON COLUMN quantum_status.patch IS 'Of the data ID';
COMMENT ON COLUMN quantum_status.band IS 'Of the data ID, implied ones included';
COMMENT ON COLUMN quantum_status.physical_filter IS 'Of the data ID, implied ones included';
COMMENT ON COLUMN quantum_status.visit IS 'Of the data ID';
COMMENT ON COLUMN quantum_status.exposure IS 'Of the data ID';
COMMENT ON COLUMN quantum_status.detector IS 'Of the data ID';
COMMENT ON COLUMN quantum_status.task IS 'Task label in the pipeline';
COMMENT ON COLUMN quantum_status.data_id IS
    'Canonical data ID: required dimensions, name=value, sorted by name';
COMMENT ON COLUMN quantum_status.state IS
    'pending, running, succeeded, failed, blocked or unknown; unknown is not failed';
COMMENT ON COLUMN quantum_status.caveats IS
    'Codes of the success caveats of the middleware; empty for none';
COMMENT ON COLUMN quantum_status.attempts IS 'Executions in all submissions, first-try successes included';
COMMENT ON COLUMN quantum_status.verdict IS
    'Why the last attempt failed: out_of_memory, walltime, node_lost, transient, algorithm, configuration or unknown; NULL unless it failed';
COMMENT ON COLUMN quantum_status.evidence IS 'What the verdict rests on, in words';
COMMENT ON COLUMN quantum_status.exception IS 'Type of the exception of the last attempt';
COMMENT ON COLUMN quantum_status.exception_message IS 'Its message, cut to 2000 characters';
COMMENT ON COLUMN quantum_status.exit_code IS 'Of the process of the last attempt';
COMMENT ON COLUMN quantum_status.signal IS 'That ended the process of the last attempt';
COMMENT ON COLUMN quantum_status.peak_mb IS 'Peak memory of the last attempt, MiB';
COMMENT ON COLUMN quantum_status.requested_mb IS 'Memory the last attempt asked for, MiB';
COMMENT ON COLUMN quantum_status.started IS 'Start of the last attempt';
COMMENT ON COLUMN quantum_status.ended IS 'End of the last attempt';
COMMENT ON COLUMN quantum_status.host IS 'Where the last attempt ran';
COMMENT ON COLUMN quantum_status.log_path IS 'Log of the last attempt';
COMMENT ON COLUMN quantum_status.submission IS
    'Number of the submission of the last attempt; 1 is the first, later ones are afterburners';
COMMENT ON COLUMN quantum_status.updated_at IS 'When this row last changed';
