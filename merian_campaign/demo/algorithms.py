"""Tiny image algorithms on NumPy arrays: detection, measurement, matching, warping.

They are deliberately plain, but they do compute what the pipeline tasks of the same chain compute, so that a
wrong input shows in the values.  Pure functions: no butler and no configuration here.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = [
    "Columns",
    "Pixels",
    "aperture_flux",
    "detect",
    "match",
    "noise_of",
    "paste",
    "psf_sigma",
]

Pixels = npt.NDArray[np.float64]
Columns = dict[str, npt.NDArray[np.generic]]

_MAD_TO_SIGMA: Final = 1.4826
_EDGE: Final = 2


def noise_of(image: Pixels) -> float:
    """Estimate the noise of an image from its median absolute deviation.

    Parameters
    ----------
    image : `numpy.ndarray`
        Pixels; those that are not finite are left out.

    Returns
    -------
    sigma : `float`
        Robust standard deviation, never zero.
    """
    good = image[np.isfinite(image)]
    if good.size == 0:
        return 1.0
    return max(float(_MAD_TO_SIGMA * np.median(np.abs(good - np.median(good)))), 1e-6)


def aperture_flux(image: Pixels, x: Pixels, y: Pixels, radius: int = 3) -> Pixels:
    """Sum the pixels in a square aperture around each position.

    Parameters
    ----------
    image : `numpy.ndarray`
        Background-subtracted pixels.
    x, y : `numpy.ndarray`
        Positions in pixels of the image.
    radius : `int`, optional
        Half the width of the aperture.

    Returns
    -------
    flux : `numpy.ndarray`
        Sums; pixels outside the image and pixels without data count as nothing.
    """
    padded = np.pad(np.nan_to_num(image), radius)
    flux = np.zeros(len(x))
    height, width = image.shape
    for index, (px, py) in enumerate(zip(np.rint(x).astype(int), np.rint(y).astype(int), strict=True)):
        if 0 <= px < width and 0 <= py < height:
            flux[index] = padded[py : py + 2 * radius + 1, px : px + 2 * radius + 1].sum()
    return flux


def detect(image: Pixels, *, threshold: float) -> Columns:
    """Find local maxima that stand out of the noise.

    Parameters
    ----------
    image : `numpy.ndarray`
        Background-subtracted pixels.
    threshold : `float`
        Smallest peak, in units of the noise.

    Returns
    -------
    sources : `dict` [`str`, `numpy.ndarray`]
        Columns ``x``, ``y`` (centroids in pixels of the image), ``peak`` and ``flux``, brightest first.
    """
    clean = np.nan_to_num(image)
    height, width = clean.shape
    padded = np.pad(clean, 1, constant_values=-np.inf)
    neighbours = np.max(
        [
            padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
            for dy in (-1, 0, 1)
            for dx in (-1, 0, 1)
            if dx or dy
        ],
        axis=0,
    )
    peaks = (clean > neighbours) & (clean > threshold * noise_of(image))
    peaks[:_EDGE], peaks[-_EDGE:], peaks[:, :_EDGE], peaks[:, -_EDGE:] = False, False, False, False
    rows, columns = np.nonzero(peaks)
    x, y = _centroids(clean, rows, columns)
    brightest = np.argsort(-clean[rows, columns], kind="stable")
    return {
        "x": x[brightest],
        "y": y[brightest],
        "peak": clean[rows, columns][brightest],
        "flux": aperture_flux(clean, x, y)[brightest],
    }


def _centroids(
    image: Pixels, rows: npt.NDArray[np.int_], columns: npt.NDArray[np.int_]
) -> tuple[Pixels, Pixels]:
    """Return flux-weighted centroids in a box of five pixels around each peak."""
    offsets = np.arange(-_EDGE, _EDGE + 1)
    x, y = np.zeros(len(rows)), np.zeros(len(rows))
    for index, (row, column) in enumerate(zip(rows, columns, strict=True)):
        stamp = image[row - _EDGE : row + _EDGE + 1, column - _EDGE : column + _EDGE + 1]
        weight = np.clip(stamp, 0.0, None)
        x[index] = column + (weight.sum(axis=0) * offsets).sum() / weight.sum()
        y[index] = row + (weight.sum(axis=1) * offsets).sum() / weight.sum()
    return x, y


def psf_sigma(image: Pixels, sources: Columns, brightest: int = 10) -> float:
    """Measure the width of the point-spread function on the brightest sources.

    Parameters
    ----------
    image : `numpy.ndarray`
        Background-subtracted pixels.
    sources : `dict` [`str`, `numpy.ndarray`]
        What `detect` found.
    brightest : `int`, optional
        How many sources to use.

    Returns
    -------
    sigma : `float`
        Pixels, from the ratio of flux to peak of a Gaussian; 0 without sources.
    """
    flux, peak = (sources[name][:brightest].astype(float) for name in ("flux", "peak"))
    if image.size == 0 or len(flux) == 0:
        return 0.0
    return float(np.median(np.sqrt(np.clip(flux, 0.0, None) / peak / (2 * np.pi))))


def match(
    *, x: Pixels, y: Pixels, ref_x: Pixels, ref_y: Pixels, radius: float
) -> tuple[npt.NDArray[np.int_], npt.NDArray[np.int_]]:
    """Pair positions with their nearest reference positions.

    Parameters
    ----------
    x, y : `numpy.ndarray`
        Positions.
    ref_x, ref_y : `numpy.ndarray`
        Reference positions, in the same frame.
    radius : `float`
        Largest distance of a pair.

    Returns
    -------
    indices, ref_indices : `numpy.ndarray`
        Indices into the positions and into the references, one pair an element.
    """
    if len(x) == 0 or len(ref_x) == 0:
        empty = np.zeros(0, dtype=np.int_)
        return empty, empty
    distance = np.hypot(x[:, np.newaxis] - ref_x, y[:, np.newaxis] - ref_y)
    nearest = distance.argmin(axis=1)
    (indices,) = np.nonzero(distance.min(axis=1) < radius)
    return indices, nearest[indices]


def paste(*, image: Pixels, onto: Pixels, dx: int, dy: int) -> None:
    """Copy an image into another at an offset; what falls outside is dropped.

    Parameters
    ----------
    image : `numpy.ndarray`
        What to copy.
    onto : `numpy.ndarray`
        Where to copy it, changed in place.
    dx, dy : `int`
        Pixel of the target under the lower left pixel of the image.
    """
    height, width = image.shape
    y0, y1 = max(dy, 0), min(dy + height, onto.shape[0])
    x0, x1 = max(dx, 0), min(dx + width, onto.shape[1])
    if y0 < y1 and x0 < x1:
        onto[y0:y1, x0:x1] = image[y0 - dy : y1 - dy, x0 - dx : x1 - dx]
