"""The cluster itself: limits are refused, faults have the states Slurm gives them, nothing stays behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cluster.processes import wait_until
from cluster.running import Cluster
from cluster.settings import Settings, new_settings, private_directory
from cluster.starting import up
from cluster.stopping import groups
from cluster.trouble import ClusterError, MissingProgramsError

HOG = "x = bytearray(b'x') * (400 << 20); print(len(x))"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--partition=small", "--mem=600"), "emory"),
        (("--partition=short", "--time=5"), "time limit"),
        (("--partition=small", "--nodes=2"), "ode count"),
        (("--mem=999999",), "not available"),
        (("--account=nobody",), "account"),
        (("--partition=nowhere",), "partition"),
    ],
)
def test_what_cannot_run_is_refused(cluster: Cluster, options: tuple[str, ...], words: str) -> None:
    with pytest.raises(ClusterError, match=words):
        cluster.sbatch(*options, wrap="true")


def test_accounting_keeps_what_a_job_was_and_how_it_ended(cluster: Cluster) -> None:
    jobs = [
        cluster.sbatch("--comment=a b", "--job-name=one", wrap="exit 3"),
        cluster.sbatch("--comment=c", "--job-name=two", wrap="true"),
    ]
    for job in jobs:
        cluster.wait_state(job)
    wanted = [["one", "FAILED", "3:0", "a b"], ["two", "COMPLETED", "0:0", "c"]]

    def known() -> bool:
        return cluster.sacct(*jobs, fields="JobName,State,ExitCode,Comment") == wanted

    assert wait_until(known, seconds=60, period=0.2), cluster.sacct(*jobs)


def test_memory_is_held_to_what_was_asked_for(cluster: Cluster) -> None:
    job = cluster.sbatch("--mem=100", wrap=f'{sys.executable} -c "{HOG}; import time; time.sleep(60)"')
    wanted = {"cgroup1": "OUT_OF_MEMORY", "acct": "FAILED"}[cluster.memory_kill]
    assert cluster.wait_state(job) == wanted


def test_a_job_of_a_higher_partition_takes_the_place_of_a_lower_one(cluster: Cluster) -> None:
    node = cluster.nodes[0]
    low = cluster.sbatch("--partition=low", f"--nodelist={node}", "--cpus-per-task=2", wrap="sleep 300")
    cluster.wait_state(low, "RUNNING")
    high = cluster.sbatch("--partition=high", f"--nodelist={node}", "--cpus-per-task=2", wrap="sleep 300")
    cluster.wait_state(high, "RUNNING")
    assert cluster.state(low) == "PENDING"
    assert cluster.facts(low)["Restarts"] == "1"
    cluster.output("scancel", low, high)


def test_a_lost_node_ends_its_job_and_comes_back(cluster: Cluster) -> None:
    node = cluster.nodes[1]
    lost = cluster.sbatch("--no-requeue", f"--nodelist={node}", wrap="sleep 300")
    cluster.wait_state(lost, "RUNNING")
    assert wait_until(lambda: cluster.job_processes(node), seconds=30)
    cluster.crash(node)
    assert wait_until(lambda: not cluster.job_processes(node), seconds=10)
    cluster.notice(node)
    assert cluster.wait_state(lost) == "NODE_FAIL"
    cluster.settle()
    assert set(cluster.idle_nodes()) == set(cluster.nodes)


def test_jobs_outlive_a_controller_that_is_away(cluster: Cluster) -> None:
    job = cluster.sbatch(wrap="sleep 300")
    cluster.wait_state(job, "RUNNING")
    cluster.stop_controller()
    assert not cluster.controller_answers()
    assert cluster.job_processes()
    cluster.start_controller()
    assert cluster.wait_state(job, "RUNNING") == "RUNNING"
    cluster.output("scancel", job)


def test_a_cluster_ends_with_its_keeper_and_leaves_nothing_even_of_running_jobs(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "300"]) as watched:
        try:
            kept = up(tmp_path / "kept", keeper_of=watched.pid)
            # In a session of its own, as a process that hides from its step would be.
            jobs = [kept.sbatch(wrap="setsid sleep 300 & sleep 300") for _ in range(2)]
            for job in jobs:
                kept.wait_state(job, "RUNNING")
            assert wait_until(lambda: len(kept.job_processes()) >= 4 * len(jobs), seconds=30)
            everything = [*(each for _, each in kept.daemons()), *kept.job_processes()]
        finally:
            watched.kill()
    assert wait_until(lambda: not kept.settings.directory.exists(), seconds=60)
    assert not [each for each in everything if each.alive]
    assert not groups(kept.settings)


def test_two_clusters_share_neither_names_nor_ports(cluster: Cluster, tmp_path: Path) -> None:
    other = new_settings(tmp_path)
    assert not set(other.nodes) & set(cluster.nodes)
    assert other.port != cluster.settings.port
    assert other.cluster != cluster.settings.cluster


def test_missing_programs_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.packages.PACKAGES", {"slurm-of-nowhere": "no-such-package"})
    monkeypatch.setenv("MERIAN_SLURM_INSTALL", "0")
    with pytest.raises(MissingProgramsError, match=r"slurm-of-nowhere .*no-such-package"):
        up(tmp_path / "none")
    assert not any(tmp_path.iterdir())


def test_an_unsuitable_directory_becomes_a_link(tmp_path: Path) -> None:
    wanted = tmp_path / "with space" / ("long" * 20)
    place = private_directory(wanted)
    assert wanted.is_symlink()
    assert wanted.readlink() == place
    assert len(str(place)) < len(str(wanted))


def test_the_command_line_says_what_is_wrong(tmp_path: Path) -> None:
    command = [sys.executable, str(Path(__file__).parent / "cluster"), "--dir", str(tmp_path), "status"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"no cluster in {tmp_path} (start one: `up`)\n"


def test_settings_survive_being_written(cluster: Cluster) -> None:
    assert Settings.load(cluster.settings.directory) == cluster.settings
