"""From a group to the BPS file that runs it, and the names of all that it makes."""
