"""What a cluster allows, and refusals before anything is submitted."""

from dataclasses import replace
from typing import Any

import pytest
from domain_help import NOW, bps, campaign, finished, group, open_quanta, situation, snapshot

from merian_campaign.domain.execution.counts import Counts
from merian_campaign.domain.failures.remedy import RequestTable
from merian_campaign.domain.record.snapshot import Remedy
from merian_campaign.domain.rendering.render import RenderRequest, document
from merian_campaign.domain.resources.block_shape import Workload
from merian_campaign.domain.resources.cluster import (
    Blocks,
    ResourceRequest,
    parse_cluster,
    refusal,
    slurm_seconds,
)
from merian_campaign.domain.resources.cluster import (
    test_options as options_of,
)
from merian_campaign.domain.resources.site_profile import SiteProfile
from merian_campaign.domain.selection import Selection
from merian_campaign.domain.spec import BpsStep
from merian_campaign.domain.spec.site import DriverOptions, Larger
from merian_campaign.domain.states import GroupState, Verdict
from merian_campaign.domain.tick.decide import decide
from merian_campaign.domain.tick.decisions import MoveGroup, Situation, Submit, Wait

CLUSTER = parse_cluster(
    """scontrol: show partition
PartitionName=debug AllowAccounts=ALL Default=YES MaxNodes=UNLIMITED MaxTime=00:10:00 TotalNodes=4 MaxMemPerNode=UNLIMITED
PartitionName=small AllowAccounts=lsst,hsc Default=NO MaxNodes=1 MaxTime=1-00:00:00 TotalNodes=4 MaxMemPerNode=512 OverSubscribe=EXCLUSIVE
PartitionName=large AllowAccounts=ALL Default=NO MaxNodes=UNLIMITED MaxTime=UNLIMITED TotalNodes=2 MaxMemPerCPU=9223372036854775807
scontrol: show node
NodeName=n1 CPUTot=2 RealMemory=3072 State=IDLE Partitions=debug,small  BootTime=None
NodeName=n3 CPUTot=8 RealMemory=65536 State=DOWN Partitions=small,large  BootTime=None
scontrol: quit
"""  # noqa: E501 - as it is printed
)


def asked(**changes: Any) -> ResourceRequest:
    return ResourceRequest(**({"what": "a block", "where": "site/x.yaml"} | changes))


def test_limits_are_read() -> None:
    debug, small, large = CLUSTER.partitions
    assert (debug.default, debug.max_seconds, debug.mem_mb, debug.node_cpus) == (True, 600, 3072, 2)
    assert (small.max_nodes, small.mem_mb, small.accounts, small.max_seconds) == (
        1,
        512,
        ("lsst", "hsc"),
        86400,
    )
    assert (large.max_seconds, large.mem_mb, large.nodes) == (None, 65536, 2)
    assert [entry.whole_nodes for entry in CLUSTER.partitions] == [False, True, False]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10", 600),
        ("10:30", 630),
        ("01:00:00", 3600),
        ("1-0", 86400),
        ("2-12:30", 217800),
        ("UNLIMITED", None),
    ],
)
def test_times_of_slurm(text: str, seconds: int | None) -> None:
    assert slurm_seconds(text) == seconds


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"partition": "nope"},
            "found partition 'nope', which the cluster does not have; it has debug, small, large",
        ),
        (
            {"seconds": 3600, "walltime": "01:00:00"},
            "a walltime of 01:00:00, partition 'debug' allows 00:10:00",
        ),
        ({"mem_mb": 4096}, "4096 MB a node, partition 'debug' allows 3072 MB"),
        ({"partition": "small", "mem_mb": 1024}, "1024 MB a node, partition 'small' allows 512 MB"),
        ({"cpus": 4}, "4 cores a node, nodes of partition 'debug' have 2"),
        ({"nodes": 9}, "9 nodes, partition 'debug' allows 4"),
        ({"partition": "small", "account": "me"}, "account 'me', partition 'small' is for lsst, hsc"),
        ({"partition": "debug,small", "mem_mb": 4096}, "4096 MB a node"),
    ],
)
def test_what_no_partition_can_satisfy(changes: dict[str, Any], words: str) -> None:
    found = refusal(asked(**changes), CLUSTER)
    assert words in found
    assert found.endswith("(site/x.yaml)")


def test_slurm_has_the_last_word() -> None:
    long = asked(seconds=3600, walltime="01:00:00", qos="patient")
    assert refusal(long, CLUSTER)
    said = replace(CLUSTER, taken=frozenset({options_of(long)}))
    assert refusal(replace(long, what="another block", where="site/y.yaml"), said) == ""
    assert refusal(asked(seconds=3600, walltime="01:00:00"), said)


@pytest.mark.parametrize(
    "changes",
    [{}, {"mem_mb": 3072, "seconds": 600, "nodes": 4}, {"partition": "debug,large", "mem_mb": 60000},
     {"partition": "small", "account": "lsst"}],
)  # fmt: skip
def test_what_fits(changes: dict[str, Any]) -> None:
    assert refusal(asked(**changes), CLUSTER) == ""


SPEC = campaign(bps("step1", resources={"isr": {"memory": 2000}}))


def on(site: SiteProfile, entry: Any, *, base: int = 2000) -> Any:
    seen = situation(
        requests=RequestTable(
            default_mb=2048, by_task={"isr": base, "elsewhere": 900_000}, site_mb=site.most_mb
        )
    )
    known = Situation(
        drivers={}, requests=seen.requests, workers=2, now=NOW, site=site, cluster=CLUSTER
    )  # fmt: skip
    (found,) = decide(SPEC, snapshot(entry), known)
    return found


def slurm_site(
    *, larger: tuple[Larger, ...] = (), driver: DriverOptions | None = None, **changes: Any
) -> SiteProfile:
    blocks = Blocks(**({"walltime": "00:10:00", "mem_mb": 3072, "shared_mb": 3072, "cpus": 2} | changes))
    return SiteProfile(
        name="x",
        file="/x.yaml",
        workers=2,
        workers_key="cores_per_node",
        blocks=blocks,
        larger=larger,
        driver=driver,
    )


READY = group("step1", state=GroupState.READY)


def test_a_group_that_fits_is_submitted() -> None:
    assert isinstance(on(slurm_site(), READY), Submit)


@pytest.mark.parametrize(
    ("site", "words"),
    [
        (slurm_site(walltime="02:00:00"), "a block: asks for a walltime of 02:00:00"),
        (slurm_site(driver=DriverOptions(time="1-00:00:00")), "the driver's job: asks for a walltime"),
        (
            slurm_site(mem_mb=1024, shared_mb=1024),
            "isr asks for 2000 MB, and the site's blocks share out 1024 MB",
        ),
    ],
)
def test_a_request_over_the_limits_is_never_submitted(site: SiteProfile, words: str) -> None:
    found = on(site, READY)
    assert isinstance(found, MoveGroup)
    assert found.state is GroupState.NEEDS_REVIEW
    assert words in found.reason
    assert found.reason.startswith("not submitted: ")


def test_an_afterburner_that_outgrows_the_site_goes_to_larger_blocks() -> None:
    large = Larger(mem_per_node=16, partition="large", walltime="00:20:00")
    grown = group(
        "step1",
        state=GroupState.READY,
        submissions=(finished(),),
        counts=Counts(failed=1),
        open_quanta=(open_quanta(Verdict.OUT_OF_MEMORY, task="isr", memory=1, requested_mb=2000),),
    )
    site = slurm_site(larger=(large,))
    found = on(site, grown)
    assert isinstance(found, Submit)
    assert dict(found.remedy.memory_mb) == {"isr": 4000}
    assert site.larger_for(4000) is large
    assert site.larger_for(3000) is None
    # Without them the request is capped at what the site has.
    capped = on(slurm_site(), grown)
    assert isinstance(capped, Submit)
    assert dict(capped.remedy.memory_mb) == {"isr": 3072}


def test_nothing_is_submitted_while_slurm_does_not_answer() -> None:
    site = slurm_site()
    waits = Situation(
        drivers={}, requests={}, workers=2, now=NOW, site=site, no_submission="squeue: timed out"
    )
    assert decide(SPEC, snapshot(READY), waits) == (Wait(group=READY, reason="squeue: timed out"),)


@pytest.mark.parametrize(("needs_mb", "partition"), [(3000, None), (4000, "large")])
def test_what_outgrows_the_sites_blocks_is_rendered_for_larger_ones(
    needs_mb: int, partition: str | None
) -> None:
    step = SPEC.step("step1")
    assert isinstance(step, BpsStep)
    request = RenderRequest(
        spec=SPEC,
        step=step,
        group="all",
        selection=Selection(),
        number=2,
        directory="/s/2",
        site=slurm_site(larger=(Larger(mem_per_node=16, partition="large", walltime="00:20:00"),)),
        remedy=Remedy(workers=1),
        quantum_wrapper="/q.sh",
        work=Workload(needs_mb=needs_mb, workers=1),
    )
    written: Any = document(request)["site"]
    section = written["x"]
    assert section.get("partition") == partition
    assert section.get("mem_per_node") == (16 if partition else None)
    assert section.get("memory_mb") == (16384 if partition else None)
    assert section["cores_per_node"] == 1
