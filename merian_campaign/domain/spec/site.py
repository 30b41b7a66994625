"""What a site file says to the campaign manager, besides what BPS and the WMS service read in it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from merian_campaign.domain.spec.base import MOST_CORES, MOST_MEMORY, Strict, Walltime, brief, tuple_of
from merian_campaign.domain.spec.stack import Stack
from merian_campaign.domain.spec.words import SlurmFeatures, SlurmName


class DriverOptions(Strict):
    """What a driver's Slurm job asks for; what is left out is the cluster's default."""

    partition: Annotated[SlurmName | None, Field(description="As in Slurm.")] = None
    account: Annotated[SlurmName | None, Field(description="As in Slurm.")] = None
    qos: Annotated[SlurmName | None, Field(description="As in Slurm.")] = None
    time: Annotated[
        Walltime, Field(description='Quoted "D-HH:MM:SS"; longer than a submission takes, queues included.')
    ] = "1-00:00:00"
    mem_mb: Annotated[int | None, Field(ge=1, le=MOST_MEMORY, description="Memory of the driver, MiB.")] = (
        4096
    )
    cpus: Annotated[int | None, Field(ge=1, le=MOST_CORES, description="Cores of the driver.")] = 1
    scheduler_options: Annotated[str, Field(description="More #SBATCH lines.")] = ""
    prelude: Annotated[str, Field(description="Bash text before the driver starts.")] = ""

    @model_validator(mode="after")
    def _check(self) -> DriverOptions:
        for line in self.scheduler_options.splitlines():
            if line.strip() and not line.startswith("#SBATCH "):
                raise ValueError(f"scheduler_options: found {brief(line)}; every line begins with #SBATCH")
        return self


class Larger(Strict):
    """Blocks to fall back on when a task's request does not fit the site's own; what is left out stays."""

    mem_per_node: Annotated[int, Field(ge=1, le=MOST_MEMORY // 1024, description="GB a node.")]
    partition: Annotated[SlurmName | None, Field(description="As in Slurm.")] = None
    cores_per_node: Annotated[
        int | None, Field(ge=1, le=MOST_CORES, description="Cores, and workers, a node.")
    ] = None
    walltime: Annotated[Walltime | None, Field(description='Of a block, quoted "HH:MM:SS".')] = None
    qos: Annotated[SlurmName | None, Field(description="As in Slurm.")] = None
    constraint: Annotated[SlurmFeatures | None, Field(description="As in Slurm.")] = None
    max_blocks: Annotated[int | None, Field(ge=1, le=MOST_CORES, description="Blocks at once.")] = None


class SiteOptions(Strict):
    """Keys at the top of a site file that are the manager's."""

    driver: Annotated[
        Literal["process", "slurm"],
        Field(description="process: on the host of the tick; slurm: a job of its own."),
    ] = "process"
    driver_options: Annotated[
        DriverOptions, Field(description="With driver: slurm, what its job asks for.")
    ] = DriverOptions()
    larger: Annotated[
        tuple[Larger, ...],
        BeforeValidator(tuple_of),
        Field(description="Blocks for tasks that do not fit the site's own, smallest first."),
    ] = ()
    failure_rules: Annotated[
        str | None,
        Field(min_length=1, description="File of failure rules, between the campaign's and the product's."),
    ] = None
    trusted_groups: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.@\\-]*$")], ...],
        BeforeValidator(tuple_of),
        Field(
            description="Unix groups whose members may write the campaigns' work directories, and so run "
            "commands as whoever ticks."
        ),
    ] = ()
    stack: Annotated[
        Stack | None, Field(description="The LSST environment there; a campaign's own stack: goes before it.")
    ] = None

    @model_validator(mode="after")
    def _check(self) -> SiteOptions:
        if self.driver == "process" and "driver_options" in self.model_fields_set:
            raise ValueError("driver_options: only for driver: slurm; write that, or leave the options out")
        return self
