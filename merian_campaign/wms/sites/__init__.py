"""Sites for ``site.<name>.class``: where Parsl's workers run and what a node shares out."""

from merian_campaign.wms.sites.local import Local
from merian_campaign.wms.sites.slurm import Slurm

__all__ = ["Local", "Slurm"]
