"""A private Slurm on this machine: daemons on loopback, everything under one directory, nothing left behind.

Knows nothing of merian-campaign, needs only Python's standard library.
"""
