-- Versions of the LSST stack that submissions ran under, and failures that only a person can mend.

ALTER TABLE submission
    ADD COLUMN needs_person boolean DEFAULT false NOT NULL,
    ADD COLUMN versions_sha text DEFAULT '' NOT NULL,
    ADD COLUMN versions jsonb;
ALTER TABLE "group" ADD COLUMN stack_from integer DEFAULT 0 NOT NULL;
