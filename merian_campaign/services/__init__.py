"""The order of calls: tick, control verbs, harvest. No SQL, no lsst, no command-line parsing here."""
