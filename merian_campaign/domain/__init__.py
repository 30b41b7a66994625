"""What things are and what should happen: pure values and decisions.

This room imports the standard library and pydantic only. It never reads a clock, a file, the
environment, SQL, lsst or parsl.
"""
