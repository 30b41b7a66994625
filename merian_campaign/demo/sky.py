"""The simulated sky and camera: pixels and reference stars, each a function of its identifiers alone.

No file, clock or global random state is involved, so that two repositories hold the same bits.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from merian_campaign.demo.survey import (
    DETECTOR_GAP,
    DETECTOR_HEIGHT,
    DETECTOR_WIDTH,
    OVERSCAN_WIDTH,
    Box,
    ExposurePlan,
    detector_box,
    sky_to_degrees,
)

__all__ = ["raw_pixels", "reference_stars"]

Pixels = npt.NDArray[np.float64]

_SEED: Final = 20210318
_STARS: Final = 70
_STRIP: Final = Box(x0=0, y0=0, x1=256, y1=64)
_PSF_SIGMA: Final = 1.3
_SKY: Final = 200.0
_READ_NOISE: Final = 5.0
_BIAS: Final = 1000.0
_FLAT_COUNTS: Final = 20000.0
CROSSTALK: Final = 2e-4
# How much brighter a star is in each band than in the reference catalogue's column for it.
THROUGHPUT: Final = {"N708": 0.8, "N540": 0.6}
REFERENCE_COLUMN: Final = {"N708": "i_flux", "N540": "g_flux"}


def reference_stars() -> dict[str, npt.NDArray[np.generic]]:
    """Return the stars of the strip.

    Returns
    -------
    stars : `dict` [`str`, `numpy.ndarray`]
        Columns ``id``, ``x``, ``y`` (sky pixels), ``ra``, ``dec`` (degrees), ``g_flux`` and ``i_flux``.
    """
    rng = np.random.default_rng(_SEED)
    x = rng.uniform(_STRIP.x0, _STRIP.x1, _STARS)
    y = rng.uniform(_STRIP.y0, _STRIP.y1, _STARS)
    i_flux = 10 ** rng.uniform(3.3, 4.6, _STARS)
    g_flux = i_flux * rng.uniform(0.5, 1.2, _STARS)
    ra, dec = np.array([sky_to_degrees(px, py) for px, py in zip(x, y, strict=True)]).T
    return {
        "id": np.arange(_STARS, dtype=np.int64),
        "x": x,
        "y": y,
        "ra": ra,
        "dec": dec,
        "g_flux": g_flux,
        "i_flux": i_flux,
    }


def raw_pixels(*, plan: ExposurePlan, detector: int) -> npt.NDArray[np.int32]:
    """Simulate the raw of one detector: science pixels and, at their right, the overscan.

    Parameters
    ----------
    plan : `~merian_campaign.demo.survey.ExposurePlan`
        The exposure.
    detector : `int`
        Detector ID.

    Returns
    -------
    raw : `numpy.ndarray`
        Counts, of shape (height, width + overscan width).
    """
    rng = np.random.default_rng((_SEED, plan.exposure, detector))
    # The level drifts from exposure to exposure: the reason for reading an overscan.
    level = _BIAS + plan.exposure % 7
    signal = _incoming_light(plan=plan, detector=detector) * _response(detector=detector, band=plan.band)
    science = signal + CROSSTALK * signal[:, ::-1] + _bias_pattern(detector)
    full = np.zeros((DETECTOR_HEIGHT, DETECTOR_WIDTH + OVERSCAN_WIDTH))
    full[:, :DETECTOR_WIDTH] = science
    full += level + rng.normal(0.0, _READ_NOISE, full.shape)
    return np.rint(full).astype(np.int32)


def _incoming_light(*, plan: ExposurePlan, detector: int) -> Pixels:
    """Return the light that falls on one detector."""
    shape = (DETECTOR_HEIGHT, DETECTOR_WIDTH)
    if plan.observation_type == "dome flat":
        return np.full(shape, _FLAT_COUNTS)
    if plan.pointing is None:
        return np.zeros(shape)
    box = detector_box(plan.pointing, detector)
    stars = reference_stars()
    flux = stars[REFERENCE_COLUMN[plan.band]].astype(float) * THROUGHPUT[plan.band]
    light = np.full(shape, _SKY)
    yy, xx = np.mgrid[box.y0 : box.y1, box.x0 : box.x1]
    reach = 6 * _PSF_SIGMA + DETECTOR_GAP
    for x, y, amplitude in zip(stars["x"].astype(float), stars["y"].astype(float), flux, strict=True):
        near_x, near_y = box.x0 - reach < x < box.x1 + reach, box.y0 - reach < y < box.y1 + reach
        if near_x and near_y:
            profile = np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / (2 * _PSF_SIGMA**2))
            light += amplitude * profile / (2 * np.pi * _PSF_SIGMA**2)
    return light


def _bias_pattern(detector: int) -> Pixels:
    """Return the fixed pattern that the bias frame is there to remove."""
    rng = np.random.default_rng((_SEED, detector))
    return np.asarray(rng.normal(0.0, 3.0, (DETECTOR_HEIGHT, DETECTOR_WIDTH)) + detector)


def _response(*, detector: int, band: str) -> Pixels:
    """Return the pixel response that the flat is there to remove."""
    rng = np.random.default_rng((_SEED, detector, len(band), sum(band.encode())))
    slope = np.linspace(-0.05, 0.05, DETECTOR_WIDTH)[np.newaxis, :]
    return np.asarray(1.0 + slope + rng.normal(0.0, 0.01, (DETECTOR_HEIGHT, DETECTOR_WIDTH)))
