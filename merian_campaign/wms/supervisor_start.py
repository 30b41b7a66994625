"""Starting a node's supervisor, and finding the one that is there.

A driver forks one from itself while it has no threads, so that its own imports are shared; a worker
starts one as a program, once per worker pool, under a lock.  Sockets live in a private folder of the
node's own disk.
"""

import fcntl
import hashlib
import json
import os
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from merian_campaign.domain.execution.process_identity import ProcessIdentity
from merian_campaign.host.atomic_files import appending
from merian_campaign.host.local_sockets import is_ours
from merian_campaign.host.ownership import UntrustedError, private_folder
from merian_campaign.host.processes import identity, start_time, threads
from merian_campaign.wms.job_outcome import WorkerGoneError
from merian_campaign.wms.node.supervisor import serve
from merian_campaign.wms.node_settings import NodeSettings

__all__ = ["connect", "fork_supervisor", "main", "socket_path"]

_ROOT = Path(__file__).parents[2]


def socket_path(key: str) -> Path:
    """Return the path of a supervisor's socket, in a folder that only this user can enter.

    Raises
    ------
    UntrustedError
        The folder exists and belongs to somebody else, or others may enter it.
    """
    folder = Path(tempfile.gettempdir()) / f"merian-campaign-{os.getuid()}"
    private_folder(folder)
    return folder / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.sock"


def _listen(path: Path) -> socket.socket:
    with suppress(FileNotFoundError):
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(512)
    return listener


def _dial(path: Path) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(str(path))
    except OSError:
        connection.close()
        return None
    if not is_ours(connection):
        connection.close()
        raise UntrustedError(path, "somebody else listens there")
    return connection


def fork_supervisor() -> tuple[Path, int] | None:
    """Fork a supervisor from this process; return its socket and pid, or None if there are threads.

    It runs the submission's own stages at once and takes jobs after a ``configure`` message.
    """
    if threads() > 1:
        return None
    path = socket_path(f"driver {socket.gethostname()} {os.getpid()} {start_time(os.getpid())}")
    listener = _listen(path)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setsid()
            _detach()
            serve(listener=listener, settings=None, owner=None)
            code = 0
        except BaseException:  # noqa: BLE001 - nothing may escape into the driver's code
            sys.excepthook(*sys.exc_info())
        finally:
            with suppress(OSError):
                path.unlink()
            os._exit(code)
    listener.close()
    return path, pid


def _detach() -> None:
    """Let go of the driver's standard input; its output stays, for the supervisor's few messages."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)


def connect(settings: NodeSettings, *, seconds: float = 60.0) -> socket.socket:
    """Return a connection to this node's supervisor, starting one if there is none.

    Parameters
    ----------
    settings : `NodeSettings`
        With ``socket`` empty, the supervisor is the one of the calling worker's pool.
    seconds : `float`
        How long to wait for a new one to listen; it does so before it imports anything.

    Raises
    ------
    WorkerGoneError
        None could be started.
    """
    pool = identity(os.getppid())
    path = Path(settings.socket) if settings.socket else socket_path(f"{settings.driver} {pool}")
    connection = _dial(path)
    if connection is not None:
        return connection
    with _locked(path):
        connection = _dial(path)
        if connection is None:
            process = _start_program(settings, path=path, owner=pool)
            deadline = time.monotonic() + seconds
            while (connection := _dial(path)) is None:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise WorkerGoneError(f"no supervisor on this node; see {settings.log_path()}")
                time.sleep(0.02)
    return connection


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with appending(path.with_suffix(".lock")) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _start_program(settings: NodeSettings, *, path: Path, owner: ProcessIdentity) -> subprocess.Popen[bytes]:
    """Start the supervisor as a program; with a prefix, in the environment that the prefix makes."""
    words = [
        "-P",
        "-m",
        "merian_campaign.wms.supervisor_start",
        str(path),
        settings.to_json(),
        json.dumps(asdict(owner)),
    ]
    if settings.prefix:
        command = f"{settings.prefix}\nexec python {shlex.join(words)}"
        call = ["/bin/bash", "-c", command]
    else:
        call = [sys.executable, *words]
    # The prefix may lead to another Python that does not know where this package lives.
    known = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(known)} if settings.prefix else None
    with appending(settings.log_path()) as log:
        return subprocess.Popen(
            call, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=environment
        )


def main(arguments: list[str]) -> int:
    """Be a supervisor: SOCKET SETTINGS OWNER."""
    path, settings, owner = arguments
    listener = _listen(Path(path))
    try:
        serve(
            listener=listener,
            settings=NodeSettings.from_json(settings),
            owner=ProcessIdentity(**json.loads(owner)),
        )
    finally:
        with suppress(OSError):
            Path(path).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
