-- What the exception of an attempt is by class: full names of its class and bases, a blank between them.

ALTER TABLE quantum ADD COLUMN exception_bases text DEFAULT '' NOT NULL;
ALTER TABLE quantum_attempt ADD COLUMN exception_bases text DEFAULT '' NOT NULL;
