-- What the board says of a group lies in its row, for each look at a campaign reads it: its quanta by state, its submissions,
-- whether the graph of one was empty, and the stack of the last that told its versions. A cache, counted from quantum_count and
-- submission; never the truth.

ALTER TABLE "group"
    ADD COLUMN quanta_pending integer DEFAULT 0 NOT NULL,
    ADD COLUMN quanta_running integer DEFAULT 0 NOT NULL,
    ADD COLUMN quanta_succeeded integer DEFAULT 0 NOT NULL,
    ADD COLUMN quanta_failed integer DEFAULT 0 NOT NULL,
    ADD COLUMN quanta_blocked integer DEFAULT 0 NOT NULL,
    ADD COLUMN quanta_unknown integer DEFAULT 0 NOT NULL,
    ADD COLUMN submissions integer DEFAULT 0 NOT NULL,
    ADD COLUMN no_graph boolean DEFAULT false NOT NULL,
    ADD COLUMN stack text DEFAULT '' NOT NULL;

UPDATE "group" AS g
SET (quanta_pending, quanta_running, quanta_succeeded, quanta_failed, quanta_blocked, quanta_unknown) = (
        SELECT coalesce(sum(c.n) FILTER (WHERE c.state = 'pending'), 0),
               coalesce(sum(c.n) FILTER (WHERE c.state = 'running'), 0),
               coalesce(sum(c.n) FILTER (WHERE c.state = 'succeeded'), 0),
               coalesce(sum(c.n) FILTER (WHERE c.state = 'failed'), 0),
               coalesce(sum(c.n) FILTER (WHERE c.state = 'blocked'), 0),
               coalesce(sum(c.n) FILTER (WHERE c.state = 'unknown'), 0)
        FROM quantum_count AS c WHERE c.group_id = g.id
    ),
    (submissions, no_graph, stack) = (
        SELECT count(*), coalesce(bool_or(s.outcome = 'empty'), false),
               coalesce((array_agg(s.versions ->> 'short' ORDER BY s.number DESC) FILTER (WHERE s.versions IS NOT NULL))[1], '')
        FROM submission AS s WHERE s.group_id = g.id
    );
