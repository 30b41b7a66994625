-- An order of a person can be taken back whole: what it changed of its group is kept, as it was before.

ALTER TABLE event ADD COLUMN before jsonb;
