"""What may be run again, and with which remedy."""

import pytest
from domain_help import NOW, REQUESTS, bps, campaign, finished, group, open_quanta
from hypothesis import given
from hypothesis import strategies as st

from merian_campaign.domain.execution.quanta import OpenQuanta
from merian_campaign.domain.failures.remedy import (
    RequestTable,
    describe_failures,
    describe_remedy,
    is_retryable,
    memory_limit,
    next_remedy,
    prospects,
)
from merian_campaign.domain.record.snapshot import Remedy
from merian_campaign.domain.spec import BpsStep
from merian_campaign.domain.spec.resources import Afterburner
from merian_campaign.domain.states import QuantumState, SubmissionOutcome, Verdict

POLICY = Afterburner(max_attempts=3, memory_multiplier=2.0, memory_max=8192)
OOM = Verdict.OUT_OF_MEMORY
NONE = Remedy()


def step(**changes: object) -> BpsStep:
    found = campaign(bps("step1", **changes)).steps[0]
    assert isinstance(found, BpsStep)
    return found


def remedy(
    *entries: OpenQuanta,
    before: Remedy = NONE,
    policy: Afterburner = POLICY,
    requests: RequestTable = REQUESTS,
    workers: int = 8,
    **changes: object,
) -> Remedy:
    last = finished(1, remedy=before)
    return next_remedy(
        group(open_quanta=entries, submissions=(last,)),
        step=step(**changes),
        policy=policy,
        requests=requests,
        workers=workers,
    )


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (open_quanta(Verdict.INFRASTRUCTURE, charged=1), True),
        (open_quanta(Verdict.INFRASTRUCTURE, charged=2), True),
        (open_quanta(Verdict.INFRASTRUCTURE, charged=3), False),
        (open_quanta(Verdict.UNKNOWN, charged=2), True),
        (open_quanta(Verdict.UNKNOWN, charged=3), False),
        (open_quanta(Verdict.WALLTIME, charged=2), True),
        (open_quanta(Verdict.NODE_LOST, charged=0), True),
        (open_quanta(Verdict.NODE_LOST, charged=3), True),
        (open_quanta(Verdict.ALGORITHM, charged=1), False),
        (open_quanta(Verdict.ALGORITHM, charged=0), False),
        (open_quanta(Verdict.CONFIGURATION, charged=1), False),
        (open_quanta(OOM, charged=1, memory=1, requested_mb=2048), True),
        (open_quanta(OOM, charged=2, memory=2, requested_mb=8191), True),
        (open_quanta(OOM, charged=1, memory=1, requested_mb=8192), False),
        (open_quanta(OOM, charged=1, memory=1, requested_mb=None), True),
        # Those of memory are counted apart, and end when the request cannot grow.
        (open_quanta(OOM, charged=5, memory=5, requested_mb=4096), True),
        (open_quanta(OOM, charged=5, memory=5, requested_mb=8192), False),
        (open_quanta(OOM, charged=3, memory=3, requested_mb=None), False),
        (open_quanta(OOM, charged=5, memory=2, requested_mb=4096), False),
        (open_quanta(Verdict.INFRASTRUCTURE, charged=4, memory=2), True),
        (open_quanta(Verdict.INFRASTRUCTURE, charged=5, memory=2), False),
        (open_quanta(state=QuantumState.PENDING, charged=9), True),
        (open_quanta(state=QuantumState.RUNNING, charged=0), True),
        (open_quanta(state=QuantumState.UNKNOWN, charged=9), True),
        (open_quanta(state=QuantumState.BLOCKED, charged=0), False),
    ],
)
def test_what_deserves_another_attempt(entry: OpenQuanta, expected: bool) -> None:
    assert is_retryable(entry, policy=POLICY, requests=REQUESTS) is expected


@given(charged=st.integers(0, 20), verdict=st.sampled_from([Verdict.ALGORITHM, Verdict.CONFIGURATION]))
def test_what_a_retry_cannot_cure_is_never_retried(charged: int, verdict: Verdict) -> None:
    generous = Afterburner(max_attempts=1000)
    assert not is_retryable(open_quanta(verdict, charged=charged), policy=generous, requests=REQUESTS)


@given(
    base=st.integers(1, 100_000),
    maximum=st.none() | st.integers(1, 100_000),
    own_multiplier=st.none() | st.floats(1.01, 8),
    policy_multiplier=st.floats(1.01, 8),
    memory=st.integers(1, 12),
    extra=st.integers(0, 12),
)
def test_memory_follows_the_formula(
    base: int,
    maximum: int | None,
    own_multiplier: float | None,
    policy_multiplier: float,
    memory: int,
    extra: int,
) -> None:
    table = RequestTable(by_task={"isr": base}, maximum_mb={} if maximum is None else {"isr": maximum})
    policy = Afterburner(max_attempts=100, memory_multiplier=policy_multiplier, memory_max=50_000)
    # Attempts that failed for other reasons count against the budget, never in the exponent.
    entry = open_quanta(OOM, task="isr", charged=memory + extra, memory=memory, requested_mb=None)
    own = {} if own_multiplier is None else {"isr": {"memory_multiplier": own_multiplier}}
    found = dict(remedy(entry, policy=policy, requests=table, resources=own).memory_mb)
    limit = min(50_000, 50_000 if maximum is None else maximum)
    assert found == {"isr": min(int(base * (own_multiplier or policy_multiplier) ** memory), limit)}


@pytest.mark.parametrize(
    ("memory", "expected", "workers"), [(1, 4096, 4), (2, 8192, 2), (3, 8192, 1), (9, 8192, 1)]
)
def test_more_memory_and_fewer_workers(memory: int, expected: int, workers: int) -> None:
    found = remedy(open_quanta(OOM, charged=0, memory=memory))
    assert found == Remedy(memory_mb=(("calibrate", expected),), workers=workers)


def test_who_wants_one_attempt_gets_one() -> None:
    once = POLICY.model_copy(update={"max_attempts": 1})
    entry = open_quanta(OOM, charged=1, memory=1, requested_mb=2048)
    assert not is_retryable(entry, policy=once, requests=REQUESTS)


@pytest.mark.parametrize("base", [5087, 10_000, 16_384])
def test_the_ladder_reaches_the_largest_request_within_the_submissions_of_a_group(base: int) -> None:
    policy = Afterburner(memory_max=480_000)
    table = RequestTable(by_task={"deblend": base}, site_mb=500_000)
    asked, submissions = [base], [finished(1)]
    while len(submissions) < policy.max_submissions:
        entry = open_quanta(
            OOM, task="deblend", charged=len(asked), memory=len(asked), requested_mb=asked[-1]
        )
        assert is_retryable(entry, policy=policy, requests=table)
        found = next_remedy(
            group(open_quanta=(entry,), submissions=tuple(submissions)),
            step=step(), policy=policy, requests=table, workers=8,
        )  # fmt: skip
        asked.append(dict(found.memory_mb)["deblend"])
        submissions.append(finished(len(submissions) + 1, remedy=found))
    assert asked == [*(base * 2**n for n in range(5)), 480_000]


@pytest.mark.parametrize(("peak", "expected"), [(None, 4096), (2100, 4096), (4000, 5000), (20_000, 8192)])
def test_what_was_measured_is_not_asked_for_step_by_step(peak: int | None, expected: int) -> None:
    found = remedy(open_quanta(OOM, memory=1, peak_mb=peak))
    assert found.memory_mb == (("calibrate", expected),)


def test_a_policy_may_say_the_workers() -> None:
    single = POLICY.model_copy(update={"workers": 1})
    assert remedy(open_quanta(OOM, memory=1), policy=single).workers == 1


@pytest.mark.parametrize(
    "entry",
    [
        open_quanta(Verdict.NODE_LOST, charged=0, memory=0),
        open_quanta(Verdict.NODE_LOST, charged=1, memory=1),
        open_quanta(Verdict.INFRASTRUCTURE, charged=2, memory=1),
        open_quanta(Verdict.UNKNOWN, charged=1),
        open_quanta(Verdict.WALLTIME, charged=1),
        open_quanta(Verdict.ALGORITHM, charged=1),
        open_quanta(state=QuantumState.UNKNOWN, charged=0),
        open_quanta(state=QuantumState.BLOCKED, charged=0),
        open_quanta(OOM, charged=3, memory=0),
        open_quanta(OOM, charged=1, memory=1, requested_mb=8192),
    ],
)
def test_only_a_memory_failure_that_can_be_cured_gets_more(entry: OpenQuanta) -> None:
    assert remedy(entry) == Remedy()


def test_only_the_task_that_ran_out_gets_more() -> None:
    entries = (
        open_quanta(OOM, task="calibrate", memory=1),
        open_quanta(OOM, task="calibrate", memory=2, number=3),
        open_quanta(Verdict.INFRASTRUCTURE, task="isr", memory=1),
    )
    assert remedy(*entries).memory_mb == (("calibrate", 8192),)


def test_what_was_raised_once_stays_raised() -> None:
    before = Remedy(memory_mb=(("calibrate", 8192), ("isr", 4096)), workers=2)
    assert remedy(open_quanta(Verdict.NODE_LOST), before=before) == before
    found = remedy(open_quanta(OOM, task="calibrate", memory=1), before=before)
    assert found == Remedy(memory_mb=(("calibrate", 8192), ("isr", 4096)), workers=4)


@pytest.mark.parametrize(
    ("maximum", "policy_maximum", "expected"), [(None, 8192, 8192), (4096, 8192, 4096), (9000, 8192, 8192)]
)
def test_the_smaller_limit_holds(maximum: int | None, policy_maximum: int, expected: int) -> None:
    table = RequestTable(maximum_mb={} if maximum is None else {"isr": maximum})
    policy = Afterburner(memory_max=policy_maximum)
    assert memory_limit(task="isr", policy=policy, requests=table) == expected


def test_open_quanta_are_divided() -> None:
    cured = open_quanta(Verdict.INFRASTRUCTURE)
    hopeless = open_quanta(Verdict.ALGORITHM, task="deblend")
    behind = open_quanta(task="measure", state=QuantumState.BLOCKED, number=4)
    found = prospects(group(open_quanta=(cured, hopeless, behind)), policy=POLICY, requests=REQUESTS)
    assert (found.retryable, found.hopeless, found.blocked) == ((cured,), (hopeless,), 4)


def test_blocked_quanta_run_again_when_nothing_is_left_that_blocks_them() -> None:
    behind = open_quanta(task="measure", state=QuantumState.BLOCKED, number=4)
    found = prospects(group(open_quanta=(behind,)), policy=POLICY, requests=REQUESTS)
    assert found.retryable == (behind,)
    assert found.hopeless == ()


def test_requests_under_a_remedy() -> None:
    table = RequestTable(default_mb=1000, by_task={"isr": 3000})
    raised = Remedy(memory_mb=(("isr", 6000), ("calibrate", 2000)))
    assert [table.request(task, raised) for task in ("isr", "calibrate", "other")] == [6000, 2000, 1000]
    assert [table.request(task, Remedy()) for task in ("isr", "calibrate")] == [3000, 1000]


def test_words() -> None:
    entries = (
        open_quanta(OOM, number=2),
        open_quanta(OOM, charged=2),
        open_quanta(state=QuantumState.UNKNOWN, task="isr"),
    )
    assert describe_failures(entries) == "calibrate: out of memory x3, isr: unknown x1"
    assert describe_remedy(Remedy()) == ""
    assert (
        describe_remedy(Remedy(memory_mb=(("isr", 4096),), workers=1)) == "isr gets 4096 MB, 1 worker a node"
    )


def test_the_first_submission_has_no_remedy() -> None:
    found = next_remedy(group(), step=step(), policy=POLICY, requests=REQUESTS, workers=8)
    assert found == Remedy()
    assert finished(1, SubmissionOutcome.PARTIAL).created_at < NOW
