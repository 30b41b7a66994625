-- Whether any quantum of a graph has no detector: then a raw that comes late changes outputs that exist.

ALTER TABLE submission ADD COLUMN gathers boolean;

-- As for combines: one pass over the quanta; the harvest says it of what is under way.
UPDATE submission AS s
SET gathers = q.gathers
FROM (SELECT group_id, bool_or(detector IS NULL) AS gathers FROM quantum GROUP BY group_id) AS q
WHERE q.group_id = s.group_id AND s.combines IS NOT NULL;
