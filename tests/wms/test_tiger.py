"""The batch script that `site/tiger.yaml` gives, beside that of upstream's own site class for the machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from lsst.ctrl.bps import BpsConfig
from lsst.ctrl.bps.parsl import SiteConfig
from lsst.ctrl.bps.parsl.sites import princeton
from wms_support import OURS

from merian_campaign.domain.record.snapshot import Remedy
from merian_campaign.domain.rendering.render import RenderRequest, render
from merian_campaign.domain.resources.block_shape import Workload
from merian_campaign.domain.selection import Selection
from merian_campaign.domain.spec import BpsStep, CampaignSpec
from merian_campaign.files.site_file import read_site
from merian_campaign.wms.sites import slurm

TIGER = Path(__file__).parents[2] / "site" / "tiger.yaml"
UPSTREAM = "lsst.ctrl.bps.parsl.sites.princeton.Tiger"
OPTION = re.compile(r"^#SBATCH --([a-z-]+)(?:=(.*))?$", re.MULTILINE)
OF_ONES_OWN = {"job-name", "comment", "output", "error", "open-mode", "no-requeue"}
"""Names and places; what happens to a block that is requeued (see docs/wms.md)."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place with an sbatch that takes everything, on a host of that cluster."""
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    # Each service reads the id in its own way.
    sbatch.write_text(
        '#!/bin/bash\ncp "${@: -1}" "${0%/*}/script"\n'
        '[ "$1" = --parsable ] || printf "Submitted batch job "\necho 17\n'
    )
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", str(sbatch.parent), prepend=":")
    for module in (princeton, slurm):
        monkeypatch.setattr(module, "net_if_addrs", lambda: {"eth0": [], "ib0": []})
        monkeypatch.setattr(module, "address_by_interface", {"ib0": "10.0.0.1"}.__getitem__)
    return tmp_path


def block(folder: Path, site_class: str, **changes: Any) -> tuple[Any, str]:
    """Return the executor of a site, and the script of the block it submits."""
    place = folder / site_class
    place.mkdir()
    file = place / "submit.yaml"
    content = {
        "includeConfigs": [str(TIGER)],
        "project": "merian-campaign",
        "campaign": "night_step1_all_001",
        "operator": "tester",
        "submitPath": str(place),
        "wmsServiceClass": OURS,
        "site": {"tiger": {"class": site_class, **changes}},
    }
    file.write_text(yaml.safe_dump(content))
    (executor,) = SiteConfig.from_config(BpsConfig(str(file))).get_executors()
    executor.provider.script_dir = str(place)
    assert executor.provider.submit("run-workers", 1) == "17"
    return executor, (folder / "bin" / "script").read_text()


def asked(script: str) -> Mapping[str, str]:
    """Return what a script asks for, in one spelling; as in Slurm, the last word counts."""
    found = dict(OPTION.findall(script))
    hours, minutes, _ = found["time"].split(":") if ":" in found["time"] else ("0", found["time"], "")
    unit = {"g": 1024, "M": 1}[found["mem"][-1]]
    found |= {"time": f"{int(hours) * 60 + int(minutes)}", "mem": f"{int(found['mem'][:-1]) * unit}"}
    return {key: value for key, value in found.items() if key not in OF_ONES_OWN}


@pytest.mark.parametrize(
    "changes",
    [{}, {"account": "merian", "qos": "tiger-vshort", "constraint": "cascade", "walltime": "02:30:00"}],
)
def test_a_block_on_tiger_asks_for_what_upstreams_site_asks_for(folder: Path, changes: Any) -> None:
    ours, own = block(folder, "merian_campaign.wms.sites.Slurm", **changes)
    theirs, public = block(folder, UPSTREAM, **changes)
    assert asked(own) == asked(public)
    assert asked(own).items() >= {"nodes": "4", "cpus-per-task": "112", "dependency": "singleton"}.items()
    for key in ("init_blocks", "min_blocks", "max_blocks", "parallelism", "cmd_timeout", "nodes_per_block"):
        assert getattr(ours.provider, key) == getattr(theirs.provider, key), key
    assert ours.address == theirs.address == "10.0.0.1"
    # Workers are started on every node in the same way.
    for script in (own, public):
        assert re.search(r"srun --ntasks[ =]4 ", script)
        assert "-K0 -k --cpu-bind=none" in script


def test_a_partition_is_asked_for_in_a_key_of_its_own(folder: Path) -> None:
    _, own = block(folder, "merian_campaign.wms.sites.Slurm", partition="cpu")
    _, public = block(folder, UPSTREAM, scheduler_options="#SBATCH --partition=cpu")
    assert asked(own) == asked(public)
    assert asked(own)["partition"] == "cpu"


def test_a_submission_may_have_fewer_blocks_than_its_site_begins_with(folder: Path) -> None:
    changes = {"init_blocks": 3, "min_blocks": 3, "max_blocks": 2}
    ours, _ = block(folder, "merian_campaign.wms.sites.Slurm", **changes)
    assert (ours.provider.init_blocks, ours.provider.min_blocks, ours.provider.max_blocks) == (2, 2, 2)


def test_little_that_is_left_shares_a_node_with_what_its_user_has_there(folder: Path) -> None:
    site = read_site(str(TIGER))
    assert site.blocks is not None
    spec = CampaignSpec.model_validate(
        {
            "campaign": "night", "butler": "/repo", "instrument": "DECam", "site": str(TIGER),
            "collections": {"output": "runs/night", "inputs": []},
            "steps": [{"name": "step1", "pipeline": "/pipe.yaml", "scope": "exposure"}],
        }
    )  # fmt: skip
    step = spec.step("step1")
    assert isinstance(step, BpsStep)
    request = RenderRequest(
        spec=spec, step=step, group="all", selection=Selection(), number=2, directory="/s/2", site=site,
        remedy=Remedy(), quantum_wrapper="/q.sh", work=Workload(quanta=3, needs_mb=4000, cpus=2),
    )  # fmt: skip
    changes = yaml.safe_load(render(request))["site"]["tiger"]
    changes.pop("class", None)
    ours, own = block(folder, "merian_campaign.wms.sites.Slurm", **changes)
    found = asked(own)
    assert (found["nodes"], found["cpus-per-task"], found["mem"]) == ("1", "6", f"{14 * 1024}")
    assert found["exclusive"] == "user"
    assert (ours.provider.init_blocks, ours.provider.max_blocks, ours.max_workers_per_node) == (1, 1, 6)
    assert "srun" not in own
