"""What a report says: every number of it once, as pure functions of rows of the tracking database."""
