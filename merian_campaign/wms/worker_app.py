"""What runs inside a Parsl worker: hand one job to the node's supervisor and wait for its outcome.

Light: workers import this and nothing of the middleware.
"""

import json
import os
import selectors
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from merian_campaign.domain.execution.journal import JobVerdict, JournalEvent
from merian_campaign.wms.job_outcome import JobFailedError, RefusedError, WorkerGoneError
from merian_campaign.wms.journal_writer import JOURNAL_NAME, Journal
from merian_campaign.wms.node_settings import NodeSettings
from merian_campaign.wms.supervisor_start import connect

__all__ = ["ask", "numbered", "run_job"]

_ATTEMPT = "<WMS:attemptNum>"
"""What BPS makes of ``{wmsAttemptNum}`` in command lines and ``environment``."""


def run_job(
    settings: str,
    request: dict[str, Any],
    inputs: tuple[Any, ...] = (),
    parsl_resource_specification: dict[str, Any] | None = None,
) -> int:
    """Run one job; Parsl calls this in a worker.

    Parameters
    ----------
    settings : `str`
        `NodeSettings.to_json`.
    request : `dict` [`str`, object]
        Fields of `jobs.Request`.
    inputs : `tuple` [object, ...]
        Results of the jobs before this one; only there so that Parsl waits for them.
    parsl_resource_specification : `dict` [`str`, object] or `None`
        Priority, for Parsl.

    Returns
    -------
    exit : `int`
        Always 0.

    Raises
    ------
    JobFailedError
        The job failed, or the guard ended it.
    WorkerGoneError
        The supervisor went away in the middle; the job may be tried again.
    RefusedError
        The driver is gone or stopping.
    """
    del inputs, parsl_resource_specification
    node = NodeSettings.from_json(settings)
    if Path(request["stderr"]).exists() and _has_ended_well(node, request["job"]):
        return 0  # only the news of it was lost
    connection = connect(node)
    with connection:
        answer = ask(connection, {"kind": "run", **numbered(node, request)}, parent=os.getppid())
    if answer["kind"] != "result":
        raise RefusedError(f"driver is {answer.get('why')}")
    outcome = answer["outcome"]
    if outcome["verdict"] == JobVerdict.NODE_LOST:
        raise WorkerGoneError(json.dumps(outcome["evidence"]))
    if outcome["verdict"] != JobVerdict.OK:
        raise JobFailedError(request["job"], outcome)
    return 0


def numbered(node: NodeSettings, request: dict[str, Any]) -> dict[str, Any]:
    """Return a request with the number of the attempt where its command or variables want it, from 0.

    That is how often the job was begun before in this submission. The journal is read for such jobs only.
    """
    variables: dict[str, str] = request.get("variables", {})
    if not any(_ATTEMPT in text for text in (request["command"], *variables.values())):
        return request
    records = Journal(Path(node.submit) / JOURNAL_NAME).read()
    number = str(sum(r.event == JournalEvent.STARTED and r.job == request["job"] for r in records))
    return {
        **request,
        "command": request["command"].replace(_ATTEMPT, number),
        "variables": {name: text.replace(_ATTEMPT, number) for name, text in variables.items()},
    }


def ask(connection: socket.socket, message: dict[str, Any], *, parent: int | None = None) -> dict[str, Any]:
    """Send a request and wait for its answer.

    Parameters
    ----------
    connection : `socket.socket`
        Connection to a supervisor.
    message : `dict` [`str`, object]
        The request.
    parent : `int` or `None`
        Give up when this is no longer the parent process: an orphaned worker must let go of its job.

    Raises
    ------
    WorkerGoneError
        The supervisor closed the connection, or the parent is gone.
    """
    buffer = b""
    try:
        connection.sendall(json.dumps(message).encode() + b"\n")
        with selectors.DefaultSelector() as selector:
            selector.register(connection, selectors.EVENT_READ)
            while not buffer.endswith(b"\n"):
                if not selector.select(1.0):
                    if parent is not None and os.getppid() != parent:
                        raise WorkerGoneError("the worker pool is gone")
                    continue
                data = connection.recv(1 << 20)
                if not data:
                    raise WorkerGoneError("the supervisor is gone")
                buffer += data
    except OSError as error:
        raise WorkerGoneError(f"the supervisor is gone: {error}") from error
    answer: dict[str, Any] = json.loads(buffer)
    return answer


def _has_ended_well(node: NodeSettings, job: str) -> bool:
    """Return whether an earlier attempt of a job succeeded, by the journal.

    Asked only when the job has a log already, that is, hardly ever.
    """
    with suppress(OSError):
        records = Journal(Path(node.submit) / JOURNAL_NAME).read()
        return any(
            r.event == JournalEvent.ENDED and r.job == job and r.verdict == JobVerdict.OK for r in records
        )
    return False
