"""The Slurm jobs (blocks) of one submission as their file tells them, version 1.

``{submitPath}/blocks.jsonl`` holds one JSON object a line, appended by the drivers of a submission.  The line
before an ``sbatch`` is written first, so that a job whose id was never recorded can be found by its name and
comment.  This module is the format; it opens no file and reads no clock.

Fields of a line (absent when unknown):

==============  ========================================================================================
``v``           format version, 1
``t``           ISO 8601 UTC with microseconds
``event``       see `BlockEvent`
``name``        Slurm job name, the same for every block of a submission and of no other
``comment``     Slurm job comment (``submitting``)
``slurm_job``   Slurm job id (``submitted``, ``state``)
``state``       Slurm's own word, whole: ``RUNNING``, ``OUT_OF_MEMORY``, ... (``state``)
``reason``      Slurm's reason for it, when it gave one (``state``)
``text``        words of ``sbatch`` (``refused``, ``deferred``)
==============  ========================================================================================
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from merian_campaign.domain.safe_text.jsonl import last_object, moment_of
from merian_campaign.domain.safe_text.text import one_line

__all__ = [
    "BLOCKS_NAME",
    "VERSION",
    "Block",
    "BlockEvent",
    "BlockLine",
    "block_ids",
    "block_name",
    "fold_blocks",
    "format_block_line",
    "parse_block_lines",
]

BLOCKS_NAME = "blocks.jsonl"
"""Name of the file in the submit directory."""

VERSION = 1
"""Version written by this release; later versions may add fields and events but not change these."""

_NAME_LENGTH = 40
_LONGEST = 4096  # a path


class BlockEvent(StrEnum):
    """What happened."""

    SUBMITTING = "submitting"
    """``sbatch`` is about to be called; without a ``submitted``, ``refused`` or ``deferred`` after it, a job
    may exist that only its name tells."""

    SUBMITTED = "submitted"
    """Slurm gave an id, or a job was found by its name."""

    REFUSED = "refused"
    """Slurm will never take it: account, partition, limits."""

    DEFERRED = "deferred"
    """Slurm did not take it now (no answer, too many jobs in the queue); no job came of it."""

    STATE = "state"
    """A job was seen in another state than before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockLine:
    """One line; the module docstring defines the fields.

    ``event`` is a plain string so that lines of a later version survive reading.
    """

    event: str
    t: str = ""
    v: int = VERSION
    name: str = ""
    comment: str = ""
    slurm_job: str = ""
    state: str = ""
    reason: str = ""
    text: str = ""

    @property
    def time(self) -> datetime | None:
        """Moment of the event, timezone aware, or None when the line had no readable one."""
        return moment_of(self.t)


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """A Slurm job of a submission as last seen by a driver.

    Parameters
    ----------
    slurm_job : `str`
        Its id.
    name : `str`
        Its name; empty when the line did not say.
    state, reason : `str`
        Slurm's words when it was last seen to change; empty before the first look.
    submitted, running, seen : `datetime` or `None`
        When the id was recorded, when it was first seen running, when its last change was seen.
    """

    slurm_job: str
    name: str = ""
    state: str = ""
    reason: str = ""
    submitted: datetime | None = None
    running: datetime | None = None
    seen: datetime | None = None


def block_name(readable: str, submit: str) -> str:
    """Return the name of a submission's Slurm jobs: readable, and unique to its submit directory.

    Parameters
    ----------
    readable : `str`
        What a person should see in ``squeue``; cut and made safe for a command line.
    submit : `str`
        The submit directory, absolute.
    """
    safe = "".join(c if c.isalnum() or c in "._-" else "_" for c in readable[:_NAME_LENGTH])
    return f"{safe}-{hashlib.sha256(submit.encode()).hexdigest()[:8]}"


def format_block_line(line: BlockLine) -> str:
    """Return a line of the file, with its end; the time must be in it already."""
    names = ("v", "t", "event", "name", "comment", "slurm_job", "state", "reason", "text")
    values = {name: getattr(line, name) for name in names}
    return json.dumps({name: value for name, value in values.items() if value != ""}) + "\n"


def parse_block_lines(text: str) -> tuple[BlockLine, ...]:
    """Read the file.

    Parameters
    ----------
    text : `str`
        Anything: a torn line is dropped, unknown fields are ignored, unknown events are kept.  Lines of an
        earlier release, which hold an id and nothing else, read as ``submitted``.
    """
    found = (_to_line(last_object(line, start="{")) for line in text.splitlines())
    return tuple(line for line in found if line is not None)


def _to_line(values: object) -> BlockLine | None:
    if not isinstance(values, dict):
        return None
    event = values.get("event", BlockEvent.SUBMITTED if "slurm_job" in values else None)
    if not isinstance(event, str):
        return None
    names = ("t", "name", "comment", "slurm_job", "state", "reason", "text")
    texts = {name: _text(values.get(name)) for name in names}
    version = values.get("v")
    return BlockLine(event=event, v=version if isinstance(version, int) else VERSION, **texts)


def _text(value: object) -> str:
    """Return a field on one line; an id may have been written as a number."""
    return one_line(str(value), limit=_LONGEST) if isinstance(value, str | int) and value else ""


def fold_blocks(lines: Iterable[BlockLine]) -> dict[str, Block]:
    """Return every Slurm job of a submission, by id, in the order of their submission."""
    found: dict[str, Block] = {}
    for line in lines:
        job = line.slurm_job
        if not job:
            continue
        before = found.get(job, Block(slurm_job=job))
        if line.event == BlockEvent.SUBMITTED:
            found[job] = Block(slurm_job=job, name=line.name, submitted=line.time)
        elif line.event == BlockEvent.STATE:
            running = before.running or (line.time if line.state == "RUNNING" else None)
            found[job] = Block(
                slurm_job=job,
                name=before.name or line.name,
                state=line.state,
                reason=line.reason,
                submitted=before.submitted,
                running=running,
                seen=line.time,
            )
    return found


def block_ids(lines: Iterable[BlockLine]) -> tuple[str, ...]:
    """Return the ids of all Slurm jobs a submission has ever had, each once."""
    return tuple(fold_blocks(lines))
