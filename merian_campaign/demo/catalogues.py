"""The reference catalogues of the miniature survey, cut into shards by trixel."""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from astropy.table import Table
from lsst.sphgeom import HtmPixelization, LonLat, UnitVector3d

from merian_campaign.demo.records import region_of
from merian_campaign.demo.sky import reference_stars
from merian_campaign.demo.survey import TRACTS, tract_box

__all__ = ["GAIA", "PS1", "REFCAT_LEVEL", "reference_catalogues"]

GAIA: Final = "gaia_dr2_20200414"
PS1: Final = "ps1_pv3_3pi_20170110"
REFCAT_LEVEL: Final = 7


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
