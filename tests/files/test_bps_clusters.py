"""Clusters of BPS in files, by our check and by that of ctrl_bps."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from lsst.ctrl.bps import BpsConfig
from lsst.ctrl.bps.quantum_clustering_funcs import check_clustering_config
from networkx import DiGraph
from survey_help import Survey

from merian_campaign.domain.preflight.clusters import Clusters, cluster_findings
from merian_campaign.domain.preflight.facts import PipelineFacts, TaskFacts
from merian_campaign.domain.spec import BpsStep
from merian_campaign.files.bps_files import read_clusters

ALGORITHM = "clusterAlgorithm: lsst.ctrl.bps.quantum_clustering_funcs.dimension_clustering\n"

SINGLE_FRAME = ("isr", "calibrateImage", "transformPreSourceTable", "consolidatePreSourceTable")
OLD_SINGLE_FRAME = ("isr", "characterizeImage", "calibrate", "writePreSourceTable", "transformPreSourceTable")
RECALIBRATED = (
    "finalizeCharacterization",
    "writeRecalibratedSourceTable",
    "transformSourceTable",
    "consolidateSourceTable",
)
OBJECTS = (
    *("makeWarp", "assembleCoadd", "detection", "mergeDetections", "deblend", "measure", "mergeMeasurements"),
    *("forcedPhotCoadd", "writeObjectTable", "transformObjectTable", "consolidateObjectTable"),
)
"""Task labels of drp_pipe, each reading what the one before makes."""

EPOCHS = ("writeObjectTable", "computeObjectEpochs", "transformObjectTable")
"""Of today's; the last reads what the first makes too."""


class _Key(NamedTuple):
    name: str


def _graph(*chains: tuple[str, ...]) -> PipelineFacts:
    before: dict[str, set[str]] = {label: set() for chain in chains for label in chain}
    for chain in chains:
        for maker, reader in pairwise(chain):
            before[reader].add(maker)
    tasks = tuple(
        TaskFacts(label=label, dimensions=frozenset(), reads=frozenset(makers), makes=frozenset({label}))
        for label, makers in before.items()
    )
    return PipelineFacts(labels=frozenset(before), tasks=tasks)


def _accepted_by_bps(pipeline: PipelineFacts, clusters: Clusters) -> bool:
    graph = DiGraph()
    for task in pipeline.tasks:
        graph.add_node(_Key(task.label))
        graph.add_edges_from((_Key(maker), _Key(task.label)) for maker in task.reads)
    section = {name: {"pipetasks": ", ".join(labels)} for name, labels in clusters.items()}
    try:
        check_clustering_config(BpsConfig({"cluster": section})["cluster"], graph)
    except RuntimeError:
        return False
    return True


def _clusters(survey: Survey) -> Clusters:
    spec = survey.load().spec
    step = spec.step("step3")
    assert isinstance(step, BpsStep)
    return read_clusters(spec, step)


@pytest.mark.parametrize(
    "chains",
    [(SINGLE_FRAME,), (OLD_SINGLE_FRAME,), (RECALIBRATED,), (OBJECTS,), (OBJECTS, EPOCHS)],
    ids=["single frames", "of 2022", "recalibrated", "objects of 2022", "objects"],
)
def test_shipped_clusters_have_an_order_in_pipelines_of_then_and_now(
    survey: Survey, chains: tuple[tuple[str, ...], ...]
) -> None:
    survey.edit("after: [step1]", "after: [step1]\n    include: [clustering.yaml]")
    clusters = _clusters(survey)
    assert {label for labels in clusters.values() for label in labels} & {*chains[0]}
    pipeline = _graph(*chains)
    assert _accepted_by_bps(pipeline, clusters)
    assert cluster_findings("step3", pipeline, clusters) == []


@pytest.mark.parametrize(
    "clusters",
    [
        {"objectTable": ("writeObjectTable", "transformObjectTable")},
        {"one": ("makeWarp", "detection"), "two": ("assembleCoadd", "mergeDetections")},
        {"one": ("makeWarp", "assembleCoadd"), "two": ("assembleCoadd", "detection")},
        {"one": EPOCHS, "two": ("isr", "calibrateImage")},
        {"one": ("isr", "nowhere"), "two": ("isr",)},
    ],
)
def test_our_check_finds_what_that_of_bps_finds(clusters: Clusters) -> None:
    pipeline = _graph(OBJECTS, EPOCHS)
    found = cluster_findings("step3", pipeline, clusters)
    assert (not found) is _accepted_by_bps(pipeline, clusters)


def test_clusters_are_those_that_bps_would_find(survey: Survey) -> None:
    def write(name: str, text: str) -> None:
        (Path(survey.folder) / name).write_text(text)

    write(
        "one.yaml",
        f"{ALGORITHM}cluster:\n  a: {{pipetasks: 'x, y', dimensions: visit}}\n  b: {{pipetasks: z}}\n",
    )
    write(
        "two.yaml",
        "includeConfigs: [one.yaml]\ncluster:\n  b: {pipetasks: 'z,w'}\n  c: {dimensions: tract}\n",
    )
    survey.edit("after: [step1]", "after: [step1]\n    include: [two.yaml]")
    assert _clusters(survey) == {"a": ("x", "y"), "b": ("z", "w")}
    write("two.yaml", "includeConfigs: [one.yaml]\nclusterAlgorithm: lsst.x.single_quantum_clustering\n")
    assert _clusters(survey) == {}
