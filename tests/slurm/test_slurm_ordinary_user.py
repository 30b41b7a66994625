"""What an ordinary user of the cluster, neither root nor who runs Slurm, sees of one's own jobs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from another_user import Account, accounts_of_one_group
from cluster.config import ACCOUNT
from cluster.processes import wait_until
from cluster.running import Cluster

LOOK = """
import json, os
from datetime import UTC, datetime
from merian_campaign.domain.slurm.slurm_jobs import JobQuery
from merian_campaign.middleware.scheduler import SlurmScheduler
found = SlurmScheduler(environ=os.environ, clock=lambda: datetime.now(UTC))
sight, limits = found.look(JobQuery()), found.cluster()
print(json.dumps([[job.job_id for job in sight.jobs], sight.unreachable, sorted(limits.partitions)]))
"""


@pytest.fixture
def user(cluster: Cluster) -> Iterator[Account]:
    """Another account of this host, which the cluster knows."""
    found = accounts_of_one_group(1)[0]
    cluster.output("sacctmgr", "-i", "add", "user", found.name, f"account={ACCOUNT}")
    yield found
    cluster.output("scancel", "--full", f"--user={found.name}")
    cluster.output("sacctmgr", "-i", "delete", "user", found.name)


@pytest.fixture
def hidden(cluster: Cluster) -> Iterator[str]:
    """A partition that is not shown."""
    cluster.output("scontrol", "update", "PartitionName=large", "Hidden=YES")
    yield "large"
    cluster.output("scontrol", "update", "PartitionName=large", "Hidden=NO")


def test_jobs_in_a_hidden_partition_are_seen(cluster: Cluster, user: Account, hidden: str) -> None:
    environ = {"PATH": os.environ["PATH"], **cluster.environment}

    def run(*words: str) -> str:
        done = user.run(*words, environ=environ, cwd=Path("/"))
        return done.stdout.strip() if done.returncode == 0 else f"status {done.returncode}: {done.stderr}"

    place = (f"--partition={hidden}", "--mem=50", "--output=/dev/null", "--wrap=true")
    # The controller hears of a new user a moment later.
    wait_until(lambda: not run("sbatch", "--test-only", *place), seconds=60, period=0.2)
    job = run("sbatch", "--parsable", "--hold", *place)
    plain = run("squeue", "--noheader", "--format=%i")
    own, unreachable, partitions = json.loads(run(sys.executable, "-P", "-c", LOOK))
    assert (plain, own, unreachable) == ("", [job], "")
    assert hidden in partitions
