"""The record of a submission's Slurm jobs, ``blocks.jsonl``; see `merian_campaign.domain.slurm.blocks`."""

import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from merian_campaign.domain.execution.journal import format_time
from merian_campaign.domain.slurm.blocks import (
    BLOCKS_NAME,
    BlockLine,
    format_block_line,
    parse_block_lines,
)
from merian_campaign.domain.slurm.slurm_jobs import comment_of
from merian_campaign.host.atomic_files import open_append
from merian_campaign.host.regular_files import MEDIUM, read_lines

__all__ = ["BlockRecords"]


class BlockRecords:
    """The record of one submission.

    Parameters
    ----------
    submit : `pathlib.Path`
        The submit directory.
    name : `str`
        Name of its Slurm jobs; empty to read only.
    """

    def __init__(self, submit: Path, *, name: str = "") -> None:
        self._path = submit / BLOCKS_NAME
        self.name = name
        self.comment = comment_of(str(submit))

    def write(self, line: BlockLine) -> None:
        """Append a line with the present time and be sure that it is on disk.

        Raises
        ------
        OSError
            The file cannot be written; then nothing must be submitted.
        """
        text = format_block_line(replace(line, t=format_time(datetime.now(UTC))))
        fd = open_append(self._path)
        try:
            os.write(fd, text.encode())
            os.fsync(fd)
        finally:
            os.close(fd)

    def read(self) -> tuple[BlockLine, ...]:
        """Return the lines so far; none when there never was a Slurm job."""
        return parse_block_lines("\n".join(read_lines(self._path, limit=MEDIUM)))
