"""What the BPS files of a step say, found where BPS itself would look for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

SECTIONS = ("bps_cmdline", "payload", "cluster", "pipetask", "site", "cloud", "bps_defined")
"""Where BPS looks for a key before the top of a file, in this order (``lsst.ctrl.bps.BPS_SEARCH_ORDER``)."""

SINGLE = "single_quantum_clustering"
"""The end of the ``clusterAlgorithm`` that makes a job of each quantum."""

OVERRULING = ("bps_cmdline", "payload")
"""Sections in which a request would go before that of every cluster and task."""

REQUESTS = ("requestMemory", "requestMemoryMax", "memoryMultiplier", "requestCpus", "requestWalltime")
"""Requests of a job that a cluster, a task, a site or the top of a file may make."""

UNUSED = {
    "numberOfRetries": "afterburner.max_attempts says how often a quantum is tried",
    "retryUnlessExit": "failure_rules say which exit codes are not retried",
}
"""Keys that the stock service does nothing with, and what does it."""

CALLED_HERE = {
    "pipelineYaml": "pipeline",
    "butlerConfig": "butler",
    "dataQuery": "where",
    "inCollection": "inputs of a step, and collections: inputs",
    "outputRun": "output of a step; RUN collections are named by group and submission below it",
    "includeConfigs": "include",
    "computeSite": "site",
    "wmsServiceClass": "wms: campaign or stock",
    "submitPath": "work_dir",
    "payload": "butler, collections and the keys of a step",
    "pipetask": "resources of a step, by task",
    "requestMemory": "memory, under resources: and a task",
    "requestMemoryMax": "memory_max, under resources: and a task, or in afterburner:",
    "memoryMultiplier": "memory_multiplier, under resources: and a task, or in afterburner:",
    "requestCpus": "cpus, under resources: and a task",
    "requestWalltime": "walltime, under resources: and a task",
    "extraRunQuantumOptions": "run_options, under resources: and a task",
    "numberOfRetries": "max_attempts, in afterburner:; a BPS file of include: may have it for within a run",
    "retryUnlessExit": "failure_rules; a BPS file of include: may have it for within a run",
    "extraQgraphOptions": "config and config_files; other options belong into a BPS file of include:",
    "cluster": "cluster too, but in a BPS file of include:",
    "clusterAlgorithm": "clusterAlgorithm too, but in a BPS file of include:",
    "outCollection": "output of a step",
    "butler_config": "butler",
    "butler-config": "butler",
    "data_query": "where",
    "data-query": "where",
    "dataset_query": "where",
    "input": "inputs",
    "inputs": "inputs too, but under collections: or in a step",
    "output": "output too, but under collections: or in a step",
    "output_run": "output of a step; RUN collections are named by group and submission below it",
    "output-run": "output of a step; RUN collections are named by group and submission below it",
    "collection": "inputs",
    "-b": "butler",
    "--butler-config": "butler",
    "-i": "inputs, under collections: or in a step",
    "--input": "inputs, under collections: or in a step",
    "-o": "output, under collections: or in a step",
    "--output": "output, under collections: or in a step",
    "-d": "where",
    "--data-query": "where",
    "-p": "pipeline",
    "-c": "config",
    "-C": "config_files",
    "-j": "cores_per_node or cores of the site",
    "config_file": "config_files",
    "config-file": "config_files",
    "subset": "pipeline, with # and the subset behind it",
    "skymap_name": "skymap",
    "retries": "max_attempts, in afterburner:",
}
"""Words of BPS and pipetask that people write into a campaign file, and what it is called there."""

REFUSED = {
    "qgraphFile": "BPS would run this graph in every group; leave it out",
    "bpsBatchSubmission": "a submission's driver builds its graph; leave it out",
    "remoteBuild": "a submission's driver builds its graph; leave it out",
    "outCollection": "BPS has given it up; leave it out",
}
"""Keys that no campaign can go by, and why."""


@dataclass(frozen=True, kw_only=True)
class BpsWords:
    """The content of BPS files, merged as BPS does.

    Parameters
    ----------
    content : `~collections.abc.Mapping`
        Everything that the files say; later files have gone before earlier ones.
    site : `str`
        The ``computeSite``.
    cloud : `str`, optional
        The ``computeCloud``.
    """

    content: Mapping[str, Any]
    site: str = ""
    cloud: str = ""

    def find(self, key: str, *, cluster: str = "", task: str = "") -> object:
        """Return what BPS finds for a key in a job of a cluster and a task; `None` when that is nothing.

        A section that holds nothing by the name that is asked for is looked through itself, as in BPS.
        """
        names = {"cluster": cluster, "pipetask": task, "site": self.site, "cloud": self.cloud}
        for name in SECTIONS:
            section = self.section(name)
            inner = section.get(names.get(name, "")) if names.get(name) else None
            if isinstance(inner, Mapping):
                section = inner
            if key in section:
                return section[key]
        return self.content.get(key)

    def section(self, name: str) -> Mapping[str, Any]:
        """Return a section of that name; empty when it is none."""
        found = self.content.get(name)
        return found if isinstance(found, Mapping) else {}

    def variables(self) -> tuple[str, ...]:
        """Return the names of all variables that some ``environment`` section sets for jobs."""
        names = {"site": self.site, "cloud": self.cloud}
        own: list[object] = [self.content]
        for name in SECTIONS:
            section = self.section(name)
            own += [section, *([section.get(names[name])] if name in names else section.values())]
        found = [entry.get("environment") for entry in own if isinstance(entry, Mapping)]
        return tuple(sorted({str(name) for entry in found if isinstance(entry, Mapping) for name in entry}))

    def tasks(self) -> tuple[str, ...]:
        """Return the labels that have a section of their own under ``pipetask``."""
        sections = self.section("pipetask").items()
        return tuple(label for label, own in sections if isinstance(label, str) and isinstance(own, Mapping))

    def clusters(self) -> Mapping[str, tuple[str, ...]]:
        """Return the tasks of each cluster that has a section.

        Without clustering, a section is used for the task of its name.
        """
        algorithm = self.content.get("clusterAlgorithm")
        single = not isinstance(algorithm, str) or algorithm.endswith(SINGLE)
        found: dict[str, tuple[str, ...]] = {}
        for label, own in self.section("cluster").items():
            if not isinstance(own, Mapping) or not isinstance(label, str):
                continue
            listed = own.get("pipetasks")
            if single:
                found[label] = (label,)
            elif isinstance(listed, str):
                found[label] = tuple(entry.strip() for entry in listed.split(",") if entry.strip())
        return found


def merge(documents: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one document of several, of which later ones win, key by key."""
    merged: dict[str, Any] = {}
    for document in documents:
        for key, value in document.items():
            before = merged.get(key)
            if isinstance(value, Mapping):
                merged[key] = merge((before if isinstance(before, Mapping) else {}, value))
            else:
                merged[key] = value
    return merged


def overruling(document: Mapping[str, Any]) -> str:
    """Return the first request of a file that no task or cluster could have another than; empty for none."""
    for name in OVERRULING:
        section = document.get(name)
        found = [key for key in REQUESTS if isinstance(section, Mapping) and key in section]
        if found:
            return f"{name}.{found[0]}"
    return ""


def refused(document: Mapping[str, Any]) -> str:
    """Return the first key of a file that no campaign can go by, and why; empty for none."""
    places = [document, *(document.get(name) for name in OVERRULING)]
    for place in (entry for entry in places if isinstance(entry, Mapping)):
        for key, why in REFUSED.items():
            if place.get(key):
                return f"{key}: {why}"
    return ""


def unused(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the keys of `UNUSED` that a file asks something with for its quanta, each by its path."""
    found = [key for key in UNUSED if document.get(key)]
    for name in SECTIONS:
        section = document.get(name)
        for label, own in section.items() if isinstance(section, Mapping) else ():
            if label in UNUSED and own:
                found.append(f"{name}.{label}")
            elif isinstance(own, Mapping):
                found += [f"{name}.{label}.{key}" for key in UNUSED if own.get(key)]
    return tuple(found)
