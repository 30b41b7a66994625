"""`up`: lay out a directory, start the daemons one after the other, wait until a first job has run."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from . import config, processes
from .packages import install, require_tools
from .running import Cluster
from .settings import FILE, Settings, new_settings, private_directory
from .stopping import down, remove
from .trouble import ClusterError

FOLDERS = {
    "etc": 0o755,
    "run": 0o755,
    "log": 0o755,
    "state": 0o755,
    "spool": 0o755,
    "munge": 0o755,
    "db": 0o700,
}
# Generous: reached only on a machine that is very busy, or when something is wrong.
PATIENCE = 120.0


def up(
    directory: Path,
    *,
    port: int | None = None,
    prefix: str | None = None,
    keeper_of: int | None = None,
    say: Callable[[str], None] | None = None,
) -> Cluster:
    """Start a cluster, or return the one that runs in `directory` already.

    Parameters
    ----------
    directory
        Private directory; see `settings.private_directory`.
    port, prefix
        First port, and beginning of node names; by default chosen so that clusters do not meet.
    keeper_of
        A process id: when that process ends, the cluster is ended too.
    say
        Told about progress.

    Raises
    ------
    MissingProgramsError
        Slurm is neither here nor can it be installed.
    ClusterError
        A daemon did not start; what was started has been ended again.
    """
    say = say or _nobody
    require_tools()
    install(say)
    place = private_directory(directory)
    if (place / FILE).exists():
        running = Cluster(Settings.load(place))
        if running.answers():
            return running
        remove(running.settings)
    settings = new_settings(place, port=port, prefix=prefix)
    _lay_out(settings)
    try:
        cluster = _start(settings, say=say)
        if keeper_of is not None:
            _start_keeper(settings, pid=keeper_of)
    except BaseException:
        down(settings, purge=True)
        raise
    return cluster


def _nobody(_text: str) -> None:
    return


def _lay_out(settings: Settings) -> None:
    top = settings.directory
    if top.exists() and any(top.iterdir()):
        raise ClusterError(f"{top} holds something else; name an empty directory")
    top.mkdir(parents=True, exist_ok=True)
    # Munge, and jobs of other users, must be able to get in; nobody else may write.
    top.chmod(0o755)
    # First of all what `down` needs to know.
    settings.save()
    for name, mode in FOLDERS.items():
        (top / name).mkdir()
        (top / name).chmod(mode)
    loopback = own_name_is_loopback()
    password = secrets.token_hex(16)
    _write(settings.conf, config.slurm_conf(settings, loopback=loopback), mode=0o644)
    if settings.memory_kill == "cgroup1":
        _write(settings.conf.with_name("cgroup.conf"), config.cgroup_conf(), mode=0o644)
    text = config.slurmdbd_conf(settings, password=password, loopback=loopback)
    _write(settings.conf.with_name("slurmdbd.conf"), text, mode=0o600)
    _write(top / "db" / "init.sql", config.database_sql(password=password), mode=0o600)
    _write(top / "munge" / "munge.key", secrets.token_hex(64), mode=0o400)
    variables = {name: value for name, value in settings.environment.items() if name != "PATH"}
    quoted = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    quoted += ['case ":$PATH:" in *:/usr/sbin:*) ;; *) export PATH="$PATH:/usr/sbin" ;; esac']
    _write(top / "env.sh", "\n".join(quoted) + "\n", mode=0o644)


def _write(path: Path, text: str, *, mode: int) -> None:
    # Never readable by more than it should be, not even for a moment.
    path.touch(mode=mode & 0o600, exist_ok=False)
    path.chmod(0o600)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def own_name_is_loopback() -> bool:
    """Return whether this host's own name means 127.0.0.1, where its daemons then listen."""
    try:
        return socket.gethostbyname(socket.gethostname()) == "127.0.0.1"
    except OSError:
        return False


def _start(settings: Settings, *, say: Callable[[str], None]) -> Cluster:
    cluster = Cluster(settings)
    began = time.monotonic()

    def reached(what: str, condition: Callable[[], object]) -> None:
        _await(cluster, what, condition)
        say(f"{time.monotonic() - began:5.1f} s  {what}")

    if not own_name_is_loopback():
        say(f"note: {socket.gethostname()} does not mean 127.0.0.1, so daemons listen on all interfaces")
    cluster.start_daemon("munged", config.munged_command(settings), folder=settings.directory / "munge")
    _make_database(settings)
    cluster.start_daemon("mariadbd", config.mariadbd_command(settings), folder=settings.directory / "db")
    reached("munge", lambda: _munge_works(settings))
    reached("database", lambda: _listens(settings.port + 3))
    cluster.start_accounting()
    reached("accounting", lambda: _listens(settings.port + 2))
    _make_accounts(cluster)
    cluster.start_controller()
    for node in settings.nodes:
        cluster.start(node)
    reached("controller", lambda: cluster.run("scontrol", "ping").returncode == 0)
    reached(f"{len(settings.nodes)} nodes", lambda: len(cluster.idle_nodes()) == len(settings.nodes))
    reached("first job", lambda: cluster.run("srun", "-n1", "-t1", "--mem=50", "true").returncode == 0)
    return cluster


def _await(cluster: Cluster, what: str, condition: Callable[[], object]) -> None:
    def settled() -> bool:
        return bool(cluster.ended_daemons()) or bool(condition())

    in_time = processes.wait_until(settled, seconds=PATIENCE)
    if in_time and not (ended := cluster.ended_daemons()):
        return
    why = f"ended at once: {', '.join(ended)}" if in_time else f"no {what} within {PATIENCE:.0f} s"
    raise ClusterError(f"the cluster did not start: {why}\n{_last_words(cluster.settings)}")


def _last_words(settings: Settings) -> str:
    lines = []
    for log in sorted(settings.log.glob("*")):
        text = log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
        lines += [f"{log.name}: {line}" for line in text]
    return "\n".join(lines)


def _make_database(settings: Settings) -> None:
    log = settings.log / "mariadb-install.out"
    command = [
        "mariadb-install-db", "--no-defaults", f"--user={settings.user}", "--skip-test-db",
        f"--datadir={settings.directory}/db/data", "--auth-root-authentication-method=normal",
    ]  # fmt: skip
    environment = {**os.environ, **settings.environment}
    with log.open("wb") as output:
        done = subprocess.run(command, env=environment, stdout=output, stderr=output, check=False)
    if done.returncode != 0:
        raise ClusterError(f"mariadb-install-db failed:\n{_last_words(settings)}")


def _munge_works(settings: Settings) -> bool:
    environment = {**os.environ, **settings.environment}
    command = f"munge -S {settings.munge_socket} -n </dev/null | unmunge -S {settings.munge_socket}"
    return (
        subprocess.run(command, shell=True, env=environment, capture_output=True, check=False).returncode == 0
    )


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _make_accounts(cluster: Cluster) -> None:
    """Make the cluster, an account and qualities known before the controller registers."""
    qualities = ",".join(["normal", *config.QUALITIES])
    users = sorted({"root", cluster.settings.user})
    commands = [
        ["cluster", cluster.settings.cluster],
        ["account", config.ACCOUNT, "Description=tests", "Organization=tests"],
        *(["qos", name, *limits] for name, limits in config.QUALITIES.items()),
        ["user", ",".join(users), f"account={config.ACCOUNT}", f"defaultaccount={config.ACCOUNT}",
         "adminlevel=Admin", f"qos={qualities}", "defaultqos=normal"],
        ["user", config.ADMINISTRATOR, f"account={config.ACCOUNT}", "adminlevel=Operator"],
    ]  # fmt: skip
    for words in commands:
        done = cluster.run("sacctmgr", "-i", "add", *words)
        if done.returncode != 0:
            raise ClusterError(f"sacctmgr add {' '.join(words)}: {(done.stdout + done.stderr).strip()}")


def _start_keeper(settings: Settings, *, pid: int) -> None:
    """Start a process that ends the cluster when another one has ended."""
    watched = processes.process(pid)
    if watched is None:
        raise ClusterError(f"process {pid} is not there")
    command = [sys.executable, str(Path(__file__).parent), "--dir", str(settings.directory), "keep"]
    # Not in the cluster's environment: what runs there is looked for when jobs have ended.
    clean = {name: value for name, value in os.environ.items() if name != "SLURM_CONF"}
    processes.start(
        [*command, str(watched.pid), str(watched.start)],
        folder=Path("/"), log=Path(os.devnull), environment=clean,
    )  # fmt: skip


def keep(settings: Settings, *, watched: processes.Process) -> None:
    """Wait until a process has ended or the cluster is gone; then leave nothing of the cluster."""
    while watched.alive and settings.directory.exists():
        time.sleep(1.0)  # between two looks
    remove(settings)


def clear(directory: Path) -> None:
    """Remove a cluster's directory and the link to it."""
    target = directory.resolve()
    if target.exists():
        shutil.rmtree(target)
    if directory.is_symlink():
        directory.unlink()
