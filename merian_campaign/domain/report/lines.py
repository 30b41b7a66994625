"""The lines of a report's tables. Their fields are the columns of page, JSON, CSV and Parquet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from merian_campaign.domain.report.remaking import Remaking
from merian_campaign.domain.resources.core_hours import Price


@dataclass(frozen=True, kw_only=True)
class StepLineOfReport:
    """A step: how many of its groups are in which state, and its quanta.

    ``foreseen`` are quanta that no graph has yet, estimated from the step's other groups; between ``eta_low``
    and ``eta_high`` it is expected to end, with all steps before it.
    ``blocked`` groups are also those that were cancelled, ``waiting`` also those that are ready.
    """

    step: str
    kind: str
    groups: int
    done: int
    running: int
    needs_review: int
    blocked: int
    waiting: int
    expected: int
    succeeded: int
    failed: int
    quanta_blocked: int
    open: int
    foreseen: int = 0
    eta_low: datetime | None = None
    eta_high: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class GroupLine:
    """A group; ``values`` are its tracts, nights or whatever ``dimension`` says.

    It is ``stale`` when it is done for older data than there are, and stays so; ``remade`` says why its next
    generation is being made while readers see an older one.
    """

    step: str
    group: str
    dimension: str
    values: tuple[int, ...]
    state: str
    reason: str
    submissions: int
    expected: int
    succeeded: int
    failed: int
    blocked: int
    open: int
    updated_at: datetime
    stale: bool = False
    remade: str | None = None

    @property
    def shown(self) -> str:
        """The state that is shown: ``stale`` in place of done where that is for older data."""
        return "stale" if self.stale else self.state


@dataclass(frozen=True, kw_only=True)
class TractLine:
    """A tract, over the steps that go by tract.

    ``reached`` counts its steps from the first on that are done without a gap; ``releasable`` says that all
    are, ``why`` on what that rests, or what is missing. ``accepted`` are quanta that did not succeed in
    groups that are done all the same, ``stale`` its steps that are done for older data than there are.
    ``foreseen`` are quanta that no graph has yet, estimated from the steps' other tracts; `None` where a step
    to come is of unknown size.
    """

    tract: int
    state: str
    releasable: bool
    reached: int
    steps: int
    reached_step: str
    visits: int
    expected: int
    succeeded: int
    failed: int
    blocked: int
    open: int
    caveats: int
    accepted: int
    reason: str
    why: str
    stale: int = 0
    foreseen: int | None = 0

    @property
    def shown(self) -> str:
        """The state that is shown: ``stale`` in place of done where some of that is for older data."""
        return "stale" if self.stale and self.releasable else self.state


@dataclass(frozen=True, kw_only=True)
class CompletenessLine:
    """Quanta of a tract in a step and band; the band is empty for quanta without one.

    Of ``expected``, ``estimated`` are of no graph yet: the average of the step's other tracts in that band.
    Of ``caveats``, ``no_work``, ``upstream`` (no work for a failure upstream), ``unprocessable`` and
    ``partial`` are told apart; the others miss outputs.
    """

    tract: int
    step: str
    band: str
    expected: int
    succeeded: int
    caveats: int
    failed: int
    blocked: int
    open: int
    accepted: int
    estimated: int = 0
    no_work: int = 0
    upstream: int = 0
    unprocessable: int = 0
    partial: int = 0

    @property
    def fraction(self) -> float:
        """How much of it has succeeded, or was accepted without."""
        return (self.succeeded + self.accepted) / self.expected if self.expected else 0.0


@dataclass(frozen=True, kw_only=True)
class CauseLine:
    """Failed quanta of one cause, what stands behind them, and what to type next.

    ``blocked`` are quanta that stand behind these, each behind one failed quantum; ``tracts`` and ``patches``
    are those of both; ``held`` groups of later steps, and
    ``held_tracts`` the tracts of these, that wait for a person to decide about it; ``losses`` are those of
    ``quanta`` that were accepted.
    """

    step: str
    task: str
    verdict: str
    exception: str
    quanta: int
    groups: int
    tracts: int
    patches: int
    blocked: int
    held: int
    held_tracts: int
    losses: int
    last_ended: datetime | None
    example: int
    group: str
    data_id: str
    evidence: str
    certainty: str
    message: str
    log_path: str
    log_tail: str
    command: str


@dataclass(frozen=True, kw_only=True)
class BlockSumLine:
    """Slurm blocks of a step; times in hours. Lost are those that ended with their node or by preemption."""

    step: str
    blocks: int
    queued_hours: float
    ran_hours: float
    busy_hours: float
    idle_hours: float
    unknown_hours: float
    lost: int
    lost_hours: float


@dataclass(frozen=True, kw_only=True)
class SubmissionLine:
    """A submission; beyond the first of its group they are afterburners, with a remedy."""

    step: str
    group: str
    tract: int | None
    number: int
    state: str
    outcome: str
    reason: str
    remedy: str
    run_collection: str
    created_at: datetime
    claimed_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class ChangeLine:
    """A group that moved since the last report: from its first state to its last one."""

    step: str
    group: str
    from_state: str
    to_state: str
    at: datetime
    reason: str


@dataclass(frozen=True, kw_only=True)
class RevisionLine:
    """A revision of the campaign file, with what it changed as a unified diff."""

    number: int
    actor: str
    applied_at: datetime
    sha256: str
    diff: str


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The numbers that come first.

    Hours are of quanta that ran (one is counted once, however many cores it had) and of blocks. Between
    ``eta_low`` and ``eta_high`` it is expected to end; `None` where ``eta_words`` says why not, ``eta_high``
    also where there are ``unsized`` steps: of these nobody knows yet how many quanta they have. ``stale`` are
    groups that are done for older data than there are, ``stale_tracts`` the tracts of these, ``redo_price``
    what it would cost to make them anew; ``remade`` is what is being made anew.
    """

    campaign: str
    state: str
    at: datetime
    past: bool
    tracts: int
    releasable: int
    groups: int
    done: int
    running: int
    needs_you: int
    blocked_groups: int
    expected: int
    succeeded: int
    failed: int
    blocked: int
    open: int
    executions: int
    foreseen: int
    quantum_hours: float
    block_hours: float
    per_hour: float
    eta_low: datetime | None
    eta_high: datetime | None
    eta_words: str
    unsized: tuple[str, ...]
    last_tick: datetime | None
    since: datetime | None
    done_since: int
    failed_since: int
    stale: int = 0
    stale_tracts: int = 0
    stale_words: str = ""
    redo_price: Price | None = None
    remade: Remaking | None = None
    remade_words: str = ""
