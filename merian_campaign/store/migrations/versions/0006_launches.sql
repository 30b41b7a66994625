-- How many drivers were started for a submission since one last claimed it.

ALTER TABLE submission ADD COLUMN launches integer DEFAULT 0 NOT NULL;
