"""Rendering a campaign of many tracts against PyYAML writing the same documents.

Usage: ``bench_render.py [TRACTS]``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench_results import entry, keep

from merian_campaign.domain.campaign.plan import plan_groups
from merian_campaign.domain.record.snapshot import Remedy
from merian_campaign.domain.rendering.render import RenderRequest, render
from merian_campaign.domain.spec import BpsStep, CampaignSpec
from merian_campaign.files.site_file import read_site

ROOT = Path(__file__).parents[3]
ROUNDS = 5
A_WHILE = 0.5


def spec_of(tracts: int) -> CampaignSpec:
    """Return a campaign of one step by tract."""
    return CampaignSpec.model_validate(
        {
            "campaign": "n",
            "butler": "/repo",
            "instrument": "DECam",
            "skymap": "hsc_rings_v1",
            "site": str(ROOT / "site" / "local.yaml"),
            "include": [str(ROOT / "bps_configs" / "base.yaml")],
            "collections": {"output": "u/x", "inputs": ["DECam/defaults"]},
            "tracts": list(range(tracts)),
            "steps": [
                {
                    "name": "step3",
                    "pipeline": "/p/x.yaml#step3",
                    "scope": "tract",
                    "group_by": "tract",
                    "resources": {"isr": {"memory": 1234, "cpus": 3}, "measure": {"memory": 4000}},
                }
            ],
        }
    )


def rendered(spec: CampaignSpec) -> list[str]:
    """Return the submit YAML of every group."""
    site = read_site(spec.site)
    texts, nothing = [], Remedy()
    for group in plan_groups(spec).wanted:
        step = spec.step(group.step)
        assert isinstance(step, BpsStep)
        request = RenderRequest(
            spec=spec,
            step=step,
            group=group.key,
            selection=group.selection,
            number=1,
            directory=f"/sub/{group.key}/001",
            site=site,
            remedy=nothing,
            quantum_wrapper="/pkg/quantum.sh",
        )
        texts.append(render(request))
    return texts


def seconds(work: Callable[[], object]) -> float:
    """Return the least CPU time of some rounds, and of more where one is short."""
    found: list[float] = []
    while len(found) < ROUNDS or sum(found) < A_WHILE:
        begin = time.process_time()
        work()
        found.append(time.process_time() - begin)
    return min(found)


def main(arguments: list[str]) -> int:
    """Measure; exit status 1 when a ratio is below what must hold."""
    spec = spec_of(int(arguments[0]) if arguments else 400)
    documents = [yaml.safe_load(text) for text in rendered(spec)]
    ours = seconds(lambda: rendered(spec))
    rows = []
    for name, dumper, at_least, aim in (
        ("rendering vs PyYAML", yaml.SafeDumper, 20.0, 50.0),
        ("rendering vs PyYAML's libyaml", getattr(yaml, "CSafeDumper", None), 1.0, 4.0),
    ):
        if dumper is None:
            continue
        theirs = seconds(lambda d=dumper: [yaml.dump(one, Dumper=d, sort_keys=False) for one in documents])
        rows.append(entry(name, theirs / ours, at_least, aim))
    sys.stdout.write(f"{len(documents)} files rendered in {ours * 1e3:.1f} ms\n")
    return keep(rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
