"""Where one cluster lives, what it is called, and how big its virtual nodes claim to be."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import re
import socket
import stat
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .trouble import ClusterError

FILE = "settings.json"
# A socket's path may have 107 bytes; ours are this directory and about 20 more.
LONGEST_DIRECTORY = 70
PORTS_OF_A_CLUSTER = 100
FIRST_PORT, LAST_PORT = 17000, 31000  # below what kernels give to outgoing connections
# The site that merian-campaign needs for such a cluster.
SITES = Path(__file__).resolve().parents[1] / "site"
LETTERS = "bcdfghjkmnpqrstvwxz"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One cluster.

    Parameters
    ----------
    directory
        Private directory, made by `up` and removed by `down`.
    port
        First of `PORTS_OF_A_CLUSTER` ports.
    prefix
        Of the nodes' names; another for every cluster, because control groups are named after nodes.
    cluster
        Name in accounting.
    memory
        One entry a node: what it claims, MiB.
    cpus
        What every node claims.
    memory_kill
        ``cgroup1``: the kernel ends what is over a job's memory. ``acct``: Slurm looks once a second.
    node_timeout
        Seconds until a silent node counts as lost.
    requeue_wait
        Seconds a requeued job waits before it runs again.
    user
        Runs all daemons and jobs.
    """

    directory: Path
    port: int
    prefix: str
    cluster: str
    memory: tuple[int, ...] = (3072, 3072, 4096, 4096)
    cpus: int = 2
    memory_kill: str = "acct"
    node_timeout: int = 12
    requeue_wait: int = 10
    user: str = field(default_factory=getpass.getuser)

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of the nodes; the last two are the big ones."""
        return tuple(f"{self.prefix}{number}" for number in range(1, len(self.memory) + 1))

    @property
    def conf(self) -> Path:
        return self.directory / "etc" / "slurm.conf"

    @property
    def munge_socket(self) -> Path:
        return self.directory / "munge" / "munge.socket"

    @property
    def log(self) -> Path:
        return self.directory / "log"

    def spool(self, node: str) -> Path:
        """Where a node's daemon works; its step daemons inherit the directory and are known by it."""
        return self.directory / "spool" / node

    def port_of_node(self, node: str) -> int:
        return self.port + 10 + self.nodes.index(node)

    @property
    def environment(self) -> dict[str, str]:
        """What a client of this cluster needs in its environment."""
        path = os.environ.get("PATH", "/usr/bin:/bin")
        missing = [folder for folder in ("/usr/sbin", "/sbin") if folder not in path.split(":")]
        return {
            "SLURM_CONF": str(self.conf),
            "PATH": ":".join([path, *missing]),
            "MERIAN_SLURM_DIR": str(self.directory),
            "MERIAN_CAMPAIGN_SITE_PATH": str(SITES),
        }

    def save(self) -> None:
        record = {**asdict(self), "directory": str(self.directory)}
        (self.directory / FILE).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, directory: Path) -> Settings:
        """Read what `up` wrote.

        Raises
        ------
        ClusterError
            No cluster was started there.
        """
        file = directory.resolve() / FILE
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ClusterError(f"no cluster in {directory} (start one: `up`)") from None
        except (OSError, ValueError) as error:
            raise ClusterError(f"{file} cannot be read: {error}") from None
        try:
            record |= {"directory": Path(record["directory"]), "memory": tuple(record["memory"])}
            return cls(**record)
        except (KeyError, TypeError) as error:
            raise ClusterError(f"{file} is of another version of these scripts: {error}") from None


def new_settings(directory: Path, *, port: int | None = None, prefix: str | None = None) -> Settings:
    """Return settings for a new cluster: names derived from the directory, ports that are free now."""
    digest = hashlib.sha256(str(directory).encode()).digest()
    name = "".join(LETTERS[byte % len(LETTERS)] for byte in digest[:4])
    return Settings(
        directory=directory,
        port=port or free_ports(start=int.from_bytes(digest[4:6], "big")),
        prefix=prefix or name,
        cluster=f"merian{name}",
        memory_kill=memory_kill(),
    )


def free_ports(*, start: int) -> int:
    """Return the first of a row of ports nobody listens on; `start` spreads simultaneous clusters."""
    rows = range(FIRST_PORT, LAST_PORT, PORTS_OF_A_CLUSTER)
    for number in range(len(rows)):
        first = rows[(start + number) % len(rows)]
        if all(_is_free(first + offset) for offset in (1, 2, 3, *range(10, 20))):
            return first
    raise ClusterError(f"no {PORTS_OF_A_CLUSTER} free ports between {FIRST_PORT} and {LAST_PORT}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def memory_kill() -> str:
    """Return how memory limits can be enforced here; MERIAN_SLURM_MEMORY_KILL decides otherwise."""
    wanted = os.environ.get("MERIAN_SLURM_MEMORY_KILL", "")
    if wanted in {"cgroup1", "acct"}:
        return wanted
    if wanted:
        raise ClusterError(f"MERIAN_SLURM_MEMORY_KILL={wanted}: cgroup1 or acct is possible")
    groups = Path("/sys/fs/cgroup")
    probe = groups / "memory" / f"merian-slurm-probe-{os.getpid()}"
    try:
        probe.mkdir()
        probe.rmdir()
    except OSError:
        return "acct"
    needed = groups / "memory" / "memory.limit_in_bytes", groups / "freezer" / "cgroup.procs"
    return "cgroup1" if needed[0].exists() and os.access(needed[1], os.W_OK) else "acct"


def private_directory(wanted: Path) -> Path:
    """Return where the cluster can live: `wanted` itself, or a place below /tmp that `wanted` links to.

    Munge refuses directories that others may write to or cannot pass, sockets have short paths, and
    Slurm's files know no quoting.
    """
    wanted = Path(os.path.abspath(wanted))  # noqa: PTH100 - a link from an earlier start must stay a link
    if wanted.is_symlink():
        wanted.unlink()
    wanted.parent.mkdir(parents=True, exist_ok=True)
    if _is_suitable(wanted):
        return wanted
    digest = hashlib.sha256(str(wanted).encode()).hexdigest()[:8]
    place = Path(tempfile.gettempdir()).resolve() / f"merian-slurm-{os.getuid()}-{digest}"
    if not _is_suitable(place):
        raise ClusterError(f"neither {wanted} nor {place} can hold a cluster: too long, or others may write")
    if wanted.is_dir() and not any(wanted.iterdir()):
        wanted.rmdir()
    wanted.symlink_to(place)
    return place


def _is_suitable(directory: Path) -> bool:
    if len(str(directory)) > LONGEST_DIRECTORY or not re.fullmatch(r"[A-Za-z0-9/_.-]+", str(directory)):
        return False
    if directory.resolve() != directory:
        return False
    return all(_is_trusted(parent.stat()) for parent in directory.parents)


def _is_trusted(status: os.stat_result) -> bool:
    others_write = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    others_pass = status.st_mode & stat.S_IXOTH and status.st_mode & stat.S_IXGRP
    harmless = not others_write or status.st_mode & stat.S_ISVTX
    return bool(others_pass and harmless and status.st_uid in {0, os.getuid()})
