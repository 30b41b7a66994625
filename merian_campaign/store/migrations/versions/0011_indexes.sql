-- Small and quick at ten million quanta: the key of a quantum is a digest of its text, a log is said relative to the
-- directory of its submission, and one visit, one patch, the last day are found by index. Some passes over the
-- tables of quanta: minutes for millions.

-- The texts of the old key were the largest part of all indexes. What has the digest of another quantum is refused
-- (merian_campaign/store/quanta/merge_quanta.py).
CREATE UNIQUE INDEX uq_quantum_key ON quantum (group_id, (md5(task || ' ' || data_id)::uuid));
ALTER TABLE quantum DROP CONSTRAINT uq_quantum_group_id_task_data_id;

-- A dot stands for the directory of the submission.
UPDATE quantum AS q SET log_path = '.' || substr(q.log_path, length(s.directory) + 1)
FROM submission AS s WHERE s.id = q.submission_id AND starts_with(q.log_path, s.directory || '/');
UPDATE quantum_attempt AS a SET log_path = '.' || substr(a.log_path, length(s.directory) + 1)
FROM submission AS s WHERE s.id = a.submission_id AND starts_with(a.log_path, s.directory || '/');
DO $$
BEGIN
    EXECUTE 'CREATE OR REPLACE VIEW quantum_status AS ' || replace(
        pg_get_viewdef('quantum_status'::regclass),
        'q.log_path,',
        'CASE WHEN starts_with(q.log_path, ''./'') THEN s.directory || substr(q.log_path, 2) ELSE q.log_path END AS log_path,'
    );
END
$$;

-- Of a submission under way: how far its journal is on record. NULL: nothing of it is.
ALTER TABLE submission ADD COLUMN followed bigint;

-- Equal values share an entry: some seven bytes a quantum.
CREATE INDEX ix_quantum_visit ON quantum (visit) WHERE visit IS NOT NULL;
CREATE INDEX ix_quantum_exposure ON quantum (exposure) WHERE exposure IS NOT NULL;
CREATE INDEX ix_quantum_tract_patch ON quantum (tract, patch) WHERE tract IS NOT NULL;
-- Of ranges of pages: some bytes a thousand quanta.
CREATE INDEX ix_quantum_ended ON quantum USING brin (ended) WITH (pages_per_range = 32);
CREATE INDEX ix_quantum_updated_at ON quantum USING brin (updated_at) WITH (pages_per_range = 32);
