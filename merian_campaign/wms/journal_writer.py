"""Writing the journal of a submission: one short append per line, from any process on any host.

The format is `merian_campaign.domain.execution.journal`.  Lines of several writers do not mix because each is
one ``write`` to a file opened for appending; a writer that dies in the middle tears its own line at most,
and readers repair that.  (NFS does not promise atomic appends between hosts; GPFS, Lustre and local
file systems do.)
"""

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from merian_campaign.domain.execution.journal import JournalRecord, format_line, format_time, parse_lines
from merian_campaign.host.atomic_files import open_append
from merian_campaign.host.regular_files import read_lines

__all__ = ["JOURNAL_NAME", "Journal"]

JOURNAL_NAME = "journal.jsonl"
"""Name of the journal in the submit directory."""

_CHUNK = 64 * 1024


class Journal:
    """The journal of one submission.

    Parameters
    ----------
    path : `pathlib.Path`
        Usually ``{submitPath}/journal.jsonl``; its folder must exist when a line is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    def write(self, *records: JournalRecord) -> None:
        """Append records; those without a time get the present one.

        Raises
        ------
        OSError, DamagedFileError
            The file cannot be written, or is a link or no regular file.
        """
        now = format_time(datetime.now(UTC))
        self._append(format_line(r if r.t else r._replace(t=now)) for r in records)

    def read(self) -> tuple[JournalRecord, ...]:
        """Return all records so far; none when there is no journal yet.

        Raises
        ------
        DamagedFileError
            What is there is no regular file.
        """
        return parse_lines("\n".join(read_lines(self.path)))

    def close(self) -> None:
        """Release the file; a later write opens it again."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _append(self, lines: Iterable[str]) -> None:
        if self._fd is None:
            self._fd = open_append(self.path)
        chunk = b""
        for line in lines:
            data = line.encode()
            if chunk and len(chunk) + len(data) > _CHUNK:
                os.write(self._fd, chunk)
                chunk = b""
            chunk += data
        if chunk:
            os.write(self._fd, chunk)
