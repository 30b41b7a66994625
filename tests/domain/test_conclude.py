"""From what a submission left behind to quanta with attempts and verdicts."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from merian_campaign.domain.execution.journal import EXCEPTION_BASES, JournalEvent, JournalRecord
from merian_campaign.domain.execution.provenance import (
    LineReport,
    Predicted,
    RawQuantum,
    parse_harvest,
    parse_predicted,
)
from merian_campaign.domain.execution.quanta import Attempt, Quantum
from merian_campaign.domain.execution.quantum_progress import fold
from merian_campaign.domain.failures.failure_rules import FailureRule
from merian_campaign.domain.failures.harvest import conclude, progress, unjournalled
from merian_campaign.domain.failures.judged_attempts import HarvestContext
from merian_campaign.domain.failures.remedy import RequestTable
from merian_campaign.domain.record.snapshot import Remedy
from merian_campaign.domain.safe_text.json_values import WrongValueError
from merian_campaign.domain.states import QuantumState, Verdict

S = QuantumState
BEGAN = datetime(2026, 11, 22, 15, tzinfo=UTC)


def predicted(uuid: str, *after: str, task: str = "isr") -> Predicted:
    return Predicted(
        uuid=uuid, task=task, data_id=f"detector={uuid}", dimensions={"detector": 1}, after=after
    )


# isr (a) -> calibrate (b) -> table (d);  isr (c) -> table (d)
GRAPH = (
    predicted("a"),
    predicted("b", "a", task="calibrate"),
    predicted("c"),
    predicted("d", "b", "c", task="table"),
)


def attempt(status: str = "FAILED", **changes: object) -> Attempt:
    values: dict[str, Any] = {
        "try_number": 1,
        "state": S.SUCCEEDED if status == "SUCCESSFUL" else S.FAILED,
        "started": BEGAN,
        "ended": BEGAN + timedelta(seconds=60),
    }
    return Attempt(**(values | changes))


def raw(uuid: str, status: str, *attempts: Attempt, **changes: object) -> RawQuantum:
    values: dict[str, Any] = {
        "uuid": uuid,
        "task": "isr",
        "data_id": f"detector={uuid}",
        "dimensions": {"detector": 1, "band": "N540"},
        "status": status,
        "caveats": "",
        "attempts": attempts,
        "log": f"/logs/{uuid}.log",
    }
    return RawQuantum(**(values | changes))


def record(event: JournalEvent, *quanta: str, **changes: object) -> JournalRecord:
    values: dict[str, Any] = {
        "event": event, "t": "2026-11-22T15:04:05.000000Z", "quanta": quanta, "host": "node1",
    }  # fmt: skip
    return JournalRecord(**(values | changes))


def ran(*quanta: str, **changes: object) -> list[JournalRecord]:
    """A job that ran to its end; well, unless the changes say how not."""
    how = {"exit": 0, "verdict": "ok"} | changes
    return [record(JournalEvent.STARTED, *quanta), record(JournalEvent.ENDED, *quanta, **how)]


def died(*quanta: str, signal: int = 9) -> list[JournalRecord]:
    return ran(*quanta, exit=None, signal=signal, verdict="failed")


def concluded(
    raws: list[RawQuantum],
    records: list[JournalRecord],
    *,
    graph: tuple[Predicted, ...] = GRAPH,
    driver_lost: bool = False,
    rules: tuple[FailureRule, ...] = (),
) -> dict[str, Quantum]:
    context = HarvestContext(
        rules=rules,
        requests=RequestTable(default_mb=2048, by_task={"calibrate": 3000}),
        remedy=Remedy(memory_mb=(("isr", 4096),)),
        driver_lost=driver_lost,
    )
    found = conclude(raws, predicted=graph, records=records, context=context)
    return {quantum.data_id.removeprefix("detector="): quantum for quantum in found}


def states(found: dict[str, Quantum]) -> dict[str, str]:
    return {uuid: quantum.state.value for uuid, quantum in found.items()}


def succeeded(*uuids: str) -> list[RawQuantum]:
    return [raw(uuid, "SUCCESSFUL", attempt("SUCCESSFUL")) for uuid in uuids]


def test_everything_succeeded() -> None:
    found = concluded(succeeded(*"abcd"), [r for u in "abcd" for r in ran(u)])
    assert set(states(found).values()) == {"succeeded"}
    first = found["a"]
    (only,) = first.attempts
    assert (only.state, only.verdict, only.exit_code, only.host) == (S.SUCCEEDED, None, 0, "node1")
    assert (only.requested_mb, only.log_path, only.uuid) == (4096, "/logs/a.log", "a")
    assert (only.started, only.ended) == (BEGAN, BEGAN.replace(minute=1))
    assert first.dimensions == {"detector": 1, "band": "N540"}


def test_a_success_with_a_caveat_is_a_success() -> None:
    quanta = [raw("a", "SUCCESSFUL", attempt("SUCCESSFUL"), caveats="N"), raw("c", "ABORTED_SUCCESS")]
    found = concluded(quanta, [], graph=(predicted("a"), predicted("c")))
    assert states(found) == {"a": "succeeded", "c": "succeeded"}
    assert found["a"].caveats == "N"


def test_what_stands_behind_a_failure_is_blocked_and_has_no_attempt() -> None:
    failed = raw("a", "FAILED", attempt(exception_type="x.AlgorithmError", exception_message="no stars"))
    found = concluded([failed, *succeeded("c")], [*ran("a", exit=1, verdict="failed"), *ran("c")])
    assert states(found) == {"a": "failed", "b": "blocked", "c": "succeeded", "d": "blocked"}
    (only,) = found["a"].attempts
    assert (only.verdict, only.exception_message, only.charged) == (Verdict.ALGORITHM, "no stars", True)
    assert found["b"].attempts == found["d"].attempts == ()


def test_what_is_blocked_points_at_what_blocks_it() -> None:
    both = [raw(u, "FAILED", attempt(exception_type="x.Error", exception_message="no")) for u in "ac"]
    found = concluded(both, [r for u in "ac" for r in ran(u, exit=1, verdict="failed")])
    assert {u: one.blocked_by for u, one in found.items()} == {
        "a": None, "b": ("isr", "detector=a"), "c": None, "d": ("isr", "detector=a"),
    }  # fmt: skip
    only = concluded([both[1], *succeeded("a", "b")], [*ran("c", exit=1, verdict="failed"), *ran("a", "b")])
    assert only["d"].blocked_by == ("isr", "detector=c")


def test_a_long_chain_and_one_that_bites_its_tail_have_an_end() -> None:
    chain = [predicted("0"), *(predicted(str(n), str(n - 1), task="next") for n in range(1, 3000))]
    failed = raw("0", "FAILED", attempt(exception_type="x.Error", exception_message="no"))
    found = concluded([failed], ran("0", exit=1, verdict="failed"), graph=tuple(chain))
    assert {one.blocked_by for one in found.values()} == {None, ("isr", "detector=0")}
    ring = (predicted("a", "b"), predicted("b", "a"))
    assert not any(one.blocked_by for one in concluded([raw("a", "BLOCKED")], [], graph=ring).values())


def test_the_evidence_of_an_attempt() -> None:
    measured = {"peak_mb": 2100.0, "cpu_s": 55.0, "slurm_job": "4711", "evidence": {"reached_mb": 2100}}
    log = raw("a", "FAILED", log_tail="the last line", inputs=12)
    found = concluded([log], ran("a", exit=None, signal=9, verdict="out_of_memory", **measured))
    (only,) = found["a"].attempts
    assert (only.verdict, only.certainty) == (Verdict.OUT_OF_MEMORY, "measured")
    assert (only.cpu_seconds, only.inputs, only.slurm_job) == (55.0, 12, "4711")
    assert (only.log_tail, only.cores) == ("the last line", None)


@pytest.mark.parametrize(
    ("changes", "certainty"),
    [
        ({"exception_bases": ("x.Mine", "lsst.pipe.base.AlgorithmError")}, "declared"),
        ({"exception_type": "x.OperationalError"}, "inferred"),
        ({"exception_type": "x.Odd"}, "none"),
    ],
)  # fmt: skip
def test_how_sure_a_verdict_is(changes: dict[str, Any], certainty: str) -> None:
    told = {"exception_type": "x.Mine", "exception_message": "no"} | changes
    failed = raw("a", "FAILED", attempt(**told))
    (only,) = concluded([failed], ran("a", exit=1, verdict="failed"))["a"].attempts
    assert only.certainty == certainty


def test_the_provenance_graphs_own_word_for_blocked_is_taken() -> None:
    found = concluded([raw("b", "BLOCKED")], [])
    assert states(found) == {"a": "unknown", "b": "blocked", "c": "unknown", "d": "blocked"}


def test_killed_by_a_signal_without_a_log() -> None:
    found = concluded([raw("a", "FAILED", log=None)], died("a"), graph=(predicted("a"),))
    (only,) = found["a"].attempts
    assert (only.state, only.verdict, only.signal, only.exit_code) == (S.FAILED, Verdict.UNKNOWN, 9, None)
    assert only.evidence == "killed by signal 9, no sign of memory or time limits"
    assert only.charged
    assert only.log_path is None
    assert only.ended == datetime(2026, 11, 22, 15, 4, 5, tzinfo=UTC)


def test_the_guards_verdict_and_figures_reach_the_attempt() -> None:
    records = ran(
        "a",
        exit=None,
        signal=9,
        verdict="out_of_memory",
        evidence={"reached_mb": 5000.2, "limit_mb": 4505.6},
        peak_mb=4999.6,
        requested_mb=4096, wall_s=65,
    )  # fmt: skip
    (only,) = concluded([], records, graph=(predicted("a"),))["a"].attempts
    assert (only.verdict, only.peak_mb, only.requested_mb) == (Verdict.OUT_OF_MEMORY, 5000, 4096)
    assert only.evidence == "reached 5000 MB, over the limit of 4506 MB"
    assert only.started == datetime(2026, 11, 22, 15, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        ({"warm": True, "kernel_memory_kills": 1}, "the kernel ended it for its memory at 912 MB"),
        (
            {"ended_by": "kernel", "reached_mb": 905.0, "limit_mb": 1750.0},
            "the kernel ended it for its memory at 905 MB",
        ),
        (
            {"driver": "lost", "slurm_state": "FAILED", "ended_by": "slurm", "reached_mb": 900.0},
            "Slurm ended it for its memory at 900 MB",
        ),
    ],
)
def test_a_block_out_of_memory_is_told_in_words_with_its_job(evidence: dict[str, object], words: str) -> None:
    records = ran(
        "a",
        exit=None, signal=9, verdict="out_of_memory", evidence=evidence, peak_mb=912.3, requested_mb=700,
        slurm_job="11", slurm_node="n1",
    )  # fmt: skip
    (only,) = concluded([], records, graph=(predicted("a"),))["a"].attempts
    assert only.verdict is Verdict.OUT_OF_MEMORY
    assert only.evidence == f"{words}, it had asked for 700 MB; it ran in Slurm job 11 on n1"


def test_what_no_node_can_run_needs_a_person() -> None:
    why = "requestMemory 9000 is over the 4000 MB of any node"
    refused = [record(JournalEvent.ENDED, "a", verdict="failed", evidence={"refused": why})]
    found = concluded([raw("a", "UNKNOWN")], refused)
    assert states(found) == {"a": S.FAILED, "b": S.BLOCKED, "c": S.UNKNOWN, "d": S.BLOCKED}
    (only,) = found["a"].attempts
    assert (only.verdict, only.charged, only.evidence) == (Verdict.CONFIGURATION, True, f"refused {why}")


def test_the_campaigns_rules_apply() -> None:
    failed = raw("a", "FAILED", attempt(exception_type="demo.TransientError"))
    rule = FailureRule(exception="TransientError", verdict=Verdict.INFRASTRUCTURE)
    (only,) = concluded([failed], [], graph=(predicted("a"),), rules=(rule,))["a"].attempts
    assert only.verdict is Verdict.INFRASTRUCTURE


def test_several_tries_in_one_submission() -> None:
    tries = raw(
        "a",
        "SUCCESSFUL",
        attempt(exception_type="MemoryError", peak_mb=4000),
        attempt("SUCCESSFUL", try_number=2, peak_mb=1000),
    )
    found = concluded([tries], ran("a", peak_mb=1200.0), graph=(predicted("a"),))["a"]
    assert found.state is S.SUCCEEDED
    first, second = found.attempts
    assert (first.try_number, first.state, first.verdict, first.peak_mb) == (
        1, S.FAILED, Verdict.OUT_OF_MEMORY, 4000,
    )  # fmt: skip
    assert (second.try_number, second.state, second.verdict, second.peak_mb) == (2, S.SUCCEEDED, None, 1200)
    assert (first.exit_code, second.exit_code) == (None, 0)


def at(seconds: float) -> str:
    return f"2026-11-22T15:00:{seconds:09.6f}Z"


def execution(*quanta: str, begin: float, **how: object) -> list[JournalRecord]:
    """A job that starts at a second and ends two seconds later."""
    start, end = ran(*quanta, **how)
    return [start._replace(t=at(begin)), end._replace(t=at(begin + 2))]


@pytest.mark.parametrize("logged", [False, True], ids=["killed", "raised"])
def test_every_execution_inside_a_run_is_an_attempt(logged: bool) -> None:
    """Retries of the run itself: one that was killed left no log for the graph, one that raised did."""
    how = {"exit": 1, "verdict": "failed"} if logged else {"exit": None, "signal": 11, "verdict": "failed"}
    records = [
        *execution("a", begin=1, **how), *execution("a", begin=11, **how), *execution("a", begin=21),
    ]  # fmt: skip
    times = (1.5, 11.5) if logged else ()
    before = [attempt(exception_type="ValueError", started=BEGAN + timedelta(seconds=at)) for at in times]
    good = attempt("SUCCESSFUL", started=BEGAN + timedelta(seconds=21.5))
    found = concluded([raw("a", "SUCCESSFUL", *before, good)], records, graph=(predicted("a"),))["a"]
    assert [(each.try_number, each.state, each.exit_code, each.signal) for each in found.attempts] == [
        (1, S.FAILED, how["exit"], how.get("signal")),
        (2, S.FAILED, how["exit"], how.get("signal")),
        (3, S.SUCCEEDED, 0, None),
    ]
    assert [each.exception_type for each in found.attempts] == [*["ValueError" if logged else None] * 2, None]
    assert all(each.verdict for each in found.attempts[:2])


def test_what_raised_before_the_last_execution_was_killed_is_not_the_last_one() -> None:
    killed = {"exit": None, "signal": 9, "verdict": "failed"}
    records = [*execution("a", begin=1, exit=1, verdict="failed"), *execution("a", begin=11, **killed)]
    raised = attempt(exception_type="ValueError", started=BEGAN + timedelta(seconds=1.5))
    first, second = concluded([raw("a", "FAILED", raised)], records, graph=(predicted("a"),))["a"].attempts
    assert (first.exception_type, first.exit_code) == ("ValueError", 1)
    assert (second.exception_type, second.signal) == (None, 9)


def test_what_ended_unseen_before_its_block_went_down_is_no_attempt_besides() -> None:
    """The graph has the first execution, which wrote its outputs; the second found them there."""
    (unseen, _), second = execution("a", begin=1), execution("a", begin=31)
    unseen = unseen._replace(slurm_job="7")
    wrote = attempt("SUCCESSFUL", started=BEGAN + timedelta(seconds=1.5))
    found = concluded([raw("a", "SUCCESSFUL", wrote)], [unseen, *second], graph=(predicted("a"),))["a"]
    assert [(each.try_number, each.state) for each in found.attempts] == [(1, S.FAILED), (2, S.SUCCEEDED)]


def test_of_a_cluster_that_ran_twice_nobody_knows_who_failed_first() -> None:
    records = [*execution("a", "b", begin=1, exit=1, verdict="failed"), *execution("a", "b", begin=11)]
    found = concluded(succeeded("a", "b"), records, graph=(predicted("a"), predicted("b")))
    assert [len(quantum.attempts) for quantum in found.values()] == [1, 1]


def test_requests_come_from_the_journal_the_remedy_or_the_table() -> None:
    graph = (predicted("a"), predicted("b", task="calibrate"), predicted("c", task="other"), predicted("d"))
    found = concluded(succeeded(*"abcd"), ran("d", requested_mb=5000.0), graph=graph)
    assert [found[u].attempts[0].requested_mb for u in "abcd"] == [4096, 3000, 2048, 5000]


# -- every ending ----------------------------------------------------------------------------------------


BASES = {"case.Alg": ["case.Alg", "lsst.pipe.base.AlgorithmError", "lsst.pipe.base.RepeatableQuantumError"]}
NOTHING = attempt(
    started=None, ended=None
)  # what the graph has of a quantum that left neither log nor outputs


def raised(kind: str, **changes: object) -> Attempt:
    return attempt(exception_type=kind, exception_message="why", **changes)


def lost(word: str, *attempts: Attempt, **changes: object) -> list[RawQuantum]:
    return [raw("a", word, *attempts, **changes)]


WELL = attempt("SUCCESSFUL")
BAD = {"exit": 1, "verdict": "failed"}
HELD = [record(JournalEvent.HELD, "a")]
OPEN = [record(JournalEvent.OPENED)]


@pytest.mark.parametrize(
    ("raws", "records", "expected", "after"),
    [
        # It worked; there was no work (NoWorkFound, UnprocessableDataError, adjustQuantum); partial outputs
        # that the run was told to take.
        (lost("SUCCESSFUL", WELL), ran("a"), ("succeeded", [None]), "unknown"),
        (lost("SUCCESSFUL", WELL, caveats="*N"), ran("a"), ("succeeded", [None]), "unknown"),
        (lost("SUCCESSFUL", WELL, caveats="*D"), ran("a"), ("succeeded", [None]), "unknown"),
        (lost("SUCCESSFUL", WELL, caveats="+P"), ran("a"), ("succeeded", [None]), "unknown"),
        (lost("ABORTED_SUCCESS", WELL), died("a"), ("succeeded", [None]), "unknown"),
        # An AlgorithmError by whatever name, also as the cause of an AnnotatedPartialOutputsError.
        (
            lost("FAILED", raised("case.Alg")),
            ran("a", evidence={EXCEPTION_BASES: BASES}, **BAD),
            ("failed", ["algorithm"]),
            "blocked",
        ),
        (
            lost("FAILED", raised("case.Alg", exception_bases=tuple(BASES["case.Alg"]))),
            [],
            ("failed", ["algorithm"]),
            "blocked",
        ),
        (lost("FAILED", raised("case.Alg")), ran("a", **BAD), ("failed", ["unknown"]), "blocked"),
        # A signal; an exit of 0 that left nothing; one that is not.
        (lost("FAILED", NOTHING), died("a", signal=11), ("failed", ["unknown"]), "blocked"),
        (lost("FAILED", NOTHING), ran("a"), ("failed", ["unknown"]), "blocked"),
        (lost("FAILED", NOTHING), ran("a", **BAD), ("failed", ["unknown"]), "blocked"),
        # What never ran is no attempt: nothing was built, the initialization failed, it was held back.
        (lost("FAILED", NOTHING, log=None), [], ("unknown", []), "unknown"),
        (lost("FAILED", NOTHING, log=None), OPEN, ("unknown", []), "unknown"),
        (lost("FAILED", NOTHING, log=None), [record(JournalEvent.LAUNCHED, "a")], ("unknown", []), "unknown"),
        (lost("FAILED", NOTHING, log=None), HELD, None, "blocked"),
        ([], [], ("unknown", []), "unknown"),
        (lost("BLOCKED"), [], ("blocked", []), "blocked"),
        # It ran for nothing: what it needs was never made, and the graph's word counts.
        (lost("BLOCKED"), ran("a"), ("blocked", []), "blocked"),
    ],
)  # fmt: skip
def test_every_ending(
    raws: list[RawQuantum],
    records: list[JournalRecord],
    expected: tuple[str, list[str | None]] | None,
    after: str,
) -> None:
    graph = (predicted("a"), predicted("b", "a"))
    found = concluded(raws, records, graph=graph)
    assert found["b"].state.value == after
    assert found["b"].attempts == ()
    if expected is None:
        assert "a" not in found
        return
    quantum = found["a"]
    verdicts = [each.verdict.value if each.verdict else None for each in quantum.attempts]
    assert (quantum.state.value, verdicts) == expected
    assert (quantum.state is S.SUCCEEDED) <= bool(quantum.attempts)


def test_the_bases_of_an_exception_are_kept_with_its_attempt() -> None:
    records = ran("a", evidence={EXCEPTION_BASES: BASES}, **BAD)
    (only,) = concluded(lost("FAILED", raised("case.Alg")), records, graph=(predicted("a"),))["a"].attempts
    assert only.exception_bases == tuple(BASES["case.Alg"])
    assert only.evidence == "Alg: the task says that a retry cannot help"


# -- jobs of several quanta ----------------------------------------------------------------------------


def test_in_a_cluster_the_log_says_which_quantum_failed() -> None:
    cluster = ran("a", "b", exit=1, verdict="failed")
    failed = raw("b", "FAILED", attempt(exception_type="ValueError"))
    found = concluded([*succeeded("a"), failed], cluster)
    assert states(found) == {"a": "succeeded", "b": "failed", "c": "unknown", "d": "blocked"}


def test_in_a_cluster_that_was_killed_nobody_is_called_failed_without_a_log() -> None:
    found = concluded([*succeeded("a"), raw("b", "FAILED"), raw("c", "FAILED")], died("a", "b", "c"))
    assert states(found) == {"a": "succeeded", "b": "unknown", "c": "unknown", "d": "unknown"}
    assert found["b"].attempts == ()


# -- held back -----------------------------------------------------------------------------------------


def test_a_quantum_that_was_held_back_stays_as_it_was_and_blocks_what_comes_after() -> None:
    found = concluded(succeeded("c"), [record(JournalEvent.HELD, "a"), *ran("c")])
    assert states(found) == {"b": "blocked", "c": "succeeded", "d": "blocked"}


def test_a_held_cluster_says_nothing_about_any_of_its_quanta() -> None:
    found = concluded([], [record(JournalEvent.HELD, "a", "b"), *ran("c")])
    assert set(found) == {"c", "d"}


# -- drivers that died, journals and graphs that are missing -------------------------------------------


def test_a_driver_died() -> None:
    records = [
        record(JournalEvent.OPENED),
        *ran("a"),
        record(JournalEvent.STARTED, "b"),
        record(JournalEvent.LAUNCHED, "c"),
    ]
    found = concluded(succeeded("a"), records, driver_lost=True)
    assert states(found) == {"a": "succeeded", "b": "failed", "c": "unknown", "d": "blocked"}
    (lost,) = found["b"].attempts
    assert (lost.verdict, lost.charged) == (Verdict.NODE_LOST, False)
    assert found["c"].attempts == ()


def test_what_the_next_driver_ended_is_not_charged() -> None:
    (only,) = concluded([], died("a"), graph=(predicted("a"),), driver_lost=True)["a"].attempts
    assert (only.verdict, only.charged) == (Verdict.NODE_LOST, False)


def test_a_job_that_ran_again_after_its_driver_died_is_judged_by_its_last_end() -> None:
    records = [
        record(JournalEvent.STARTED, "a"),
        record(JournalEvent.OPENED),
        *ran("a", exit=1, verdict="failed"),
    ]
    failed = raw("a", "FAILED", attempt(exception_type="ValueError"))
    (only,) = concluded([failed], records, graph=(predicted("a"),))["a"].attempts
    assert (only.verdict, only.exit_code, only.charged) == (Verdict.UNKNOWN, 1, True)


def test_without_a_journal_the_provenance_graph_is_all_there_is() -> None:
    found = concluded([*succeeded("a"), raw("b", "FAILED"), raw("c", "UNKNOWN")], [])
    assert states(found) == {"a": "succeeded", "b": "failed", "c": "unknown", "d": "blocked"}
    (only,) = found["b"].attempts
    assert (only.verdict, only.evidence) == (Verdict.UNKNOWN, "no exit status, and no log")


def test_without_any_evidence_everything_is_unknown() -> None:
    found = concluded([], [])
    assert set(states(found).values()) == {"unknown"}
    assert all(quantum.attempts == () for quantum in found.values())


def test_what_ended_well_but_is_in_no_provenance_graph_is_unknown_not_failed() -> None:
    found = concluded([], [*ran("a"), *ran("c", exit=1, verdict="failed")])
    assert states(found) == {"a": "unknown", "b": "unknown", "c": "failed", "d": "blocked"}
    found = concluded([raw("a", "UNKNOWN")], ran("a"))
    assert states(found)["a"] == "unknown"


def test_a_journal_that_says_ok_does_not_outvote_a_failure_in_the_log() -> None:
    found = concluded([raw("a", "FAILED", attempt(exception_type="ValueError"))], ran("a"))
    assert states(found)["a"] == "failed"
    assert states(concluded([raw("a", "FAILED")], ran("a")))["a"] == "failed"


def test_quanta_that_only_the_provenance_graph_knows_are_kept() -> None:
    found = concluded(succeeded("a", "z"), [], graph=(predicted("a"),))
    assert states(found) == {"a": "succeeded", "z": "succeeded"}


def test_every_predicted_quantum_is_concluded_once() -> None:
    found = conclude(
        succeeded("a"),
        predicted=GRAPH,
        records=[*ran("a"), *died("c")],
        context=HarvestContext(rules=(), requests=RequestTable(), remedy=Remedy(), driver_lost=False),
    )
    assert [quantum.data_id for quantum in found] == [entry.data_id for entry in GRAPH]


def test_a_long_chain_behind_a_failure_is_blocked_to_its_end() -> None:
    chain = tuple(predicted(str(n), *([str(n + 1)] if n < 300 else [])) for n in range(301))
    found = concluded([], ran("300", exit=1, verdict="failed"), graph=chain)
    assert set(states(found).values()) == {"failed", "blocked"}
    assert sum(state == "blocked" for state in states(found).values()) == 300


# -- while it runs -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([], "pending"),
        ([record(JournalEvent.LAUNCHED, "a")], "pending"),
        ([record(JournalEvent.STARTED, "a")], "running"),
        (ran("a"), "succeeded"),
        (died("a"), "failed"),
        ([record(JournalEvent.HELD, "a")], "failed"),
        (ran("a", "b"), "succeeded"),
        (died("a", "b"), "unknown"),
        ([record(JournalEvent.STARTED, "a", "b")], "running"),
        ([record(JournalEvent.STARTED, "a"), record(JournalEvent.OPENED)], "unknown"),
        ([*died("a"), record(JournalEvent.STARTED, "a")], "running"),
        ([*ran("a"), *died("a")], "succeeded"),
    ],
)
def test_live_states(records: list[JournalRecord], expected: str) -> None:
    (found,) = progress([predicted("a")], fold(records))
    assert found.state.value == expected
    assert found.attempts == ()


def test_progress_speaks_of_every_predicted_quantum_and_of_no_other() -> None:
    found = progress(GRAPH, fold([*ran("a"), *ran("zz")]))
    assert [quantum.state.value for quantum in found] == ["succeeded", "pending", "pending", "pending"]


# -- files ---------------------------------------------------------------------------------------------


ONE, TWO = "01a213ff-7782-715c-9502-b31cc764182d", "01a213ff-7781-74e3-a025-8e7b0e4b981b"
PLANNED = {"uuid": ONE, "task": "isr", "data_id": "tract=1", "dimensions": {"tract": 1}, "after": [TWO]}
TRIED = {
    "status": "FAILED", "exception_type": "X", "exception_message": "y",
    "exception_bases": ["X", "Exception"],
    "peak_mb": 7, "started": "2026-11-22T15:00:00+00:00", "seconds": 60.0,
}  # fmt: skip
FOUND = {
    "uuid": ONE, "task": "isr", "data_id": "detector=1", "dimensions": {"detector": 1, "band": "N540"},
    "status": "FAILED", "caveats": "", "attempts": [TRIED], "log": None,
}  # fmt: skip


def test_lines_of_a_predicted_graph() -> None:
    (found,) = parse_predicted([json.dumps(PLANNED), ""])
    assert found == Predicted(uuid=ONE, task="isr", data_id="tract=1", dimensions={"tract": 1}, after=(TWO,))


def test_lines_of_a_provenance_graph() -> None:
    never = {name: None for name in TRIED if name != "exception_bases"} | {"status": "FAILED"}
    (found,) = parse_harvest([json.dumps(FOUND | {"attempts": [TRIED, never]})])
    full = attempt(exception_type="X", exception_message="y", exception_bases=("X", "Exception"), peak_mb=7)
    assert found.attempts[0] == full
    assert found.attempts[1].started is None
    assert found.log is None


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "no JSON"),
        ("[1]", "a quantum: expected an object, found list"),
        (DEEP, "brackets"),
        (PLANNED | {"uuid": 5}, "uuid: '5' is no UUID"),
        (PLANNED | {"uuid": f"{ONE}\n"}, "is no UUID"),
        (PLANNED | {"after": None}, "after: expected a list, found NoneType"),
        (PLANNED | {"after": [[]]}, "after: '[]' is no UUID"),
        (PLANNED | {"task": None}, "task: expected text, found nothing"),
        (PLANNED | {"task": "x" * 9999}, "task: 9999 characters"),
        (PLANNED | {"data_id": "detector"}, "'detector' is no data ID"),
        (PLANNED | {"data_id": "x=" + "1" * 5000}, "is no data ID"),
        (PLANNED | {"dimensions": []}, "dimensions: expected an object, found list"),
        (PLANNED | {"dimensions": {"tract": 2**31}}, "dimensions: 'tract' cannot be '2147483648'"),
        (PLANNED | {"dimensions": {"tract": "1"}}, "dimensions: 'tract' cannot be '1'"),
        (PLANNED | {"dimensions": {"tract": True}}, "dimensions: 'tract' cannot be 'True'"),
        (PLANNED | {"dimensions": {"visit": 10**30}}, "63 bits"),
        (PLANNED | {"dimensions": {"band": None}}, "dimensions: 'band' cannot be 'None'"),
    ],
)
def test_a_wrong_line_is_told_with_file_line_and_field(line: object, words: str) -> None:
    text = line if isinstance(line, str) else json.dumps(line)
    with pytest.raises(WrongValueError, match=r"predicted\.jsonl, line 2: ") as caught:
        parse_predicted([json.dumps(PLANNED), text])
    assert words in str(caught.value)
    report = LineReport()
    assert len(parse_predicted([text, json.dumps(PLANNED)], wrong=report)) == 1
    assert report.number == 1
    assert words in str(report)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"attempts": [5]}, "attempts: expected an object, found int"),
        ({"attempts": [TRIED] * 1001}, "attempts: 1001"),
        ({"status": 3}, "status: expected text"),
        ({"log": []}, "log: expected text"),
        ({"attempts": [TRIED | {"started": "tomorrow"}]}, "started: 'tomorrow' is no moment"),
        ({"attempts": [TRIED | {"started": "9999-12-31T23:59:59-23:00"}]}, "is no moment"),
        ({"attempts": [TRIED | {"started": 5}]}, "started: expected text"),
        ({"attempts": [TRIED | {"peak_mb": 2**40}]}, "peak_mb: 1099511627776 is out of range"),
        ({"attempts": [TRIED | {"peak_mb": "much"}]}, "peak_mb: expected a whole number"),
        ({"attempts": [TRIED | {"seconds": []}]}, "seconds: expected a number"),
        ({"attempts": [TRIED | {"seconds": float("nan")}]}, "NaN is no number"),
    ],
)
def test_a_wrong_line_of_a_harvest_is_told(change: dict[str, object], words: str) -> None:
    with pytest.raises(WrongValueError, match=r"harvest\.jsonl, line 1: ") as caught:
        parse_harvest([json.dumps(FOUND | change)])
    assert words in str(caught.value)


def test_a_damaged_line_costs_its_own_quantum_alone() -> None:
    good = [json.dumps(FOUND | {"uuid": uuid, "status": "SUCCESSFUL"}) for uuid in (ONE, TWO)]
    report = LineReport()
    raws = parse_harvest([good[0], good[1][:50]], wrong=report)
    graph = tuple(predicted(uuid) for uuid in (ONE, TWO))
    found = concluded(list(raws), [*ran(ONE), *ran(TWO)], graph=graph)
    assert list(states(found).values()) == ["succeeded", "unknown"]
    for _ in range(9):
        report.add("another")
    assert str(report).endswith("and 7 lines more")


def test_text_from_outside_is_inert_and_what_is_out_of_range_is_left_out() -> None:
    nasty = "no\x00 luck \x1b[31m \ud800 \u202e" + "x" * 50_000
    (found,) = parse_harvest(
        [json.dumps(FOUND | {"attempts": [TRIED | {"exception_message": nasty, "seconds": 9e18}]})]
    )
    message = found.attempts[0].exception_message
    assert message is not None
    assert message.isprintable()
    assert len(message) < 30_000
    (quantum,) = concluded([found], [], graph=()).values()
    assert quantum.attempts[0].ended is None


def test_a_cut_journal_is_seen_by_what_the_graph_knows_and_costs_no_success() -> None:
    known = (
        raw("a", "SUCCESSFUL", attempt("SUCCESSFUL")),
        raw("b", "FAILED", attempt()),
        raw("c", "SUCCESSFUL", attempt("SUCCESSFUL")),
        raw("d", "BLOCKED"),
    )
    whole = [*ran("a"), *ran("b", exit=1, verdict="failed"), *ran("c")]
    assert unjournalled(known, whole) == 0
    assert [unjournalled(known, whole[:last]) for last in (5, 4, 3, 1, 0)] == [1, 1, 2, 3, 3]
    for last in range(len(whole) + 1):
        found = states(concluded(list(known), whole[:last]))
        assert found == {"a": "succeeded", "b": "failed", "c": "succeeded", "d": "blocked"}
