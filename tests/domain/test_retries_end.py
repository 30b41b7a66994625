"""Whatever happens to a group, its tries come to an end, and no request ever shrinks."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta

from domain_help import NOW, bps, campaign, finished, group, open_quanta, situation, snapshot
from hypothesis import given
from hypothesis import strategies as st

from merian_campaign.domain.execution.counts import Counts
from merian_campaign.domain.execution.quanta import Attempt, OpenQuanta
from merian_campaign.domain.failures.backoff import MAX_STARVED
from merian_campaign.domain.failures.remedy import RequestTable
from merian_campaign.domain.failures.rule_remedy import RuleRemedy
from merian_campaign.domain.failures.rules import Evidence, judge
from merian_campaign.domain.record.snapshot import GroupView, Remedy, SubmissionView
from merian_campaign.domain.resources.input_requests import request_of
from merian_campaign.domain.resources.memory_model import MemoryForecast
from merian_campaign.domain.states import GroupState, QuantumState, SubmissionOutcome, Verdict
from merian_campaign.domain.tick.decide import decide
from merian_campaign.domain.tick.decisions import Decision, MoveGroup, Submit

TASKS = ("isr", "calibrate")
MOST_SUBMISSIONS = 4
LARGEST = 16_000
SPEC = campaign(
    bps("step1", resources={"isr": {"memory": 900}}),
    afterburner={"max_attempts": 3, "max_submissions": MOST_SUBMISSIONS, "memory_max": 20_000},
)
REQUESTS = RequestTable(by_task={"isr": 900}, default_mb=2048, site_mb=LARGEST)


GUARDED = {Verdict.OUT_OF_MEMORY, Verdict.WALLTIME, Verdict.NODE_LOST}
REMEDIES = [*map(str, RuleRemedy), "accept 0.5", "accept 1", "of a later release"]


@dataclass(frozen=True, kw_only=True)
class Fate:
    """What happens to a quantum in one submission; without a verdict it succeeds."""

    verdict: Verdict | None
    remedy: str | None = None
    peak_mb: int | None = None
    seconds: float | None = None


@dataclass(kw_only=True)
class Life:
    """One quantum of a task and what it has been through."""

    task: str
    run: int = 0
    charged: int = 0
    memory: int = 0
    fate: Fate = Fate(verdict=Verdict.UNKNOWN)
    requested: list[int] = field(default_factory=list)

    def lives(self, fate: Fate, *, request: int) -> None:
        self.fate = fate
        self.run += 1
        self.requested.append(request)
        attempt = Attempt(try_number=1, state=QuantumState.FAILED, exit_code=1)
        word = None if fate.verdict not in GUARDED else fate.verdict.value
        self.charged += judge(Evidence(task=self.task, attempt=attempt, journal_verdict=word)).charged
        self.memory += fate.verdict is Verdict.OUT_OF_MEMORY

    def open(self) -> OpenQuanta:
        return open_quanta(
            self.fate.verdict, task=self.task, charged=self.charged, memory=self.memory,
            requested_mb=self.requested[-1], peak_mb=self.fate.peak_mb, remedy=self.fate.remedy,
            rule="a rule", seconds=self.fate.seconds, hosts=("node1.cluster",), of=1,
        )  # fmt: skip


FATES = st.builds(
    Fate,
    verdict=st.none() | st.sampled_from(Verdict),
    remedy=st.none() | st.sampled_from(REMEDIES),
    peak_mb=st.none() | st.integers(1, 100_000),
    seconds=st.none() | st.floats(0, 1e6),
)
type Round = tuple[SubmissionOutcome, tuple[Fate, ...], str, dict[str, int]]
ROUNDS = st.tuples(
    st.sampled_from([SubmissionOutcome.PARTIAL] * 3 + [SubmissionOutcome.LOST, SubmissionOutcome.FAILED]),
    st.tuples(*[FATES] * len(TASKS)),
    st.sampled_from(["why", "No space left on device"]),
    st.dictionaries(st.sampled_from(TASKS), st.integers(1, LARGEST)),
)


class Group:
    """A group that is tried again and again."""

    def __init__(self, first: Remedy) -> None:
        self.lives = [Life(task=task) for task in TASKS]
        self.remedy = first
        self.submissions: list[SubmissionView] = []
        self.learned: dict[str, int] = {}

    def submitted(
        self, outcome: SubmissionOutcome, fates: tuple[Fate, ...], reason: str, learned: dict[str, int]
    ) -> None:
        self.learned = learned
        if outcome is SubmissionOutcome.PARTIAL:
            for life, fate in zip(self.lives, fates, strict=True):
                if life.run == 0 or life.fate.verdict is not None:
                    asked = REQUESTS.request(life.task, self.remedy)
                    own = dict(self.remedy.by_inputs).get(life.task)
                    life.lives(fate, request=asked if own is None else min(asked, request_of(own, inputs=3)))
        number = len(self.submissions) + 1
        ended = NOW + timedelta(hours=2 * number)
        self.submissions.append(
            finished(number, outcome, remedy=self.remedy, reason=reason, finished_at=ended)
        )

    def next_remedy(self) -> Remedy | None:
        """What the next submission does differently; None when there is none."""
        left = [life for life in self.lives if life.run and life.fate.verdict is not None]
        view = group(
            state=GroupState.RUNNING,
            submissions=tuple(self.submissions),
            open_quanta=tuple(life.open() for life in left),
            counts=Counts(failed=len(left), succeeded=len(TASKS) - len(left)),
        )
        moved = self.decided(view)
        if not isinstance(moved, MoveGroup) or moved.state is not GroupState.READY:
            return None
        again = self.decided(replace(view, state=GroupState.READY, reason=moved.reason))
        return again.remedy if isinstance(again, Submit) else None

    def decided(self, view: GroupView) -> Decision | None:
        # An hour after its end, when no pause is left.
        given = replace(
            situation(requests=REQUESTS), now=NOW + timedelta(hours=2 * len(self.submissions) + 1)
        )
        asked = (
            MemoryForecast(task=task, request_mb=request, measured=500, fits=1.0, wasted=0.0, learned=True)
            for task, request in self.learned.items()
        )
        found = decide(SPEC, snapshot(view), replace(given, learned={"step1": tuple(asked)}))
        return found[0] if found else None


BY_INPUTS = Remedy(memory_mb=(("calibrate", 4000),), by_inputs=(("calibrate", ((1, 500), (8, 4000))),))
"""Of a first submission whose quanta ask by the number of their inputs."""


@given(st.lists(ROUNDS, min_size=1, max_size=12), st.sampled_from([Remedy(), BY_INPUTS]))
def test_no_sequence_of_outcomes_is_tried_for_ever(rounds: list[Round], first: Remedy) -> None:
    tried = Group(first)
    for number in range((MOST_SUBMISSIONS + 1) * MAX_STARVED):
        tried.submitted(*rounds[number % len(rounds)])
        remedy = tried.next_remedy()
        if remedy is None:
            break
        for task in TASKS:
            assert REQUESTS.request(task, remedy) >= REQUESTS.request(task, tried.remedy)
            assert dict(remedy.walltime).get(task, 0) >= dict(tried.remedy.walltime).get(task, 0)
        assert set(remedy.exclude) >= set(tried.remedy.exclude)
        tried.remedy = remedy
    else:
        raise AssertionError(f"{len(tried.submissions)} submissions and no end")
    for life in tried.lives:
        assert life.charged <= life.run
        assert life.requested == sorted(life.requested)
        assert max(life.requested, default=0) <= LARGEST
