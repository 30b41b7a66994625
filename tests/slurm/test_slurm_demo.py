"""The demo through real sbatch, registry and tracking database on a server: the same outputs as anywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster.running import Cluster
from cluster.settings import SITES
from demo_chain import BIAS, CROSSTALK, FLAT, OUTPUT, Survey
from demo_compare import compare_collections
from e2e_help import Installation, installation_on_server, reduce
from postgresql_help import PASSWORD_BEGINS, need_server

STEPS = tuple(
    f"DECam/runs/demo/{step}" for step in ("step1", "step2a", "step2b", "step2c", "step2d", "step3")
)
CALIBRATION = {
    "DECam/calib/demo/bias": BIAS,
    "DECam/calib/demo/crosstalk": CROSSTALK,
    "DECam/calib/demo/flat": FLAT,
}
# The work is done a moment before the driver has written its last line and gives the block back.
RELEASE = timedelta(seconds=90)


@dataclass(frozen=True, kw_only=True)
class Reduced:
    """A demo that ended, and how it was run."""

    installation: Installation
    directory: Path

    @property
    def submissions(self) -> Path:
        return self.directory / "submissions" / "demo"

    def journals(self) -> dict[Path, list[dict[str, Any]]]:
        """Return the lines of every journal of a BPS submission, by its directory."""
        return {
            path.parent: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            for path in sorted(self.submissions.glob("*/*/*/bps/journal.jsonl"))
        }


@pytest.fixture(scope="module")
def reduced(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reduced]:
    """The demo as `make demo SITE=slurm` runs it, in an installation of its own on a PostgreSQL server."""
    need_server()
    files = tmp_path_factory.mktemp("registry")
    with installation_on_server(files, MERIAN_CAMPAIGN_SITE_PATH=str(SITES)) as installation:
        directory = reduce(installation, "--site", "slurm")
        assert cluster.squeue() == []
        assert not (directory / "repo" / "gen3.sqlite3").exists()
        yield Reduced(installation=installation, directory=directory)


def runs_of(repository: Path, *outputs: str) -> list[str]:
    """Return the RUN collections below each output; a chain would hold the inputs too."""
    from lsst.daf.butler import Butler, CollectionType  # noqa: PLC0415 - takes seconds

    with Butler.from_config(str(repository)) as butler:
        patterns = [f"{output}/*" for output in outputs]
        return list(butler.collections.query(patterns, collection_types=CollectionType.RUN))


def test_every_step_is_done_but_the_tract_with_the_algorithm_error(reduced: Reduced) -> None:
    status = reduced.installation.json("status", "demo")
    states = {(group["step"], group["group"]): group["state"] for group in status["groups"]}
    assert states.pop(("step3", "tract9814")) == "needs_review"
    assert set(states.values()) == {"done"}
    assert status["quanta"]["expected"] == 153


@pytest.mark.parametrize("chain", CALIBRATION)
def test_the_calibration_is_what_pipetask_makes(reduced: Reduced, survey: Survey, chain: str) -> None:
    found = compare_collections(
        repository=reduced.directory / "repo", other_repository=survey.repository,
        first=runs_of(reduced.directory / "repo", chain),
        second=runs_of(survey.repository, CALIBRATION[chain]),
    )  # fmt: skip
    assert found == []


def test_the_datasets_are_what_pipetask_makes_but_what_hangs_on_the_algorithm_error(
    reduced: Reduced, survey: Survey
) -> None:
    found = compare_collections(
        repository=reduced.directory / "repo", other_repository=survey.repository,
        first=runs_of(reduced.directory / "repo", *STEPS), second=runs_of(survey.repository, OUTPUT),
    )  # fmt: skip
    assert found
    assert all("tract=9814" in each.data_id for each in found)
    assert {each.problem for each in found} == {"missing in the first"}


def test_the_faults_have_the_verdicts_they_have_elsewhere(reduced: Reduced) -> None:
    rows = reduced.installation.query(
        "SELECT g.step, q.task, a.verdict, s.number FROM quantum_attempt a"
        " JOIN quantum q ON q.id = a.quantum_id JOIN submission s ON s.id = a.submission_id"
        ' JOIN "group" g ON g.id = q.group_id JOIN campaign c ON c.id = g.campaign_id'
        " WHERE c.name = 'demo' AND a.state = 'failed' ORDER BY 1, 2"
    )
    assert rows == [
        ("step0", "isrForCrosstalkSources", "unknown", 1),
        ("step1", "calibrate", "out_of_memory", 1),
        ("step1", "characterizeImage", "infrastructure", 1),
        ("step3", "deblend", "algorithm", 1),
    ]


def test_more_memory_means_fewer_neighbours(reduced: Reduced) -> None:
    first, second = (
        yaml.safe_load((reduced.submissions / f"step1/night20210318/00{n}/submit.yaml").read_text())
        for n in (1, 2)
    )
    assert "pipetask" not in first
    assert second["pipetask"] == {"calibrate": {"requestMemory": 4096}}
    journals = reduced.journals()
    asked = {
        line["label"]: line["requested_mb"]
        for line in journals[reduced.submissions / "step1/night20210318/002/bps"]
        if line["event"] == "started"
    }
    assert asked["calibrate"] == 4096


def test_every_quantum_ran_in_a_slurm_job_on_a_node_of_the_cluster(
    cluster: Cluster, reduced: Reduced
) -> None:
    started = [line for lines in reduced.journals().values() for line in lines if line["event"] == "started"]
    # One has two attempts in its group: memory, signal, once; and some were blocked the first time.
    assert len({quantum for line in started for quantum in line["quanta"]}) > 140
    assert all(line["slurm_node"] in cluster.nodes for line in started)
    known = {job for (job,) in cluster.sacct(fields="JobID")}
    assert {line["slurm_job"] for line in started} <= known


def test_no_block_stays_after_its_work(cluster: Cluster, reduced: Reduced) -> None:
    rows = cluster.sacct(fields="JobID,End")
    ends = {job: datetime.fromisoformat(end).astimezone() for job, end in rows if end != "Unknown"}
    late = []
    for submission, lines in reduced.journals().items():
        jobs = {line["slurm_job"] for line in lines if line["event"] == "started"}
        closed = max(datetime.fromisoformat(line["t"]) for line in lines)
        late += [(submission, job) for job in jobs if ends[job] > closed + RELEASE]
    assert late == []


def test_the_password_of_the_server_is_nowhere(reduced: Reduced) -> None:
    made = reduced.installation
    assert (made.root / "holding").read_text() == ""
    files = [path for path in made.root.rglob("*") if path.is_file()]
    records = [path for path in files if path.name.endswith(".env.info.yaml")]
    assert records
    assert "passfile" in records[0].read_text()
    holding = [path for path in files if PASSWORD_BEGINS.encode() in path.read_bytes()]
    assert [path.parent for path in holding] == [made.root / "home" / "passfiles"]
    tables = made.query("SELECT relname FROM pg_stat_user_tables")
    rows = str([made.query(f'SELECT t::text FROM "{table}" t') for (table,) in tables])
    assert "step3" in rows
    assert PASSWORD_BEGINS not in rows
