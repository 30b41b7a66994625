"""What jobs ask for: our table of requests, and what BPS makes of the file rendered from it, agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from lsst.ctrl.bps import BPS_DEFAULTS, BpsConfig, GenericWorkflowJob, QuantaCluster
from lsst.ctrl.bps.transform import create_generic_workflow
from survey_help import make_survey

from merian_campaign.domain.campaign.plan import plan_groups
from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.execution.counts import Counts
from merian_campaign.domain.execution.quanta import OpenQuanta
from merian_campaign.domain.failures.remedy import RequestTable, next_remedy
from merian_campaign.domain.record.snapshot import GroupView, Remedy
from merian_campaign.domain.rendering.render import RenderRequest, render
from merian_campaign.domain.selection import Selection
from merian_campaign.domain.spec import BpsStep, CampaignSpec
from merian_campaign.domain.spec.resources import Afterburner
from merian_campaign.domain.states import GroupState, QuantumState, Verdict
from merian_campaign.files.bps_files import read_requests
from merian_campaign.files.campaign_file import load_campaign
from merian_campaign.files.site_file import read_site

NO_REMEDY = Remedy()
CLUSTERING = "lsst.ctrl.bps.quantum_clustering_funcs.dimension_clustering"


class Graph:
    """A clustered graph as far as BPS's transform looks at one: each job with one quantum of each task."""

    name = "night"
    qgraph = None

    def __init__(self, jobs: Mapping[str, tuple[str, ...]]) -> None:
        self._tasks = [task for tasks in jobs.values() for task in tasks]
        self._clusters = []
        for label, tasks in jobs.items():
            cluster = QuantaCluster(f"{label}_1", label, {"label": label})
            for task in tasks:
                cluster.add_quantum(self._tasks.index(task), task)
            self._clusters.append(cluster)

    def clusters(self) -> Iterator[QuantaCluster]:
        return iter(self._clusters)

    def successors(self, _: QuantaCluster) -> Iterator[QuantaCluster]:
        return iter(())

    def get_quantum_info(self, number: int) -> dict[str, str]:
        return {"task_label": self._tasks[number]}


class Asked:
    """A survey's step, its table of requests, and what BPS makes of it."""

    def __init__(
        self, folder: Path, files: Mapping[str, Any], resources: Mapping[str, Any], **campaign: str
    ) -> None:
        folder.mkdir(exist_ok=True)
        survey = make_survey(folder)
        self.folder = folder
        for name, content in files.items():
            (folder / name).write_text(yaml.safe_dump(content))
        text = yaml.safe_load(survey.file.read_text())
        text |= campaign
        text["steps"][0]["resources"] = dict(resources)
        survey.file.write_text(yaml.safe_dump(text))
        self.spec: CampaignSpec = load_campaign(str(survey.file), environment={}).spec
        step = self.spec.step("step1")
        assert isinstance(step, BpsStep)
        self.step = step
        self.table: RequestTable = read_requests(self.spec, step)

    def config(self, remedy: Remedy = NO_REMEDY, *, number: int = 2) -> BpsConfig:
        group = next(entry for entry in plan_groups(self.spec).wanted if entry.step == "step1")
        request = RenderRequest(
            spec=self.spec,
            step=self.step,
            group=group.key,
            selection=group.selection,
            number=number,
            earlier=number > 1,
            directory="/sub/night/step1/all/002",
            site=read_site(self.spec.site),
            remedy=remedy,
            quantum_wrapper="/pkg/quantum.sh",
            requests=self.table,
        )
        file = self.folder / "submit.yaml"
        file.write_text(render(request))
        config = BpsConfig(str(file), defaults=BPS_DEFAULTS)
        config["runQgraphFile"] = "/sub/x.qg"
        config["operator"] = "nobody"
        return config

    def jobs(self, tasks: Mapping[str, tuple[str, ...]], remedy: Remedy) -> dict[str, GenericWorkflowJob]:
        workflow = create_generic_workflow(self.config(remedy), Graph(tasks), "night", str(self.folder))
        return {workflow.get_job(name).label: workflow.get_job(name) for name in workflow}


def oom(task: str, *, requested: int | None, memory: int = 1) -> OpenQuanta:
    return OpenQuanta(
        task=task,
        state=QuantumState.FAILED,
        verdict=Verdict.OUT_OF_MEMORY,
        charged_attempts=memory,
        memory_attempts=memory,
        requested_mb=requested,
        number=1,
    )


TASKS = ("isr", "calibrate", "makeWarp", "plain")
SIZES = st.integers(1, 20_000)
REQUESTED = st.fixed_dictionaries(
    {}, optional={"requestMemory": SIZES, "requestCpus": st.integers(1, 9), "numberOfRetries": st.just(1)}
)


@st.composite
def bps_files(draw: st.DrawFn) -> dict[str, Any]:
    """Two BPS files of which the second includes the first, with requests at every level."""

    def one() -> dict[str, Any]:
        content: dict[str, Any] = draw(REQUESTED)
        content["pipetask"] = draw(st.dictionaries(st.sampled_from(TASKS), REQUESTED, max_size=3))
        # A request beside the tasks is found by what has no section of its own.
        content["pipetask"] |= draw(REQUESTED)
        content["site"] = {"local": draw(REQUESTED)}
        content["cloud"] = draw(st.sampled_from([{}, {"far": draw(REQUESTED)}, draw(REQUESTED)]))
        content["bps_defined"] = draw(REQUESTED)
        own = {"ab": draw(REQUESTED), "plain": draw(REQUESTED)}
        content["cluster"] = {label: section for label, section in own.items() if draw(st.booleans())}
        return content

    deep, base = one(), one()
    base["includeConfigs"] = ["deep.yaml"]
    if draw(st.booleans()):
        base["computeCloud"] = "far"
    if draw(st.booleans()):
        base["clusterAlgorithm"] = CLUSTERING
        pipetasks = {"ab": {"pipetasks": "isr, calibrate"}, "plain": {"pipetasks": "plain"}}
        deep["cluster"] = {label: deep["cluster"].get(label, {}) | pipetasks[label] for label in pipetasks}
    else:
        deep["cluster"].pop("ab", None)
        base["cluster"].pop("ab", None)
    return {"deep.yaml": deep, "base.yaml": base}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("requests")


@settings(max_examples=60)
@given(
    files=bps_files(),
    resources=st.dictionaries(
        st.sampled_from(TASKS), st.fixed_dictionaries({"memory": SIZES, "cpus": st.just(2)}), max_size=2
    ),
    raised=st.dictionaries(st.sampled_from(TASKS), SIZES, max_size=2),
)
def test_every_job_asks_for_what_the_table_says(
    folder: Path, files: dict[str, Any], resources: dict[str, Any], raised: dict[str, int]
) -> None:
    asked = Asked(folder, files, resources)
    remedy = Remedy(memory_mb=tuple(sorted(raised.items())))
    clustered = "clusterAlgorithm" in files["base.yaml"]
    jobs = (
        {"ab": ("isr", "calibrate"), "makeWarp": ("makeWarp",), "plain": ("plain",)}
        if clustered
        else {task: (task,) for task in TASKS}
    )
    for label, job in asked.jobs(jobs, remedy).items():
        if label in jobs:
            wanted = max(asked.table.request(task, remedy) for task in jobs[label])
            assert (label, job.request_memory) == (label, wanted)
            cores = max(asked.table.cpus(task) for task in jobs[label])
            # It may say more: which section counts depends on whether the task has got one by its remedy.
            assert job.request_cpus <= cores <= 9, label


CLUSTERS = {
    "clusterAlgorithm": CLUSTERING,
    "cluster": {
        "ab": {
            "pipetasks": "isr,calibrate",
            "dimensions": "exposure,detector",
            "requestMemory": 300,
            "requestCpus": 2,
            "requestWalltime": 30,
        }
    },
}
JOBS = {"ab": ("isr", "calibrate")}


def test_the_remedy_reaches_the_request_of_a_cluster(tmp_path: Path) -> None:
    asked = Asked(tmp_path, {"base.yaml": CLUSTERS}, {})
    assert asked.jobs(JOBS, Remedy())["ab"].request_memory == 300
    seen, remedy = [300], Remedy()
    for attempt in (1, 2, 3):
        remedy = remedy_after(asked, oom("calibrate", requested=seen[-1], memory=attempt))
        job = asked.jobs(JOBS, remedy)["ab"]
        assert (job.request_cpus, job.request_walltime) == (2, 30)
        seen.append(job.request_memory)
        # What the books hold when no journal tells.
        assert asked.table.request("calibrate", remedy) == asked.table.request("isr", remedy) == seen[-1]
    assert seen == [300, 600, 1200, 2400]


def remedy_after(asked: Asked, *entries: OpenQuanta, policy: Afterburner | None = None) -> Remedy:
    group = GroupView(
        id=1,
        step="step1",
        key="all",
        selection=Selection(),
        state=GroupState.READY,
        reason="",
        accepted=False,
        attempts_from=0,
        submissions=(),
        counts=Counts(),
        open_quanta=entries,
    )
    return next_remedy(
        group,
        step=asked.step,
        policy=policy or Afterburner(max_attempts=9),
        requests=asked.table,
        workers=8,
    )


def test_a_small_task_of_a_cluster_gets_more_than_the_whole_job_had(tmp_path: Path) -> None:
    content = {
        "clusterAlgorithm": CLUSTERING,
        "cluster": {"ab": {"pipetasks": "isr,calibrate", "dimensions": "visit"}},
        "pipetask": {"isr": {"requestMemory": 1000}, "calibrate": {"requestMemory": 4000}},
    }
    asked = Asked(tmp_path, {"base.yaml": content}, {})
    assert asked.jobs(JOBS, Remedy())["ab"].request_memory == 4000
    remedy = remedy_after(asked, oom("isr", requested=4000))
    assert asked.jobs(JOBS, remedy)["ab"].request_memory == 8000


def test_the_limit_that_a_shell_sets_is_that_of_the_whole_cluster(tmp_path: Path) -> None:
    content = {
        "clusterAlgorithm": CLUSTERING,
        "cluster": {"ab": {"pipetasks": "isr,calibrate", "dimensions": "visit"}},
        "pipetask": {"isr": {"requestMemory": 1000}, "calibrate": {"requestMemory": 4000}},
    }
    asked = Asked(tmp_path, {"base.yaml": content}, {}, wms="stock", memory_guard="address_space")
    for remedy, limit in ((NO_REMEDY, 4000), (Remedy(memory_mb=(("isr", 9000),)), 9000)):
        job = asked.jobs(JOBS, remedy)["ab"]
        assert (job.request_memory, job.cmdvals["requestMemory"]) == (limit, limit)


def test_resources_of_the_step_raise_what_a_cluster_asks_for(tmp_path: Path) -> None:
    own = {"isr": {"memory": 3000, "cpus": 4, "walltime": "00:20:00"}, "calibrate": {"walltime": "00:20:30"}}
    job = Asked(tmp_path, {"base.yaml": CLUSTERS}, own).jobs(JOBS, Remedy())["ab"]
    assert (job.request_memory, job.request_cpus, job.request_walltime) == (3000, 4, 41)
    less = {"isr": {"memory": 200, "cpus": 1, "walltime": "00:20:00"}}
    job = Asked(tmp_path, {"base.yaml": CLUSTERS}, less).jobs(JOBS, Remedy())["ab"]
    assert (job.request_memory, job.request_cpus, job.request_walltime) == (300, 2, 30)


@pytest.mark.parametrize(
    ("content", "resources", "expected"),
    [
        ({}, {}, 600),
        ({"memoryMultiplier": 3}, {}, 900),
        ({"pipetask": {"isr": {"memoryMultiplier": 4}}}, {}, 1200),
        ({"memoryMultiplier": 3}, {"isr": {"memory_multiplier": 1.5}}, 450),
        ({"cluster": {"ab": {"memoryMultiplier": 2.5}}}, {}, 750),
        ({"requestMemoryMax": 500}, {}, 500),
        ({"pipetask": {"isr": {"requestMemoryMax": 400}}}, {}, 400),
        ({"cluster": {"ab": {"requestMemoryMax": 350}}}, {}, 350),
        ({"cluster": {"ab": {"requestMemoryMax": 350}}}, {"isr": {"memory_max": 590}}, 590),
        ({"memoryLimit": 450}, {}, 450),
        ({"memoryMultiplier": 1}, {}, None),
    ],
)
def test_words_about_more_memory_in_bps_files(
    tmp_path: Path, content: dict[str, Any], resources: dict[str, Any], expected: int | None
) -> None:
    merged = {**CLUSTERS, **{key: value for key, value in content.items() if key != "cluster"}}
    own = CLUSTERS["cluster"]["ab"] | content.get("cluster", {}).get("ab", {})
    asked = Asked(tmp_path, {"base.yaml": merged | {"cluster": {"ab": own}}}, resources)
    remedy = remedy_after(asked, oom("isr", requested=300))
    assert dict(remedy.memory_mb).get("isr") == expected
    if expected is not None:
        assert asked.jobs(JOBS, remedy)["ab"].request_memory == expected


@pytest.mark.parametrize(
    "content",
    [
        {"extraQgraphOptions": "--dataset-query-constraint off"},
        {"payload": {"extraQgraphOptions": "--dataset-query-constraint off"}},
        {"site": {"local": {"extraQgraphOptions": "--dataset-query-constraint off"}}},
        {"extraQgraphOptions": "--wrong", "payload": {"extraQgraphOptions": "{mine}"},
         "mine": "--dataset-query-constraint off"},
    ],
)  # fmt: skip
@pytest.mark.parametrize("number", [1, 2])
def test_options_for_the_graph_stand_beside_ours(
    tmp_path: Path, content: dict[str, Any], number: int
) -> None:
    whole = content | {"createQuantumGraph": "pipetask qgraph {extraQgraphOptions}"}
    config = Asked(tmp_path, {"base.yaml": whole}, {}).config(number=number)
    ours = "" if number == 1 else " --rebase --skip-existing-in runs/night/step1/all"
    assert config["createQuantumGraph"] == f"pipetask qgraph --dataset-query-constraint off{ours}"


@pytest.mark.parametrize("section", ["payload", "bps_cmdline"])
@pytest.mark.parametrize("key", ["requestMemory", "memoryMultiplier", "requestCpus"])
def test_a_request_before_that_of_every_task_is_refused(tmp_path: Path, section: str, key: str) -> None:
    with pytest.raises(BadInputError, match=rf"base.yaml: {section}.{key}: it would go before"):
        Asked(tmp_path, {"base.yaml": {section: {key: 3}}}, {})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"qgraphFile": "/x.qg"}, "qgraphFile: BPS would run this graph in every group"),
        ({"payload": {"qgraphFile": "/x.qg"}}, "qgraphFile: BPS would run this graph in every group"),
        ({"bpsBatchSubmission": True}, "bpsBatchSubmission: a submission's driver builds its graph"),
        ({"remoteBuild": {"enabled": True}}, "remoteBuild: a submission's driver builds its graph"),
        ({"outCollection": "u/x"}, "outCollection: BPS has given it up"),
    ],
)
def test_keys_that_no_campaign_can_go_by(tmp_path: Path, content: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInputError, match=f"base.yaml: {words}"):
        Asked(tmp_path, {"base.yaml": content}, {})


def test_what_the_stock_service_does_not_use_is_said(tmp_path: Path) -> None:
    content = {
        "numberOfRetries": 3,
        "pipetask": {"isr": {"retryUnlessExit": [2]}},
        "finalJob": {"retryUnlessExit": 2},
    }
    assert Asked(tmp_path, {"base.yaml": content}, {}).table.unused == ()
    found = Asked(tmp_path, {"base.yaml": content}, {}, wms="stock").table.unused
    file = tmp_path / "base.yaml"
    assert found == (
        (
            f"numberOfRetries in {file} is not used by the stock service: "
            "afterburner.max_attempts says how often a quantum is tried"
        ),
        (
            f"pipetask.isr.retryUnlessExit in {file} is not used by the stock service: "
            "failure_rules say which exit codes are not retried"
        ),
    )


def test_retries_within_a_run_are_what_the_files_say(tmp_path: Path) -> None:
    unsaid = Asked(tmp_path / "unsaid", {}, {}).jobs({"isr": ("isr",)}, Remedy())["isr"]
    assert unsaid.number_of_retries == 0
    content = {"numberOfRetries": 3, "pipetask": {"isr": {"retryUnlessExit": [2, 20]}}}
    job = Asked(tmp_path / "said", {"base.yaml": content}, {}).jobs({"isr": ("isr",)}, Remedy())["isr"]
    assert (job.number_of_retries, job.retry_unless_exit) == (3, [2, 20])


def test_variables_of_the_files_are_those_of_the_jobs(tmp_path: Path) -> None:
    content = {
        "environment": {"A": "1"},
        "pipetask": {"isr": {"environment": {"B": "${A}/x"}}},
        "site": {"local": {"environment": {"C": "3"}}, "other": {"environment": {"D": "4"}}},
    }
    asked = Asked(tmp_path, {"base.yaml": content}, {})
    assert asked.table.environment == ("A", "B", "C")
    jobs = asked.jobs({"isr": ("isr",), "plain": ("plain",)}, Remedy())
    assert set(jobs["isr"].environment) == {"A", "B", "C"}
    assert set(jobs["plain"].environment) == {"A", "C"}
