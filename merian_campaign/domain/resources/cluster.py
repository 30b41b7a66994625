"""What a Slurm cluster allows, and whether what is to be asked of it fits.

Read from ``scontrol --oneliner`` on ``show partition`` and ``show node``. A request that no partition can
ever satisfy is refused here, before a driver is started for it, with the words a person needs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from merian_campaign.domain.spec.base import walltime_seconds
from merian_campaign.domain.spec.site import DriverOptions

_PAIR = re.compile(r"(?:^|\s)([A-Za-z]+)=(\S*)")
_PROMPT = re.compile(r"^(?:scontrol: ?)+")
_SITE_TIME = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")
_NO_LIMIT = 9_223_372_036_854_775_807


@dataclass(frozen=True, kw_only=True)
class Partition:
    """One partition; ``None`` is no limit.

    Parameters
    ----------
    name : `str`
        Its name.
    default : `bool`
        Whether jobs that name no partition go there.
    max_seconds, max_nodes, max_mem_mb : `int` or `None`
        Time limit, nodes a job, memory a node.
    accounts : `tuple` [`str`, ...] or `None`
        Accounts that may use it.
    nodes : `int`
        How many nodes it has.
    node_mem_mb, node_cpus : `int`
        Of its largest node; 0 when it is not known.
    whole_nodes : `bool`
        Whether every job has its nodes for itself, whatever it asks for.
    """

    name: str
    default: bool
    max_seconds: int | None
    max_nodes: int | None
    max_mem_mb: int | None
    accounts: tuple[str, ...] | None
    nodes: int
    node_mem_mb: int
    node_cpus: int
    whole_nodes: bool = False

    @property
    def mem_mb(self) -> int | None:
        """The most memory a job may have on one of its nodes, MiB."""
        known = [value for value in (self.max_mem_mb, self.node_mem_mb) if value]
        return min(known) if known else None


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """The partitions of a cluster, and what it takes whatever they say.

    Parameters
    ----------
    partitions : `tuple` [`Partition`, ...]
        With their limits.
    taken : `frozenset`
        Options (`test_options`) of jobs that Slurm said that it would take: a plug-in may choose another
        partition, a QOS may lift limits.
    """

    partitions: tuple[Partition, ...]
    taken: frozenset[tuple[str, ...]] = frozenset()

    def named(self, names: str | None) -> tuple[Partition, ...]:
        """Return the partitions of a list with commas; the default one for no list."""
        if names is None:
            return tuple(entry for entry in self.partitions if entry.default)
        return tuple(entry for entry in self.partitions if entry.name in names.split(","))


@dataclass(frozen=True, kw_only=True)
class ResourceRequest:
    """What a Slurm job would ask for; ``None`` leaves it to the cluster.

    Parameters
    ----------
    what : `str`
        What it is for, in words.
    where : `str`
        Where a person changes it, e.g. a file.
    """

    what: str
    where: str
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    seconds: int | None = None
    walltime: str = ""
    nodes: int = 1
    cpus: int | None = None
    mem_mb: int | None = None


@dataclass(frozen=True, kw_only=True)
class Misfit:
    """Why a cluster can never run a submission.

    Parameters
    ----------
    words : `str`
        The reason.
    asked : `ResourceRequest` or `None`
        The job that its partitions refuse, of which Slurm itself has the last word; `None` when it is no
        matter of partitions.
    """

    words: str
    asked: ResourceRequest | None = None


def slurm_seconds(text: str) -> int | None:
    """Return the seconds of a Slurm time (``M``, ``M:S``, ``H:M:S``, ``D-H[:M[:S]]``); `None`: no limit."""
    match = _SITE_TIME.fullmatch(text.strip())
    if match is None:
        return None
    days, *rest = match.groups()
    parts = [int(part) for part in rest if part is not None]
    if days is not None:
        hours, minutes, seconds = (*parts, 0, 0)[:3]
        return int(days) * 86400 + hours * 3600 + minutes * 60 + seconds
    if len(parts) == 3:  # noqa: PLR2004 - hours, minutes, seconds
        return parts[0] * 3600 + parts[1] * 60 + parts[2]
    return parts[0] * 60 + (parts[1] if len(parts) > 1 else 0)


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() and int(text) < _NO_LIMIT else None


def parse_cluster(text: str) -> Cluster:
    """Read what ``scontrol --oneliner`` prints of partitions and nodes."""
    lines = [dict(_PAIR.findall(_PROMPT.sub("", line))) for line in text.splitlines()]
    nodes = [line for line in lines if "NodeName" in line]
    return Cluster(partitions=tuple(_partition(line, nodes) for line in lines if line.get("PartitionName")))


def _partition(line: Mapping[str, str], nodes: Iterable[Mapping[str, str]]) -> Partition:
    name = line["PartitionName"]
    own = [node for node in nodes if name in node.get("Partitions", "").split(",")]
    accounts = line.get("AllowAccounts", "ALL")
    return Partition(
        name=name,
        default=line.get("Default") == "YES",
        max_seconds=slurm_seconds(line.get("MaxTime", "")),
        max_nodes=_number(line.get("MaxNodes", "")),
        max_mem_mb=_number(line.get("MaxMemPerNode", "")),
        accounts=None if accounts == "ALL" else tuple(accounts.split(",")),
        nodes=_number(line.get("TotalNodes", "")) or len(own),
        node_mem_mb=max((_number(node.get("RealMemory", "")) or 0 for node in own), default=0),
        node_cpus=max((_number(node.get("CPUTot", "")) or 0 for node in own), default=0),
        whole_nodes=line.get("OverSubscribe") == "EXCLUSIVE",
    )


def refusal(asked: ResourceRequest, cluster: Cluster) -> str:
    """Say why no partition can ever run a job; empty when one can."""
    if not cluster.partitions or test_options(asked) in cluster.taken:
        return ""
    candidates = cluster.named(asked.partition)
    if not candidates:
        known = ", ".join(entry.name for entry in cluster.partitions)
        found = (
            f"found partition {asked.partition!r}, which the cluster does not have; it has {known}"
            if asked.partition
            else f"names no partition, and the cluster has no default one; it has {known}"
        )
        return f"{asked.what}: {found} ({asked.where})"
    problems = [_problems(asked, entry) for entry in candidates]
    if not all(problems):
        return ""
    fewest = min(problems, key=_count)
    return f"{asked.what}: {'; '.join(fewest)} ({asked.where})"


def _count(problems: list[str]) -> int:
    return len(problems)


def _problems(asked: ResourceRequest, partition: Partition) -> list[str]:
    where = f"partition {partition.name!r}"
    found = []
    if asked.seconds and partition.max_seconds is not None and asked.seconds > partition.max_seconds:
        allowed = _clock(partition.max_seconds)
        found.append(f"asks for a walltime of {asked.walltime}, {where} allows {allowed}")
    if asked.mem_mb and partition.mem_mb is not None and asked.mem_mb > partition.mem_mb:
        found.append(f"asks for {asked.mem_mb} MB a node, {where} allows {partition.mem_mb} MB")
    if asked.cpus and partition.node_cpus and asked.cpus > partition.node_cpus:
        found.append(f"asks for {asked.cpus} cores a node, nodes of {where} have {partition.node_cpus}")
    most = min(value for value in (partition.max_nodes, partition.nodes, _NO_LIMIT) if value is not None)
    if asked.nodes > most:
        found.append(f"asks for {asked.nodes} nodes, {where} allows {most}")
    if asked.account and partition.accounts is not None and asked.account not in partition.accounts:
        found.append(f"asks for account {asked.account!r}, {where} is for {', '.join(partition.accounts)}")
    return found


def _clock(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{f'{days}-' if days else ''}{hours:02d}:{minutes:02d}:{rest:02d}"


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """What a Slurm site's blocks ask for, and what each shares out.

    Parameters
    ----------
    partition, account, qos : `str` or `None`
        As the site says.
    walltime : `str`
        Slurm's time format.
    nodes : `int`
        Nodes a block.
    cpus, mem_mb : `int` or `None`
        Cores and memory a node.
    shared_mb : `int` or `None`
        Memory a node shares out among quanta, MiB; `None` when only the node knows.
    max_blocks : `int`
        Blocks a submission may have at once.
    workers : `int` or `None`
        Jobs that a node runs at once, where these are not as many as its cores.
    exclusive : `bool`
        Whether each has its nodes for itself, or for its user.
    exact : `bool`
        Whether a submission's blocks can ask for other cores and memory than the site says.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    walltime: str = ""
    nodes: int = 1
    cpus: int | None = None
    mem_mb: int | None = None
    shared_mb: int | None = None
    max_blocks: int = 1
    workers: int | None = None
    exclusive: bool = False
    exact: bool = False

    def asked(self, *, where: str) -> ResourceRequest:
        """Return what a block asks of the cluster."""
        return ResourceRequest(
            what="a block",
            where=where,
            partition=self.partition,
            account=self.account,
            qos=self.qos,
            seconds=slurm_seconds(self.walltime),
            walltime=self.walltime,
            nodes=self.nodes,
            cpus=self.cpus,
            mem_mb=self.mem_mb,
        )


def test_options(asked: ResourceRequest) -> tuple[str, ...]:
    """Return the options of ``sbatch`` for a job that asks for this."""
    given = {
        "partition": asked.partition,
        "account": asked.account,
        "qos": asked.qos,
        "time": asked.walltime or None,
        "cpus-per-task": asked.cpus,
        "mem": asked.mem_mb and f"{asked.mem_mb}M",
    }
    options = [f"--{name}={value}" for name, value in given.items() if value]
    return (*options, f"--nodes={asked.nodes}", "--ntasks-per-node=1")


def driver_asked(options: DriverOptions, *, where: str) -> ResourceRequest:
    """Return what a driver's job asks of the cluster."""
    return ResourceRequest(
        what="the driver's job",
        where=where,
        partition=options.partition,
        account=options.account,
        qos=options.qos,
        seconds=walltime_seconds(options.time),
        walltime=options.time,
        cpus=options.cpus,
        mem_mb=options.mem_mb,
    )


def task_refusal(*, requests: Mapping[str, int], shared_mb: int | None, cluster: Cluster, where: str) -> str:
    """Say which task asks for more memory than a block shares out; empty when all fit.

    Parameters
    ----------
    requests : `~collections.abc.Mapping`
        Memory requests by task label, MiB, remedy included.
    shared_mb : `int` or `None`
        What the largest kind of block of the site shares out.
    cluster : `Cluster`
        For the largest node there is, to name it.
    where : `str`
        Where a person changes it.
    """
    if not requests:
        return ""
    task, most = max(requests.items(), key=lambda item: item[1])
    largest = max((entry.mem_mb or 0 for entry in cluster.partitions), default=0)
    limit = shared_mb if shared_mb is not None else largest
    if not limit or most <= limit:
        return ""
    words = f"{task} asks for {most} MB, and the site's blocks share out {limit} MB a node"
    if largest:
        words += f"; the largest node a job may have here gives {largest} MB"
    return f"{words} ({where})"
