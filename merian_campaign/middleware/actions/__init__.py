"""Butler actions: one runner each, seen in the repository before it is repeated."""
