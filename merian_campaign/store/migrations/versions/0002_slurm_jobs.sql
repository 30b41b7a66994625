-- Slurm jobs of submissions: their drivers and blocks.

ALTER TABLE submission ADD COLUMN driver_job text DEFAULT '' NOT NULL;

CREATE TABLE slurm_job (
    id bigint GENERATED ALWAYS AS IDENTITY,
    submission_id bigint NOT NULL,
    role text NOT NULL,
    job_id text NOT NULL,
    name text NOT NULL,
    slurm_state text NOT NULL,
    fate text NOT NULL,
    reason text DEFAULT '' NOT NULL,
    cancelled_by text DEFAULT '' NOT NULL,
    exit_code integer,
    signal integer,
    nodes text DEFAULT '' NOT NULL,
    submitted timestamptz,
    started timestamptz,
    ended timestamptz,
    restarts integer DEFAULT 0 NOT NULL,
    busy_seconds double precision,
    updated_at timestamptz NOT NULL,
    CONSTRAINT pk_slurm_job PRIMARY KEY (id),
    CONSTRAINT ck_slurm_job_role CHECK (role IN ('driver', 'block')),
    CONSTRAINT ck_slurm_job_fate CHECK (fate IN ('alive', 'completed', 'out_of_memory', 'walltime', 'node_lost', 'preempted', 'cancelled', 'failed', 'unknown')),
    CONSTRAINT uq_slurm_job_submission_id_job_id UNIQUE (submission_id, job_id),
    CONSTRAINT fk_slurm_job_submission_id FOREIGN KEY (submission_id) REFERENCES submission (id)
);
CREATE INDEX ix_slurm_job_alive ON slurm_job (submission_id) WHERE fate = 'alive';
COMMENT ON TABLE slurm_job IS 'A Slurm job of a submission, driver or block, as last seen; times are UTC';
