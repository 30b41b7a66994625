-- Generations of groups: a redo makes the next one. What submissions were made from, and exposures first seen.

ALTER TABLE "group"
    ADD COLUMN generation integer DEFAULT 1 NOT NULL,
    ADD COLUMN published integer DEFAULT 1 NOT NULL;
ALTER TABLE submission
    ADD COLUMN generation integer DEFAULT 1 NOT NULL,
    ADD COLUMN basis jsonb,
    ADD COLUMN combines boolean;
ALTER TABLE visit_overlap
    ADD COLUMN steps text[] DEFAULT '{}' NOT NULL,
    ADD COLUMN raws integer DEFAULT 0 NOT NULL,
    ADD COLUMN seen_at timestamptz;

-- Quanta of an earlier generation that the current one does not have (so far).
ALTER TABLE quantum DROP CONSTRAINT ck_quantum_state;
ALTER TABLE quantum ADD CONSTRAINT ck_quantum_state CHECK (state IN ('pending', 'running', 'succeeded', 'failed', 'blocked', 'unknown', 'superseded'));
ALTER TABLE quantum_attempt DROP CONSTRAINT ck_quantum_attempt_state;
ALTER TABLE quantum_attempt ADD CONSTRAINT ck_quantum_attempt_state CHECK (state IN ('pending', 'running', 'succeeded', 'failed', 'blocked', 'unknown', 'superseded'));
ALTER TABLE quantum_count DROP CONSTRAINT ck_quantum_count_state;
ALTER TABLE quantum_count ADD CONSTRAINT ck_quantum_count_state CHECK (state IN ('pending', 'running', 'succeeded', 'failed', 'blocked', 'unknown', 'superseded'));
DROP INDEX ix_quantum_open;
CREATE INDEX ix_quantum_open ON quantum (group_id, task, state) WHERE state NOT IN ('succeeded', 'superseded');
COMMENT ON TABLE quantum_attempt IS 'Every attempt that was not a success at first try, and every one of older generations; never overwritten by a later one';
COMMENT ON COLUMN quantum_status.state IS
    'pending, running, succeeded, failed, blocked, unknown or superseded; unknown is not failed; superseded: only an earlier generation of its group had it, what it did is in its attempts';

-- Whether graphs combine data, from their quanta: one pass over the table. Of submissions that are under way
-- the harvest says it; those that failed or had nothing to do may have had no graph.
UPDATE submission AS s
SET combines = q.combines
FROM (
    SELECT group_id, bool_or(visit IS NULL AND exposure IS NULL) AS combines FROM quantum GROUP BY group_id
) AS q
WHERE q.group_id = s.group_id AND s.outcome IN ('succeeded', 'partial', 'lost', 'cancelled');
