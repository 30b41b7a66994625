"""What `status`, `failures`, `show` read, and how little they import for it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from store_help import Given, at, failed, quantum, worked

from merian_campaign.domain.execution.counts import Counts
from merian_campaign.domain.record.records import NewGroup
from merian_campaign.domain.selection import Selection
from merian_campaign.domain.states import GroupState, QuantumState, Verdict
from merian_campaign.store import open_reader
from merian_campaign.store.store import PostgresStore


@pytest.fixture
def group(given: Given) -> int:
    everything = NewGroup(step="step1", key="all", selection=Selection(), ordinal=1)
    given.campaign(groups=[everything])
    return given.campaign(tracts=(9813, 9814), sha256="def")[-2]


def test_board(store: PostgresStore, given: Given, group: int) -> None:
    given.harvested(
        given.prepared(group).id,
        quantum(1, worked()),
        quantum(2, failed()),
        quantum(3, state=QuantumState.BLOCKED),
        quantum(1, worked(), task="warp"),
    )
    given.harvested(given.again(group, 2), quantum(2, failed()))
    given.move(group, GroupState.NEEDS_REVIEW, "measure: infrastructure x1")
    board = store.board("demo")
    assert [(row.step, row.group, row.ordinal, row.tract, row.state) for row in board] == [
        ("step1", "all", 1, None, "waiting"),
        ("step3", "tract9813", 3, 9813, "needs_review"),
        ("step3", "tract9814", 3, 9814, "waiting"),
    ]
    assert (board[1].reason, board[1].submissions) == ("measure: infrastructure x1", 2)
    assert board[1].counts == Counts(succeeded=2, failed=1, blocked=1)
    assert board[0].counts == Counts()
    assert board[1].counts == store.snapshot("demo").groups[1].counts


def test_failures(store: PostgresStore, given: Given, group: int) -> None:
    oom = failed(Verdict.OUT_OF_MEMORY, signal=9, exit_code=None)
    given.harvested(
        given.prepared(group).id,
        quantum(1, oom),
        quantum(2, failed(Verdict.ALGORITHM)),
        quantum(3, state=QuantumState.BLOCKED),
        quantum(4, worked()),
        quantum(5, state=QuantumState.PENDING),
    )
    given.harvested(given.again(group, 2), quantum(1, worked()))
    found = store.failures("demo")
    assert [(row.data_id, row.state, row.verdict, row.attempts) for row in found] == [
        ("band=N540,patch=2,tract=9813", "failed", "algorithm", 1),
        ("band=N540,patch=3,tract=9813", "blocked", None, 0),
    ]
    first = found[0]
    assert (first.step, first.group, first.task, first.submission) == ("step3", "tract9813", "measure", 1)
    assert (first.exception_type, first.evidence, first.log_path) == (
        "RuntimeError",
        "the log says so",
        "/logs/one.log",
    )
    recovered = store.failures("demo", recovered=True)
    assert [row.state for row in recovered] == ["succeeded", "failed", "blocked"]
    assert (recovered[0].verdict, recovered[0].signal, recovered[0].attempts) == ("out_of_memory", 9, 2)
    assert store.failures("demo", step="step1", recovered=True) == ()
    assert store.failures("demo", tract=9814, recovered=True) == ()
    assert store.failures("demo", tract=9813, step="step3") == found


def test_a_failure_that_is_being_retried_stays_listed(store: PostgresStore, given: Given, group: int) -> None:
    given.harvested(given.prepared(group).id, quantum(1, failed()))
    second = given.again(group, 2)
    store.record_progress(submission_id=second, quanta=[quantum(1), quantum(2)], now=at(20))
    assert [(row.state, row.verdict) for row in store.failures("demo")] == [("pending", "infrastructure")]


def test_attempts_of_a_group(store: PostgresStore, given: Given, group: int) -> None:
    given.harvested(given.prepared(group).id, quantum(1, failed()), quantum(2, worked()))
    given.harvested(given.again(group, 2), quantum(1, worked()))
    found = store.attempts(group_id=group)
    assert [(row.submission, row.try_number, row.state, row.verdict) for row in found] == [
        (1, 1, "failed", "infrastructure"),
        (2, 1, "succeeded", None),
    ]
    assert (found[0].started, found[0].ended, found[0].peak_mb) == (at(1), at(2), 900)


def test_held_quanta(store: PostgresStore, given: Given, group: int) -> None:
    given.harvested(
        given.prepared(group).id,
        quantum(1, failed(Verdict.ALGORITHM)),
        quantum(2, failed(Verdict.CONFIGURATION)),
        quantum(3, failed(Verdict.OUT_OF_MEMORY)),
        quantum(4, failed(Verdict.ALGORITHM), worked(try_number=2)),
    )
    held = store.held_quanta(group_id=group)
    assert [(one.task, one.dimensions) for one in held] == [
        ("measure", {"tract": 9813, "patch": 1, "band": "N540"}),
        ("measure", {"tract": 9813, "patch": 2, "band": "N540"}),
    ]


def test_what_a_rule_has_done_goes_before_the_verdict(store: PostgresStore, given: Given, group: int) -> None:
    given.harvested(
        given.prepared(group).id,
        quantum(1, failed(Verdict.ALGORITHM, rule="one", remedy="same_again")),
        quantum(2, failed(Verdict.INFRASTRUCTURE, rule="two", remedy="accept 0.001")),
        quantum(3, failed(Verdict.NODE_LOST, rule="three", remedy="block")),
        quantum(4, failed(Verdict.ALGORITHM, rule="four", remedy="pause_campaign")),
        quantum(5, failed(Verdict.INFRASTRUCTURE, rule="five", remedy="leave_out_node", host="n7")),
        quantum(6, failed(Verdict.WALLTIME, rule="six", remedy="longer")),
        quantum(7, worked()),
    )
    held = [one.dimensions["patch"] for one in store.held_quanta(group_id=group)]
    assert held == [2, 3, 4]
    (view,) = (one for one in store.snapshot("demo").groups if one.id == group)
    found = {entry.rule: entry for entry in view.open_quanta}
    assert {rule: entry.remedy for rule, entry in found.items()}["two"] == "accept 0.001"
    assert (found["two"].of, found["five"].hosts, found["six"].hosts) == (7, ("n7",), ())
    assert (found["six"].seconds, found["five"].seconds) == (60.0, None)


def test_events_newest_first(store: PostgresStore, given: Given, group: int) -> None:
    given.prepared(group)
    assert [event.kind for event in store.events("demo", limit=2)] == ["submission", "group"]
    assert {event.group for event in store.events("demo", group_id=group)} == {"tract9813"}
    assert store.events("demo", group_id=group + 1) == ()


def test_the_reader_says_the_same(store: PostgresStore, given: Given, group: int, url: str) -> None:
    given.harvested(given.prepared(group).id, quantum(1, failed()))
    with open_reader(url) as reader:
        assert reader.campaign_state("demo") == "active"
        assert reader.board("demo") == store.board("demo")
        assert reader.failures("demo") == store.failures("demo")
        assert reader.attempts(group_id=group) == store.attempts(group_id=group)
        assert reader.events("demo") == store.events("demo")


def test_reading_needs_no_heavy_modules(url: str) -> None:
    program = (
        "import sys; from merian_campaign.store import open_reader, server\n"
        f"with open_reader({url!r}) as reader:\n"
        "    try: reader.board('demo')\n"
        "    except Exception as error: print(error)\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}"
        " & {'sqlalchemy', 'alembic', 'pydantic', 'lsst', 'parsl', 'yaml', 'numpy'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""
    assert "no campaign is called 'demo'" in done.stdout
