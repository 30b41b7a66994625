"""What of a campaign's collections may be removed, and why.

Only RUN collections of this campaign's own finished submissions are ever looked at. `plan_cleaning` finds
what may go, from what the store knows of submissions and what the butler says of their collections; `check`
goes through a plan again, rule by rule, before anything is touched, and refuses it as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from textwrap import shorten

from merian_campaign.domain.record.snapshot import GroupView, Snapshot, SubmissionView
from merian_campaign.domain.rendering.naming import parse_run_collection
from merian_campaign.domain.states import SubmissionOutcome, SubmissionState
from merian_campaign.housekeeping.cleaning import (
    REMOVING,
    CleaningFacts,
    CleaningPlan,
    ForbiddenError,
    KeptRun,
    Removal,
    RunFacts,
    RunKind,
)

_DEAD = frozenset(
    {
        SubmissionOutcome.FAILED,
        SubmissionOutcome.LOST,
        SubmissionOutcome.CANCELLED,
        SubmissionOutcome.EMPTY,
    }
)

_SHORT = 100


def own_runs(snapshot: Snapshot) -> Iterator[tuple[GroupView, SubmissionView]]:
    """Return the submissions of a campaign that have RUN collections, in the order of steps."""
    for group in snapshot.groups:
        for submission in group.submissions:
            if submission.run_collection:
                yield group, submission


def named_collections(spec: Mapping[str, object]) -> frozenset[str]:
    """Return every collection that a campaign's document may name: inputs, and arguments of actions.

    Too many rather than too few: any text in those places counts.
    """
    found: set[str] = set()
    collections = spec.get("collections")
    if isinstance(collections, Mapping):
        found.update(_texts(collections.get("inputs")))
    steps = spec.get("steps")
    for step in steps if isinstance(steps, Iterable) else ():
        if isinstance(step, Mapping):
            found.update(_texts(step.get("inputs")))
            found.update(_texts(step.get("arguments")))
    return frozenset(found)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield from (part.strip() for part in value.split(","))
    elif isinstance(value, Mapping):
        for entry in value.values():
            yield from _texts(entry)
    elif isinstance(value, Iterable):
        for entry in value:
            yield from _texts(entry)


def plan_cleaning(snapshot: Snapshot, facts: Mapping[str, RunFacts], world: CleaningFacts) -> CleaningPlan:
    """Find what may go.

    Parameters
    ----------
    snapshot : `Snapshot`
        The campaign with its submissions.
    facts : `~collections.abc.Mapping`
        What was found of its RUN collections, by name; one that is not there is not looked at.
    world : `CleaningFacts`
        What else is going on.
    """
    removals: list[Removal] = []
    kept: list[KeptRun] = []
    replaced = replaced_chains(snapshot)
    for group, submission in own_runs(snapshot):
        found = facts.get(submission.run_collection)
        if found is None or submission.state is not SubmissionState.FINISHED:
            continue
        judged = _judge(group, submission, found, facts=facts, world=world, replaced=replaced)
        if isinstance(judged, str):
            kept.append(_kept(group, submission, judged))
        elif judged is not None:
            refused = forbidden(judged, snapshot, world)
            if refused:
                kept.append(_kept(group, submission, refused))
            else:
                removals.append(judged)
    return CleaningPlan(removals=tuple(removals), kept=tuple(kept))


def _kept(group: GroupView, submission: SubmissionView, reason: str) -> KeptRun:
    return KeptRun(
        step=group.step,
        group=group.key,
        number=submission.number,
        run=submission.run_collection,
        reason=reason,
    )


def _judge(
    group: GroupView,
    submission: SubmissionView,
    found: RunFacts,
    *,
    facts: Mapping[str, RunFacts],
    world: CleaningFacts,
    replaced: frozenset[str],
) -> Removal | str | None:
    """Return what may go of a finished submission; a text when a person should know why it stays."""
    outcome = submission.outcome
    verdict: tuple[RunKind, str] | str | None = None
    if world.cleaning.get(submission.id) == REMOVING:
        verdict = (RunKind.UNFINISHED, "an earlier clean was interrupted while it removed this")
    elif not found.exists:
        return None
    elif _is_replaced(group, submission, found, replaced=replaced):
        verdict = _replaced(group, submission, world)
    elif not found.registered or not found.parents:
        verdict = _unchained(group, submission, registered=found.registered)
    elif not found.seen:
        verdict = _unseen(submission, datasets=found.datasets, later=_later(group, submission, facts))
    if verdict is None and found.strays:
        verdict = (RunKind.STRAY_FILES, f"the registry does not know them; their RUN ({outcome}) stays")
    if verdict is None or isinstance(verdict, str):
        return verdict
    kind, reason = verdict
    return Removal(
        kind=kind,
        reason=reason,
        submission_id=submission.id,
        step=group.step,
        group=group.key,
        number=submission.number,
        facts=found,
    )


def replaced_chains(snapshot: Snapshot) -> frozenset[str]:
    """Return the chains of generations that another one has taken the place of: nobody reads them any more.

    Those of what was made from a RUN show it too, among their inputs.
    """
    return frozenset(
        submission.run_collection.rpartition("/")[0]
        for group, submission in own_runs(snapshot)
        if submission.generation < group.published
    )


def _is_replaced(
    group: GroupView, submission: SubmissionView, found: RunFacts, *, replaced: frozenset[str]
) -> bool:
    """Say whether a RUN is of an old generation, and in no chain but those of old generations."""
    return found.registered and submission.generation < group.published and set(found.parents) <= replaced


def _replaced(
    group: GroupView, submission: SubmissionView, world: CleaningFacts
) -> tuple[RunKind, str] | str:
    """Judge a RUN of an old generation: it stays for as long as the campaign says."""
    ends = [entry.finished_at for entry in group.submissions if entry.generation == group.published]
    since = max((end for end in ends if end is not None), default=submission.created_at)
    what = f"it is of generation {submission.generation}, of which {group.published} has taken the place"
    until = since + world.keep
    if until > world.now:
        return f"{what}; the campaign keeps it until {until:%Y-%m-%d %H:%M} UTC"
    return RunKind.OLD_GENERATION, what


def _unchained(
    group: GroupView, submission: SubmissionView, *, registered: bool
) -> tuple[RunKind, str] | str:
    """Judge what no chain has: a RUN, or a folder that is not registered."""
    outcome = submission.outcome
    # Whether its outputs are worth anything, a person can tell from why it ended.
    why = f" ({shorten(submission.reason, _SHORT, placeholder=' ...')})" if submission.reason else ""
    if outcome in _DEAD and registered:
        return RunKind.DEAD_RUN, f"it is in no chain, and ended as {outcome}{why}"
    if outcome in _DEAD:
        return RunKind.DEAD_FOLDER, f"nothing of it was ingested, and it ended as {outcome}{why}"
    if registered and not group.published:
        return "the file has its group no more; readers do not see it, and it comes back with the group"
    if registered:
        return f"it is in no chain, though it ended as {outcome}; somebody has taken it out"
    return f"it ended as {outcome}, but its outputs are not in the registry; see its driver.log"


def _unseen(submission: SubmissionView, *, datasets: int, later: int | None) -> tuple[RunKind, str] | None:
    """Judge a RUN of which no chain shows anything."""
    if later is not None:
        what = "no chain shows any of its datasets" if datasets else "it holds no datasets"
        return RunKind.SUPERSEDED, f"{what}; submission {later} came after it"
    if not datasets and submission.outcome in _DEAD:
        return RunKind.SUPERSEDED, f"it ended as {submission.outcome}, and holds no datasets"
    return None


def _later(group: GroupView, submission: SubmissionView, facts: Mapping[str, RunFacts]) -> int | None:
    """Return the number of the latest registered submission of the group after this one."""
    numbers = [
        other.number
        for other in group.submissions
        if other.number > submission.number
        and other.run_collection in facts
        and facts[other.run_collection].registered
    ]
    return max(numbers, default=None)


def forbidden(removal: Removal, snapshot: Snapshot, world: CleaningFacts) -> str:
    """Return why something must not be removed; empty when it may.

    Parameters
    ----------
    removal : `Removal`
        What would be removed.
    snapshot : `Snapshot`
        The campaign.
    world : `CleaningFacts`
        What else is going on.
    """
    facts = removal.facts
    owner = next(
        (
            (group, submission)
            for group, submission in own_runs(snapshot)
            if submission.id == removal.submission_id
        ),
        None,
    )
    replaced = owner is not None and _is_replaced(*owner, facts, replaced=replaced_chains(snapshot))
    for broken, words in (
        *_ownership(removal, owner, world),
        *_contents(removal, world, replaced=replaced),
    ):
        if broken:
            return f"{facts.run}: {words}" if owner is None else words
    return ""


def _ownership(
    removal: Removal, owner: tuple[GroupView, SubmissionView] | None, world: CleaningFacts
) -> Iterator[tuple[bool, str]]:
    """Rules about whose it is: this campaign's, by a submission that is over."""
    facts = removal.facts
    if owner is None:
        yield True, "no submission of this campaign made it"
        return
    group, submission = owner
    live = group.live
    yield submission.run_collection != facts.run, "it is not this submission's RUN"
    yield not _follows_grammar(facts.run, group, submission), "its name is not that of a submission's RUN"
    yield facts.run in world.foreign, "it belongs to another campaign"
    yield submission.state is not SubmissionState.FINISHED, "its submission is under way"
    yield submission.id in world.with_jobs, "Slurm jobs of its submission may still be running"
    yield live is not None, f"submission {live.number if live else 0} of its group is under way"


def _contents(removal: Removal, world: CleaningFacts, *, replaced: bool) -> Iterator[tuple[bool, str]]:
    """Rules about what is in it: nothing that anybody still sees."""
    facts = removal.facts
    yield facts.kind not in {"", "RUN"}, f"it is a {facts.kind} collection"
    if removal.kind is RunKind.STRAY_FILES:
        return
    # Of an old generation, only chains show anything from which nothing is read any more.
    yield bool(facts.seen) and not replaced, f"{facts.seen} are found first"
    old = removal.kind is RunKind.OLD_GENERATION
    yield old and not replaced, "its generation is in force, or another chain has it"
    yield bool(facts.held_by), f"{', '.join(facts.held_by)} holds datasets of it"
    yield facts.run in world.inputs, "a campaign names it as an input"
    known = removal.kind is RunKind.SUPERSEDED and bool(facts.datasets)
    read = (known or old) and bool(world.live)
    yield read, f"{world.live[0] if world.live else ''} is under way, and its graph may read from it"


def _follows_grammar(run: str, group: GroupView, submission: SubmissionView) -> bool:
    try:
        name = parse_run_collection(run)
    except ValueError:
        return False
    return (name.group, name.number, name.generation) == (
        group.key,
        submission.number,
        submission.generation,
    )


def check(plan: CleaningPlan, snapshot: Snapshot, world: CleaningFacts) -> None:
    """Refuse a plan if anything in it must not be removed.

    Raises
    ------
    ForbiddenError
        Raised with everything that is wrong; nothing of the plan may be done then.
    """
    wrong = [
        f"{removal.facts.run}: {words}"
        for removal in plan.removals
        if (words := forbidden(removal, snapshot, world))
    ]
    if wrong:
        raise ForbiddenError("nothing was removed, for this must never be:\n  " + "\n  ".join(wrong))


def agreed(shown: CleaningPlan, now: CleaningPlan) -> CleaningPlan:
    """Return what was said yes to, as it stands now.

    Raises
    ------
    ForbiddenError
        Raised if something of it may not be removed any more.
    """
    current = {removal.facts.run: removal for removal in now.removals}
    kept = {entry.run: entry.reason for entry in now.kept}
    changed = [
        f"{removal.facts.run}: {kept.get(removal.facts.run, 'it is not there any more, or is in use again')}"
        for removal in shown.removals
        if removal.facts.run not in current or current[removal.facts.run].kind is not removal.kind
    ]
    if changed:
        raise ForbiddenError(
            "nothing was removed, for this has changed since it was shown:\n  " + "\n  ".join(changed)
        )
    wanted = {removal.facts.run for removal in shown.removals}
    return CleaningPlan(removals=tuple(removal for run, removal in current.items() if run in wanted))
