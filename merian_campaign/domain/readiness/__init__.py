"""When a group may start, and whether it is still done for the data that there are now."""
