"""Whole submissions through the service, on a real repository and real Parsl."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import wms_support as support
from wms_support import Rendering

from merian_campaign.domain.execution.journal import JournalEvent, JournalRecord

pytestmark = pytest.mark.e2e

LEAVES = {
    0: "wait:{flag}",
    1: "raise:bad",
    2: "segfault:",
    3: "exit:3",
    4: "kill:9",
    5: "spam:100",
    6: "grow:",
    7: "tree:250",
}
PERIOD = 1.0
"""Seconds between two samples of a quantum's memory."""

WALLTIME = 9.0
"""Seconds that a quantum may take: a light one is done long before, also on a slow machine."""


def by_detector(submission: support.Submission, label: str) -> dict[int, JournalRecord]:
    return {int(record.job.rsplit("_", 1)[1]): record for record in submission.ended(label)}


def test_every_way_to_end(repo: Path, folder: Path) -> None:
    flag = folder / "flag"
    behaviour = {number: what.format(flag=flag) for number, what in LEAVES.items()}
    choices = Rendering(
        tasks={"first": {"misbehave": behaviour}, "second": {"misbehave": {9: "sleep:600"}}, "gather": {}},
        site={"sample_seconds": PERIOD, "cgroup": False},  # the figures are the sampler's
        extra={"requestMemory": 500, "pipetask": {"second": {"requestWalltime": WALLTIME / 60}}},
        cores=3,
    )
    submission = support.render(folder, repo=repo, name="ends", choices=choices)
    with support.started(submission) as driver:
        # Detector 0 runs beside all the others, and ends well after the greedy ones were ended.
        support.wait_for(lambda: {6, 7} <= set(by_detector(submission, "first")), what="the greedy to end")
        flag.touch()
        assert driver.wait(240) == 10
    first = by_detector(submission, "first")
    how = {number: (record.verdict, record.exit, record.signal) for number, record in first.items()}
    assert how == {
        0: ("ok", 0, None),
        1: ("failed", 1, None),
        2: ("failed", None, 11),
        3: ("failed", 3, None),
        4: ("failed", None, 9),
        5: ("ok", 0, None),
        6: ("out_of_memory", None, 9),
        7: ("out_of_memory", None, 9),
        8: ("ok", 0, None),
        9: ("ok", 0, None),
    }
    # Ended within two periods, in which it grows by 8 MiB every 80 ms at most.
    grown = first[6].evidence
    assert grown["requested_mb"] == 500
    assert 550 < float(str(grown["reached_mb"])) < 550 + 2 * PERIOD * 100 + 60
    assert int(str(first[7].evidence["processes"])) >= 3
    assert float(str(first[7].evidence["reached_mb"])) > 550
    assert first[6].peak_mb is not None
    assert first[6].peak_mb > 500
    assert all(record.evidence["warm"] for record in first.values())
    log = submission.submit / "logs" / "first" / f"{first[5].job}.stderr"
    assert log.stat().st_size > 100 * 1024 * 1024
    _one_takes_too_long(submission)
    assert submission.ended("gather") == []
    assert sorted(support.datasets(submission, "second")) == [0, 5, 8]
    _reports(submission)
    _restarts(submission)


def _one_takes_too_long(submission: support.Submission) -> None:
    """Check that what passed its requestWalltime was ended, alone, with what was asked and reached."""
    second = by_detector(submission, "second")
    how = {number: (record.verdict, record.exit, record.signal) for number, record in second.items()}
    well = ("ok", 0, None)
    assert how == {0: well, 5: well, 8: well, 9: ("walltime", None, 9)}
    evidence = second[9].evidence
    assert evidence["requested_s"] == WALLTIME
    assert WALLTIME < float(str(evidence["reached_s"])) < WALLTIME + 60
    assert second[9].wall_s is not None
    assert second[9].wall_s > WALLTIME


def _reports(submission: support.Submission) -> None:
    """Check what ``bps report`` and ``bps status`` say of the finished submission."""
    report = support.bps("report", submission.submit, "--return-exit-codes", cwd=submission.folder)
    assert report.returncode == 0, report.stderr
    row = next(line for line in report.stdout.splitlines() if line.strip().startswith("TOTAL"))
    numbers = [int(word) for word in re.findall(r"\d+", row)]
    assert numbers[-1] == 23
    assert sorted(numbers[:-1])[-3:] == [7, 7, 9]  # failed, pruned, and succeeded with its own two stages
    for stage in ("pipetaskInit", "finalJob"):
        row = next(line for line in report.stdout.splitlines() if line.strip().startswith(stage))
        assert sorted(int(word) for word in re.findall(r"\d+", row))[-2:] == [1, 1]
    assert support.bps("status", submission.submit).returncode == 19  # FAILED


def _restarts(submission: support.Submission) -> None:
    """Restart it: what is done stays done, what failed fails again."""
    before = len([r for r in submission.records() if r.event == JournalEvent.STARTED])
    again = support.run(
        "bps", "restart", "--wms-service-class", support.OURS, "--id", str(submission.submit), cwd="/"
    )
    assert again.returncode != 0
    starts = [r for r in submission.records() if r.event == JournalEvent.STARTED][before:]
    assert {int(r.job.rsplit("_", 1)[1]) for r in starts} == {1, 2, 3, 4, 6, 7, 9}


def _essence(value: Any) -> Any:
    """Return metadata without what may differ between two runs."""
    varying = re.compile(
        r"(?i)time|utc|cpu|rss|size|fault|switch|block|node|ctx|swap|pid|uuid|outputs|gc_|metrics|wall"
    )
    if isinstance(value, dict):
        return {k: _essence(v) for k, v in value.items() if not varying.search(k)}
    return value


def test_same_outputs_as_the_stock_service(repo: Path, folder: Path) -> None:
    tasks = {"first": {"misbehave": {1: "raise:bad"}}, "second": {}, "gather": {}}
    query = "instrument='Toy' AND detector IN (0, 1)"
    ran = {}
    for name, service in (("alpha", support.STOCK), ("omega", support.OURS)):
        choices = Rendering(service=service, tasks=tasks, query=query)
        ran[name] = support.render(folder, repo=repo, name=name, choices=choices)
        done = support.run("bps", "submit", str(ran[name].config), cwd=folder)
        assert done.returncode == (0 if name == "alpha" else 10), done.stderr[-3000:]
    products = {n: {t: support.datasets(s, t) for t in ("first", "second")} for n, s in ran.items()}
    assert products["omega"] == products["alpha"]
    assert products["omega"]["second"].keys() == {0}

    def contents(submission: support.Submission) -> tuple[list[str], list[Any], list[str]]:
        root = repo / submission.run
        files = sorted(
            re.sub(f"toy_{submission.config.stem}_run", "RUN", str(p.relative_to(root)))
            for p in root.rglob("*")
            if p.is_file()
        )
        metadata = [_essence(json.loads(p.read_text())) for p in sorted(root.glob("*_metadata/**/*.json"))]
        logs = []
        for path in sorted(submission.submit.glob("logs/first/*.stderr"), key=lambda p: p.name[-9:]):
            text = re.sub(submission.config.stem, "NAME", path.read_text())
            text = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "UUID", text)
            text = re.sub(r"\d{4}-\d\d-\d\dT\S+|\d+\.\d+", "NUMBER", text)
            # The stock service retries once and appends; the first attempt is compared.
            logs.append(text.split("--> executable follows <--")[1].replace("-submit/toy_NAME_run.qg", ""))
        return files, metadata, logs

    ours, stock = contents(ran["omega"]), contents(ran["alpha"])
    assert ours[0] == stock[0]
    assert ours[1] == stock[1]
    assert ours[2] == stock[2]


def test_held_quanta_clusters_and_cold_commands(repo: Path, folder: Path) -> None:
    hold = folder / "hold.json"
    hold.write_text(json.dumps([{"task": "first", "data_id": {"instrument": "Toy", "detector": 1}}]))
    marker = folder / "cold"
    cold = "pipetask {runPreCmdOpts} run-qbb {butlerConfig} {qgraphFile} --qgraph-node-id {qgraphNodeId}"
    choices = Rendering(
        tasks={"first": {}, "second": {}, "third": {}},
        query="instrument='Toy' AND detector < 4",
        extra={
            "campaignHold": str(hold),
            "clusterAlgorithm": "lsst.ctrl.bps.quantum_clustering_funcs.dimension_clustering",
            "cluster": {"both": {"pipetasks": "first,second", "dimensions": "instrument"}},
            "pipetask": {"third": {"runQuantumCommand": f"{cold} && touch {marker}"}},
        },
    )
    submission = support.render(folder, repo=repo, name="held", choices=choices)
    done = support.submit(submission)
    assert done.returncode == 10, done.stderr[-3000:]
    held = [r for r in submission.records() if r.event == JournalEvent.HELD]
    (cluster,) = submission.ended("both")
    assert [len(r.quanta) for r in held] == [2]  # and what depends on it inside the cluster
    assert len(cluster.quanta) == 6
    assert cluster.verdict == "ok"
    assert sorted(support.datasets(submission, "second")) == [0, 2, 3]
    assert submission.ended("third") == []  # the cluster counts as failed
    assert not marker.exists()


def test_cold_settings_retries_and_shell_commands(repo: Path, folder: Path) -> None:
    flag, marker = folder / "flag", folder / "cold"
    cold = "pipetask {runPreCmdOpts} run-qbb {butlerConfig} {qgraphFile} --qgraph-node-id {qgraphNodeId}"
    choices = Rendering(
        tasks={"first": {"misbehave": {0: f"once:{flag}"}}, "second": {}},
        query="instrument='Toy' AND detector = 0",
        site={"commandPrefix": "export FROM_PREFIX=yes"},
        extra={
            "pipetask": {
                "first": {"numberOfRetries": 1, "retryUnlessExit": [2]},
                "second": {"runQuantumCommand": f'{cold} && echo "${{FROM_PREFIX}}" > {marker}'},
            },
            "campaignMemory": "first=1:700,99:900",
            "requestMemory": 800,
        },
    )
    submission = support.render(folder, repo=repo, name="cold", choices=choices)
    done = support.submit(submission)
    assert done.returncode == 0, done.stderr[-3000:]
    assert [(r.verdict, r.evidence["warm"]) for r in submission.ended("first")] == [
        ("failed", True),
        ("ok", True),
    ]
    assert [(r.verdict, r.evidence["warm"]) for r in submission.ended("second")] == [("ok", False)]
    assert marker.read_text() == "yes\n"
    asked = {label: {r.requested_mb for r in submission.ended(label)} for label in ("first", "second")}
    assert asked == {"first": {700}, "second": {800}}, "of its own number of inputs, of its task"
    assert support.bps("status", submission.submit).returncode == 0


def test_an_empty_graph_has_its_own_status(repo: Path, folder: Path) -> None:
    choices = Rendering(query="instrument='Toy' AND detector = 999")
    assert support.submit(support.render(folder, repo=repo, name="none", choices=choices)).returncode == 12
    broken = Rendering(query="instrument='Toy' AND nonsense = 1")
    assert support.submit(support.render(folder, repo=repo, name="bad", choices=broken)).returncode == 11


def test_requests_share_out_the_nodes_memory(repo: Path, folder: Path) -> None:
    flag = folder / "flag"
    choices = Rendering(
        tasks={"first": {"misbehave": dict.fromkeys(range(4), f"wait:{flag}"), "seconds": 0.5}},
        query="instrument='Toy' AND detector < 4",
        cores=4,
        site={"memory_mb": 2500},
    )
    submission = support.render(folder, repo=repo, name="packed", choices=choices)
    with support.started(submission) as driver:
        support.wait_for(
            lambda: sum(r.event == JournalEvent.STARTED for r in submission.records()) >= 2,
            what="two quanta at once",
        )
        flag.touch()
        assert driver.wait(240) == 0
    most = running = 0
    for record in submission.records():
        running += (record.event == JournalEvent.STARTED) - (record.event == JournalEvent.ENDED)
        most = max(most, running)
    assert most == 2
