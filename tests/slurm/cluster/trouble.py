"""What can go wrong, in words for whoever started the cluster."""

from __future__ import annotations


class ClusterError(Exception):
    """The cluster cannot do what was asked; the message says why."""


class MissingProgramsError(ClusterError):
    """Slurm is not installed, and cannot be installed from here."""
