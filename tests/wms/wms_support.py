"""A tiny butler repository and rendered BPS files around it; running and waiting without sleeps."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil
import yaml
from forked_program import run_child

from merian_campaign.domain.execution.journal import JournalEvent, JournalRecord, parse_lines
from merian_campaign.host.termination import watch_orphans
from merian_campaign.wms import zipfix

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
STOCK = "lsst.ctrl.bps.parsl.ParslService"
OURS = "merian_campaign.wms.CampaignParslService"


def make_repo(root: Path, *, detectors: int) -> Path:
    """Create a repository with one instrument and its detectors, and an empty input collection."""
    from lsst.daf.butler import Butler, Config  # noqa: PLC0415 - heavy; only where a repository is made

    Butler.makeRepo(str(root), Config())
    with Butler.from_config(str(root), writeable=True) as butler:
        butler.registry.insertDimensionData(
            "instrument",
            {
                "name": "Toy",
                "class_name": "none",
                "detector_max": detectors,
                "visit_max": 10,
                "exposure_max": 10,
            },
        )
        butler.registry.insertDimensionData(
            "detector",
            *(
                {"instrument": "Toy", "id": number, "full_name": f"d{number:03d}"}
                for number in range(detectors)
            ),
        )
        butler.collections.register("toy/inputs")
    return root


def pipeline(*, tasks: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return a pipeline of the payload's tasks; keys are labels, values their configuration."""
    classes = {"first": "FirstTask", "second": "SecondTask", "third": "SecondTask", "gather": "GatherTask"}
    rendered: dict[str, Any] = {}
    for label, config in tasks.items():
        values = dict(config)
        if label == "third":
            values |= {"connections.source": "second", "connections.product": "third"}
        rendered[label] = {"class": f"wms_payload.{classes[label]}", "config": values}
    return {"description": "toy", "tasks": rendered}


@dataclass(frozen=True, kw_only=True)
class Submission:
    """One BPS file and what running it leaves behind."""

    folder: Path
    config: Path
    submit: Path
    repo: Path
    run: str

    @property
    def journal(self) -> Path:
        return self.submit / "journal.jsonl"

    def records(self) -> tuple[JournalRecord, ...]:
        return parse_lines(self.journal.read_text()) if self.journal.exists() else ()

    def ended(self, label: str | None = None) -> list[JournalRecord]:
        return [
            r for r in self.records() if r.event == JournalEvent.ENDED and (label is None or r.label == label)
        ]


@dataclass(frozen=True, kw_only=True)
class Rendering:
    """Choices of a rendered BPS file."""

    service: str = OURS
    cores: int = 2
    tasks: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"first": {}, "second": {}})
    site: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    query: str = "instrument='Toy'"


def render(folder: Path, *, repo: Path, name: str, choices: Rendering) -> Submission:
    """Write the pipeline and the BPS file of a submission."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}-pipeline.yaml").write_text(yaml.safe_dump(pipeline(tasks=choices.tasks)))
    ours = choices.service == OURS
    site_class = "merian_campaign.wms.sites.Local" if ours else "lsst.ctrl.bps.parsl.sites.Local"
    run = f"toy/{name}/run"
    config: dict[str, Any] = {
        "pipelineYaml": str(folder / f"{name}-pipeline.yaml"),
        "project": "toy",
        "campaign": name,
        "operator": "tester",
        "submitPath": str(folder / f"{name}-submit"),
        "wmsServiceClass": choices.service,
        "computeSite": "here",
        "payload": {
            "payloadName": name,
            "butlerConfig": str(repo),
            "inCollection": "toy/inputs",
            "dataQuery": choices.query,
            "output": f"toy/{name}",
            "outputRun": run,
        },
        "site": {"here": {"class": site_class, "cores": choices.cores, "retries": 0, **choices.site}},
        "finalJob": {"requestCpus": 1},
        "requestMemory": 1024,
        "numberOfRetries": 0,
    }
    merge(config, choices.extra)
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return Submission(folder=folder, config=path, submit=Path(config["submitPath"]), repo=repo, run=run)


def merge(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a command: console scripts and the payload's module reachable."""
    # "compat" mends Python's zipfile in programs of upstream, where it is broken (see wms/zipfix.py).
    compat = HERE.parents[1] / "merian_campaign" / "wms" / "compat"
    paths = [str(compat), str(HERE), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        **more,
    }


def run(*command: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, output captured."""
    return subprocess.run(
        command, cwd=cwd, env=environment(**more), capture_output=True, text=True, check=False
    )


def bps(verb: str, where: Path, *options: str, cwd: Path = Path("/")) -> subprocess.CompletedProcess[str]:
    """Have ``bps`` report of a submission of our service, in a forked child."""
    import_module("lsst.ctrl.bps.cli.bps")
    import_module("merian_campaign.wms.service")
    words = (verb, *options, "--wms-service-class", OURS, "--id", str(where))
    return run_child(_bps, "bps", *words, env=environment(), cwd=cwd)


def _bps() -> None:
    from lsst.ctrl.bps.cli.bps import main  # noqa: PLC0415 - heavy

    zipfix.mend()
    main()


def submit(submission: Submission, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a submission to its end through the warm entry point."""
    return run(
        sys.executable,
        "-m",
        "merian_campaign.wms.submit",
        str(submission.config),
        cwd=submission.folder,
        MERIAN_CAMPAIGN_SUBMISSION=str(submission.submit),
        **more,
    )


@contextmanager
def started(submission: Submission, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a submission in the background; whatever carries its mark is gone afterwards."""
    words = command or (sys.executable, "-m", "merian_campaign.wms.submit", str(submission.config))
    log = (submission.folder / f"{submission.config.stem}.driver.log").open("ab")
    mark = str(submission.submit)
    with (
        log,
        subprocess.Popen(
            words,
            cwd=submission.folder,
            env=environment(MERIAN_CAMPAIGN_SUBMISSION=mark),
            stdout=log,
            stderr=log,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            for victim in marked(mark):
                with suppress(psutil.NoSuchProcess):
                    victim.kill()


def adopt_orphans() -> None:
    """Become the parent of descendants that lose theirs, so that their usage is counted here."""
    watch_orphans()


def reap_children() -> None:
    """Wait for every child, adopted ones included."""
    with suppress(ChildProcessError):
        while True:
            os.wait()


def marked(mark: str) -> list[psutil.Process]:
    """Return the living processes that carry a submission's mark in their environment."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if (
                process.environ().get("MERIAN_CAMPAIGN_SUBMISSION") == mark
                and process.status() != psutil.STATUS_ZOMBIE
            ):
                found.append(process)
    return found


def wait_for(condition: Callable[[], Any], *, seconds: float = 240.0, what: str = "condition") -> Any:
    """Poll until a condition holds, and return its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not hold within {seconds:g} s")
        time.sleep(0.02)
    return value


def datasets(submission: Submission, name: str) -> dict[int, Any]:
    """Return the stored datasets of a type in the submission's RUN, by detector."""
    from lsst.daf.butler import Butler  # noqa: PLC0415 - heavy

    with Butler.from_config(str(submission.repo)) as butler:
        refs = butler.query_datasets(name, collections=submission.run, explain=False)
        return {int(ref.dataId.get("detector", -1)): butler.get(ref) for ref in refs}


__all__ = [
    "BIN",
    "OURS",
    "STOCK",
    "Rendering",
    "Submission",
    "adopt_orphans",
    "bps",
    "datasets",
    "environment",
    "make_repo",
    "marked",
    "merge",
    "pipeline",
    "reap_children",
    "render",
    "run",
    "shutil",
    "signal",
    "started",
    "submit",
    "wait_for",
]
