"""What a node's supervisor needs to know, in a form that travels to it as one JSON string."""

import json
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from merian_campaign.domain.execution.process_identity import ProcessIdentity

__all__ = ["NodeSettings"]


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeSettings:
    """Settings of the supervisor of one node for one driver.

    Parameters
    ----------
    submit : `str`
        The submit directory.
    driver : `ProcessIdentity`
        The driver that everything here belongs to.
    socket : `str`
        Path of the supervisor's socket; empty to derive one per worker pool.
    prefix : `str`
        Bash text to run before anything else (``commandPrefix`` and ``environment`` of the site).
    warm : `bool`
        Run plain ``pipetask run-qbb`` calls in forked children of a preloaded process.
    memory_mb : `int`
        Memory to share out on a node, MiB; 0 to ask the node.
    cpus : `int`
        Cores to share out on a node; 0 to ask the node.
    sample_seconds : `float`
        Period of the memory and time guard.
    tolerance : `float`
        A job is ended when it holds more than ``requestMemory`` times this.
    patience : `float`
        Seconds without a sign of life from a driver on another host before it counts as lost.
    cgroup : `bool`
        Set memory limits in the kernel too, where this user may make control groups.
    drain_s : `float`
        Seconds after the start of a worker pool when no further job is started; 0 for never.
    """

    submit: str
    driver: ProcessIdentity
    socket: str = ""
    prefix: str = ""
    warm: bool = True
    memory_mb: int = 0
    cpus: int = 0
    sample_seconds: float = 1.0
    tolerance: float = 1.1
    patience: float = 20.0
    cgroup: bool = True
    drain_s: float = 0.0

    def log_path(self) -> Path:
        """Return the path of this host's supervisor's log."""
        return Path(self.submit) / f"supervisor-{socket.gethostname()}.log"

    def to_json(self) -> str:
        """Return the settings as a JSON object."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises
        ------
        TypeError, ValueError, KeyError
            The text is something else.
        """
        values = json.loads(text)
        return cls(**{**values, "driver": ProcessIdentity(**values["driver"])})
