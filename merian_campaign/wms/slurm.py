"""The two Slurm commands a driver needs beside Parsl: cancelling blocks and seeing that they are gone."""

import shutil
import subprocess
import time
from collections.abc import Sequence

__all__ = ["cancel_blocks"]

_TIMEOUT = 60
_GONE_SECONDS = 60.0


def cancel_blocks(ids: Sequence[str]) -> None:
    """Cancel Slurm jobs and wait until none of them is in the queue.

    Without Slurm's commands on this host, or without ids, nothing is done: the lease stops the workers.

    Raises
    ------
    TimeoutError
        Some are still there after a minute.
    """
    if not ids or shutil.which("scancel") is None:
        return
    subprocess.run(["scancel", *ids], check=False, capture_output=True, timeout=_TIMEOUT)
    deadline = time.monotonic() + _GONE_SECONDS
    while _in_queue(ids):
        if time.monotonic() > deadline:
            raise TimeoutError(f"Slurm jobs {', '.join(ids)} were cancelled and are still there")
        time.sleep(1)


def _in_queue(ids: Sequence[str]) -> bool:
    found = subprocess.run(
        ["squeue", "--noheader", "--format=%i", f"--jobs={','.join(ids)}"],
        check=False,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT,
    )
    # squeue fails when it knows none of the ids any more, which is the answer hoped for.
    return found.returncode == 0 and bool(found.stdout.strip())
