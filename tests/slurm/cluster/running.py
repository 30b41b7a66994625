"""A running cluster: Slurm's commands in its environment, faults on demand, and what is left of jobs."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path

from . import processes
from .config import ADMINISTRATOR, ADMINISTRATORS
from .processes import Process
from .settings import Settings
from .trouble import ClusterError

DAEMONS = "run/daemons"
# Ended, whatever became of it.
TERMINAL = frozenset(
    {
        "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY",
        "PREEMPTED", "TIMEOUT",
    }
)  # fmt: skip
# Programs of the cluster itself; what else runs in its environment belongs to jobs and users.
OWN_PROGRAMS = frozenset({"munged", "mariadbd", "slurmdbd", "slurmctld", "slurmscriptd", "slurmd"})


@dataclass(frozen=True)
class Cluster:
    """A cluster that `up` started.

    Parameters
    ----------
    settings
        Where it lives and what it is called.
    """

    settings: Settings

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of the nodes; the last two have more memory and are all of partition `large`."""
        return self.settings.nodes

    @property
    def memory_kill(self) -> str:
        """`cgroup1`: a job over its memory is OUT_OF_MEMORY; `acct`: its step dies, the job is FAILED."""
        return self.settings.memory_kill

    @cached_property
    def environment(self) -> dict[str, str]:
        """What a client needs, beside what the environment has anyway."""
        return self.settings.environment

    # ------------------------------------------------------------------ commands
    def run(
        self, *command: str, seconds: float = 60.0, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the cluster's environment; after `seconds` it counts as failed (status 124)."""
        try:
            return subprocess.run(
                command,
                env={**os.environ, **self.environment, **(environment or {})},
                stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=seconds,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(command, 124, "", f"no answer within {seconds} s")

    def output(self, *command: str, seconds: float = 60.0) -> str:
        """Run a command that must succeed; return what it printed."""
        done = self.run(*command, seconds=seconds)
        if done.returncode != 0:
            text = (done.stderr or done.stdout).strip()
            raise ClusterError(f"{' '.join(command)}: status {done.returncode}: {text}")
        return done.stdout

    def administer(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command as an administrator who is another user; as this one where that takes root."""
        if os.geteuid() != 0:
            return self.run(*command)
        drop = ["setpriv", f"--reuid={ADMINISTRATOR}", f"--regid={ADMINISTRATORS}", "--clear-groups"]
        return self.run(*drop, *command)

    def grant(self, account: str) -> None:
        """Make an account, and let the cluster's user have it."""
        self.output("sacctmgr", "-i", "add", "account", account, "Description=tests", "Organization=tests")
        self.output("sacctmgr", "-i", "add", "user", self.settings.user, f"account={account}")

    def until_taken(self, *options: str, seconds: float = 60.0) -> None:
        """Wait until the controller has heard of new rights and would take such a job."""
        command = ["sbatch", "--test-only", "--mem=50", *options, "--wrap=true"]
        if not processes.wait_until(lambda: self.run(*command).returncode == 0, seconds=seconds, period=0.2):
            raise ClusterError(f"refused after {seconds} s: {' '.join(command)}")

    def sbatch(self, *options: str, wrap: str, log: Path | None = None) -> str:
        """Submit one command line; return the job's id."""
        place = str(log or os.devnull)
        line = ["sbatch", "--parsable", "--mem=50", f"--output={place}", *options, f"--wrap={wrap}"]
        return self.output(*line).strip().partition(";")[0]

    def squeue(self, *, seconds: float = 60.0) -> list[tuple[str, str, str]]:
        """Return id, state and name of every job that has not ended."""
        text = self.output("squeue", "--noheader", "--format=%i|%T|%j", seconds=seconds)
        rows = [line.split("|", 2) for line in text.splitlines()]
        return [(job, state, name) for job, state, name in rows if state not in TERMINAL]

    def facts(self, job: str) -> dict[str, str]:
        """Return what the controller knows of a job (`scontrol show job`); empty once it has forgotten it."""
        done = self.run("scontrol", "--oneliner", "show", "job", job)
        words = done.stdout.split() if done.returncode == 0 else []
        return {name: value for name, _, value in (word.partition("=") for word in words)}

    def state(self, job: str) -> str:
        """Return a job's state as the controller knows it, or an empty string."""
        return self.facts(job).get("JobState", "")

    def sacct(self, *jobs: str, fields: str = "JobID,State,ExitCode") -> list[list[str]]:
        """Return accounting's rows, without steps, one for every run of a requeued job."""
        text = self.output(
            # Without a beginning only this day's jobs are told.
            "sacct",
            "-D",
            "-X",
            "-n",
            "-P",
            "-S",
            "now-7days",
            "-o",
            fields,
            *(["-j", ",".join(jobs)] if jobs else []),
        )
        return [line.split("|") for line in text.splitlines()]

    def wait_state(self, job: str, *states: str, seconds: float = 120.0) -> str:
        """Wait until a job is in one of these states (default: ended); return it."""
        wanted = states or tuple(TERMINAL)
        if processes.wait_until(lambda: self.state(job) in wanted, seconds=seconds, period=0.2):
            return self.state(job)
        raise ClusterError(f"job {job} is {self.state(job)}, not {' or '.join(wanted)}, after {seconds} s")

    def answers(self) -> bool:
        """Return whether the controller and every node of a finished start are there."""
        alive = all(daemon.alive for _, daemon in self.daemons()) and len(self.daemons()) > len(self.nodes)
        return alive and self.controller_answers()

    def controller_answers(self) -> bool:
        alive = any(name == "slurmctld" and each.alive for name, each in self.daemons())
        return alive and self.run("scontrol", "ping", seconds=10).returncode == 0

    def idle_nodes(self) -> list[str]:
        """Return the nodes that are up and have nothing to do."""
        text = self.output("sinfo", "--noheader", "--Node", "--partition=debug", "--format=%N %T")
        rows = [line.split() for line in text.splitlines()]
        return [node for node, state in rows if state == "idle"]

    # ------------------------------------------------------------------ daemons
    def start_daemon(self, name: str, command: list[str], *, folder: Path) -> None:
        """Start a daemon and note who it is."""
        clean = {"LANG": "C.UTF-8", "HOME": "/", **self.environment}
        log = self.settings.log / f"{name}.out"
        daemon = processes.start(command, folder=folder, log=log, environment=clean)
        with (self.settings.directory / DAEMONS).open("a", encoding="utf-8") as file:
            file.write(f"{daemon.pid} {daemon.start} {name}\n")

    def daemons(self) -> list[tuple[str, Process]]:
        """Return name and process of every daemon, the last start of each."""
        try:
            lines = (self.settings.directory / DAEMONS).read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        rows = [line.split() for line in lines]
        return list(
            {name: (name, Process(pid=int(pid), start=int(when))) for pid, when, name in rows}.values()
        )

    def ended_daemons(self) -> list[str]:
        return [name for name, each in self.daemons() if not each.alive]

    def _daemon(self, name: str) -> list[Process]:
        return [each for known, each in self.daemons() if known == name and each.alive]

    # ------------------------------------------------------------------ faults
    def stop_controller(self) -> None:
        """End slurmctld: clients get no answer, running jobs run on."""
        if left := processes.end(self._daemon("slurmctld")):
            raise ClusterError(f"slurmctld does not end: {left}")

    def start_controller(self) -> None:
        """Start slurmctld; it goes on from its saved state."""
        if not self._daemon("slurmctld"):
            self.start_daemon("slurmctld", ["slurmctld", "-D", "-i"], folder=self.settings.directory / "run")

    def stop_accounting(self) -> None:
        """End slurmdbd: the controller keeps for it what happens meanwhile."""
        if left := processes.end(self._daemon("slurmdbd")):
            raise ClusterError(f"slurmdbd does not end: {left}")

    def start_accounting(self) -> None:
        """Start slurmdbd."""
        if not self._daemon("slurmdbd"):
            self.start_daemon("slurmdbd", ["slurmdbd", "-D"], folder=self.settings.directory / "run")

    def start(self, node: str) -> None:
        """Start a node's daemon."""
        spool = self.settings.spool(self._known(node))
        spool.mkdir(exist_ok=True)
        if not self._daemon(f"slurmd.{node}"):
            self.start_daemon(f"slurmd.{node}", ["slurmd", "-D", "-N", node], folder=spool)

    def crash(self, node: str) -> None:
        """Lose a machine: its daemon, its steps and all processes of its jobs, at once.

        The controller finds out after `node_timeout` seconds; `notice` tells it at once.
        """
        for each in self._machine(node):
            each.send(signal.SIGKILL)

    def notice(self, node: str) -> None:
        """Set a node down, as an administrator or a health check would: its jobs end as NODE_FAIL."""
        self.output("scontrol", "update", f"NodeName={self._known(node)}", "State=DOWN", "Reason=lost")

    def freeze(self, node: str) -> None:
        """Stop everything on a node: a machine that hangs, or a network that is cut."""
        for each in self._machine(node):
            each.send(signal.SIGSTOP)

    def thaw(self, node: str) -> None:
        """Let everything on a node go on."""
        for each in self._machine(node):
            each.send(signal.SIGCONT)

    def expire(self, job: str, *, seconds: int = 1) -> None:
        """Bring a running job's time limit forward; Slurm looks every 30 s."""
        when = datetime.now() + timedelta(seconds=seconds)  # noqa: DTZ005 - Slurm takes local times
        self.output("scontrol", "update", f"JobId={job}", f"EndTime={when:%Y-%m-%dT%H:%M:%S}")

    def _known(self, node: str) -> str:
        if node not in self.nodes:
            raise ClusterError(f"no node {node}; there are {', '.join(self.nodes)}")
        return node

    def _machine(self, node: str) -> list[Process]:
        return [*self._daemon(f"slurmd.{self._known(node)}"), *self.job_processes(node)]

    # ------------------------------------------------------------------ what jobs leave
    def job_processes(self, node: str | None = None) -> list[Process]:
        """Return step daemons, everything below them, and whatever else carries a job's environment."""
        spools = {self.settings.spool(each) for each in ([node] if node else self.nodes)}
        found: dict[Process, None] = {}
        for each in processes.everything():
            if each.name == "slurmstepd" and each.folder() in spools:
                found.update(dict.fromkeys([each, *each.descendants()]))
            elif self._is_of_a_job(each, node=node):
                found[each] = None
        return list(found)

    def _is_of_a_job(self, each: Process, *, node: str | None) -> bool:
        variables = self._variables(each)
        mine = "SLURM_JOB_ID" in variables and node in {None, variables.get("SLURMD_NODENAME")}
        return mine and each.name not in OWN_PROGRAMS

    def client_processes(self, folder: Path | None = None) -> list[Process]:
        """Return all processes started in this cluster's environment that are not its daemons.

        Some programs write their title over their environment; with `folder`, whoever works below it is
        counted too.
        """
        found = []
        for each in processes.everything():
            if each.name in OWN_PROGRAMS or each.pid == os.getpid():
                continue
            place = each.folder() if folder is not None else None
            if self._variables(each) or (folder and place and place.is_relative_to(folder)):
                found.append(each)
        return found

    def _variables(self, each: Process) -> dict[str, str]:
        variables = each.variables()
        return variables if variables.get("SLURM_CONF") == str(self.settings.conf) else {}

    def settle(self, *, seconds: float = 120.0) -> None:
        """Put everything right again: controller and nodes up, no job, no process of one."""
        self.start_accounting()
        self.start_controller()
        for node in self.nodes:
            self.thaw(node)
            self.start(node)
        if not processes.wait_until(self.controller_answers, seconds=seconds, period=0.2):
            raise ClusterError(f"the controller does not answer after {seconds} s")
        self.run("scancel", "--full", "--me")
        processes.end(self.job_processes(), patience=2)
        if not processes.wait_until(self._is_settled, seconds=seconds, period=0.2):
            state = self.run("sinfo", "--Node", "--long").stdout + self.run("squeue").stdout
            raise ClusterError(f"not all nodes are idle after {seconds} s:\n{state}")

    def _is_settled(self) -> bool:
        try:
            idle = self.idle_nodes()
            for node in set(self.nodes) - set(idle):
                self.run("scontrol", "update", f"NodeName={node}", "State=RESUME")
            return len(idle) == len(self.nodes) and not self.squeue()
        except ClusterError:  # a controller that has just started, on a busy machine
            return False
