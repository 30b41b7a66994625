"""The demo's camera: three detectors under DECam's name, with the two Merian filters.

It registers itself as ``DECam`` so that collections, data queries and campaign files look as they do for the
real camera, whose class lives in ``obs_decam`` and is not on PyPI.
"""

# mypy: disallow-subclassing-any=False
# lsst ships no types that mypy may follow here, so every base class is Any.

from dataclasses import dataclass
from typing import ClassVar

from lsst.daf.butler import DataId, Formatter, Registry
from lsst.daf.butler.formatters.pickle import PickleFormatter
from lsst.pipe.base import Instrument

from merian_campaign.demo.survey import ALL_DETECTORS, INSTRUMENT, PHYSICAL_FILTERS

__all__ = ["MiniDecam"]

_ID_MAX = 2**31
ONE_TO_ONE_VISIT_SYSTEM = 0


@dataclass(frozen=True, kw_only=True)
class FilterDefinition:
    """A filter, as the instruments of obs packages define it.

    Parameters
    ----------
    physical_filter : `str`
        Whole name.
    band : `str`
        Band it belongs to.
    """

    physical_filter: str
    band: str


class MiniDecam(Instrument):
    """A camera of three small detectors, registered as DECam."""

    filterDefinitions: ClassVar[tuple[FilterDefinition, ...]] = tuple(  # noqa: N815 (as obs packages name it)
        FilterDefinition(physical_filter=name, band=band) for name, band in PHYSICAL_FILTERS.items()
    )

    policyName: ClassVar[str] = "minidecam"  # noqa: N815 (name set by the base class)
    raw_definition: ClassVar[tuple[str, tuple[str, ...], str]] = (
        "raw",
        ("instrument", "exposure", "detector"),
        "NumpyArray",
    )

    @classmethod
    def getName(cls) -> str:  # noqa: N802 (name set by the base class)
        """Return the name of the instrument in data IDs."""
        return INSTRUMENT

    def register(self, registry: Registry, *, update: bool = False) -> None:
        """Insert the instrument, its detectors and its filters.

        Parameters
        ----------
        registry : `lsst.daf.butler.Registry`
            Registry of the repository.
        update : `bool`, optional
            Whether to change records that differ.
        """
        name = self.getName()
        instrument = {
            "name": name,
            "class_name": f"{type(self).__module__}.{type(self).__qualname__}",
            "detector_max": 100,
            "visit_max": _ID_MAX,
            "exposure_max": _ID_MAX,
            "visit_system": ONE_TO_ONE_VISIT_SYSTEM,
        }
        with registry.transaction():
            registry.syncDimensionData("instrument", instrument, update=update)
            for detector in ALL_DETECTORS:
                registry.syncDimensionData("detector", self._detector(detector), update=update)
            for entry in self.filterDefinitions:
                record = {"instrument": name, "name": entry.physical_filter, "band": entry.band}
                registry.syncDimensionData("physical_filter", record, update=update)

    def getRawFormatter(self, dataId: DataId) -> type[Formatter]:  # noqa: ARG002, N802, N803 (base class)
        """Return the formatter that reads a raw.

        Parameters
        ----------
        dataId : `lsst.daf.butler.DataId`
            Data ID of the raw.

        Returns
        -------
        formatter : `type`
            The same for every raw.
        """
        formatter: type[Formatter] = PickleFormatter
        return formatter

    def _detector(self, detector: int) -> dict[str, str | int]:
        return {
            "instrument": self.getName(),
            "id": detector,
            "full_name": f"S{detector}",
            "name_in_raft": str(detector),
            "raft": "S",
            "purpose": "SCIENCE",
        }
