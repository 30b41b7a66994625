"""The files that a survey finds on disk before it has a repository: raws, shards of reference catalogues.

``python -m merian_campaign.demo.archive DIR`` writes them. Each file is a function of its name alone; what is
there already is left as it is.
"""

import argparse
import os
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.parquet  # type: ignore[import-untyped]
from astropy.table import Table
from lsst.daf.butler.formatters.parquet import astropy_to_arrow
from lsst.sphgeom import HtmPixelization, LonLat, UnitVector3d

from merian_campaign.demo.records import region_of
from merian_campaign.demo.sky import raw_pixels, reference_stars
from merian_campaign.demo.survey import ALL_DETECTORS, EXPOSURES, TRACTS, tract_box

__all__ = ["GAIA", "PS1", "RAW_PATTERN", "REFCAT_LEVEL", "make_archive", "reference_catalogues"]

GAIA: Final = "gaia_dr2_20200414"
PS1: Final = "ps1_pv3_3pi_20170110"
REFCAT_LEVEL: Final = 7
RAW_PATTERN: Final = re.compile(r"raw_(\d+)_(\d+)\.pickle")
"""Name of a raw file: exposure and detector stand in for its header."""

_FOLDERS: Final = {"zero": "bias", "dome flat": "flat", "science": "science"}


def make_archive(directory: Path) -> None:
    """Write the archive of the miniature survey.

    Parameters
    ----------
    directory : `pathlib.Path`
        Gets ``raw/bias``, ``raw/flat``, ``raw/science``, ``refcats/NAME`` and, last, the file ``complete``.
    """
    for plan in EXPOSURES:
        folder = directory / "raw" / _FOLDERS[plan.observation_type]
        for detector in ALL_DETECTORS:
            path = folder / f"raw_{plan.exposure}_{detector}.pickle"
            _write(path, pickle.dumps(raw_pixels(plan=plan, detector=detector), protocol=-1))
    for name, trixel, shard in reference_catalogues():
        _write_table(directory / "refcats" / name / f"{trixel}.parq", shard)
    _write(directory / "complete", b"")


def reference_catalogues() -> Iterator[tuple[str, int, Any]]:
    """Yield a shard of both reference catalogues for each trixel that the survey touches.

    Yields
    ------
    name : `str`
        Dataset type.
    trixel : `int`
        HTM index.
    shard : `astropy.table.Table`
        The stars in it; none in many.
    """
    pixelization = HtmPixelization(REFCAT_LEVEL)
    stars = reference_stars()
    positions = zip(stars["ra"].astype(float), stars["dec"].astype(float), strict=True)
    trixels = np.array(
        [pixelization.index(UnitVector3d(LonLat.fromDegrees(ra, dec))) for ra, dec in positions]
    )
    area = region_of(*(tract_box(tract) for tract in TRACTS))
    for begin, end in pixelization.envelope(area):
        for trixel in range(begin, end):
            # A trixel without stars still gets its shard: a gap would look like a missing catalogue.
            here = trixels == trixel
            for name, columns in (
                (GAIA, ("id", "ra", "dec")),
                (PS1, ("id", "ra", "dec", "g_flux", "i_flux")),
            ):
                yield name, trixel, Table({column: stars[column][here] for column in columns})


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
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    pyarrow.parquet.write_table(astropy_to_arrow(table), temporary)
    temporary.rename(path)


def main() -> None:
    """Write the archive that the command line names."""
    parser = argparse.ArgumentParser(description="Write the raw files and reference catalogues of the demo.")
    parser.add_argument("directory", type=Path)
    make_archive(parser.parse_args().directory)


if __name__ == "__main__":
    main()
