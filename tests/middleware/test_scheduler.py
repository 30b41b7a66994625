"""Slurm commands as found: absent, silent, broken, without accounting; real ones: tests/slurm."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from merian_campaign.domain.resources.cluster import ResourceRequest
from merian_campaign.domain.slurm.sbatch import SubmitResult
from merian_campaign.domain.slurm.slurm_jobs import JobQuery
from merian_campaign.middleware.scheduler import SlurmScheduler

NOW = datetime(2026, 11, 22, 15, tzinfo=UTC)
QUEUE = "12|RUNNING|None|n1|2026-11-22T15:00:00|2026-11-22T15:01:00|N/A|0|mine|(null)"
WATCH = JobQuery(names=frozenset({"gone"}), since=NOW)


def scheduler(folder: Path, *, seconds: float = 30.0, **commands: str) -> SlurmScheduler:
    folder.mkdir(exist_ok=True)
    for name, script in commands.items():
        (folder / name).write_text(f"#!/bin/bash\necho {name} >> {folder}/calls\n{script}\n")
        (folder / name).chmod(0o755)
    environ = {"PATH": f"{folder}:{os.defpath}" if commands else str(folder)}
    return SlurmScheduler(environ=environ, clock=lambda: NOW, seconds=seconds)


def calls(folder: Path) -> list[str]:
    return (folder / "calls").read_text().split()


def test_no_slurm_on_this_host(tmp_path: Path) -> None:
    asked = scheduler(tmp_path)
    assert asked.look(WATCH).unreachable == "there is no squeue on this host"
    assert asked.cluster() == "there is no scontrol on this host"
    assert asked.submit("#!/bin/bash\n", path=str(tmp_path / "s.sh"), marker="m", environment={}).unsure
    assert asked.cancel(["12"]) == "there is no scancel on this host"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1", "Unable to contact"),
        ("exec sleep 600", "has not answered within 0.5 s"),
    ],
)
def test_a_queue_without_an_answer(tmp_path: Path, script: str, words: str) -> None:
    found = scheduler(tmp_path, seconds=0.5, squeue=script).look(WATCH)
    assert words in found.unreachable
    assert found.jobs == ()


def test_the_accounting_is_asked_only_about_what_is_not_in_the_queue(tmp_path: Path) -> None:
    asked = scheduler(tmp_path, squeue=f"echo '{QUEUE}'", sacct="exit 0")
    asked.look(JobQuery(names=frozenset({"mine"}), jobs={"12": "mine"}))
    assert calls(tmp_path) == ["squeue"]
    asked.look(WATCH, fresh_seconds=60)
    assert calls(tmp_path) == ["squeue"]
    asked.look(WATCH)
    assert calls(tmp_path) == ["squeue", "squeue", "sacct"]


def test_a_cluster_without_accounting_is_not_silent(tmp_path: Path) -> None:
    none = "echo 'Slurm accounting storage is disabled' >&2; exit 1"
    found = scheduler(tmp_path, squeue=f"echo '{QUEUE}'", sacct=none).look(WATCH)
    assert (found.unreachable, [job.job_id for job in found.jobs]) == ("", ["12"])


@pytest.mark.parametrize("sacct", ["echo 'Connection refused' >&2; exit 1", "exec sleep 600", None])
def test_without_an_accounting_the_queue_has_the_last_word(tmp_path: Path, sacct: str | None) -> None:
    """A slurmdbd that is away for days, or no sacct on this host: leases tell of what the queue has not."""
    commands = {"squeue": f"echo '{QUEUE}'"} | ({} if sacct is None else {"sacct": sacct})
    found = scheduler(tmp_path, seconds=2.0, **commands).look(WATCH)
    assert (found.unreachable, [job.job_id for job in found.jobs]) == ("", ["12"])


def test_banners_of_wrappers_are_no_jobs(tmp_path: Path) -> None:
    """Sites wrap the commands of Slurm in scripts that greet, before, after and between."""
    gone = "13|FAILED|None|n2|2026-11-22T15:00:00|None|None|1:0|gone|(null)"
    squeue = f"echo '*** Closed | on | Monday ***'; echo '{QUEUE}'; echo 'CLUSTER: big'; echo bye >&2"
    sacct = f"echo Welcome; echo '{gone}'; echo '= end ='"
    found = scheduler(tmp_path, squeue=squeue, sacct=sacct).look(WATCH)
    assert sorted(job.job_id for job in found.jobs) == ["12", "13"]


def test_ids_of_arrays_and_federations(tmp_path: Path) -> None:
    federated = QUEUE.replace("12|", "67108882|")
    array = QUEUE.replace("12|", "40_[1-9]|")  # as some wrappers print them
    found = scheduler(tmp_path, squeue=f"echo '{federated}'; echo '{array}'").look(JobQuery())
    assert [job.job_id for job in found.jobs] == ["67108882"]


def test_a_users_own_variables_do_not_change_what_is_asked(tmp_path: Path) -> None:
    """Those of a profile: limits, formats, partitions, exports; where Slurm is stays."""
    own = {
        "SBATCH_PARTITION": "debug", "SBATCH_EXPORT": "NONE", "SQUEUE_FORMAT": "%i", "SQUEUE_USERS": "root",
        "SACCT_FORMAT": "JobID", "SLURM_TIME_FORMAT": "relative", "SLURM_MEM_PER_NODE": "1",
        "SCANCEL_NAME": "x", "SLURM_CONF": "/etc/slurm/other.conf", "SLURM_CLUSTERS": "big",
        "TZ": "Asia/Tokyo",
    }  # fmt: skip
    dump = f"env | grep -E '^(SLURM|SBATCH|SQUEUE|SACCT|SCANCEL)_' >> {tmp_path}/seen"
    dump += f'; echo "$(basename $0) $TZ" >> {tmp_path}/zones'
    names = ("squeue", "sacct", "sbatch", "scancel", "scontrol")
    scheduler(tmp_path, **dict.fromkeys(names, dump))
    asked = SlurmScheduler(environ={"PATH": f"{tmp_path}:{os.defpath}", **own}, clock=lambda: NOW)
    asked.look(WATCH)
    asked.cluster()
    asked.cancel(["7"])
    asked.would_refuse(ResourceRequest(what="a block", where="s", walltime="1", mem_mb=1, cpus=1))
    asked.submit("#!/bin/bash\n", path=str(tmp_path / "s.sh"), marker="m", environment={"SBATCH_QOS": "x"})
    assert set(calls(tmp_path)) == set(names)
    seen = set((tmp_path / "seen").read_text().split())
    assert seen == {"SLURM_CONF=/etc/slurm/other.conf", "SLURM_CLUSTERS=big", "SLURM_TIME_FORMAT=standard"}
    zones = set((tmp_path / "zones").read_text().splitlines())
    assert {"squeue UTC", "sacct UTC", "sbatch Asia/Tokyo"} <= zones, (
        "times are read in UTC, jobs keep theirs"
    )


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'sbatch: Job 17 to start at 2026-11-22T15:00:00' >&2", ""),
        ("echo 'allocation failure: Invalid qos specification' >&2; exit 1", "Invalid qos specification"),
        ("echo 'sbatch: error: Unable to contact slurm controller' >&2; exit 1", ""),
        ("exec sleep 600", ""),
    ],
)
def test_what_slurm_would_refuse_is_asked_for_nothing(tmp_path: Path, script: str, words: str) -> None:
    line = f'echo "$@" > {tmp_path}/words; {script}'
    asked = ResourceRequest(
        what="a block", where="site.yaml", qos="long", walltime="01:00:00", mem_mb=100, cpus=4
    )
    found = scheduler(tmp_path, seconds=2.0, sbatch=line).would_refuse(asked)
    assert found.startswith(f"a block would be refused: {words} (--qos=") if words else found == ""
    assert (tmp_path / "words").read_text().split() == [
        "--test-only", "--job-name=merian-campaign-test", "--qos=long", "--time=01:00:00",
        "--cpus-per-task=4", "--mem=100M", "--nodes=1", "--ntasks-per-node=1", "--wrap=true",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("script", "answer"),
    [
        ("echo '17;cluster'", SubmitResult(job_id="17")),
        ("echo 'Dear user 4,'; echo '17'; echo 'Please see the news of 2026'", SubmitResult(job_id="17")),
        ("echo 'Submitted batch job 17 on cluster big'", SubmitResult(job_id="17")),
        ("echo 'sbatch: error: no news' >&2; echo done", SubmitResult(unsure="no news")),
        ("echo 'sbatch: error: Invalid account' >&2; exit 1", SubmitResult(refused="Invalid account")),
        (
            "echo 'sbatch: error: AssocMaxSubmitJobLimit' >&2; exit 1",
            SubmitResult(deferred="AssocMaxSubmitJobLimit"),
        ),
        ("echo 'sbatch: error: Socket timed out' >&2; exit 1", SubmitResult(unsure="Socket timed out")),
        ("exit 1", SubmitResult(unsure="sbatch said nothing")),
    ],
)
def test_what_sbatch_answers(tmp_path: Path, script: str, answer: SubmitResult) -> None:
    place = tmp_path / "place" / "driver0.sh"
    asked = scheduler(tmp_path / "bin", sbatch=script)
    found = asked.submit("#!/bin/bash\n", path=str(place), marker="m", environment={})
    assert found == answer
    # Whoever asks again too soon is told so without another sbatch.
    assert asked.full(fresh_seconds=60) == answer.deferred
    assert asked.full(fresh_seconds=0) == ""
    assert place.read_text() == "#!/bin/bash\n"
