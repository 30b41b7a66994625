-- The failure rule that a verdict is by, and what that has done about it.

ALTER TABLE quantum ADD COLUMN rule text;
ALTER TABLE quantum ADD COLUMN remedy text;
ALTER TABLE quantum_attempt ADD COLUMN rule text;
ALTER TABLE quantum_attempt ADD COLUMN remedy text;
