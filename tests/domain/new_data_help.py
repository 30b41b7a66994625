"""A survey in miniature, in memory: what the decisions of ticks would make of data that come when they come.

Nights come into an archive; groups run at once, on what the registry has at that moment; outputs are values
made of the values that they were made from, so that two campaigns can be compared to the last input.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta

from domain_help import NOW, action, bps, by_tract, campaign, finished, group, situation, sky, snapshot

from merian_campaign.domain.campaign.plan import in_force, plan_groups
from merian_campaign.domain.execution.counts import Counts
from merian_campaign.domain.readiness.complete_nights import Arrivals
from merian_campaign.domain.readiness.overlap_refresh import OverlapRefresh, overlaps_of, refresh_due
from merian_campaign.domain.record.overlaps import Overlaps, SkyExposure
from merian_campaign.domain.record.snapshot import GroupView
from merian_campaign.domain.spec import CampaignSpec
from merian_campaign.domain.states import GroupState, SubmissionOutcome, advance_group
from merian_campaign.domain.tick.decide import decide
from merian_campaign.domain.tick.decisions import AddGroups, Again, Decision, MoveGroup, Publish, Submit

DISCOVERED = {"kind": "day_obs", "nights": "discover"}
SCIENCE = {"observation_type": "science"}
COMBINING = frozenset({"step2b", "step2c", "step3"})
GATHERING = COMBINING | {"step2a", "step2d"}


def survey(**changes: object) -> CampaignSpec:
    """A campaign whose nights and tracts are those that come."""
    return campaign(
        action("ingest", action="ingest-raws", arguments={"files": ["/raw/*"]}),
        action("visits", action="define-visits", arguments={"instrument": "lsst.obs.decam.DarkEnergyCamera"}),
        action("defaults", after=["visits"]),
        bps("step1", select=SCIENCE, group_by=DISCOVERED, after=["ingest"]),
        bps("step2a", select=SCIENCE, group_by=DISCOVERED, after=["step1", "defaults"]),
        by_tract("step2b", "step2b", after=["step2a"]),
        bps("step2c", after=["step2a"]),
        bps("step2d", select=SCIENCE, group_by=DISCOVERED, after=["step2b"]),
        by_tract("step3", "step3", after=["step2d"]),
        **({"tracts": "discover", "on_new_data": "redo"} | changes),
    )


def _first_seen(row: SkyExposure, before: SkyExposure | None) -> SkyExposure:
    """Keep the times of an exposure as the store does."""
    if before is None:
        return row
    more = row.seen_at if row.raws > before.raws > 0 else before.raws_at
    return replace(row, seen_at=before.seen_at, raws_at=more)


type Value = Hashable
type Outputs = dict[Hashable, Value]


@dataclass
class MiniatureSurvey:
    """Archive, registry, tracking and outputs of one campaign."""

    spec: CampaignSpec
    archive: dict[int, SkyExposure] = field(default_factory=dict)
    registry: dict[int, SkyExposure] = field(default_factory=dict)
    with_visit: set[int] = field(default_factory=set)
    groups: dict[tuple[str, str], GroupView] = field(default_factory=dict)
    overlaps: Overlaps | None = None
    shown: dict[tuple[str, str], Outputs] = field(default_factory=dict)
    made: dict[tuple[str, str, int], Outputs] = field(default_factory=dict)
    failing: int = 0
    broken: set[int] = field(default_factory=set)
    revision: int = 1
    ticks: int = 0
    submissions: int = 0

    def __post_init__(self) -> None:
        self._add(plan_groups(self.spec).wanted)

    # -- what happens to it ------------------------------------------------------------------------
    def arrive(self, exposures: Iterable[SkyExposure]) -> None:
        """Raws come into the archive."""
        self.archive.update((row.exposure, row) for row in exposures)

    def withdraw(self, exposure: int) -> None:
        """The file is applied anew, with one more bad exposure."""
        bad = tuple(sorted({*self.spec.bad_exposures, exposure}))
        self.spec = self.spec.model_copy(update={"bad_exposures": bad})
        self.revision += 1

    def settle(self) -> None:
        """Tick until nothing moves."""
        for _ in range(200):
            if not self.tick():
                return
        raise AssertionError(f"it never rests: {[g for g in self.groups.values() if g.state != 'done']}")

    def tick(self) -> bool:
        """Look, decide, and carry out one round; say whether anything moved."""
        self.ticks += 1
        now = NOW + timedelta(minutes=self.ticks)
        basis = refresh_due(self.spec, in_force(self.spec, self._snapshot()), now=now)
        moved = False
        if basis is not None and self.registry:
            before = self.overlaps
            seen_before = {row.exposure: row for row in before.exposures} if before else {}
            found = overlaps_of(self.spec, self._look(), basis=basis, now=now)
            rows = tuple(_first_seen(row, seen_before.get(row.exposure)) for row in found.exposures)
            self.overlaps = replace(found, exposures=rows)
            moved = before is None or before != self.overlaps
        files = ",".join(f"{row.exposure}x{row.raws}" for _, row in sorted(self.archive.items()))
        given = replace(
            situation(steps=self._bps_steps()), now=now, arrivals=Arrivals(files={"ingest": files})
        )
        for decision in decide(self.spec, self._snapshot(), given):
            moved = self._carry_out(decision) or moved
        return moved

    def shown_values(self) -> dict[Hashable, Value]:
        """Return what readers of the steps' chains see."""
        return {(step, key): value for (step, _), found in self.shown.items() for key, value in found.items()}

    def retry(self) -> None:
        """A person says so of all that needs one, when nothing fails any more."""
        self.failing = 0
        self.settle()
        for one in self.groups.values():
            if one.state is GroupState.NEEDS_REVIEW:
                last = one.submissions[-1].number
                self._put(one, state=GroupState.READY, reason="a person said so", attempts_from=last)
        self.settle()

    def redo(self, names: Iterable[tuple[str, str]]) -> None:
        """A person says so."""
        for name in names:
            self._carry_out(Again(group=self.groups[name], reason="the season is over", redo=True))
        self.settle()

    def used(self, step: str, key: str) -> set[int]:
        """Return the exposures that a group's outputs in force were made from."""
        found: set[int] = set()
        for name, value in self.shown.get((step, key), {}).items():
            if step == "step1":
                found.add(name[0])
            elif step in COMBINING:
                found.update(exposure for exposure, _ in value[1])
            else:
                found.add(name)
        return found

    def tracts_used(self, night: str) -> set[int]:
        """Return the tracts that a night of step 2d has read."""
        return {tract for value in self.shown["step2d", night].values() for tract, _ in value[2]}

    def add_groups(self) -> None:
        """The file was applied anew: its groups are added."""
        self._add(plan_groups(self.spec, existing=tuple(self.groups.values()), overlaps=self.overlaps).wanted)

    # -- the world ---------------------------------------------------------------------------------
    def _bps_steps(self) -> tuple[str, ...]:
        return tuple(step.name for step in self.spec.steps)

    def _look(self) -> OverlapRefresh:
        rows = tuple(
            row if row.exposure in self.with_visit else replace(row, visits=(), tracts=None)
            for row in self.registry.values()
        )
        ids = frozenset(self.registry) - frozenset(self.spec.bad_exposures)
        return OverlapRefresh(exposures=rows, taken=dict.fromkeys(("step1", "step2a", "step2d"), ids))

    def _snapshot(self) -> object:
        order = [step.name for step in self.spec.steps]
        groups = sorted(self.groups.values(), key=lambda one: (order.index(one.step), one.key))
        found = snapshot(*groups)
        view = replace(found.campaign, revision=self.revision)
        return replace(found, campaign=view, overlaps=self.overlaps)

    def _add(self, wanted: Iterable[object]) -> None:
        for new in wanted:
            name = (new.step, new.key)
            self.groups.setdefault(
                name, group(new.step, new.key, selection=new.selection, state=GroupState.WAITING)
            )

    def _carry_out(self, decision: Decision) -> bool:
        match decision:
            case AddGroups(groups=wanted):
                self._add(wanted)
            case MoveGroup(group=one, state=state, reason=reason):
                if state is not one.state:
                    advance_group(one.state, state)
                self._put(one, state=state, reason=reason)
            case Again(group=one, redo=redo):
                counts = Counts() if redo else one.counts
                self._put(
                    one,
                    state=GroupState.WAITING,
                    generation=one.generation + redo,
                    basis=None if redo else one.basis,
                    counts=counts,
                    attempts_from=one.submissions[-1].number,
                )
            case Publish(group=one, none=none):
                number = 0 if none else one.generation
                self.shown[one.step, one.key] = dict(self.made.get((one.step, one.key, number), {}))
                self._put(one, published=number)
            case Submit():
                self._run(decision)
            case _:
                return False
        return True

    def _put(self, one: GroupView, **changes: object) -> None:
        self.groups[one.step, one.key] = replace(self.groups[one.step, one.key], **changes)

    def _run(self, decision: Submit) -> None:
        one = decision.group
        self.submissions += 1
        works = self.failing <= 0
        self.failing -= not works
        outcome = SubmissionOutcome.SUCCEEDED if works else SubmissionOutcome.FAILED
        new = self._execute(one) if works else {}
        first = one.generation not in {entry.generation for entry in one.submissions}
        combines = one.step in COMBINING
        keeps = combines and not first and one.basis is not None
        made = finished(decision.number, outcome, generation=one.generation, created_at=NOW)
        if works and one.step == "ingest" and self.broken & self.archive.keys():
            made = replace(made, outcome=SubmissionOutcome.PARTIAL, needs_person=True)
        counts = one.counts
        if self._is_bps(one):
            outputs = self.made.setdefault((one.step, one.key, one.generation), {})
            outputs.update({key: value for key, value in new.items() if key not in outputs})
            counts = Counts(succeeded=len(outputs))
            if works and not outputs:
                made = replace(made, outcome=SubmissionOutcome.EMPTY)
            if one.published == one.generation:
                self.shown[one.step, one.key] = dict(outputs)
        self._put(
            one,
            state=GroupState.RUNNING,
            submissions=(*one.submissions, made),
            basis=one.basis if keeps else decision.basis,
            combines=combines if self._is_bps(one) and counts.expected else one.combines,
            gathers=one.step in GATHERING if self._is_bps(one) and counts.expected else one.gathers,
            counts=counts,
        )

    def _is_bps(self, one: GroupView) -> bool:
        return one.step.startswith("step")

    def _values(self, step: str) -> dict[Hashable, Value]:
        return {
            key: value
            for (name, _), found in self.shown.items()
            if name == step
            for key, value in found.items()
        }

    def _execute(self, one: GroupView) -> Outputs:
        """Return what a group makes of what is there now."""
        if not self._is_bps(one):
            whole = {key: row for key, row in self.archive.items() if key not in self.broken}
            self.registry.update(whole if one.step == "ingest" else {})
            self.with_visit.update(self.registry if one.step == "visits" else ())
            return {}
        good = set(self.with_visit) - set(self.spec.bad_exposures)
        nights = set(one.selection.values)
        by_night = one.selection.dimension == "day_obs"
        mine = {x for x in good if (self.registry[x].day_obs if by_night else x) in nights}
        match one.step:
            case "step1":
                return {
                    (exposure, raw): ("1", exposure, raw)
                    for exposure in mine
                    for raw in range(max(1, self.registry[exposure].raws))
                }
            case "step2a":
                singles: dict[Hashable, set[Value]] = {}
                for (exposure, _), value in self._values("step1").items():
                    singles.setdefault(exposure, set()).add(value)
                return {x: ("2a", frozenset(singles[x])) for x in mine & singles.keys()}
            case "step2b" | "step3":
                before = self._values("step2a" if one.step == "step2b" else "step2d")
                (tract,) = one.selection.values
                taken = {x for x in good & before.keys() if tract in (self.registry[x].tracts or ())}
                return {tract: (one.step, frozenset((x, before[x]) for x in taken))} if taken else {}
            case "step2c":
                before = self._values("step2a")
                taken = good & before.keys()
                return {"all": ("2c", frozenset((x, before[x]) for x in taken))} if taken else {}
        return self._step2d(mine)

    def _step2d(self, mine: set[int]) -> Outputs:
        before, tracts = self._values("step2a"), self._values("step2b")
        return {
            x: (
                "2d",
                before[x],
                frozenset((t, tracts[t]) for t in self.registry[x].tracts or () if t in tracts),
            )
            for x in mine & before.keys()
        }


SKY = {
    81: sky(81, 18, 1),
    91: sky(91, 19, 1),
    201: sky(201, 20, 1, 2),
    202: sky(202, 20, 2),
    211: sky(211, 21, 2),
    231: sky(231, 23),
    241: sky(241, 24, 3),
}
SKY = {exposure: replace(row, raws=2) for exposure, row in SKY.items()}


def of(*days: int) -> list[SkyExposure]:
    return [row for row in SKY.values() if row.day_obs - 20210300 in days]


def after(*days: int, **changes: object) -> MiniatureSurvey:
    """A campaign that is done with these nights."""
    found = MiniatureSurvey(survey(**changes))
    found.arrive(of(*days))
    found.settle()
    return found


def states(found: MiniatureSurvey) -> set[GroupState]:
    return {one.state for one in found.groups.values()}


def pick(found: MiniatureSurvey, name: str) -> GroupView:
    step, _, key = name.partition("/")
    return found.groups[step, key]
