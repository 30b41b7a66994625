"""What blocks ask of Slurm when little is left to run, and that rendering and the cluster's check agree."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml
from domain_help import bps, campaign, finished, group, open_quanta
from hypothesis import given
from hypothesis import strategies as st

from merian_campaign.domain.execution.counts import Counts
from merian_campaign.domain.failures.remedy import ClusterRequest, RequestTable
from merian_campaign.domain.record.snapshot import Remedy
from merian_campaign.domain.rendering.render import RenderRequest, render
from merian_campaign.domain.resources.block_shape import BlockShape, Workload, block_shape
from merian_campaign.domain.resources.cluster import Blocks, Cluster, Partition
from merian_campaign.domain.resources.resource_fit import most_share, step_refused, workload
from merian_campaign.domain.resources.site_profile import SiteProfile
from merian_campaign.domain.selection import Selection
from merian_campaign.domain.spec import BpsStep
from merian_campaign.domain.spec.site import Larger

TIGER = SiteProfile(
    name="tiger", file="/site/tiger.yaml", workers=112, workers_key="cores_per_node",
    site_class="merian_campaign.wms.sites.Slurm",
    blocks=Blocks(
        walltime="05:00:00", nodes=4, cpus=112, mem_mb=980 * 1024, shared_mb=980 * 1024, max_blocks=2,
        exclusive=True, exact=True,
    ),
)  # fmt: skip
SPEC = campaign(bps("step1"))


def shape(site: SiteProfile = TIGER, **work: Any) -> BlockShape:
    assert site.blocks is not None
    return block_shape(site, site.blocks, Workload(**work))


def rendered(site: SiteProfile = TIGER, remedy: Remedy | None = None, **work: Any) -> dict[str, Any]:
    step = SPEC.step("step1")
    assert isinstance(step, BpsStep)
    request = RenderRequest(
        spec=SPEC, step=step, group="all", selection=Selection(), number=2, directory="/s/2", site=site,
        remedy=remedy or Remedy(), quantum_wrapper="/q.sh", work=Workload(**work),
    )  # fmt: skip
    found: dict[str, Any] = yaml.safe_load(render(request)).get("site", {}).get("tiger", {})
    return found


def on(**changes: Any) -> SiteProfile:
    assert TIGER.blocks is not None
    return replace(TIGER, blocks=replace(TIGER.blocks, **changes))


def test_three_quanta_ask_for_three_cores_and_their_memory_and_share_the_node() -> None:
    assert rendered(quanta=3, needs_mb=4000) == {
        "nodes": 1,
        "cores_per_node": 3,
        "workers_per_node": 3,
        "max_blocks": 1,
        "mem_per_node": 14.0,  # 3 times 4000 MiB and a tenth, and 1 GiB beside them
        "memory_mb": 12000,
        "exclusive": "user",
    }
    assert "exclusive" not in rendered(on(exclusive=False), quanta=3, needs_mb=4000)
    assert rendered(quanta=3, needs_mb=4000, cpus=4)["cores_per_node"] == 12


@pytest.mark.parametrize(
    ("work", "nodes"),
    [
        ({"quanta": 112, "needs_mb": 4000}, 1),  # they fill one node
        ({"quanta": 113, "needs_mb": 4000}, 2),
        ({"quanta": 28, "needs_mb": 4000, "cpus": 4}, 1),
        ({"quanta": 2, "needs_mb": 490_000}, 1),  # by their memory, too
        ({"quanta": 3}, 1),  # nobody knows what they ask for
        ({"quanta": 3, "needs_mb": 4000, "exact": False}, 1),
        ({"quanta": 1, "needs_mb": 980 * 1024}, 1),
        ({"quanta": 500, "needs_mb": 4000}, None),
        ({"needs_mb": 4000}, None),
    ],
)
def test_what_fills_a_node_or_is_not_known_has_whole_ones(work: dict[str, Any], nodes: int | None) -> None:
    assert rendered(**work) == ({} if nodes is None else {"nodes": nodes})
    assert not shape(**work).small


@pytest.mark.parametrize(
    "site", [on(exact=False), on(mem_mb=None), on(cpus=None, workers=None), on(mem_mb=None, shared_mb=None)]
)
def test_a_site_that_does_not_say_what_a_node_has_keeps_it_whole(site: SiteProfile) -> None:
    assert rendered(site, quanta=3, needs_mb=4000) == {"nodes": 1}


def test_fewer_workers_are_a_smaller_share_of_the_same_node() -> None:
    found = shape(quanta=3, needs_mb=8000, workers=56)
    assert (found.cores, found.workers) == (3, 3)
    assert found.share == max(3 / 112, 27 / 980)
    assert shape(quanta=57, needs_mb=800, workers=56).cores == 56


def test_where_a_worker_has_two_cores_it_keeps_them() -> None:
    site = on(workers=56)
    assert rendered(site, quanta=3, needs_mb=4000)["cores_per_node"] == 6
    assert rendered(site, quanta=3, needs_mb=4000)["workers_per_node"] == 3
    fewer = rendered(site, Remedy(workers=28), quanta=None, workers=28)
    assert fewer == {"cores_per_node": 28, "workers_per_node": 28}


def test_a_larger_block_is_cut_down_too() -> None:
    site = replace(TIGER, larger=(Larger(mem_per_node=3000, cores_per_node=64, partition="big"),))
    found = rendered(site, quanta=1, needs_mb=1_100_000)
    assert (found["partition"], found["cores_per_node"], found["mem_per_node"]) == ("big", 1, 1183.0)
    assert found["memory_mb"] == 1_100_000
    assert rendered(site, needs_mb=1_100_000)["mem_per_node"] == 3000


@given(
    quanta=st.integers(1, 300), needs=st.integers(1, 1_500_000), cpus=st.integers(1, 130),
    workers=st.none() | st.integers(1, 112), own=st.none() | st.integers(1, 200),
)  # fmt: skip
def test_it_is_never_more_than_the_sites_and_has_room_for_its_quanta(
    quanta: int, needs: int, cpus: int, workers: int | None, own: int | None
) -> None:
    site = on(workers=own)
    whole, found = shape(site), shape(site, quanta=quanta, needs_mb=needs, cpus=cpus, workers=workers)
    assert 1 <= found.nodes <= whole.nodes
    assert (found.cores or 0) <= (whole.cores or 0)
    assert (found.mem_mb or 0) <= (whole.mem_mb or 0)
    assert (found.shared_mb or 0) <= (found.mem_mb or 0)
    assert found.max_blocks <= whole.max_blocks
    if found.small:
        assert found.shared_mb == quanta * needs
        assert found.workers == quanta * cpus
        assert (found.cores or 0) >= 1


LEFT = group(
    "step1", submissions=(finished(),), counts=Counts(succeeded=9, failed=2, blocked=1),
    open_quanta=(open_quanta(number=2), open_quanta(task="coadd")),
)  # fmt: skip


def test_what_is_left_is_read_from_the_record() -> None:
    step = SPEC.step("step1")
    assert isinstance(step, BpsStep)
    table = RequestTable(
        by_task={"coadd": 9000}, cpus_by_task={"coadd": 4},
        clusters=(ClusterRequest(label="c", tasks=("calibrate",), cpus=6),),
    )  # fmt: skip

    def found(reason: str, entry: Any = LEFT) -> Workload:
        return workload(entry, spec=SPEC, step=step, remedy=Remedy(workers=5), requests=table, reason=reason)

    assert found("afterburner: x") == Workload(needs_mb=9000, cpus=6, quanta=3, workers=5)
    assert found("a person said so").quanta is None
    # Its driver was lost before it had a graph: nobody knows how much is left.
    assert found("afterburner: lost", replace(LEFT, counts=Counts())).quanta is None


def test_the_cluster_is_asked_for_what_is_rendered() -> None:
    small = Workload(needs_mb=4000, quanta=3)
    node = Partition(
        name="cpu", default=True, max_seconds=None, max_nodes=1, max_mem_mb=None, accounts=None, nodes=9,
        node_mem_mb=64 * 1024, node_cpus=16,
    )  # fmt: skip
    cluster = Cluster(partitions=(node,))
    known = {"calibrate": 4000}
    assert step_refused(known=known, work=small, site=TIGER, cluster=cluster) is None
    whole = step_refused(known=known, site=TIGER, cluster=cluster)
    assert whole is not None
    assert "asks for 4 nodes" in whole.words
    assert [most_share(spec=SPEC, work=work, site=TIGER).blocks for work in (small, Workload())] == [1, 2]
