"""From one submission of one group to the BPS submit YAML: complete, readable, runnable by hand."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from merian_campaign.domain.failures.remedy import ClusterRequest, RequestTable
from merian_campaign.domain.record.snapshot import Remedy
from merian_campaign.domain.rendering import naming
from merian_campaign.domain.rendering.naming import SubmissionPaths
from merian_campaign.domain.resources.block_shape import Workload, block_shape
from merian_campaign.domain.resources.cluster import Blocks
from merian_campaign.domain.resources.input_requests import requests_text
from merian_campaign.domain.resources.site_profile import SiteProfile
from merian_campaign.domain.resources.throttle import nice_of
from merian_campaign.domain.safe_text.yaml_writer import YamlValue, dump
from merian_campaign.domain.selection import Selection
from merian_campaign.domain.spec import BpsStep, CampaignSpec
from merian_campaign.domain.spec.base import whole_minutes
from merian_campaign.domain.spec.campaign import steps_before
from merian_campaign.domain.spec.grouping import where_clause
from merian_campaign.domain.spec.resources import Resources
from merian_campaign.domain.spec.steps import effective_scope

_OR = re.compile(r"\bOR\b", re.IGNORECASE)
_DATA_QUERY = re.compile(r"^(  dataQuery: \")(.*)\"$", re.MULTILINE)

_MB = 1024

SKYMAP_TERM = re.compile(r"(?<![\w.])skymap\b")
"""A data query that has it names a sky map."""

STOCK_SERVICE = "lsst.ctrl.bps.parsl.ParslService"
CAMPAIGN_SERVICE = "merian_campaign.wms.CampaignParslService"

OWN_SITE_CLASSES = {
    "lsst.ctrl.bps.parsl.sites.Local": "merian_campaign.wms.sites.Local",
    "lsst.ctrl.bps.parsl.sites.Slurm": "merian_campaign.wms.sites.Slurm",
}
"""Our site class for each stock one, so that one site file serves both services."""

_STOCK_SITE_CLASSES = {own: stock for stock, own in OWN_SITE_CLASSES.items()}


_NO_REQUESTS = RequestTable()
_FIRST = Workload()


@dataclass(frozen=True, kw_only=True)
class RenderRequest:
    """One submission to be rendered.

    Parameters
    ----------
    spec : `CampaignSpec`
        The campaign, paths absolute.
    step : `BpsStep`
        The step.
    group : `str`
        Group key.
    selection : `Selection`
        What the group selects.
    number : `int`
        Submission number.
    directory : `str`
        The submission's directory, absolute.
    site : `SiteProfile`
        Where it runs.
    remedy : `Remedy`
        What it does differently.
    quantum_wrapper : `str`
        Absolute path of the shell wrapper that writes the journal under the stock service.
    hold : `bool`
        Whether a list of quanta that must not run again lies in the directory.
    work : `Workload`
        What it has to run, by which its blocks may be larger than the site's, or smaller.
    exclude : `tuple` [`str`, ...]
        Nodes that its blocks must not get.
    requests : `RequestTable`
        What the step's BPS files and resources ask for before the remedy.
    generation : `int`
        Of the group's outputs.
    earlier : `bool`
        Whether there was a submission of this generation before: what it has made is not made again.
    """

    spec: CampaignSpec
    step: BpsStep
    group: str
    selection: Selection
    number: int
    directory: str
    site: SiteProfile
    remedy: Remedy
    quantum_wrapper: str
    hold: bool = False
    work: Workload = _FIRST
    exclude: tuple[str, ...] = ()
    requests: RequestTable = _NO_REQUESTS
    generation: int = 1
    earlier: bool = False


def data_query(*, spec: CampaignSpec, step: BpsStep, selection: Selection) -> str:
    """Return the whole data query of a group."""
    terms = [f"instrument = '{spec.instrument}'"]
    # Tasks over visits may have the sky map among their dimensions too: without it they run for every one.
    if effective_scope(step) in {"visit", "tract", "global"} and spec.skymap is not None:
        terms.append(f"skymap = '{spec.skymap}'")
    own = where_clause(selection)
    if own:
        terms.append(own)
    terms += step.select.terms()
    if spec.bad_exposures:
        # A visit of one exposure has its id, as with DECam, HSC and LSST's cameras.
        column = "exposure" if effective_scope(step) == "exposure" else "visit"
        terms.append(f"{column} NOT IN ({', '.join(map(str, spec.bad_exposures))})")
    for text in (spec.where, step.where):
        if stripped := text.strip():
            terms.append(f"({stripped})" if _OR.search(stripped) else stripped)
    return " AND ".join(terms)


def with_skymap(text: str, skymap: str) -> str:
    """Return a submit YAML, as `render` gives it, with the sky map in its data query.

    A step over exposures has it there only when a task of its pipeline asks for it, as its driver sees.
    """
    return _DATA_QUERY.sub(
        lambda found: (
            found[0] if SKYMAP_TERM.search(found[2]) else f"{found[1]}{found[2]} AND skymap = '{skymap}'\""
        ),
        text,
        count=1,
    )


def input_collections(*, spec: CampaignSpec, step: BpsStep) -> tuple[str, ...]:
    """Return the inputs of a step: the outputs of all steps before it, latest first, then the campaign's.

    A step's own ``inputs`` replace that; entries that are step names stand for those steps' outputs.
    """
    entries = (
        step.inputs if step.inputs is not None else (*steps_before(spec, step.name), *spec.collections.inputs)
    )
    names = {other.name: other for other in spec.steps}
    found: dict[str, None] = {}
    for entry in entries:
        other = names.get(entry)
        if other is None:
            found[entry] = None
        elif isinstance(other, BpsStep):
            found[spec.output_of(other)] = None  # the step's name stands for its output
    return tuple(found)


def run_of(request: RenderRequest) -> str:
    """Return the RUN collection of a submission."""
    return naming.run_below(chain_of(request), number=request.number)


def chain_of(request: RenderRequest) -> str:
    """Return the chain of the submission's group and generation, which BPS keeps."""
    output = request.spec.output_of(request.step)
    return naming.group_output(step_output=output, group=request.group, generation=request.generation)


def payload_name(request: RenderRequest) -> str:
    """Return a name for people and for schedulers, unique in the survey."""
    return f"{request.spec.campaign}_{request.step.name}_{request.group}_{request.number:03d}"


def qgraph_options(request: RenderRequest) -> str:
    """Return what is added to ``pipetask qgraph``; what the BPS files add themselves is not in it."""
    if not (request.earlier or request.step.config or request.step.config_files):
        return ""
    options = list(request.step.overrides)
    if request.earlier:
        # Through the generation's chain, which holds its earlier RUNs that were ingested. Never a list of
        # RUNs: one that does not exist makes the graph builder skip nothing at all, without a word.
        # The chain may not hold exactly these inputs any more when a step before ran again: --rebase.
        options += ["--rebase", "--skip-existing-in", chain_of(request)]
    return shlex.join(options)


def _task_section(
    resources: Resources | None, *, memory_mb: int | None, walltime: int | None
) -> dict[str, YamlValue]:
    section: dict[str, YamlValue] = {}
    if resources is not None:
        given: tuple[tuple[str, YamlValue | None], ...] = (
            ("requestMemory", resources.memory),
            ("requestMemoryMax", resources.memory_max),
            ("memoryMultiplier", resources.memory_multiplier),
            ("requestCpus", resources.cpus),
            ("requestWalltime", None if resources.walltime is None else whole_minutes(resources.walltime)),
            ("extraRunQuantumOptions", resources.run_options),
        )
        section = {key: value for key, value in given if value is not None}
    if memory_mb is not None:
        section["requestMemory"] = memory_mb
    if walltime is not None:
        section["requestWalltime"] = walltime
    return section


def _tasks(request: RenderRequest) -> dict[str, YamlValue]:
    memory, walltime = dict(request.remedy.memory_mb), dict(request.remedy.walltime)
    resources = request.step.resources
    return {
        label: _task_section(resources.get(label), memory_mb=memory.get(label), walltime=walltime.get(label))
        for label in sorted({*resources, *memory, *walltime})
    }


def _clusters(request: RenderRequest) -> dict[str, YamlValue]:
    """Return what clusters ask for whose own requests would keep those of their tasks from counting."""
    if not request.requests.clusters:
        return {}
    touched = {
        *request.step.resources,
        *dict(request.remedy.memory_mb),
        *dict(request.remedy.walltime),
    }
    found: dict[str, YamlValue] = {}
    for cluster in request.requests.clusters:
        if cluster.tasks and (_shell_guard(request.spec) or touched.intersection(cluster.tasks)):
            section = _cluster_section(cluster, request)
            if section:
                found[cluster.label] = section
    return found


def _cluster_section(cluster: ClusterRequest, request: RenderRequest) -> dict[str, YamlValue]:
    memory, walltime = None, dict(request.remedy.walltime)
    # The limit in a job's command line is looked for under the job's label: a cluster's, never its tasks'.
    if cluster.memory_mb is not None or _shell_guard(request.spec):
        memory = max(request.requests.request(task, request.remedy) for task in cluster.tasks)
    given: Mapping[str, YamlValue | None] = {
        "requestMemory": memory,
        "requestCpus": cluster.cpus,
        "requestWalltime": max(
            (value for value in (cluster.walltime, *map(walltime.get, cluster.tasks)) if value is not None),
            default=None,
        ),
    }
    return {key: value for key, value in given.items() if value is not None}


def _shell_guard(spec: CampaignSpec) -> bool:
    """Say whether the memory limit stands in the command line of each job."""
    return spec.wms == "stock" and spec.memory_guard == "address_space"


def _execution(request: RenderRequest) -> dict[str, YamlValue]:
    """Return what depends on the WMS service."""
    if request.spec.wms == "campaign":
        section: dict[str, YamlValue] = {"wmsServiceClass": CAMPAIGN_SERVICE}
        if request.hold:
            section["campaignHold"] = SubmissionPaths(directory=request.directory).hold
        if request.remedy.by_inputs:
            section["campaignMemory"] = requests_text(request.remedy.by_inputs)
        return section
    limit = "{requestMemory}" if _shell_guard(request.spec) else "0"
    return {
        "wmsServiceClass": STOCK_SERVICE,
        "runQuantumCommand": (
            f"{request.quantum_wrapper} {{submitPath}}/journal.jsonl {limit} {{label}} -- "
            "pipetask {runPreCmdOpts} run-qbb {butlerConfig} {fileDistributionEndPoint}{qgraphFile} "
            "--qgraph-node-id {qgraphNodeId} {extraRunQuantumOptions}"
        ),
    }


def document(request: RenderRequest) -> dict[str, YamlValue]:
    """Return the submit document as a mapping, in the order it is written."""
    spec, step = request.spec, request.step
    name, chain = payload_name(request), chain_of(request)
    # In the payload, where BPS looks first: beside what the included files say, wherever they say it.
    options = " ".join(filter(None, (request.requests.qgraph_options, qgraph_options(request))))
    content: dict[str, YamlValue] = {
        "includeConfigs": [*request.requests.files, request.site.file],
        "pipelineYaml": step.pipeline,
        "project": "merian-campaign",
        "campaign": name,
        "submitPath": SubmissionPaths(directory=request.directory).bps,
        "payload": {
            "payloadName": name,
            "butlerConfig": spec.butler,
            "inCollection": ",".join(input_collections(spec=spec, step=step)),
            "output": chain,
            "outputRun": run_of(request),
            "dataQuery": data_query(spec=spec, step=step, selection=request.selection),
            **({"extraQgraphOptions": options} if options else {}),
        },
        "computeSite": request.site.name,
        **({"campaignGraphs": spec.limits.graphs} if spec.limits.graphs is not None else {}),
        **_execution(request),
    }
    tasks = _tasks(request)
    if tasks:
        content["pipetask"] = tasks
    clusters = _clusters(request)
    if clusters:
        content["cluster"] = clusters
    site = _site(request)
    if site:
        content["site"] = {request.site.name: site}
    return content


def _site(request: RenderRequest) -> dict[str, YamlValue]:
    """Return what this submission changes of its site."""
    section: dict[str, YamlValue] = {}
    classes = OWN_SITE_CLASSES if request.spec.wms == "campaign" else _STOCK_SITE_CLASSES
    wanted = classes.get(request.site.site_class)
    if wanted is not None:
        section["class"] = wanted
    blocks = request.site.blocks
    if blocks is None:
        if request.remedy.workers is not None:
            section[request.site.workers_key] = request.remedy.workers
        return section
    if (nice := nice_of(request.spec, request.step)) is not None:
        section["nice"] = nice
    return section | _block(request, blocks)


def _block(request: RenderRequest, blocks: Blocks) -> dict[str, YamlValue]:
    """Return what its blocks ask of Slurm that the site's do not."""
    shape = block_shape(request.site, blocks, request.work)
    given: dict[str, YamlValue | None] = {}
    if shape.larger is not None:
        given.update(shape.larger.model_dump(exclude_none=True), memory_mb=shape.shared_mb)
    if shape.nodes != blocks.nodes:
        given["nodes"] = shape.nodes
    if request.exclude:
        given["exclude"] = ",".join(request.exclude)
    if request.remedy.workers is not None:
        given[request.site.workers_key] = request.remedy.workers
        given["workers_per_node"] = blocks.workers and request.remedy.workers
    if request.remedy.blocks is not None:
        given["max_blocks"] = request.remedy.blocks
    if shape.small:
        given |= {"cores_per_node": shape.cores, "workers_per_node": shape.workers, "max_blocks": 1}
        given |= {"mem_per_node": (shape.mem_mb or 0) / _MB, "memory_mb": shape.shared_mb}
        given["exclusive"] = "user" if blocks.exclusive else None
    return {key: value for key, value in given.items() if value is not None}


def render(request: RenderRequest) -> str:
    """Return the submit YAML of a submission as text."""
    header = (
        f"# Campaign {request.spec.campaign}, step {request.step.name}, group {request.group}, "
        f"submission {request.number}.\n"
        "# Written by merian-campaign. By hand, in the package's environment:  bps submit THIS_FILE\n"
    )
    return header + dump(document(request))
