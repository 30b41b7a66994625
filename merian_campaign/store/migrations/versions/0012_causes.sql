-- What stands behind a failure, and the evidence of each attempt. A quantum that succeeded at its first try takes no
-- more room than before: what it used fits into bytes that were left over, the rest is NULL.

ALTER TABLE quantum ADD COLUMN inputs smallint;
ALTER TABLE quantum ADD COLUMN cpu_seconds real;
ALTER TABLE quantum ADD COLUMN cores smallint;
ALTER TABLE quantum ADD COLUMN blocked_by bigint;
ALTER TABLE quantum ADD COLUMN tolerated boolean;

ALTER TABLE quantum_attempt ADD COLUMN inputs smallint;
ALTER TABLE quantum_attempt ADD COLUMN cpu_seconds real;
ALTER TABLE quantum_attempt ADD COLUMN cores smallint;
ALTER TABLE quantum_attempt ADD COLUMN certainty text;
ALTER TABLE quantum_attempt ADD COLUMN slurm_job text;
ALTER TABLE quantum_attempt ADD COLUMN log_tail text;

DO $$
BEGIN
    EXECUTE 'CREATE OR REPLACE VIEW quantum_status AS ' || replace(
        pg_get_viewdef('quantum_status'::regclass),
        'q.updated_at',
        'q.updated_at, q.id AS quantum_id, q.blocked_by, q.inputs, q.cpu_seconds, q.cores'
    );
END
$$;
COMMENT ON COLUMN quantum_status.quantum_id IS 'Number of the quantum, as commands take it';
COMMENT ON COLUMN quantum_status.blocked_by IS
    'Number of the quantum that it stands behind, while it is blocked; of several, the first upstream';
COMMENT ON COLUMN quantum_status.inputs IS
    'Input datasets of the last attempt, as its graph has them; 32767 stands for as many or more';
COMMENT ON COLUMN quantum_status.cpu_seconds IS 'Processor time of the last attempt';
COMMENT ON COLUMN quantum_status.cores IS 'Cores that the last attempt asked for; NULL for one';
