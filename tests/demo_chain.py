"""Run the demo's steps with pipetask and butler in this process, as a campaign runs them through BPS."""

import os
import resource
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from click import Command
from click.testing import CliRunner, Result
from demo_repository import create_repository
from lsst.ctrl.mpexec.cli.pipetask import cli as pipetask_cli
from lsst.daf.butler.cli.butler import cli as butler_cli

import merian_campaign.demo
from merian_campaign.demo.survey import EXPOSURES, ExposurePlan

PIPELINES = Path(merian_campaign.demo.__file__).parent / "pipelines"

CURATED = "DECam/calib/curated/19700101T000000Z"
UNBOUNDED = "DECam/calib/unbounded"
CALIB = "DECam/calib/merian"
BIAS = f"{CALIB}/bias"
CROSSTALK = f"{CALIB}/crosstalk"
FLAT = f"{CALIB}/flat"
DEFAULTS = "DECam/defaults/merian"
OUTPUT = "DECam/runs/merian/w_2022_26"

GOOD = "detector NOT IN (31, 61)"
SCIENCE = f"exposure.observation_type = 'science' AND exposure.day_obs > 20210101 AND {GOOD}"


@dataclass(frozen=True, kw_only=True)
class Step:
    name: str
    pipeline: str
    inputs: tuple[str, ...]
    output: str
    where: str
    quanta: int


def _tract(tract: int) -> str:
    return f"skymap = 'decam_rings_v1' AND tract = {tract}"


CP_BIAS = Step(
    name="cpBias",
    pipeline="cpBias.yaml",
    inputs=("DECam/raw/all", CURATED, UNBOUNDED),
    output=BIAS,
    where=f"exposure.observation_type = 'zero' AND {GOOD}",
    quanta=6,
)
STEP0 = Step(
    name="step0",
    pipeline="DRP-Merian.yaml#step0",
    inputs=("DECam/raw/all", CALIB, UNBOUNDED),
    output=CROSSTALK,
    where=f"exposure.observation_type IN ('dome flat', 'science') AND {GOOD}",
    quanta=12,
)
CP_FLAT = Step(
    name="cpFlat",
    pipeline="cpFlat.yaml",
    inputs=("DECam/raw/all", CALIB, CROSSTALK, CURATED, UNBOUNDED),
    output=FLAT,
    where=f"exposure.observation_type = 'dome flat' AND {GOOD}",
    quanta=14,
)


def _drp(name: str, where: str, quanta: int, *, output: str = OUTPUT) -> Step:
    subset = name.partition("_")[0]
    return Step(
        name=name,
        pipeline=f"DRP-Merian.yaml#{subset}",
        inputs=(DEFAULTS,),
        output=output,
        where=where,
        quanta=quanta,
    )


DRP_STEPS = (
    _drp("step1", SCIENCE, 32),
    _drp("step2a", SCIENCE, 8),
    _drp("step2b_9813", _tract(9813), 3),
    _drp("step2b_9814", _tract(9814), 3),
    _drp("step2c", "", 2),
    _drp("step2d", SCIENCE, 16),
    _drp("step3_9813", _tract(9813), 31),
    _drp("step3_9814", _tract(9814), 26),
)
ALL_STEPS = (CP_BIAS, STEP0, CP_FLAT, *DRP_STEPS)


class Survey:
    """A demo directory: its repository, and the quantum graphs of what ran in it."""

    def __init__(self, directory: Path, plans: Sequence[ExposurePlan] = EXPOSURES) -> None:
        self.directory = directory
        self.repository = create_repository(directory, plans)
        self.graphs: dict[str, Path] = {}

    def build(self, step: Step, *options: str, name: str = "") -> Result:
        return self._pipetask("qgraph", step, options, name or step.name)

    def run(self, step: Step, *options: str, name: str = "") -> Result:
        # Listing every installed package for every run takes a second each.
        always = ("--register-dataset-types", "--no-versions")
        return self._pipetask("run", step, (*always, *options), name or step.name)

    def _pipetask(self, verb: str, step: Step, options: tuple[str, ...], name: str) -> Result:
        graph = self.directory / f"{name}.qg"
        where = " AND ".join(filter(None, ("instrument = 'DECam'", step.where)))
        self.graphs[name] = graph
        # Named by us: two runs in one second would get one name from pipetask.
        run = f"{step.output}/{time.time_ns()}"
        collections = ("-i", ",".join(step.inputs), "-o", step.output, "--output-run", run)
        pipeline = ("-p", f"{PIPELINES}/{step.pipeline}", "-d", where, "--save-qgraph", graph)
        return invoke(pipetask_cli, verb, "-b", self.repository, *collections, *pipeline, *options)

    def certify(self, dataset_type: str, collection: str) -> None:
        validity = ("--begin-date", "2021-01-01T00:00:00", "--end-date", "2022-06-30T23:59:59")
        arguments = (self.repository, collection, CALIB, dataset_type, *validity)
        assert invoke(butler_cli, "certify-calibrations", *arguments).exit_code == 0

    def run_calibration(self) -> None:
        self.run_or_fail(CP_BIAS)
        self.certify("bias", BIAS)
        self.run_or_fail(STEP0)
        self.run_or_fail(CP_FLAT)
        self.certify("flat", FLAT)
        children = ("DECam/raw/all", CALIB, CROSSTALK, CURATED, UNBOUNDED, "skymaps", "refcats")
        result = invoke(butler_cli, "collection-chain", self.repository, DEFAULTS, ",".join(children))
        assert result.exit_code == 0, result.output

    def run_or_fail(self, step: Step, *options: str, name: str = "") -> None:
        result = self.run(step, *options, name=name)
        assert result.exit_code == 0, result.output


def invoke(cli: Command, *arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def fault(label: str, **fields: object) -> list[str]:
    """Return pipetask options that inject a fault into a task."""
    return [word for name, value in fields.items() for word in ("-c", f"{label}:fault{name}={value}")]


def in_child(work: Callable[[], Result], *, more_megabytes: int | None = None) -> int:
    """Do something in a forked child, and return its exit code, or minus the signal that ended it.

    With a limit, the child may take so much address space in addition to what it has.
    """
    with warnings.catch_warnings():
        # The threads that Python warns of are OpenBLAS's, which sleep.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        code = 70
        try:
            if more_megabytes is not None:
                pages = int(Path("/proc/self/statm").read_text().split()[0])
                limit = pages * resource.getpagesize() + more_megabytes * 1024 * 1024
                resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            code = work().exit_code
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)
