"""What a survey finds on disk before it has a repository: raws, reference catalogues, another's repository.

``python -m merian_campaign.demo.archive DIR`` writes them, and with ``--third-night`` one more night's raws.
Each file is a function of its name alone; what is there already is left as it is.
"""

import argparse
import os
import pickle
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from merian_campaign.demo.sky import raw_pixels
from merian_campaign.demo.survey import ALL_DETECTORS, EXPOSURES, THIRD_NIGHT, ExposurePlan

__all__ = ["OTHER_RUN", "RAW_PATTERN", "add_third_night", "make_archive"]

OTHER_RUN: Final = "refcats/DM-28636"
RAW_PATTERN: Final = re.compile(r"raw_(\d+)_(\d+)\.pickle")
"""Name of a raw file: exposure and detector stand in for its header."""

_FOLDERS: Final = {"zero": "bias", "dome flat": "flat", "science": "science"}


def make_archive(directory: Path) -> None:
    """Write the archive of the miniature survey.

    Parameters
    ----------
    directory : `pathlib.Path`
        Gets ``raw/bias``, ``raw/flat``, ``raw/science``, ``refcats/NAME``, the repository ``other/repo``
        that holds one of the catalogues, and, last, the file ``complete``.
    """
    from merian_campaign.demo.catalogues import reference_catalogues  # noqa: PLC0415 - lsst: raws need none

    _write_raws(directory, EXPOSURES)
    for name, trixel, shard in reference_catalogues():
        _write_table(directory / "refcats" / name / f"{trixel}.parq", shard)
    _make_other_repository(directory / "other")
    _write(directory / "complete", b"")


def add_third_night(directory: Path) -> None:
    """Write the raws of one more night into an archive, as a telescope does."""
    _write_raws(directory, THIRD_NIGHT)


def _write_raws(directory: Path, plans: Sequence[ExposurePlan]) -> None:
    for plan in plans:
        folder = directory / "raw" / _FOLDERS[plan.observation_type]
        for detector in ALL_DETECTORS:
            path = folder / f"raw_{plan.exposure}_{detector}.pickle"
            _write(path, pickle.dumps(raw_pixels(plan=plan, detector=detector), protocol=-1))


def _write(path: Path, content: bytes) -> None:
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.rename(path)


def _write_table(path: Path, table: Any) -> None:  # noqa: ANN401 - astropy type
    if path.exists():
        return
    import pyarrow.parquet  # noqa: PLC0415 - raws need none
    from lsst.daf.butler.formatters.parquet import astropy_to_arrow  # noqa: PLC0415

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    pyarrow.parquet.write_table(astropy_to_arrow(table), temporary)
    temporary.rename(path)


def _make_other_repository(directory: Path) -> None:
    """Make a repository that holds the PS1 catalogue in `OTHER_RUN`, unless it is there."""
    repository = directory / "repo"
    if repository.exists():
        return
    from lsst.daf.butler import Butler  # noqa: PLC0415 - raws need none

    from merian_campaign.demo.catalogues import PS1, REFCAT_LEVEL, reference_catalogues  # noqa: PLC0415
    from merian_campaign.demo.content import register_dataset_type  # noqa: PLC0415

    directory.mkdir(parents=True, exist_ok=True)
    # No dot in the name: the butler would take what follows it for a file format.
    with tempfile.TemporaryDirectory(prefix="making-repo-", dir=directory) as scratch:
        made = Path(scratch) / "repo"
        Butler.makeRepo(os.fspath(made))
        with Butler.from_config(os.fspath(made), writeable=True) as butler:
            register_dataset_type(butler, PS1)
            butler.collections.register(OTHER_RUN)
            with butler.transaction():
                for name, trixel, shard in reference_catalogues():
                    if name == PS1:
                        butler.put(shard, name, {f"htm{REFCAT_LEVEL}": trixel}, run=OTHER_RUN)
        made.rename(repository)


def main() -> None:
    """Write the archive that the command line names."""
    parser = argparse.ArgumentParser(description="Write the raw files and reference catalogues of the demo.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--third-night", action="store_true", help="only the raws of one more night")
    given = parser.parse_args()
    (add_third_night if given.third_night else make_archive)(given.directory)


if __name__ == "__main__":
    main()
