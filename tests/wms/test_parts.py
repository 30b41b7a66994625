"""The pure parts: command lines, admission, the guard's judgement, leases, Slurm's numbers, retries."""

import os
import time
from graphlib import CycleError
from pathlib import Path
from typing import Any

import pytest
from lsst.ctrl.bps import BpsConfig, GenericWorkflowJob

from merian_campaign.domain.execution.journal import JobVerdict, JournalEvent, JournalRecord
from merian_campaign.domain.execution.process_identity import ProcessIdentity
from merian_campaign.host.processes import ProcessEntry, identity, members_of
from merian_campaign.host.regular_files import DamagedFileError
from merian_campaign.wms.execution import topological
from merian_campaign.wms.hold_list import HoldEntry, read_hold_list, within_cluster
from merian_campaign.wms.job_outcome import JobFailedError, JobOutcome, WorkerGoneError
from merian_campaign.wms.journal_writer import JOURNAL_NAME, Journal
from merian_campaign.wms.launcher import StageError, retries_asked
from merian_campaign.wms.lease import DriverState, Lease, LeaseWatch, write_lease
from merian_campaign.wms.node import child
from merian_campaign.wms.node.admission import NodeCapacity, NodeRequest, admissible
from merian_campaign.wms.node.child import ForkOrder
from merian_campaign.wms.node.command import plain_words, quanta_of, read_run_qbb, split_locked
from merian_campaign.wms.node.memory_guard import MemoryLimits, judge, measure
from merian_campaign.wms.node.node_jobs import JobRequest
from merian_campaign.wms.node_settings import NodeSettings
from merian_campaign.wms.sites.base import retry_cost
from merian_campaign.wms.sites.slurm import Slurm, drain_after, seconds_of
from merian_campaign.wms.stages import final_commands
from merian_campaign.wms.worker_app import numbered
from merian_campaign.wms.workflow import CampaignWorkflow
from merian_campaign.wms.zipfix import is_broken, mend

RUN = "pipetask --long-log --log-level=VERBOSE run-qbb /repo /x.qg --qgraph-node-id a-1,b-2"


@pytest.mark.parametrize(
    ("command", "warm"),
    [
        (RUN, True),
        (f"{RUN} --no-raise-on-partial-outputs", True),
        (f"{RUN} --summary /tmp/x.json", True),
        ("pipetask --log-file x.log run-qbb /repo /x.qg", False),
        (f"{RUN} -j 4", False),
        (f"{RUN} --profile p", False),
        (f"{RUN} | tee log", False),
        (f"cd /tmp && {RUN}", False),
        (f"FOO=1 {RUN}", False),
        ("echo $(date)", False),
        ("pipetask run-qbb ${REPO} /x.qg", True),
        ("pipetask run-qbb '${REPO}' /x.qg", False),
        ("python script.py", False),
    ],
)
def test_which_commands_run_warm(command: str, *, warm: bool) -> None:
    words = plain_words(command, {"REPO": "/repo"})
    call = read_run_qbb(words) if words else None
    assert (call is not None) is warm
    if call:
        assert (call.repository, call.graph) == ("/repo", "/x.qg")


def test_quotes_keep_data_queries_whole() -> None:
    words = plain_words("""pipetask qgraph -d "instrument='X' AND tract IN (1, 2)" """, {})
    assert words == ("pipetask", "qgraph", "-d", "instrument='X' AND tract IN (1, 2)")


def test_a_subset_of_a_pipeline_needs_no_shell_and_a_remark_does() -> None:
    words = ("pipetask", "qgraph", "--pipeline", "/p/DRP.yaml#step1")
    assert plain_words("pipetask qgraph --pipeline /p/DRP.yaml#step1", {}) == words
    assert plain_words("pipetask qgraph --pipeline /p/DRP.yaml #step1", {}) is None


def test_quanta_and_the_prefixes_of_locks_are_read() -> None:
    assert quanta_of(RUN) == ("a-1", "b-2")
    assert quanta_of("x --qgraph-node-id 0a-1,0b-2 y") == ("0a-1", "0b-2")
    asked = split_locked(f"merian-campaign exclusive --repository /my/repo -- {RUN}")
    assert asked is not None
    assert (asked.repository, asked.readers, asked.command) == ("/my/repo", None, RUN)
    shared = split_locked(f"/bin/merian-campaign shared --readers 4 --repository '/my repo' -- {RUN}")
    assert shared is not None
    assert (shared.repository, shared.readers, shared.command) == ("/my repo", 4, RUN)
    assert split_locked(RUN) is None


def test_final_script_of_plain_commands() -> None:
    script = "#!/bin/bash\n\nset -e\nset -x\nqgraphFile=$1\nbutlerConfig=$2\n"
    command = "butler aggregate-graph ${qgraphFile} ${butlerConfig} -j 1"
    assert final_commands(script + command, graph="g.qg", repository="/r") == [
        "butler aggregate-graph g.qg /r -j 1"
    ]
    assert final_commands(script + "curl http://x", graph="g", repository="r") is None


def test_memory_decides_who_starts() -> None:
    room = NodeCapacity(memory_mb=1000, cpus=4)
    small, big, huge = (NodeRequest(memory_mb=m, cpus=1) for m in (200, 600, 5000))
    assert admissible(waiting=[small] * 9, running=[], room=room) == 4
    assert admissible(waiting=[big, small, small, small], running=[], room=room) == 3
    assert admissible(waiting=[big, small], running=[big], room=room) == 0  # no overtaking
    assert admissible(waiting=[huge, small], running=[], room=room) == 1  # alone rather than never
    assert admissible(waiting=[huge], running=[small], room=room) == 0
    assert admissible(waiting=[NodeRequest(memory_mb=1, cpus=4)] * 2, running=[], room=room) == 1
    assert admissible(waiting=[huge] * 3, running=[], room=NodeCapacity(memory_mb=0, cpus=0)) == 3


def member(pid: int, *, parent: int = 1, session: int = 0, start: int = 0, mb: float = 100.0) -> ProcessEntry:
    return ProcessEntry(pid=pid, parent=parent, session=session, start=start, resident_mb=mb)


def test_shared_pages_do_not_condemn() -> None:
    tree = [member(1, mb=900), member(2, mb=900)]
    limits = MemoryLimits(requested_mb=1000, memory_mb=1100, walltime_s=None)
    shared = measure(tree, peak_mb=0, limit_mb=1100, proportional=lambda _: 450.0)
    assert (shared.resident_mb, shared.exact) == (900.0, True)
    assert judge(shared, limits=limits, elapsed_s=1, period_s=1) is None
    own = measure(tree, peak_mb=0, limit_mb=1100, proportional=lambda _: 900.0)
    finding = judge(own, limits=limits, elapsed_s=1, period_s=1)
    assert finding is not None
    assert finding.verdict is JobVerdict.OUT_OF_MEMORY
    assert finding.evidence["reached_mb"] == 1800.0
    assert finding.evidence["requested_mb"] == 1000


def test_time_condemns() -> None:
    sample = measure([member(1)], peak_mb=0, limit_mb=None)
    limits = MemoryLimits(requested_mb=None, memory_mb=None, walltime_s=60)
    assert judge(sample, limits=limits, elapsed_s=59, period_s=1) is None
    finding = judge(sample, limits=limits, elapsed_s=61, period_s=1)
    assert finding is not None
    assert finding.verdict is JobVerdict.WALLTIME
    barely = judge(sample, limits=limits, elapsed_s=60.001, period_s=1.0)
    assert barely is not None
    assert barely.evidence == {"requested_s": 60, "reached_s": 60.01}


def test_a_tree_is_found_through_parents_sessions_and_memory() -> None:
    table = {
        m.pid: m
        for m in (
            member(10, session=10),
            member(11, parent=10, session=10),
            member(12, parent=11, session=12),
            member(13, session=10),
            member(14, session=14, start=7),
            member(15, session=15, start=8),
        )
    }
    found = {m.pid for m in members_of(10, table, known=[(14, 7), (15, 7)])}
    assert found == {10, 11, 12, 13, 14}


def test_a_lease_tells_the_drivers_state(tmp_path: Path) -> None:
    me = identity()
    far = ProcessIdentity(host="elsewhere", pid=1, pid_start=1)
    path = tmp_path / "driver.lease"

    def renew(driver: ProcessIdentity, counter: int, state: str = "running") -> None:
        write_lease(
            path,
            Lease(host=driver.host, pid=driver.pid, pid_start=driver.pid_start, counter=counter, state=state),
        )

    near = LeaseWatch(path=path, driver=me, here=me.host, patience=10)
    renew(me, 1)
    assert near.look(0) is DriverState.RUNNING
    renew(me, 2, "stopping")
    assert near.look(1) is DriverState.STOPPING
    gone = ProcessIdentity(host=me.host, pid=me.pid, pid_start=me.pid_start + 1)
    renew(gone, 1)
    assert near.look(2) is DriverState.REPLACED
    assert LeaseWatch(path=path, driver=gone, here=me.host, patience=10).look(0) is DriverState.LOST
    remote = LeaseWatch(path=path, driver=far, here=me.host, patience=10)
    renew(far, 1)
    assert [remote.look(t) for t in (0, 9, 11)] == ["running", "running", "lost"]
    renew(far, 2)
    assert remote.look(12) is DriverState.RUNNING


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 5400), ("01:30", 90), ("05:00:00", 18000), ("1-00", 86400), ("2-01:00", 176400)],
)
def test_slurm_times(text: str, seconds: int) -> None:
    assert seconds_of(text) == seconds


def test_blocks_drain_before_their_end() -> None:
    assert drain_after(walltime_s=18000, longest_s=3600) == 18000 - 3660
    assert drain_after(walltime_s=18000, longest_s=None) == 16200
    assert drain_after(walltime_s=60, longest_s=3600) == 30


def failure(verdict: JobVerdict) -> JobFailedError:
    return JobFailedError("j", JobOutcome(verdict=verdict, exit=1).as_dict())


def test_lost_workers_are_cheap_and_failures_final() -> None:
    assert retry_cost(WorkerGoneError(), retries=0, lost_retries=5) < 0.2
    assert retry_cost(failure(JobVerdict.FAILED), retries=0, lost_retries=5) > 1
    assert 3 * retry_cost(failure(JobVerdict.FAILED), retries=3, lost_retries=5) <= 1
    assert retry_cost(failure(JobVerdict.OUT_OF_MEMORY), retries=3, lost_retries=5) > 1
    assert retry_cost(ValueError(), retries=3, lost_retries=5) > 1


@pytest.mark.parametrize(
    ("words", "exit_code", "retries"),
    [
        ({}, 1, 0),
        ({"number_of_retries": 3}, 1, 3),
        ({"number_of_retries": 3, "retry_unless_exit": 2}, 2, 0),
        ({"number_of_retries": 3, "retry_unless_exit": [1, 2]}, 1, 0),
        ({"number_of_retries": 3, "retry_unless_exit": [1, 2]}, 20, 3),
        ({"number_of_retries": 3, "retry_unless_exit": [1, 2]}, None, 3),  # by a signal
        ({"number_of_retries": 0}, 1, 0),
    ],
)
def test_retries_within_a_run_are_those_of_bps(
    words: dict[str, Any], exit_code: int | None, retries: int
) -> None:
    assert retries_asked(GenericWorkflowJob("j", label="isr", **words), exit_code=exit_code) == retries


def test_a_job_is_told_which_attempt_it_is(tmp_path: Path) -> None:
    node = NodeSettings(submit=str(tmp_path), driver=identity())
    mark = "<WMS:attemptNum>"
    request = {
        "job": "j",
        "command": f"pipetask --log-file {mark}.json",
        "variables": {"TRY": mark, "A": "b"},
    }
    journal = Journal(tmp_path / JOURNAL_NAME)
    for before in (0, 1, 2):
        found = numbered(node, request)
        assert found["command"] == f"pipetask --log-file {before}.json"
        assert found["variables"] == {"TRY": str(before), "A": "b"}
        journal.write(JournalRecord(event=JournalEvent.STARTED, job="j", label="isr", quanta=("u",)))
        journal.write(JournalRecord(event=JournalEvent.STARTED, job="other", label="isr", quanta=("v",)))
    plain = {"job": "j", "command": "true", "variables": {}}
    assert numbered(node, plain) is plain


@pytest.mark.parametrize("words", [{"number_of_retries": "many"}, {"retry_unless_exit": [1, "two"]}])
def test_retries_that_are_no_numbers_stop_the_submission(words: dict[str, Any]) -> None:
    with pytest.raises(StageError, match=r"of isr is '(many|two)'; give a whole number"):
        retries_asked(GenericWorkflowJob("j", label="isr", **words), exit_code=1)


def test_hold_list(tmp_path: Path) -> None:
    path = tmp_path / "hold.json"
    path.write_text('[{"task": "isr", "data_id": {"detector": 3, "band": "r"}}]')
    (entry,) = read_hold_list(path)
    assert entry == HoldEntry(task="isr", data_id={"detector": "3", "band": "r"})
    assert entry.matches(task="isr", required={"detector": 3})
    assert not entry.matches(task="isr", required={"detector": 4})
    assert not entry.matches(task="isr", required={"detector": 3, "visit": 1})
    for text, words in (
        ('[{"task": "isr"}]', "entry 1 is no held quantum"),
        ('[{"task": "isr", "data_id": {}}, 5]', "entry 2 is no held quantum"),
        ("{}", "expected a list, found dict"),
        ("[" * 100_000, "brackets"),
        ("{", "no JSON"),
    ):
        path.write_text(text)
        with pytest.raises(DamagedFileError, match=rf"hold\.json: .*{words}"):
            read_hold_list(path)
    out, left = within_cluster("abcd", held=frozenset("a"), edges={"a": {"b", "x"}, "b": {"c"}})
    assert (out, left) == (("a", "b", "c"), ("d",))


def test_zip_archives_can_be_read_in_turns() -> None:
    mend()
    assert not is_broken()
    mend()
    assert not is_broken()


def test_order_is_linear_in_edges() -> None:
    # Ten layers of 500 jobs, each with every tenth job of the layer before: 226 million paths a job.
    layers, width = 10, 500
    parents = {
        f"{layer}-{n}": [f"{layer - 1}-{m}" for m in range(n % 10, width, 10)] if layer else []
        for layer in range(layers)
        for n in range(width)
    }
    begin = time.process_time()
    order = topological(parents)
    assert time.process_time() - begin < 5
    place = {name: at for at, name in enumerate(order)}
    assert all(place[before] < place[name] for name, found in parents.items() for before in found)
    with pytest.raises(CycleError):
        topological({"a": ["b"], "b": ["a"]})


@pytest.mark.parametrize(
    ("options", "again"),
    [
        ("", False),
        ("#SBATCH --export=ALL,A=1", False),
        ("#SBATCH --export=NONE", True),
        ("#SBATCH --export NONE", True),
    ],
)
def test_blocks_have_the_drivers_stack_and_umask(
    monkeypatch: pytest.MonkeyPatch, options: str, *, again: bool
) -> None:
    section = {"cores_per_node": 4, "walltime": "01:00:00", "scheduler_options": options}
    config = BpsConfig({"computeSite": "here", "submitPath": "/sub", "site": {"here": section}})
    monkeypatch.setenv("MERIAN_CAMPAIGN_STACK", "/my dir/stack.sh")
    before = os.umask(0o002)
    try:
        lines = Slurm(config)._prelude(4).splitlines()
    finally:
        os.umask(before)
    assert "umask 0002" in lines
    assert "export MERIAN_CAMPAIGN_STACK='/my dir/stack.sh'" in lines
    assert ("source '/my dir/stack.sh'" in lines) is again
    monkeypatch.delenv("MERIAN_CAMPAIGN_STACK")
    assert not [line for line in Slurm(config)._prelude(4).splitlines() if line.startswith("source")]


def test_the_environment_of_bps_reaches_a_job() -> None:
    node = {"HOME": "/home/x", "PATH": "/bin", "SAME": "1", "MERIAN_CAMPAIGN_DRIVER": "d"}
    call = "pipetask run-qbb /repo /x.qg --qgraph-node-id a"

    def order(**variables: str) -> ForkOrder:
        message = {
            "job": "j",
            "label": "isr",
            "command": call,
            "stdout": "/o",
            "stderr": "/e",
            "quanta": ["a"],
        }
        request = JobRequest.from_dict({**message, "variables": variables})
        return request.order(1, warm=True, prefix="", environment=node)

    assert order().words is not None
    assert order(SAME="1").words is not None
    assert order(MERIAN_CAMPAIGN_DRIVER="other").environment is None
    own = order(PATH="/mine:<ENV:PATH>", THREADS="2", GONE="<ENV:NOWHERE>")
    assert own.environment == {**node, "PATH": "/mine:/bin", "THREADS": "2", "GONE": ""}
    assert (own.words, own.command) == (None, call)


def test_a_child_has_the_environment_of_its_order_and_no_other() -> None:
    before = dict(os.environ)
    os.environ["MERIAN_CAMPAIGN_TEST"] = "of the forkserver"
    wanted = {"PATH": os.environ["PATH"], "HOME": "/elsewhere", "NEW": "ü"}
    try:
        child._take_environment(wanted)
        assert dict(os.environ) == wanted
    finally:
        child._take_environment(before)
    assert dict(os.environ) == before


def test_a_workflow_that_was_not_started_says_so_when_it_is_shut_down() -> None:
    workflow = CampaignWorkflow.__new__(CampaignWorkflow)
    workflow.dfk = None
    with pytest.raises(RuntimeError, match="Workflow not started"):
        workflow.shutdown()
