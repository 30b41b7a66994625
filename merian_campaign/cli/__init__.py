"""The command line: parse, build the context, call one method, print. No SQL, lsst or policy here."""
