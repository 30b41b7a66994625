"""One run of ``bps submit`` as a child process: start it, follow it, stop it, and say how it ended."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from merian_campaign.domain.errors import DatabaseUnavailableError
from merian_campaign.domain.execution.runs import (
    NOTHING_TO_RUN,
    PAYLOAD_FAILED,
    PREFLIGHT,
    PREFLIGHT_FAILED,
    RunEnd,
    RunResult,
)
from merian_campaign.domain.rendering.naming import SubmissionPaths
from merian_campaign.domain.safe_text.last_error import last_error
from merian_campaign.domain.safe_text.text import one_line
from merian_campaign.host import termination
from merian_campaign.host.atomic_files import appending
from merian_campaign.host.regular_files import read_tail
from merian_campaign.middleware import programs
from merian_campaign.middleware.preflight.driver_preflight import refusal_in

_CYCLE = re.compile(r"Found cycle when making clusters: (\[[^\n\]]{0,4000}\])")
_EDGE = re.compile(r"\('([^'\n]{1,200})', '([^'\n]{1,200})'\)")
_POLL_SECONDS = 0.3
_STOP_SECONDS = 15.0
_BY_SIGNAL = 128


def find_graph(paths: SubmissionPaths) -> Path | None:
    """Return the submission's quantum graph, once it is whole."""
    graphs = sorted(Path(paths.bps).glob("*.qg"))
    found = [graph for graph in graphs if graph.name != Path(paths.provenance).name]
    # Written through a temporary name by none of the writers: a zip file is whole when its end is there.
    return found[0] if found and _is_whole_zip(found[0]) else None


def _is_whole_zip(path: Path) -> bool:
    import zipfile  # noqa: PLC0415 - only drivers need it

    return zipfile.is_zipfile(path)


def submit(
    paths: SubmissionPaths,
    *,
    command: Sequence[str],
    environ: Mapping[str, str],
    tend: Callable[[], bool],
) -> RunResult:
    """Run a submit command on a rendered file to its end.

    Parameters
    ----------
    paths : `SubmissionPaths`
        The submission's files.
    command : `~collections.abc.Sequence` [`str`]
        ``bps submit`` or our warm form of it.
    environ : `~collections.abc.Mapping`
        Environment of the run.
    tend : callable
        Called a few times a second; `False` asks the run to stop.
    """
    with appending(paths.driver_log) as log:
        process = subprocess.Popen(
            list(command),
            cwd=paths.directory,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=dict(environ),
            preexec_fn=termination.die_with_parent,  # noqa: PLW1509 - no threads hold locks needed after the fork
        )
        cancelled = False
        while process.poll() is None:
            if not tend():
                cancelled = True
                termination.stop_child(process, patience=_STOP_SECONDS)
                break
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=_POLL_SECONDS)
    if cancelled:
        return RunResult(end=RunEnd.CANCELLED, reason="cancelled on request", exit_code=process.returncode)
    return judge_run(paths, exit_code=process.returncode)


def judge_run(paths: SubmissionPaths, *, exit_code: int) -> RunResult:
    """Say how a finished ``bps submit`` ended, from its exit code and what it left."""
    if exit_code in {0, PAYLOAD_FAILED}:
        return RunResult(end=RunEnd.RAN, reason="", exit_code=exit_code)
    if exit_code == PREFLIGHT_FAILED:
        return refused(refusal_in(paths), exit_code=exit_code)
    output = read_tail(Path(paths.bps) / "quantumGraphGeneration.out")
    if NOTHING_TO_RUN in output:
        return RunResult(end=RunEnd.EMPTY, reason="the quantum graph is empty", exit_code=exit_code)
    if exit_code < 0:
        when = "" if find_graph(paths) is not None else " while it built the quantum graph"
        return RunResult(
            end=RunEnd.FAILED, reason=f"bps submit was {_killed(exit_code)}{when}", exit_code=exit_code
        )
    if find_graph(paths) is None:
        why = last_error(output, read_tail(paths.driver_log))
        return RunResult(
            end=RunEnd.FAILED, reason=f"building the quantum graph failed: {why}", exit_code=exit_code
        )
    return _failed(read_tail(paths.driver_log), exit_code=exit_code)


def _failed(said: str, *, exit_code: int) -> RunResult:
    """Return how a run ended that had its graph and failed after that, by its log."""
    cycle = cluster_cycle(said)
    if cycle:
        return RunResult(end=RunEnd.FAILED, reason=cycle, exit_code=exit_code, needs_person=True)
    return RunResult(end=RunEnd.FAILED, reason=f"bps submit failed: {last_error(said)}", exit_code=exit_code)


def cluster_cycle(text: str) -> str:
    """Return in words which clusters of a submission wait for each other, by the log of ``bps submit``.

    Empty when it does not say so. BPS names the edges of the cycle it has found, e.g.
    ``[('a', 'b'), ('b', 'a')]``, and the exception after that names nothing.
    """
    found = _CYCLE.findall(text)
    if not found:
        return ""
    names = [first for first, _ in _EDGE.findall(found[-1])]
    way = " -> ".join([*names, *names[:1]]) or found[-1]
    return (
        f"{one_line(way)}: these clusters (or tasks) wait for each other, so that no workflow can be built; "
        "put a task into one of the clusters of the BPS configuration, or take one out"
    )


def refused(why: str, *, exit_code: int | None = None) -> RunResult:
    """Return how a submission ended whose preflight found an error."""
    return RunResult(end=RunEnd.FAILED, reason=f"{PREFLIGHT}{why}", exit_code=exit_code, needs_person=True)


def aggregate(paths: SubmissionPaths, *, repository: str, environ: Mapping[str, str]) -> str | None:
    """Ingest what a run without a final job has left, and write its provenance graph.

    Returns
    -------
    error : `str` or `None`
        The last words of ``butler aggregate-graph`` when it failed, or what killed it.

    Raises
    ------
    DatabaseUnavailableError
        Raised if the repository's lock could not be had: nothing was done.
    """
    graph = find_graph(paths)
    if graph is None:
        return "there is no quantum graph"
    command = programs.own(
        "exclusive", "--repository", repository, "--",
        "butler", "--long-log", "aggregate-graph", str(graph), repository, "-j", "1",
        "--register-dataset-types", "--update-output-chain", "-o", paths.provenance,
    )  # fmt: skip
    with appending(paths.driver_log) as log:
        done = subprocess.run(
            command,
            cwd=paths.directory,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=dict(environ),
            check=False,
        )
    if done.returncode == DatabaseUnavailableError.exit_code:
        raise DatabaseUnavailableError(last_error(read_tail(paths.driver_log)))
    if done.returncode == 0:
        return None
    return _killed(done.returncode) or last_error(read_tail(paths.driver_log))


def _killed(code: int) -> str:
    """Return in words by which signal a command ended, as a child or told by a shell; empty for none."""
    number = -code if code < 0 else code - _BY_SIGNAL
    if number in set(signal.Signals):
        return f"killed by {signal.Signals(number).name}"
    return f"killed by signal {number}" if code < 0 else ""  # one of real time has no name
