"""Files that come with the package: BPS fragments, sites, failure rules, campaign files, starters.

``merian_campaign/shipped`` holds them. In a checkout its entries are links to the folders at the top, the one
copy there is; a wheel and an sdist hold the files themselves. Nothing else knows where they lie.
"""

from __future__ import annotations

import os
from pathlib import Path

from merian_campaign.domain.errors import UnavailableError
from merian_campaign.files.paths import absolute, is_file

PACKAGE = Path(__file__).resolve().parents[1]
"""Folder of the installed package; `${MERIAN_CAMPAIGN_PACKAGE}` in campaign files."""

PACKAGE_VARIABLE = "MERIAN_CAMPAIGN_PACKAGE"

FRAGMENTS = "bps_configs"
SITES = "site"
CAMPAIGNS = "campaign"
STARTERS = "campaign/starters"


def shipped(folder: str, name: str) -> Path:
    """Return a file that comes with the package, links resolved.

    Parameters
    ----------
    folder : `str`
        One of `FRAGMENTS`, `SITES`, `CAMPAIGNS`, `STARTERS`.
    name : `str`
        Name of the file.

    Raises
    ------
    UnavailableError
        Raised if it is not there: then the installation is damaged.
    """
    path = PACKAGE / "shipped" / folder / name
    if not path.is_file():
        raise UnavailableError(f"{path}: this file of merian-campaign is missing; install the package again")
    return path.resolve()


def shipped_names(folder: str) -> tuple[str, ...]:
    """Return the names of the YAML files of a folder that comes with the package, without their endings."""
    return tuple(sorted(path.stem for path in (PACKAGE / "shipped" / folder).glob("*.yaml")))


def named_file(value: str, base: Path, *, folder: str) -> Path:
    """Return the file of a bare name: in the campaign file's folder, else what comes with the package.

    Parameters
    ----------
    value : `str`
        A name without ``/``.
    base : `~pathlib.Path`
        Folder of the campaign file.
    folder : `str`
        As `shipped` has it.
    """
    ours = PACKAGE / "shipped" / folder / value
    return Path(absolute(str(ours) if is_file(ours) and not os.path.lexists(base / value) else value, base))
