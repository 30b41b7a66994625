"""What ``merian-campaign --version`` says."""

from __future__ import annotations

import platform
from importlib import metadata

PACKAGE = "merian-campaign"
_BESIDE = ("parsl", "lsst-ctrl-bps", "lsst-ctrl-bps-parsl", "lsst-pipe-base", "lsst-daf-butler")


def version() -> str:
    """Return the version of this package."""
    try:
        return metadata.version(PACKAGE)
    except metadata.PackageNotFoundError:
        return "not installed"


def lines() -> list[str]:
    """Return a line a package: this one, Python, and what reductions run on; nothing is imported."""
    from merian_campaign.domain.stack.requirements import Requirement  # noqa: PLC0415
    from merian_campaign.middleware.import_check import look  # noqa: PLC0415 - keeps --help fast

    own = version()
    found = [look(Requirement(name=name, versions="")) for name in _BESIDE]
    there = [f"{entry.wanted.name} {entry.version or '(version unknown)'}" for entry in found if entry.where]
    lost = [entry.wanted.name for entry in found if not entry.where]
    missing = [f"not there: {', '.join(lost)}"] if lost else []
    return [f"{PACKAGE} {own}", f"python {platform.python_version()}", *there, *missing]
