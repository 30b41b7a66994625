-- What the exception of an attempt is by class: full names of its class and bases, a blank between them.

ALTER TABLE quantum ADD COLUMN exception_bases text DEFAULT '' NOT NULL;
ALTER TABLE quantum_attempt ADD COLUMN exception_bases text DEFAULT '' NOT NULL;

-- A word of Slurm's that is not known says neither that a job lives nor that it is over.
ALTER TABLE slurm_job DROP CONSTRAINT ck_slurm_job_fate;
ALTER TABLE slurm_job ADD CONSTRAINT ck_slurm_job_fate CHECK (fate IN ('alive', 'completed', 'out_of_memory', 'walltime', 'node_lost', 'preempted', 'cancelled', 'failed', 'unknown', 'unsure'));
DROP INDEX ix_slurm_job_alive;
CREATE INDEX ix_slurm_job_alive ON slurm_job (submission_id) WHERE fate IN ('alive', 'unsure');
