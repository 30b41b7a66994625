"""Subcommands of ``butler`` for the demo, by the names and with the arguments of obs_base's and pipe_tasks'.

`resources.yaml` beside this module registers them through ``DAF_BUTLER_PLUGINS``. As the real ones, they end
with an error on what is there already, except for ``ingest-raws``, which passes over it.
"""

# mypy: disallow-untyped-decorators=False
# click's and the butler's decorators have no types that mypy may follow here.

from typing import Any

import click
from lsst.daf.butler.cli.opt import (
    config_file_option,
    config_option,
    locations_argument,
    processes_option,
    regex_option,
    repo_argument,
    run_option,
    transfer_option,
    where_option,
)
from lsst.daf.butler.cli.utils import ButlerCommand
from lsst.pipe.base.cli.opt import instrument_argument

__all__ = ["define_visits", "ingest_raws", "register_skymap", "write_curated_calibrations"]


@click.command(short_help="Make a sky map and add it to a repository.", cls=ButlerCommand)
@repo_argument(required=True)
@config_option()
@config_file_option(help="URI to a config file overrides file.")
def register_skymap(**arguments: Any) -> None:  # noqa: ANN401 - click gives what its options say
    """Make a sky map and add it to a repository."""
    from merian_campaign.demo.butler_scripts import register_skymap as script  # noqa: PLC0415 - fast --help

    script(**arguments)


@click.command(short_help="Add an instrument's curated calibrations.", cls=ButlerCommand)
@repo_argument(required=True)
@instrument_argument(required=True)
@click.argument("labels", nargs=-1)
def write_curated_calibrations(**arguments: Any) -> None:  # noqa: ANN401 - see above
    """Add an instrument's curated calibrations to a repository."""
    from merian_campaign.demo.butler_scripts import write_curated_calibrations as script  # noqa: PLC0415

    script(**arguments)


@click.command(short_help="Ingest raw frames.", cls=ButlerCommand)
@repo_argument(required=True)
@locations_argument(help="LOCATIONS are files, and folders to search for files.", required=True)
@regex_option(default=r"\.pickle\b", help="Pattern of files in folders.")
@run_option(required=False)
@transfer_option()
@processes_option(help="Accepted for likeness; one process is enough.")
def ingest_raws(**arguments: Any) -> None:  # noqa: ANN401 - see above
    """Ingest raw frames into a repository."""
    from merian_campaign.demo.butler_scripts import ingest_raws as script  # noqa: PLC0415

    script(**arguments)


@click.command(short_help="Define visits from exposures.", cls=ButlerCommand)
@repo_argument(required=True)
@instrument_argument(required=True)
@where_option()
def define_visits(**arguments: Any) -> None:  # noqa: ANN401 - see above
    """Define visits from exposures in a registry."""
    from merian_campaign.demo.butler_scripts import define_visits as script  # noqa: PLC0415

    script(**arguments)
