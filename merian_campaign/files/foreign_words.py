"""What options of pipetask and bps, and words of data IDs, are called in a campaign file.

Knows words, decides nothing. Keys of BPS are in `~merian_campaign.domain.rendering.bps_words`.
"""

from __future__ import annotations

from merian_campaign.domain.rendering.bps_words import CALLED_HERE, REFUSED
from merian_campaign.domain.spec.words import BPS_KEYS

_GRAPH = "write it into extraQgraphOptions of a BPS file, and that under include:"
_QUANTA = "write it into run_options, under resources: and a task"
_INIT = "write it into extraInitOptions of a BPS file, and that under include:"
_AGAIN = "leave it out: later submissions skip what is there; `merian-campaign redo` makes a group anew"
_NO_GRAPH = "leave it out: each submission builds a graph of its own"
_DRAWN = "leave it out: `merian-campaign graph FILE --step NAME` draws a pipeline"
_LINKS = "write makeIdLink and idLinkPath into a BPS file, and that under include:"
_LABELS = "pipeline, with # and labels behind it, commas between them"

OPTIONS_CALLED = {
    "butler-config": "butler",
    "compute-site": "site",
    "config": "config of a step",
    "config-file": "config_files",
    "cores-per-quantum": "cpus, under resources: and a task",
    "data-query": "where",
    "delete": _LABELS,
    "input": "inputs, under collections: or in a step",
    "instrument": "instrument of the campaign",
    "memory-per-quantum": "memory, under resources: and a task",
    "output": "output, under collections: or in a step",
    "output-run": "output of a step; RUN collections are named by group and submission below it",
    "pipeline": "pipeline of a step",
    "processes": "cores_per_node or cores of the site",
    "select-tasks": _LABELS,
    "task": _LABELS,
    "wms-service-class": "wms: campaign or stock",
}
"""Options of pipetask and bps that have a word of their own here."""

OPTIONS = {
    "clobber-outputs": _AGAIN,
    "config-search-path": _QUANTA,
    "cov-packages": _QUANTA,
    "cov-report": _QUANTA,
    "coverage": _QUANTA,
    "data-id-table": _GRAPH,
    "dataset-query-constraint": _GRAPH,
    "debug": _QUANTA,
    "enable-implicit-threading": _QUANTA,
    "extend-run": _AGAIN,
    "extra-init-options": _INIT,
    "extra-qgraph-options": _GRAPH,
    "extra-run-quantum-options": _QUANTA,
    "extra-update-qgraph-options": "write extraUpdateQgraphOptions into a BPS file, and that under include:",
    "fail-fast": _QUANTA,
    "graph-fixup": "leave it out: BPS knows nothing of it",
    "id-link-path": _LINKS,
    "init-only": _INIT,
    "make-id-link": _LINKS,
    "mock": _GRAPH,
    "mock-failure": _GRAPH,
    "no-cov-report": _QUANTA,
    "no-existing-outputs": _QUANTA,
    "no-raise-on-partial-outputs": _QUANTA,
    "no-versions": _INIT,
    "options-file": "leave it out: the campaign file has what it holds",
    "pdb": _QUANTA,
    "pipeline-dot": _DRAWN,
    "pipeline-mermaid": _DRAWN,
    "profile": _QUANTA,
    "prune-replaced": _AGAIN,
    "prune-unanchored-quanta": _GRAPH,
    "qgraph": _NO_GRAPH,
    "qgraph-datastore-records": _NO_GRAPH,
    "qgraph-dot": _GRAPH,
    "qgraph-id": _NO_GRAPH,
    "qgraph-mermaid": _GRAPH,
    "qgraph-node-id": _NO_GRAPH,
    "raise-on-partial-outputs": _QUANTA,
    "rebase": _AGAIN,
    "register-dataset-types": "leave it out: BPS registers them",
    "replace-run": _AGAIN,
    "retained-dataset-types": _GRAPH,
    "save-pipeline": _GRAPH,
    "save-qgraph": _NO_GRAPH,
    "show": _DRAWN,
    "skip-existing": _AGAIN,
    "skip-existing-in": _AGAIN,
    "skip-init-writes": _INIT,
    "start-method": _QUANTA,
    "summary": _QUANTA,
    "timeout": _QUANTA,
    "unmocked-dataset-types": _GRAPH,
}
"""The other options of ``pipetask build``, ``qgraph``, ``run``, ``run-qbb`` and ``bps submit``."""

_SHORT = {"-t": "task", "-s": "save-pipeline", "-g": "qgraph", "-q": "save-qgraph", "-n": "cores-per-quantum",
          "-@": "options-file"}  # fmt: skip

_TRACTS = "tracts of the campaign, or group_by: {kind: tract, tracts: [...]}"
_NIGHTS = "group_by: {kind: day_obs, nights: [...]}, or select: {day_obs: ...}"
_DETECTORS = "select: {exclude_detectors: [...]}, or a term of where"
_BANDS = "select: {band: [...]}"
_FILTERS = "select: {physical_filter: [...]}"

DATA_IDS = {
    "band": _BANDS,
    "bands": _BANDS,
    "day_obs": _NIGHTS,
    "detector": _DETECTORS,
    "detectors": _DETECTORS,
    "exclude_detectors": _DETECTORS,
    "exposure": "group_by: {kind: exposure, ids: [...]}, or a term of where",
    "exposures": "group_by: {kind: exposure, ids: [...]}, or a term of where",
    "filter": _FILTERS,
    "filters": _FILTERS,
    "night": _NIGHTS,
    "nights": _NIGHTS,
    "patch": "a term of where",
    "physical_filter": _FILTERS,
    "tract": _TRACTS,
    "tracts": _TRACTS,
    "visit": "group_by: {kind: visit, ids: [...]}, or a term of where",
    "visits": "group_by: {kind: visit, ids: [...]}, or a term of where",
}
"""Words of data IDs that people write into a step, or beside its keys."""

KEYS_CALLED = {
    "accountingGroup": "account of the site",
    "accountingUser": "account of the site",
    "concurrencyLimit": "limits",
    "postCmdline": "commandPrefix of the site",
    "preCmdline": "commandPrefix of the site",
    "queue": "partition of the site",
    "retry": "max_attempts, in afterburner:",
}
"""Keys of BPS that only other services use, and what does their part here."""

OTHER_KEYS = frozenset(
    {
        "abortOnValue", "abortReturnValue", "bpsGenerateConfig", "clusterTemplate", "computeCloud",
        "configFile", "customJob", "dryRun", "equalDimensions", "fileDistributionEndpoint",
        "findDependencyMethod", "inputQgraphFile", "jobCommand", "mailTo", "partitionDimensions",
        "partitionMaxClusters", "partitionMaxSize", "pipetaskInit", "pipetasks", "qgraphId", "quantaCounts",
        "remoteBuild", "requestDisk", "runQgraphFile", "saveQgraph", "useNodeIdInClusterName", "whenCreate",
        "whenRun", "whenSetup", "whenToMail", "wmsAttemptNum", "workflowName", "workflowPath",
    }
)  # fmt: skip
"""Keys of BPS that are none of `BPS_KEYS`, for no task or site would be called so."""


def answer(key: str, *, known: bool) -> str:
    """Return what to write instead of a key that does not belong there; empty if it is no word of others.

    Parameters
    ----------
    key : `str`
        As it is written.
    known : `bool`
        Whether it is a key of another part of the file.
    """
    option = _SHORT.get(key) or key.strip("-").replace("_", "-").lower()
    for table, word in ((CALLED_HERE, key), (KEYS_CALLED, key), (DATA_IDS, key), (OPTIONS_CALLED, option)):
        if word in table:
            return f"here this is called {table[word]}"
    if option in OPTIONS and not known:
        return f"it is an option of pipetask: {OPTIONS[option]}"
    if key in REFUSED:
        return f"it is one of BPS: {REFUSED[key]}"
    if not known and (key in BPS_KEYS or key in OTHER_KEYS):
        return "it is one of BPS: write it into a BPS file, and that under include:"
    return ""
