"""The submit YAML of one submission, and what a campaign file's fingerprint depends on."""

from dataclasses import replace
from typing import Any

import pytest
import yaml
from domain_help import action, bps, by_tract, campaign
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from merian_campaign.domain.failures.remedy import RequestTable
from merian_campaign.domain.record.snapshot import Remedy
from merian_campaign.domain.rendering.render import (
    RenderRequest,
    SiteProfile,
    data_query,
    input_collections,
    render,
)
from merian_campaign.domain.resources.block_shape import Workload
from merian_campaign.domain.resources.cluster import Blocks
from merian_campaign.domain.selection import Selection
from merian_campaign.domain.spec import BpsStep, CampaignSpec
from merian_campaign.domain.spec.site import Larger
from merian_campaign.services.apply import fingerprint

SITE = SiteProfile(name="local", file="/site/local.yaml", workers=8, workers_key="cores")
TRACT = Selection(dimension="tract", values=(9813,))


def bps_step(spec: CampaignSpec, name: str) -> BpsStep:
    step = spec.step(name)
    assert isinstance(step, BpsStep)
    return step


def rendered(spec: CampaignSpec, name: str, **changes: object) -> dict[str, Any]:
    values: dict[str, Any] = {
        "spec": spec,
        "step": bps_step(spec, name),
        "group": "all",
        "selection": Selection(),
        "number": 1,
        "directory": "/sub/night/step/all/001",
        "site": SITE,
        "remedy": Remedy(),
        "quantum_wrapper": "/pkg/quantum.sh",
    }
    read = yaml.safe_load(render(RenderRequest(**(values | changes))))
    assert isinstance(read, dict)
    return read


def test_the_payload_of_a_group() -> None:
    spec = campaign(bps("step2d"), by_tract("step3", after=["step2d"]))
    files = RequestTable(files=("/bps/base.yaml",))
    read = rendered(spec, "step3", group="tract9813", selection=TRACT, requests=files)
    assert read["payload"] == {
        "payloadName": "night_step3_tract9813_001",
        "butlerConfig": "/repo",
        "inCollection": "runs/night/step2d,DECam/defaults",
        "output": "runs/night/step3/tract9813",
        "outputRun": "runs/night/step3/tract9813/001",
        "dataQuery": "instrument = 'DECam' AND skymap = 'rings' AND tract = 9813",
    }
    assert read["includeConfigs"] == ["/bps/base.yaml", "/site/local.yaml"]
    assert read["pipelineYaml"] == "/pipe.yaml#step3"
    assert read["submitPath"] == "/sub/night/step/all/001/bps"
    assert "extraQgraphOptions" not in read["payload"]
    assert "pipetask" not in read


def test_an_afterburner_skips_what_exists_and_carries_its_remedy() -> None:
    spec = campaign(bps("step1", resources={"isr": {"memory": 3000, "walltime": "10:00:00", "cpus": 2}}))
    read = rendered(
        spec,
        "step1",
        number=3,
        earlier=True,
        remedy=Remedy(
            memory_mb=(("calibrate", 8192), ("isr", 6000)), workers=1, by_inputs=(("isr", ((1, 900),)),)
        ),
    )
    assert read["campaignMemory"] == "isr=1:900"
    assert read["payload"]["outputRun"] == "runs/night/step1/all/003"
    assert read["payload"]["extraQgraphOptions"].endswith("--skip-existing-in runs/night/step1/all")
    assert read["pipetask"] == {
        "calibrate": {"requestMemory": 8192},
        "isr": {"requestMemory": 6000, "requestCpus": 2, "requestWalltime": 600},
    }
    assert read["site"]["local"]["cores"] == 1


def test_a_generation_lies_apart_and_skips_nothing_of_an_older_one() -> None:
    spec = campaign(bps("step1"))
    first = rendered(spec, "step1", number=3, generation=2)["payload"]
    assert first["output"] == "runs/night/step1/all.g2"
    assert first["outputRun"] == "runs/night/step1/all.g2/003"
    assert "extraQgraphOptions" not in first
    later = rendered(spec, "step1", number=4, generation=2, earlier=True)["payload"]
    assert later["outputRun"] == "runs/night/step1/all.g2/004"
    assert later["extraQgraphOptions"] == "--rebase --skip-existing-in runs/night/step1/all.g2"


def test_blocks_stand_back_as_the_step_or_the_campaign_says() -> None:
    spec = campaign(bps("step1"), bps("step2a", nice=0), limits={"nice": 100})
    cluster = replace(SITE, name="slurm", blocks=Blocks(walltime="01:00:00"))
    without = rendered(spec, "step1", site=cluster, exclude=("n7", "n9"))["site"]["slurm"]
    assert without == {"nice": 100, "exclude": "n7,n9"}
    assert rendered(spec, "step1", site=cluster)["site"]["slurm"] == {"nice": 100}
    assert rendered(spec, "step2a", site=cluster)["site"]["slurm"] == {"nice": 0}
    assert "site" not in rendered(spec, "step1")
    with pytest.raises(ValueError, match=r"limits\.nice"):
        campaign(bps("step1"), limits={"nice": -1})


@pytest.mark.parametrize(
    ("quanta", "needs_mb", "nodes"),
    [(None, 0, None), (3, 0, 1), (9, 0, 2), (500, 0, None), (3, 600, 3), (2, 5000, 2), (0, 0, 1)],
)
def test_few_quanta_get_blocks_of_few_nodes(quanta: int | None, needs_mb: int, nodes: int | None) -> None:
    cluster = replace(SITE, name="slurm", workers=8, blocks=Blocks(shared_mb=1000, nodes=4))
    text = rendered(
        campaign(bps("step1")), "step1", site=cluster, work=Workload(quanta=quanta, needs_mb=needs_mb)
    )
    assert text.get("site", {}).get("slurm", {}).get("nodes") == nodes


def test_a_share_of_the_blocks_goes_before_what_the_site_says() -> None:
    spec = campaign(bps("step1"))
    larger = (Larger(mem_per_node=64, max_blocks=9),)
    cluster = replace(SITE, name="slurm", blocks=Blocks(shared_mb=1000, max_blocks=4), larger=larger)
    for needs, mb in ((0, None), (2000, 65536)):
        section = rendered(
            spec, "step1", site=cluster, remedy=Remedy(blocks=3), work=Workload(needs_mb=needs)
        )["site"]["slurm"]
        assert (section["max_blocks"], section.get("memory_mb")) == (3, mb)
    assert "site" not in rendered(spec, "step1", remedy=Remedy(blocks=3))


@pytest.mark.parametrize(
    ("subset", "where", "selection", "query"),
    [
        ("step1", "", Selection(), "instrument = 'DECam'"),
        ("step1", "a = 1", Selection(), "instrument = 'DECam' AND a = 1"),
        ("step1", "a = 1 OR b = 2", Selection(), "instrument = 'DECam' AND (a = 1 OR b = 2)"),
        ("step1", "(a = 1)or(b = 2)", Selection(), "instrument = 'DECam' AND ((a = 1)or(b = 2))"),
        ("step1", "a = 1\tOR\tb = 2", Selection(), "instrument = 'DECam' AND (a = 1\tOR\tb = 2)"),
        ("step1", "ORDER = 1", Selection(), "instrument = 'DECam' AND ORDER = 1"),
        (
            "step1",
            "a = 1",
            Selection(dimension="visit", values=(1, 2)),
            "instrument = 'DECam' AND visit IN (1, 2) AND a = 1",
        ),
        ("step3", "tract = 3", Selection(), "instrument = 'DECam' AND skymap = 'rings' AND tract = 3"),
    ],
)
def test_a_groups_query_is_never_loosened_by_the_steps(
    subset: str, where: str, selection: Selection, query: str
) -> None:
    spec = campaign(bps("some", subset, where=where))
    assert data_query(spec=spec, step=bps_step(spec, "some"), selection=selection) == query


def test_inputs_are_the_steps_before_or_what_the_step_says() -> None:
    spec = campaign(
        action("chain"),
        bps("step1", after=["chain"]),
        bps("step2a", after=["step1"], output="own/chain"),
        bps("step2d", after=["step2a"], inputs=["step1", "chain", "raw/all", "DECam/defaults", "raw/all"]),
    )
    assert input_collections(spec=spec, step=bps_step(spec, "step2a")) == (
        "runs/night/step1",
        "DECam/defaults",
    )
    assert input_collections(spec=spec, step=bps_step(spec, "step2d")) == (
        "runs/night/step1", "raw/all", "DECam/defaults",
    )  # fmt: skip


@given(
    where=st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="'\"{}$\\`")),
    include=st.lists(st.text(st.characters(categories=["L", "Nd"]), min_size=1), max_size=3),
)
def test_whatever_a_file_says_is_read_back_by_pyyaml(where: str, include: list[str]) -> None:
    spec = campaign(bps("step1", where=f"x = '{where}'"))
    read = rendered(spec, "step1", requests=RequestTable(files=tuple(include)))
    assert f"x = '{where}'" in read["payload"]["dataQuery"]
    assert read["includeConfigs"] == [*include, "/site/local.yaml"]


def test_rendering_twice_gives_the_same_text() -> None:
    first, second = (rendered(campaign(bps("step1")), "step1") for _ in range(2))
    assert first == second
    assert list(first) == list(second)


RESOLVED = {"campaign": "night", "butler": "/repo"}


@pytest.mark.parametrize(
    ("text", "resolved", "same"),
    [
        ("a: 1\n", RESOLVED, True),
        ("a: 1\n", dict(reversed(RESOLVED.items())), True),
        ("a: 1", RESOLVED, False),
        ("a: 1\n# comment\n", RESOLVED, False),
        ("a: 1\n", RESOLVED | {"butler": "/other"}, False),
    ],
)
def test_a_fingerprint_depends_on_the_text_and_on_what_it_resolved_to(
    text: str, resolved: dict[str, str], same: bool
) -> None:
    before = fingerprint(text="a: 1\n", resolved=RESOLVED)
    found = fingerprint(text=text, resolved=resolved)
    assert len(found) == 64
    assert (found == before) is same
    assert (found[:32] == before[:32]) is (text == "a: 1\n")


def test_files_of_overrides_come_before_overrides_and_options_of_a_task_are_its_own() -> None:
    step = bps(
        "step1",
        config=["isr:doFlat=False"],
        config_files=["isr:/cfg/isr.py", "calibrate:s3://cfg/calibrate.py"],
        resources={"isr": {"run_options": "-n 10 --no-raise-on-partial-outputs"}},
    )
    read = rendered(campaign(step), "step1")
    assert read["payload"]["extraQgraphOptions"] == (
        "-C isr:/cfg/isr.py -C calibrate:s3://cfg/calibrate.py -c isr:doFlat=False"
    )
    assert read["pipetask"] == {"isr": {"extraRunQuantumOptions": "-n 10 --no-raise-on-partial-outputs"}}


@pytest.mark.parametrize(
    "changes",
    [
        {"config_files": ["/cfg/isr.py"]},
        {"config_files": ["isr:"]},
        {"config_files": ["isr:/a folder/isr.py"]},
        {"resources": {"isr": {"run_options": "-n 10; ls"}}},
        {"resources": {"isr": {"run_options": "{butlerConfig}"}}},
    ],
)
def test_what_a_command_line_would_not_take_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"config_files|run_options"):
        campaign(bps("step1", **changes))
