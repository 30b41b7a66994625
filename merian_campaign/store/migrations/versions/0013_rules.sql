-- The failure rule that a verdict is by, and what that has done about it.

ALTER TABLE quantum ADD COLUMN rule text;
ALTER TABLE quantum ADD COLUMN remedy text;
ALTER TABLE quantum_attempt ADD COLUMN rule text;
ALTER TABLE quantum_attempt ADD COLUMN remedy text;

-- What quanta used, in bins of a twentieth: how many of a task, in groups of so many exposures, for how long, and whether
-- they ran out of memory there. Filled from
-- what is on record (one pass over the quanta), then by each harvest.
CREATE TABLE memory_use (
    campaign_id bigint NOT NULL,
    step text NOT NULL,
    task text NOT NULL,
    inputs integer NOT NULL,
    needed_more boolean NOT NULL,
    peak_mb integer NOT NULL,
    n integer NOT NULL,
    seconds double precision NOT NULL,
    CONSTRAINT pk_memory_use PRIMARY KEY (campaign_id, step, task, inputs, needed_more, peak_mb),
    CONSTRAINT fk_memory_use_campaign_id FOREIGN KEY (campaign_id) REFERENCES campaign (id)
);
COMMENT ON TABLE memory_use IS 'Measured memory by task: quanta and their run time by peak, in bins of a twentieth (MiB)';

INSERT INTO memory_use (campaign_id, step, task, inputs, needed_more, peak_mb, n, seconds)
SELECT g.campaign_id, g.step, q.task,
       CASE WHEN e.number > 0 THEN (2 ^ floor(log(2, e.number)))::integer ELSE 0 END, u.needed_more, u.peak_mb, count(*), sum(u.seconds)
FROM (
    SELECT id AS quantum_id, submission_id, false AS needed_more,
           ceil(exp(ceil(ln(greatest(peak_mb, 1)) / 0.05) * 0.05))::integer AS peak_mb,
           coalesce(extract(epoch FROM ended - started), 0)::double precision AS seconds
    FROM quantum WHERE first_try_submission_id = submission_id AND peak_mb > 0
    UNION ALL
    SELECT quantum_id, submission_id, state = 'failed',
           ceil(exp(ceil(ln(greatest(peak_mb, 1)) / 0.05) * 0.05))::integer,
           coalesce(extract(epoch FROM ended - started), 0)::double precision
    FROM quantum_attempt
    WHERE peak_mb > 0 AND (state = 'succeeded' OR (state = 'failed' AND verdict = 'out_of_memory'))
) AS u
JOIN quantum AS q ON q.id = u.quantum_id
JOIN "group" AS g ON g.id = q.group_id
JOIN (
    SELECT id, coalesce(jsonb_array_length(basis -> 'exposures'), 0) AS number FROM submission
) AS e ON e.id = u.submission_id
GROUP BY 1, 2, 3, 4, 5, 6;
