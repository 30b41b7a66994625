"""Every kind of file that the product reads, a good one of each, and what reads it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from harness import Target
from survey_help import RULES, SITE, TEXT, make_survey

from merian_campaign.domain.campaign.plan import plan_groups
from merian_campaign.domain.errors import CampaignError
from merian_campaign.domain.record.snapshot import Remedy
from merian_campaign.domain.rendering.naming import SubmissionPaths
from merian_campaign.domain.rendering.render import RenderRequest, render
from merian_campaign.domain.spec import BpsStep, CampaignSpec
from merian_campaign.files.bounded_yaml import read_data
from merian_campaign.files.bps_files import read_requests
from merian_campaign.files.campaign_file import CampaignFile, load_campaign
from merian_campaign.files.rule_files import read_rules
from merian_campaign.files.site_file import read_site
from merian_campaign.files.yaml_value import replace_in_file
from merian_campaign.middleware.drivers import LocalDrivers
from merian_campaign.middleware.preflight.driver_preflight import refusal_in
from merian_campaign.services.apply import fingerprint
from merian_campaign.transfer.exports import claim, read_manifest
from merian_campaign.wms.lease import read_lease
from merian_campaign.wms.version_lookup import mismatch

REPOSITORY = Path(__file__).parents[2]

CAMPAIGN = """\
campaign: night
description: All there is
variables: {REPO: repo}
butler: ${REPO}
instrument: DECam
skymap: rings
site: local
wms: stock
memory_guard: address_space
include: [base.yaml]
failure_rules: rules.yaml
collections: {output: runs/night, inputs: [DECam/defaults]}
tracts: ["9813-9814"]
work_dir: work
environment: {OMP_NUM_THREADS: "1"}
stack: {setup: [lsst_distrib -t w_2022_26], prelude: "true", changes: allowed}
limits: {submissions: 3, blocks: 4, jobs: 100, nice: 5}
afterburner: {max_attempts: 3, max_submissions: 5, memory_multiplier: 2.5, memory_max: 9000, workers: 1}
steps:
  - name: bias
    action: certify-calibrations
    arguments: {input: a/b, output: c, dataset_type: bias, begin: 2021-01-01T00:00:00, end: "2022-01-01"}
  - name: raws
    action: ingest-raws
    arguments: {files: ["raw/*.fz"], transfer: copy, processes: 2}
  - name: step1
    after: [bias, {step: raws, match: all, require: complete}]
    pipeline: pipe.yaml#step1
    scope: exposure
    select: {observation_type: science, day_obs: "20210101-20220630", exclude_detectors: [31, 61]}
    group_by: {kind: day_obs, nights: ["20210318-20210321"]}
    config: ["isr:doFlat=False"]
    resources: {isr: {memory: 4096, memory_max: 9000, cpus: 2, walltime: "10:00:00"}}
  - name: step2a
    after: [step1]
    pipeline: pipe.yaml#step2a
    scope: visit
    group_by: {kind: visit, ids: ["100-130", 140], size: 7}
    loss_budget: 0.01
    priority: 3
  - name: chosen
    pipeline: pipe.yaml#step1
    scope: exposure
    where: detector NOT IN (31, 61)
    group_by: {kind: lists, dimension: exposure, lists: {one: [1, 2], two: {file: ids.txt}}}
  - name: step3
    after: [step2a]
    inputs: [step1, DECam/calib]
    pipeline: pipe.yaml#step3
    scope: tract
    group_by: tract
    output: own/step3
"""

SLURM = """\
computeSite: tiger
driver: slurm
driver_options: {account: merian, partition: cpu, time: "1-00:00:00", mem_mb: 4096, prelude: "module load x"}
larger:
  - {mem_per_node: 512, partition: big, constraint: "a|b"}
stack: {load: load.sh, setup: lsst_distrib}
site:
  tiger:
    class: merian_campaign.wms.sites.Slurm
    nodes: 2
    cores_per_node: 8
    mem_per_node: 64.5
    walltime: "04:00:00"
    qos: normal
    max_blocks: 3
    status_seconds: 20
    scheduler_options: |
      #SBATCH --partition=other
"""

FRAGMENT = """\
includeConfigs: [more.yaml]
requestMemory: 2048
pipetask:
  isr: {requestMemory: 4762, requestMemoryMax: 9000}
cluster:
  one: {pipetasks: "isr,calibrate", dimensions: "visit,detector"}
"""

IDS = b"# night 1\n970612-970614\n971020, 971021  # night 2\n\n"
REGISTRY = b"registry:\n  db: postgresql+psycopg2://host:5432/merian\ndatastore: {root: <butlerRoot>}\n"
QUANTUM = "0197c5a2-8a3c-7b3e-9f1d-0123456789ab"


def _survey(folder: Path) -> Callable[[], CampaignFile]:
    survey = make_survey(folder)
    for name, text in {"more.yaml": "requestMemory: 1000\n", "night.yaml": CAMPAIGN}.items():
        (folder / name).write_text(text)
    (folder / "ids.txt").write_bytes(IDS)
    return lambda: load_campaign(str(survey.file), environment={})


def _use(loaded: CampaignFile, site: str) -> None:
    """Do with a campaign that was taken what `validate`, `apply` and `render` do."""
    fingerprint(text=loaded.text, resolved=loaded.resolved)
    spec = CampaignSpec.model_validate(json.loads(json.dumps(loaded.resolved)))
    groups = {group.step: group for group in plan_groups(spec).wanted}
    profile = read_site(site)
    for step in spec.steps:
        if isinstance(step, BpsStep) and step.name in groups:
            request = RenderRequest(
                spec=spec,
                step=step,
                group=groups[step.name].key,
                selection=groups[step.name].selection,
                number=2,
                earlier=True,
                directory="/sub",
                site=profile,
                remedy=Remedy(memory_mb=(("isr", 3000),)),
                quantum_wrapper="/pkg/quantum.sh",
                requests=read_requests(spec, step),
            )
            assert (
                yaml.load(render(request), Loader=yaml.CSafeLoader)["payload"]["butlerConfig"] == spec.butler
            )


def _campaign(folder: Path) -> Callable[[bytes], object]:
    load = _survey(folder)

    def read(data: bytes) -> object:
        (folder / "night.yaml").write_bytes(data)
        return _use(load(), str(folder / "site" / "local.yaml"))

    return read


def _beside(name: str) -> Callable[[Path], Callable[[bytes], object]]:
    """Return the reader of a file that a campaign names."""

    def reader(folder: Path) -> Callable[[bytes], object]:
        load = _survey(folder)

        def read(data: bytes) -> object:
            (folder / name).write_bytes(data)
            loaded = load()
            step = loaded.spec.step("step1")
            assert isinstance(step, BpsStep)
            read_rules(loaded.spec.failure_rules)
            read_requests(loaded.spec, step)
            return _use(loaded, loaded.spec.site)

        return read

    return reader


def _one(name: str, call: Callable[[Path], object]) -> Callable[[Path], Callable[[bytes], object]]:
    """Return the reader of a file in a folder of its own."""

    def reader(folder: Path) -> Callable[[bytes], object]:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)

        def read(data: bytes) -> object:
            file.write_bytes(data)
            return call(folder)

        return read

    return reader


def _ledger(folder: Path) -> object:
    return claim(folder, campaign="night", repository="/repo")


def _drivers(what: str) -> Callable[[Path], object]:
    drivers = LocalDrivers(environ={})
    return lambda folder: getattr(drivers, what)(str(folder))


def _lines(*entries: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(entry).encode() + b"\n" for entry in entries)


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode()


def _name(path: str) -> str:
    return path.removeprefix("/d/")


_PATHS = SubmissionPaths(directory="/d")

WRITTEN = (
    Target(name="campaign", kind="yaml", seeds=(CAMPAIGN.encode(), TEXT.encode()), reader=_campaign),
    Target(
        name="site",
        kind="yaml",
        seeds=(SITE.encode(), SLURM.encode(), (REPOSITORY / "site/tiger.yaml").read_bytes()),
        reader=_one("site.yaml", lambda folder: read_site(str(folder / "site.yaml"))),
    ),
    Target(
        name="rules",
        kind="yaml",
        seeds=(RULES.encode(), (REPOSITORY / "campaign/failure-rules.yaml").read_bytes()),
        reader=_one("rules.yaml", lambda folder: read_rules(str(folder / "rules.yaml"))),
    ),
    Target(
        name="bps",
        kind="yaml",
        seeds=(
            FRAGMENT.encode(),
            *(
                (REPOSITORY / "bps_configs" / name).read_bytes()
                for name in ("base.yaml", "clustering.yaml", "resources.yaml")
            ),
        ),
        reader=_beside("base.yaml"),
    ),
    Target(name="ids", kind="text", seeds=(IDS,), reader=_beside("ids.txt")),
    Target(
        name="registry",
        kind="yaml",
        seeds=(REGISTRY,),
        reader=_one("seed.yaml", lambda folder: read_data(folder / "seed.yaml")),
    ),
    Target(
        name="tracts",
        kind="yaml",
        seeds=(TEXT.encode(),),
        reader=_one(
            "night.yaml",
            lambda folder: replace_in_file(folder / "night.yaml", key="tracts", value="[1]", shown="x"),
        ),
    ),
)
"""Files that a person writes: these are tried by `make test` too."""

LEFT_BEHIND = (
    Target(
        name="journal",
        kind="lines",
        seeds=(
            _lines(
                {
                    "v": 1,
                    "t": "2026-11-22T15:00:00.000000+00:00",
                    "event": "start",
                    "quantum": QUANTUM,
                    "label": "isr",
                    "host": "n1",
                    "pid": 4,
                    "pid_start": 5,
                    "attempt": 1,
                    "memory_mb": 4096,
                },
                {
                    "v": 1,
                    "t": "2026-11-22T15:01:00.000000+00:00",
                    "event": "end",
                    "quantum": QUANTUM,
                    "label": "isr",
                    "exit": 1,
                    "signal": None,
                    "peak_mb": 300.5,
                    "verdict": "out_of_memory",
                    "evidence": {"mb": 5},
                    "cpu_s": 1.5,
                    "wall_s": 2.5,
                    "slurm_job": "7",
                    "slurm_node": "n1",
                },
            ),
        ),
        reader=_one(_name(_PATHS.journal), _drivers("records")),
    ),
    Target(
        name="blocks",
        kind="lines",
        seeds=(
            _lines(
                {
                    "v": 1,
                    "t": "2026-11-22T15:00:00.000000+00:00",
                    "event": "submitting",
                    "name": "n",
                    "comment": "c",
                },
                {
                    "v": 1,
                    "t": "2026-11-22T15:00:01.000000+00:00",
                    "event": "submitted",
                    "name": "n",
                    "slurm_job": "7",
                },
                {
                    "v": 1,
                    "t": "2026-11-22T15:00:02.000000+00:00",
                    "event": "state",
                    "name": "n",
                    "slurm_job": "7",
                    "state": "RUNNING",
                },
            ),
        ),
        reader=_one("bps/blocks.jsonl", _drivers("block_lines")),
    ),
    Target(
        name="predicted",
        kind="lines",
        seeds=(
            _lines(
                {
                    "uuid": QUANTUM,
                    "task": "isr",
                    "data_id": "visit=1",
                    "dimensions": {"visit": 1, "band": "g"},
                    "after": [QUANTUM],
                }
            ),
        ),
        reader=_one(_name(_PATHS.predicted), _drivers("predicted")),
    ),
    Target(
        name="harvest",
        kind="lines",
        seeds=(
            _lines(
                {
                    "uuid": QUANTUM,
                    "task": "isr",
                    "data_id": "visit=1",
                    "dimensions": {"visit": 1},
                    "status": "failed",
                    "caveats": "",
                    "log": "l",
                    "attempts": [
                        {
                            "status": "failed",
                            "exception_type": "a.B",
                            "exception_message": "m",
                            "exception_bases": ["a.B"],
                            "peak_mb": 5,
                            "seconds": 2.5,
                            "started": "2026-11-22T15:00:00+00:00",
                        }
                    ],
                }
            ),
        ),
        reader=_one(_name(_PATHS.harvest), _drivers("harvested")),
    ),
    Target(
        name="outcome",
        kind="json",
        seeds=(
            _json(
                {
                    "version": 1,
                    "epoch": 1,
                    "end": "ran",
                    "reason": "",
                    "exit_code": 10,
                    "needs_person": False,
                }
            ),
        ),
        reader=_one(_name(_PATHS.outcome), _drivers("outcome")),
    ),
    Target(
        name="findings",
        kind="json",
        seeds=(
            _json({"version": 1, "refused": "why", "findings": [{"place": "a", "fatal": True, "text": "t"}]}),
        ),
        reader=_one(
            _name(_PATHS.findings), lambda folder: refusal_in(SubmissionPaths(directory=str(folder)))
        ),
    ),
    Target(
        name="versions",
        kind="json",
        seeds=(
            _json(
                {
                    "version": 1,
                    "sha": "0",
                    "short": "w",
                    "tag": "w_2022_26",
                    "environment": "e",
                    "python": "3.12",
                    "manager": "0.1",
                    "stack": {"drp_pipe": "1"},
                    "others": {"parsl": "2"},
                }
            ),
        ),
        reader=_one("versions.json", mismatch),
    ),
    Target(
        name="lease",
        kind="json",
        seeds=(_json({"host": "h", "pid": 1, "pid_start": 2, "counter": 3, "state": "running"}),),
        reader=_one("lease.json", lambda folder: read_lease(folder / "lease.json")),
    ),
    Target(
        name="manifest",
        kind="json",
        seeds=(
            _json(
                {
                    "version": 1,
                    "campaign": "night",
                    "revision": 1,
                    "campaign_sha256": "0",
                    "repository": "/r",
                    "created": "2026-11-22",
                    "searched": ["a"],
                    "where": "",
                    "chain": "c",
                    "runs": ["r"],
                    "dataset_types": {"t": 1},
                    "incomplete": [],
                    "skymaps": {},
                    "versions": {"a": "1"},
                    "butler_file": {"path": "export.yaml", "size": 1, "sha256": "0" * 64},
                    "files": [{"path": "f/a.fits", "size": 3, "sha256": "0" * 64}],
                }
            ),
        ),
        reader=_one("manifest.json", read_manifest),
    ),
    Target(
        name="ledger",
        kind="lines",
        seeds=(
            _lines(
                {"campaign": "night", "repository": "/repo"},
                {"path": "a", "dataset": "b", "size": 1, "sha256": "0"},
            ),
        ),
        reader=_one(".export.jsonl", _ledger),
    ),
)
"""Files that programs leave behind, where others may write."""

UNHARDENED: frozenset[str] = frozenset()
"""Kinds whose readers do not hold yet; the soak leaves them out. None may be added."""

TARGETS = {target.name: target for target in (*WRITTEN, *LEFT_BEHIND)}

__all__ = ["LEFT_BEHIND", "TARGETS", "UNHARDENED", "WRITTEN", "CampaignError"]
