"""The texts of the cluster's configuration files. No side effects."""

from __future__ import annotations

from .settings import Settings

ACCOUNT = "lsst"
# name: what sacctmgr is told beside it
QUALITIES = {
    "fast": [],
    "few": ["MaxSubmitJobsPerUser=2", "Flags=DenyOnLimit"],
    "brief": ["MaxWallDurationPerJob=1", "Flags=DenyOnLimit"],
    # Lifts the limits of partitions.
    "patient": ["Flags=PartitionTimeLimit"],
}
# A user of the machine, other than who runs the cluster, that may do anything to anybody's jobs.
ADMINISTRATOR, ADMINISTRATORS = "nobody", "nogroup"


def slurm_conf(settings: Settings, *, loopback: bool) -> str:
    """Return slurm.conf.

    Parameters
    ----------
    settings
        The cluster.
    loopback
        Whether this host's own name means 127.0.0.1: only then can Slurm be told to listen there alone.
    """
    parts = (
        _identity(settings, loopback=loopback),
        _timers(settings),
        _enforcement(settings),
        _accounting(settings),
        _nodes(settings),
        _partitions(settings),
    )
    return "\n".join(parts)


def _identity(settings: Settings, *, loopback: bool) -> str:
    top, port = settings.directory, settings.port
    listen = "CommunicationParameters=NoInAddrAny,NoCtldInAddrAny\n" if loopback else ""
    return f"""\
ClusterName={settings.cluster}
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={port + 1}
SrunPortRange={port + 20}-{port + 99}
{listen}SlurmUser={settings.user}
SlurmdUser={settings.user}
AuthType=auth/munge
CredType=cred/munge
# The lifetime of a credential is also what a requeued job waits.
AuthInfo=socket={settings.munge_socket},cred_expire={settings.requeue_wait}
StateSaveLocation={top}/state
SlurmdSpoolDir={top}/spool/%n
SlurmctldPidFile={top}/run/slurmctld.pid
SlurmdPidFile={top}/run/slurmd.%n.pid
SlurmctldLogFile={top}/log/slurmctld.log
SlurmdLogFile={top}/log/slurmd.%n.log
SlurmctldDebug=info
SlurmdDebug=info
MailProg=/bin/true
MpiDefault=none
SwitchType=switch/none
"""


def _timers(settings: Settings) -> str:
    return f"""\
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,sched_min_interval=0,batch_sched_delay=0,bf_interval=5
SlurmctldTimeout=10
SlurmdTimeout={settings.node_timeout}
# Without a controller a client tries about so long.
MessageTimeout=5
TCPTimeout=2
InactiveLimit=0
KillWait=3
UnkillableStepTimeout=15
OverTimeLimit=0
CompleteWait=0
# Finished jobs stay known to the controller for a while, as on a real cluster.
MinJobAge=120
# A node that comes back is used again, whatever had become of it.
ReturnToService=2
JobRequeue=1
KillOnBadExit=0
ScronParameters=enable
# A job over its partition's limits is refused, not left pending for ever.
EnforcePartLimits=ALL
"""


def _enforcement(settings: Settings) -> str:
    groups = settings.memory_kill == "cgroup1"
    watch = "" if groups else "JobAcctGatherParams=OverMemoryKill\n"
    return f"""\
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ProctrackType=proctrack/{"cgroup" if groups else "linuxproc"}
TaskPlugin=task/{"cgroup" if groups else "none"}
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
{watch}PriorityType=priority/basic
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
"""


def _accounting(settings: Settings) -> str:
    # Towards slurmdbd munge's socket is read from the password's field.
    return f"""\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort={settings.port + 2}
AccountingStoragePass={settings.munge_socket}
AccountingStorageEnforce=associations,limits,qos
AccountingStoreFlags=job_comment
JobCompType=jobcomp/none
"""


def _nodes(settings: Settings) -> str:
    cpus = settings.cpus
    lines = [
        # The machine may have less than its virtual nodes claim together.
        "SlurmdParameters=config_overrides",
        f"NodeName=DEFAULT Boards=1 SocketsPerBoard=1 CoresPerSocket={cpus} ThreadsPerCore=1 CPUs={cpus}",
    ]
    for number, (node, memory) in enumerate(zip(settings.nodes, settings.memory, strict=True), 1):
        place = f"NodeHostname=localhost NodeAddr=127.0.0.1 Port={settings.port_of_node(node)}"
        lines.append(f"NodeName={node} {place} RealMemory={memory} Feature=f{number} State=UNKNOWN")
    return "\n".join(lines) + "\n"


def _partitions(settings: Settings) -> str:
    every, big = ",".join(settings.nodes), ",".join(settings.nodes[-2:])
    # A partition of a higher tier takes nodes from those of a lower one, if that allows it: only `low` does.
    return f"""\
PartitionName=DEFAULT State=UP OverSubscribe=NO PreemptMode=OFF PriorityTier=5 DefMemPerCPU=256
PartitionName=debug Nodes={every} Default=YES MaxTime=01:00:00 DefaultTime=00:05:00
PartitionName=short Nodes={every} MaxTime=00:01:00 DefaultTime=00:01:00
PartitionName=small Nodes={every} MaxMemPerNode=512 MaxCPUsPerNode=1 MaxNodes=1 MaxTime=00:10:00
PartitionName=large Nodes={big} MaxTime=1-00:00:00 DefaultTime=01:00:00
PartitionName=low Nodes={every} PriorityTier=1 PreemptMode=REQUEUE MaxTime=01:00:00
PartitionName=high Nodes={every} PriorityTier=10 MaxTime=01:00:00
"""


def cgroup_conf() -> str:
    """Return cgroup.conf: memory is held to what a job asked for, nothing else is."""
    return """\
CgroupPlugin=cgroup/v1
CgroupMountpoint=/sys/fs/cgroup
CgroupAutomount=no
ConstrainRAMSpace=yes
ConstrainSwapSpace=no
ConstrainCores=no
ConstrainDevices=no
AllowedRAMSpace=100
MinRAMSpace=30
"""


def slurmdbd_conf(settings: Settings, *, password: str, loopback: bool) -> str:
    """Return slurmdbd.conf; it holds a password and must be readable by its owner only."""
    listen = "CommunicationParameters=NoInAddrAny\n" if loopback else ""
    return f"""\
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={settings.port + 2}
SlurmUser={settings.user}
{listen}AuthType=auth/munge
AuthInfo=socket={settings.munge_socket}
LogFile={settings.log}/slurmdbd.log
PidFile={settings.directory}/run/slurmdbd.pid
DebugLevel=info
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={settings.port + 3}
StorageUser=slurm
StoragePass={password}
StorageLoc=slurm_acct_db
"""


def database_sql(*, password: str) -> str:
    """Return what makes the accounting database and its user."""
    lines = ["CREATE DATABASE IF NOT EXISTS slurm_acct_db;"]
    for host in ("127.0.0.1", "localhost"):
        user = f"'slurm'@'{host}'"
        lines.append(f"CREATE USER IF NOT EXISTS {user} IDENTIFIED BY '{password}';")
        lines.append(f"GRANT ALL ON slurm_acct_db.* TO {user};")
    return "\n".join(lines) + "\n"


def munged_command(settings: Settings) -> list[str]:
    """Return the command line of munged."""
    top = settings.directory / "munge"
    return [
        "munged", "--foreground", f"--key-file={top}/munge.key", f"--socket={settings.munge_socket}",
        f"--pid-file={top}/munged.pid", f"--log-file={top}/munged.log", f"--seed-file={top}/munged.seed",
        "--group-update-time=-1", "--num-threads=4",
    ]  # fmt: skip


def mariadbd_command(settings: Settings) -> list[str]:
    """Return the command line of the database: small, on loopback, with no care for power cuts."""
    top = settings.directory
    return [
        "mariadbd", "--no-defaults", f"--user={settings.user}", f"--datadir={top}/db/data",
        f"--socket={top}/run/mysql.sock", f"--pid-file={top}/run/mariadbd.pid", "--bind-address=127.0.0.1",
        f"--port={settings.port + 3}", f"--init-file={top}/db/init.sql", "--skip-log-bin",
        "--performance-schema=OFF", "--skip-name-resolve", "--innodb-buffer-pool-size=64M",
        "--innodb-lock-wait-timeout=900", "--innodb-flush-log-at-trx-commit=0", "--innodb-log-file-size=32M",
        "--max-allowed-packet=16M",
    ]  # fmt: skip
