"""A toy campaign on the cluster: its files, its database, ticks in this process, watched commands."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from forked_program import run_forked

from merian_campaign.context import CommandContext
from merian_campaign.domain.record.snapshot import GroupView
from merian_campaign.services.tick_report import TickReport

PROGRAM = Path(sys.executable).with_name("merian-campaign")
PAYLOAD = Path(__file__).parents[1] / "wms"
BASE = Path(__file__).parents[2] / "bps_configs" / "base.yaml"
HELD = "#SBATCH --hold"
SITE: Mapping[str, Any] = {
    "class": "merian_campaign.wms.sites.Slurm",
    "nodes": 1,
    "cores_per_node": 2,
    "mem_per_node": 2,
    "walltime": "00:20:00",
    "partition": "debug",
    "account": "lsst",
    "max_blocks": 1,
    "address": "127.0.0.1",
    "status_seconds": 1.0,
    "max_idle_seconds": 3.0,
    "heartbeat_seconds": 2,
    "heartbeat_patience": 10,
    "retries": 0,
}
DRIVER: Mapping[str, Any] = {"partition": "debug", "account": "lsst", "time": "00:30:00", "mem_mb": 2500}


@dataclass
class Toy:
    """Campaigns in a folder, sharing one home and one repository."""

    folder: Path
    home: Path
    repo: Path
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def environ(self) -> dict[str, str]:
        return {**os.environ, "MERIAN_CAMPAIGN_HOME": str(self.home), **self.extra}

    @property
    def context(self) -> CommandContext:
        return CommandContext(environ=self.environ)

    def apply(
        self,
        name: str,
        *steps: Mapping[str, Any],
        site: Mapping[str, Any] | None = None,
        driver: Mapping[str, Any] | None = None,
        larger: Sequence[Mapping[str, Any]] = (),
        limits: Mapping[str, int] | None = None,
        stack: Mapping[str, Any] | None = None,
    ) -> str:
        """Write and apply a campaign; with ``driver`` its drivers are Slurm jobs."""
        place = self.folder / name
        place.mkdir(exist_ok=True)
        document: dict[str, Any] = {"computeSite": "x", "site": {"x": {**SITE, **(site or {})}}}
        if larger:
            document["larger"] = [dict(entry) for entry in larger]
        if driver is not None:
            document |= {"driver": "slurm", "driver_options": {**DRIVER, **driver}}
        (place / "site.yaml").write_text(yaml.safe_dump(document))
        paths = os.pathsep.join([str(PAYLOAD), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        campaign = {
            "campaign": name,
            "butler": str(self.repo),
            "instrument": "Toy",
            "site": str(place / "site.yaml"),
            "work_dir": str(place / "work"),
            "include": [str(BASE)],
            "environment": {"PYTHONPATH": paths},
            "collections": {"output": f"runs/{name}", "inputs": ["toy/inputs"]},
            "limits": {"submissions": 60, **(limits or {})},
            "steps": list(steps),
            **({"stack": dict(stack)} if stack else {}),
        }
        (place / "campaign.yaml").write_text(yaml.safe_dump(campaign, sort_keys=False))
        self.context.apply(str(place / "campaign.yaml"))
        return name

    def pipeline(self, name: str, *, misbehave: Mapping[int, str] | None = None) -> Mapping[str, Any]:
        """Return a step of one task with a quantum for each of four detectors."""
        file = self.folder / f"{name}-pipeline.yaml"
        config = {"misbehave": dict(misbehave or {})}
        tasks = {"first": {"class": "wms_payload.FirstTask", "config": config}}
        file.write_text(yaml.safe_dump({"description": "toy", "tasks": tasks}))
        return {
            "name": name, "pipeline": str(file), "scope": "exposure", "where": "detector < 4",
            "resources": {"first": {"memory": 400}},
        }  # fmt: skip

    def tick(self, name: str, *, context: CommandContext | None = None) -> TickReport:
        return (context or self.context).tick.run(name)

    def run(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run the command line."""
        return run_forked(*arguments, env={**self.environ, **more})

    def groups(self, name: str) -> tuple[GroupView, ...]:
        return self.context.store.snapshot(name).groups

    def states(self, name: str) -> dict[str, str]:
        return {group.step: group.state.value for group in self.groups(name)}

    def until(self, name: str, condition: Callable[[], Any], *, what: str, seconds: float = 400.0) -> Any:
        """Tick until something holds; return it."""
        context = self.context

        def holds() -> Any:
            self.tick(name, context=context)
            return condition()

        return wait_for(holds, what=what, seconds=seconds)

    def finish(self, name: str, *, seconds: float = 600.0) -> dict[str, str]:
        """Tick until nothing moves; return the states of the steps."""
        context = self.context
        wait_for(lambda: self.tick(name, context=context).idle, what="end of the campaign", seconds=seconds)
        return self.states(name)


def action(name: str, **changes: Any) -> Mapping[str, Any]:
    """Return a butler action as a step: quick, and no blocks."""
    arguments = {"parent": f"chains/{name}", "children": ["toy/inputs"]}
    return {"name": name, "action": "collection-chain", "arguments": arguments, **changes}


def wait_for(condition: Callable[[], Any], *, what: str, seconds: float = 120.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"no {what} within {seconds:g} s"
        time.sleep(0.2)  # between two looks at a condition, not in place of one
    return found


@dataclass(frozen=True)
class Watched:
    """Scheduler commands that are written down before they are run."""

    folder: Path

    @property
    def path(self) -> str:
        return f"{self.folder}{os.pathsep}{os.environ['PATH']}"

    def calls(self) -> list[str]:
        """Return the commands since the last look."""
        log = self.folder / "calls"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines


def watch(folder: Path, commands: Sequence[str], *, after: str = "") -> Watched:
    """Put programs of the same names in a folder, which note the call, run the real one, then ``after``."""
    folder.mkdir()
    for command in commands:
        real = shutil.which(command)
        assert real is not None
        own = folder / command
        lines = ["#!/bin/bash", f'echo "{command}" >> "{folder}/calls"', f'"{real}" "$@"', "code=$?", after]
        own.write_text("\n".join([*lines, "exit $code", ""]))
        own.chmod(own.stat().st_mode | stat.S_IXUSR)
    return Watched(folder)
