"""Tables of reference catalogue shards, as ``butler ingest-files`` reads them.

Written as a stream: a survey-wide catalogue has more than a hundred thousand shards.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from merian_campaign.host.atomic_files import write_atomically


def list_shards(folder: str) -> dict[int, str]:
    """Return the shards of a folder: files named by their trixel alone, such as ``147456.fits``.

    Parameters
    ----------
    folder : `str`
        Folder; what else it holds (schemas, notes) is passed over.

    Returns
    -------
    shards : `dict` [`int`, `str`]
        Absolute path by trixel, in ascending order.
    """
    base = os.path.abspath(folder)  # noqa: PTH100 - links stay as the survey named them
    found: dict[int, str] = {}
    with os.scandir(base) as entries:
        for entry in entries:
            stem, dot, _ = entry.name.partition(".")
            if dot and stem.isascii() and stem.isdecimal():
                found[int(stem)] = entry.path
    return dict(sorted(found.items()))


def write_table(shards: Mapping[int, str], file: str, *, dimension: str) -> None:
    """Write a table of shards in the ECSV format, whole or not at all.

    Parameters
    ----------
    shards : `~collections.abc.Mapping` [`int`, `str`]
        Path by trixel.
    file : `str`
        File to write; its folder is made.
    dimension : `str`
        Column of the trixel, e.g. ``htm7``.
    """
    lines = [
        "# %ECSV 1.0",
        "# ---",
        "# datatype:",
        "# - {name: filename, datatype: string}",
        f"# - {{name: {dimension}, datatype: int64}}",
        "# schema: astropy-2.0",
        f"filename {dimension}",
    ]
    lines += [f"{_quoted(path)} {index}" for index, path in shards.items()]
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    write_atomically(Path(file), "\n".join(lines) + "\n")


def _quoted(path: str) -> str:
    return '"' + path.replace('"', '""') + '"'
