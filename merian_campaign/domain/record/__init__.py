"""What is on record of a campaign, as values: a tick's snapshot, rows, bases, the applied spec."""
