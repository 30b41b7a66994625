"""The supervisor of one node: takes jobs from Parsl's workers, has them run, guards them, journals them.

One single-threaded process per node and driver, standard library only, so that the forkserver it keeps can
fork safely.  Workers connect to its socket, send one request (`jobs.Request`) and wait for the outcome; a
worker that goes away takes its job with it.  It refuses new work within a second or two of losing the
driver, and leaves nothing running behind when told to stop.
"""

import os
import selectors
import signal
import socket
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

from merian_campaign.domain.execution.journal import JobVerdict, JournalRecord
from merian_campaign.domain.execution.process_identity import ProcessIdentity
from merian_campaign.host.processes import alive, identity
from merian_campaign.wms.job_outcome import JobOutcome
from merian_campaign.wms.journal_writer import JOURNAL_NAME, Journal
from merian_campaign.wms.lease import LEASE_NAME, DriverState, LeaseWatch
from merian_campaign.wms.node.admission import NodeCapacity, admissible
from merian_campaign.wms.node.block_shutdown import DOUBT_SECONDS, BlockShutdown, drain_moment
from merian_campaign.wms.node.cgroup import ControlGroups
from merian_campaign.wms.node.connections import Connection, Connections
from merian_campaign.wms.node.forkserver_client import ForkserverClient
from merian_campaign.wms.node.memory_guard import LimitExceeded, judge, kernel_kill, measure
from merian_campaign.wms.node.memory_samples import NodeSample, SamplesFile
from merian_campaign.wms.node.node import granted_mb, kernel_memory_kills, memory_mb, slurm_place
from merian_campaign.wms.node.node_jobs import (
    JobRequest,
    NodeJob,
    NodeJobs,
    ended_record,
    outcome_of,
    refused,
    started_record,
)
from merian_campaign.wms.node.process_cleanup import kill_job, lights_off, register
from merian_campaign.wms.node_settings import NodeSettings
from merian_campaign.wms.version_lookup import mismatch

__all__ = ["Supervisor", "serve"]

_WATCH_SECONDS = 0.5


class Supervisor:
    """The supervisor's state and loop.

    Parameters
    ----------
    listener : `socket.socket`
        Listening socket.
    settings : `NodeSettings` or `None`
        Settings of the node; None when a driver forked this process before it knew them, in which case
        only the submission's own stages are run until a ``configure`` message brings them.
    owner : `ProcessIdentity` or `None`
        The worker pool this process serves; with it gone and no client left, it ends.
    """

    def __init__(
        self, *, listener: socket.socket, settings: NodeSettings | None, owner: ProcessIdentity | None
    ) -> None:
        self._owner = owner
        self._here = identity()
        self._parent = os.getppid()
        self._place = slurm_place(os.environ)
        self._selector = selectors.DefaultSelector()
        self._clients = Connections(
            listener=listener, selector=self._selector, on_message=self._obey, on_gone=self._drop
        )
        self._work = NodeJobs()
        self._state = DriverState.RUNNING
        self._dismissed = False
        self._kills = kernel_memory_kills()
        self._settings: NodeSettings | None = None
        self._journal: Journal | None = None
        self._watch: LeaseWatch | None = None
        self._room = NodeCapacity(memory_mb=0, cpus=0)
        self._groups: ControlGroups | None = None
        self._block = BlockShutdown(place=self._place, selector=self._selector, ours=owner is not None)
        self._samples: SamplesFile | None = None
        self._drain = float("inf")
        self._other_stack = ""
        self._forkserver = ForkserverClient(
            selector=self._selector, on_message=self._from_forkserver, on_end=self._bereft
        )
        if settings is not None:
            self._configure(settings)
        else:
            self._forkserver.start(warm=True)

    def _configure(self, settings: NodeSettings) -> None:
        self._settings = settings
        submit = Path(settings.submit)
        self._journal = Journal(submit / JOURNAL_NAME)
        self._watch = LeaseWatch(
            path=submit / LEASE_NAME, driver=settings.driver, here=self._here.host, patience=settings.patience
        )
        self._room = NodeCapacity(memory_mb=settings.memory_mb or memory_mb(os.environ), cpus=settings.cpus)
        self._groups = ControlGroups.find(owner=self._here, wanted=settings.cgroup, log=settings.log_path())
        if self._owner is not None:  # else it is the driver's own child, in the driver's environment
            self._other_stack = mismatch(submit)
        if self._place.job is not None:
            self._samples = SamplesFile(submit, owner=self._here)
            self._drain = drain_moment(self._owner, after_s=settings.drain_s)
        place = str(self._groups.place.path) if self._groups else ""
        register(submit, role="supervisor", identity=self._here, cgroup=place)
        if not self._forkserver.running or not settings.warm:
            self._forkserver.restart(warm=settings.warm)

    # The loop -----------------------------------------------------------------------------------------

    def loop(self) -> None:
        """Serve until the driver has closed, gone or asked to stop, and nothing runs any more."""
        self._clients.listen()
        next_sample = next_watch = 0.0
        while not self._finished():
            period = self._settings.sample_seconds if self._settings else _WATCH_SECONDS
            for key, _ in self._selector.select(min(period, _WATCH_SECONDS)):
                key.data()
            now = time.monotonic()
            if now >= next_sample:
                next_sample = now + period
                self._sample(now)
            if now >= next_watch:
                next_watch = now + _WATCH_SECONDS
                self._look_at_driver(now)
                self._look_at_groups(now)
            self._look_at_block(now)
            self._admit()
        self._forkserver.stop()
        if self._groups is not None:
            self._groups.close()
        if self._samples is not None:
            self._samples.remove()
        if self._state is DriverState.LOST and self._settings is not None:
            lights_off(self._settings.driver)

    def _finished(self) -> bool:
        busy = self._work.running or self._work.waiting
        if self._dismissed or self._block.asked:
            return not self._work.running
        # One that the driver forked also runs its last stages, after the payload was told to stop.
        ending = self._state in (DriverState.STOPPING, DriverState.CLOSED)
        last = ending and self._owner is None and os.getppid() == self._parent
        if self._state is not DriverState.RUNNING:
            return not busy and not last
        orphaned = self._owner is not None and not alive(self._owner.pid, self._owner.pid_start)
        return orphaned and not busy and not self._clients

    def _look_at_driver(self, now: float) -> None:
        if self._watch is not None:
            state = self._watch.look(now)
            # A driver that is gone after it closed is not lost.
            closed = self._state is DriverState.CLOSED and state is DriverState.LOST
            self._state = self._state if closed else state
        elif os.getppid() != self._parent:
            self._state = DriverState.LOST
        if self._state is DriverState.RUNNING:
            return
        while self._work.waiting:
            self._reply(self._work.waiting.popleft(), {"kind": "refused", "why": self._state})
        running = self._work.running.values()
        match self._state:
            case DriverState.STOPPING:
                ended = [job for job in running if not job.request.stage]
            case DriverState.REPLACED:
                ended = list(running)
            case _:
                # Quanta of a lost driver may finish; what served it goes when they have.
                ended = [] if any(not job.request.stage for job in running) else list(running)
        for job in ended:
            evidence: dict[str, object] = {"driver": str(self._state)}
            self._end_job(job, LimitExceeded(verdict=JobVerdict.CANCELLED, evidence=evidence))

    def _look_at_block(self, now: float) -> None:
        """Give work back that the block will not see the end of; settle deaths that may have foretold it."""
        if self._block.asked or now >= self._drain:
            while self._work.waiting:
                self._give_back(self._work.waiting.popleft())
        for job in list(self._work.running.values()):
            if self._block.asked and job.finding is None and not job.request.stage:
                self._end_job(job, self._block.finding())
            if job.doubtful is not None and (self._block.asked or now >= job.began_doubt + DOUBT_SECONDS):
                self._settle(job, job.doubtful)

    def _give_back(self, job: NodeJob) -> None:
        """Have a job that never started run elsewhere."""
        outcome = JobOutcome(verdict=JobVerdict.NODE_LOST, evidence={"block": "takes no more jobs"})
        self._reply(job, {"kind": "result", "outcome": outcome.as_dict()})

    def _look_at_groups(self, now: float) -> None:
        """End jobs of which the kernel has killed a part."""
        if self._groups is None:
            return
        self._groups.tidy()
        for job in self._work.running.values():
            finding = self._kernel_finding(job, now) if job.finding is None else None
            if finding is not None:
                self._end_job(job, finding)

    def _kernel_finding(self, job: NodeJob, now: float) -> LimitExceeded | None:
        kills = job.leaf.kills() if job.leaf is not None else None
        if not kills or job.leaf is None or self._settings is None:
            return None
        limits = job.limits(self._settings.tolerance)
        peak = job.leaf.peak_mb()
        found = kernel_kill(kills=kills, peak_mb=peak, limits=limits, elapsed_s=now - job.began)
        return self._work.excuse(job, peak_mb=peak or job.peak_mb) or found

    # Clients ------------------------------------------------------------------------------------------

    def _obey(self, client: Connection, message: dict[str, Any]) -> None:
        match message.pop("kind"):
            case "run":
                self._take(client, JobRequest.from_dict(message))
            case "configure":
                self._configure(NodeSettings.from_json(message["settings"]))
                client.send({"kind": "configured"})
            case "shutdown":
                self._dismissed = True

    def _take(self, client: Connection, request: JobRequest) -> None:
        self._work.count += 1
        job = NodeJob(number=self._work.count, request=request, client=client, kills_before=self._kills)
        client.job = job.number
        if request.stage:
            self._start(job)
        elif self._state is not DriverState.RUNNING or self._settings is None:
            self._reply(job, {"kind": "refused", "why": self._state})
        elif self._other_stack:
            outcome = refused(f"the LSST stack on {self._here.host} is not the graph's: {self._other_stack}")
            self._note(ended_record(job, outcome, here=self._here, place=self._place))
            self._reply(job, {"kind": "result", "outcome": outcome.as_dict()})
        else:
            self._work.waiting.append(job)

    def _drop(self, client: Connection) -> None:
        """Forget a connection; its job must not go on without anyone to hear of it."""
        self._work.waiting = deque(job for job in self._work.waiting if job.client is not client)
        for job in self._work.running.values():
            if job.client is client:
                evidence: dict[str, object] = {"worker": "went away"}
                self._end_job(job, LimitExceeded(verdict=JobVerdict.NODE_LOST, evidence=evidence))

    def _reply(self, job: NodeJob, message: dict[str, Any]) -> None:
        job.client.job = None
        job.client.send(message)

    # Jobs ---------------------------------------------------------------------------------------------

    def _admit(self) -> None:
        claims = [job.request.claim() for job in self._work.running.values() if not job.request.stage]
        waiting = [job.request.claim() for job in self._work.waiting]
        for _ in range(admissible(waiting=waiting, running=claims, room=self._room)):
            self._start(self._work.waiting.popleft())

    def _start(self, job: NodeJob) -> None:
        self._work.running[job.number] = job
        settings = self._settings
        warm = self._forkserver.warm if settings is None else settings.warm and self._forkserver.warm
        prefix = settings.prefix if settings is not None and not job.request.stage else ""
        self._confine(job)
        cgroup = str(job.leaf.path) if job.leaf is not None else ""
        order = job.request.order(job.number, warm=warm, prefix=prefix, environment=os.environ, cgroup=cgroup)
        job.warm = order.words is not None
        job.began = time.monotonic()
        self._forkserver.send(order)

    def _confine(self, job: NodeJob) -> None:
        """Make a control group with the job's limit, where there is a limit and a group can be made."""
        if self._groups is None or self._settings is None or job.request.stage:
            return
        limit = job.limits(self._settings.tolerance).memory_mb
        if limit is None:
            return
        try:
            job.leaf = self._groups.make(job.number, memory_mb=limit)
        except OSError as error:
            sys.stderr.write(f"{job.request.job} is guarded by sampling only: {error}\n")

    def _from_forkserver(self, message: dict[str, Any]) -> None:
        job = self._work.running.get(message.get("id", 0))
        if job is None:
            if message.get("error"):
                what = "quanta not rehearsed" if "rehearsed" in message else "graph not shared between quanta"
                sys.stderr.write(f"{what}: {message['error']}\n")
        elif "pid" in message:
            job.pid, job.start = message["pid"], message["start"] or 0
            job.began = time.monotonic()
            if job.abandoned:
                self._end_job(job, job.finding)
            elif not job.request.stage:
                self._note(started_record(job, here=self._here, place=self._place))
        else:
            self._conclude(job, message)

    def _conclude(self, job: NodeJob, ended: dict[str, Any]) -> None:
        if job.finding is None and not job.request.stage and self._block.foretold_by(ended):
            job.doubtful, job.began_doubt = ended, time.monotonic()
        else:
            self._settle(job, ended)

    def _settle(self, job: NodeJob, ended: dict[str, Any]) -> None:
        del self._work.running[job.number]
        inside = job.leaf is not None and job.leaf.pids()
        if ended.get("strays", True) or len(job.known) > 1 or inside:
            kill_job(job)
        now = time.monotonic()
        if ended["status"] != 0 and job.finding is None:
            job.finding = self._kernel_finding(job, now)
        killed = os.WIFSIGNALED(ended["status"]) and os.WTERMSIG(ended["status"]) == signal.SIGKILL
        after = kernel_memory_kills() if killed else self._kills
        outcome = outcome_of(job, ended=ended, now=now, kills_after=after)
        if outcome.verdict is JobVerdict.OUT_OF_MEMORY and job.finding is None:
            job.finding = self._work.excuse(job, peak_mb=outcome.peak_mb or 0.0)
            outcome = outcome_of(job, ended=ended, now=now, kills_after=after)
        self._kills = after
        self._finish(job, outcome)

    def _finish(self, job: NodeJob, outcome: JobOutcome) -> None:
        if job.leaf is not None and self._groups is not None:
            self._groups.retire(job.leaf)
        if not job.request.stage and job.pid is not None:
            self._note(ended_record(job, outcome, here=self._here, place=self._place))
        self._reply(job, {"kind": "result", "outcome": outcome.as_dict()})

    def _note(self, record: JournalRecord) -> None:
        if self._journal is None:
            return
        try:
            self._journal.write(record)
        except OSError as error:
            sys.stderr.write(f"journal not written: {error}\n")

    def _end_job(self, job: NodeJob, finding: LimitExceeded | None) -> None:
        """Kill a job's whole tree; its end is concluded when the forkserver reports it."""
        job.finding = job.finding or finding
        job.abandoned = True
        if job.pid is not None:
            kill_job(job)

    def _bereft(self) -> None:
        """Give the jobs of a forkserver that died back, and start another; its children died with it."""
        lost = list(self._work.running.values())
        self._work.running.clear()
        for job in lost:
            if job.pid is not None:
                kill_job(job)
            died = LimitExceeded(verdict=JobVerdict.NODE_LOST, evidence={"forkserver": "died"})
            finding = job.finding or (self._block.finding() if self._block.asked else died)
            self._finish(job, JobOutcome(verdict=finding.verdict, evidence=finding.evidence))
        if self._state is DriverState.RUNNING and not self._block.asked:
            self._forkserver.start_again()

    def _sample(self, now: float) -> None:
        guarded = [j for j in self._work.running.values() if j.pid is not None and not j.request.stage]
        if not guarded or self._settings is None:
            return
        table = self._forkserver.table()
        for job in guarded:
            limits = job.limits(self._settings.tolerance)
            members = self._forkserver.members(job, table)
            sample = measure(members, peak_mb=job.peak_mb, limit_mb=limits.memory_mb)
            job.resident_mb = sample.resident_mb
            job.peak_mb = max(job.peak_mb, sample.resident_mb)
            period = self._settings.sample_seconds
            finding = judge(sample, limits=limits, elapsed_s=now - job.began, period_s=period)
            if finding is not None:
                self._end_job(job, finding)
        self._show()

    def _show(self) -> None:
        """Leave on disk what the jobs hold, for the case that the whole block is killed."""
        if self._samples is None:
            return
        running = self._work.running.values()
        sample = NodeSample(
            host=self._here.host,
            slurm_job=self._place.job or "",
            slurm_node=self._place.node or "",
            shares_mb=self._room.memory_mb,
            granted_mb=granted_mb(os.environ),
            jobs=tuple(job.holding() for job in running if job.pid is not None and not job.request.stage),
        )
        self._samples.write(sample)


def serve(*, listener: socket.socket, settings: NodeSettings | None, owner: ProcessIdentity | None) -> None:
    """Run a supervisor in this process until it is done."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is the driver's to handle
    Supervisor(listener=listener, settings=settings, owner=owner).loop()
