-- When more raws of an exposure were last seen: a night is quiet since then.

ALTER TABLE visit_overlap ADD COLUMN raws_at timestamptz;

-- What the submissions of releases were made from that did not write it down, told by the quanta that there
-- are. One pass over those: the exposures that each group had in its graphs.
CREATE TEMPORARY TABLE in_graph ON COMMIT DROP AS
SELECT DISTINCT q.group_id, coalesce(q.exposure, o.exposure) AS exposure
FROM (SELECT DISTINCT group_id, exposure, visit FROM quantum) AS q
JOIN "group" AS g ON g.id = q.group_id
LEFT JOIN (SELECT campaign_id, exposure, unnest(visits) AS visit FROM visit_overlap) AS o
    ON q.exposure IS NULL AND o.campaign_id = g.campaign_id AND o.visit = q.visit
WHERE coalesce(q.exposure, o.exposure) IS NOT NULL;

-- When a step had an exposure first.
CREATE TEMPORARY TABLE had ON COMMIT DROP AS
SELECT g.campaign_id, g.ordinal, e.exposure, min(s.created_at) AS since
FROM in_graph AS e JOIN "group" AS g ON g.id = e.group_id JOIN submission AS s ON s.group_id = g.id
GROUP BY g.campaign_id, g.ordinal, e.exposure;

-- The tracts of exposures, and all of them under NULL.
CREATE TEMPORARY TABLE on_sky ON COMMIT DROP AS
SELECT campaign_id, exposure, unnest(array_append(tracts, NULL)) AS tract FROM visit_overlap WHERE taken;
CREATE INDEX ON had (campaign_id, exposure);
CREATE INDEX ON on_sky (campaign_id, tract);
ANALYZE had;
ANALYZE on_sky;

CREATE TEMPORARY TABLE unwritten ON COMMIT DROP AS
SELECT s.id, s.created_at, s.outcome, g.id AS group_id, g.campaign_id, g.ordinal, g.selection_dimension,
    CASE WHEN g.selection_dimension = '' THEN ARRAY[NULL::integer] ELSE g.selection_values::integer[] END
        AS tracts
FROM submission AS s JOIN "group" AS g ON g.id = s.group_id
WHERE s.basis IS NULL AND g.generation = 1
  AND (s.combines IS NOT NULL OR s.outcome = 'empty');

CREATE TEMPORARY TABLE told ON COMMIT DROP AS
-- What is about tracts, or about all, had what earlier steps had before it was made.
SELECT u.id, h.exposure
FROM unwritten AS u
JOIN on_sky AS o ON o.campaign_id = u.campaign_id
    AND (o.tract = ANY(u.tracts) OR (u.selection_dimension = '' AND o.tract IS NULL))
JOIN had AS h ON h.campaign_id = u.campaign_id AND h.exposure = o.exposure
    AND h.ordinal < u.ordinal AND h.since < u.created_at
WHERE u.outcome <> 'empty' AND u.selection_dimension IN ('', 'tract')
  AND (u.selection_dimension = 'tract' OR NOT EXISTS (SELECT 1 FROM in_graph AS e WHERE e.group_id = u.group_id))
UNION
-- Everything else had what is in its own graphs.
SELECT u.id, e.exposure
FROM unwritten AS u JOIN in_graph AS e ON e.group_id = u.group_id
WHERE u.outcome <> 'empty' AND u.selection_dimension <> 'tract';

UPDATE submission AS s
SET basis = jsonb_build_object('exposures', t.exposures, 'upstream', '{}'::jsonb, 'raws', 0, 'files', '')
FROM (
    SELECT u.id, coalesce(jsonb_agg(t.exposure ORDER BY t.exposure) FILTER (WHERE t.id IS NOT NULL), '[]') AS exposures
    FROM unwritten AS u LEFT JOIN told AS t ON t.id = u.id
    -- Where nothing is told, nobody knows; but what had an empty graph had nothing.
    WHERE t.id IS NOT NULL OR u.outcome = 'empty'
    GROUP BY u.id
) AS t
WHERE t.id = s.id;
