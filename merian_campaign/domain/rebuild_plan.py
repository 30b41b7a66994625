"""How a campaign is put on record again from what its submissions left, when its database is lost.

Pure: directories and RUN collections in, submissions in the order in which they were made out. What nobody
can know any more is said.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from merian_campaign.domain.execution.runs import RunEnd, RunResult
from merian_campaign.domain.record.basis import Basis
from merian_campaign.domain.record.snapshot import Remedy
from merian_campaign.domain.remains import Remains, WhenMade
from merian_campaign.domain.rendering.naming import (
    RunName,
    parse_run_collection,
    run_collection,
    submission_directory,
)
from merian_campaign.domain.selection import Selection
from merian_campaign.domain.spec import BpsStep, CampaignSpec
from merian_campaign.domain.tick.driver_jobs import driver_job_of

__all__ = ["RebuildPlan", "Rebuilt", "plan_rebuild"]

GONE = "its directory was deleted"
"""How the reason begins of a submission of which the butler alone still knows."""


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """A submission to be put on record again.

    Parameters
    ----------
    step, group, number
        Whose it is.
    directory, run : `str`
        Where it lies, and its RUN collection, empty for an action.
    generation, remedy, reason, basis
        As it was made.
    at, ended_at : `datetime.datetime`
        When it was made, and when it ended, as far as known; UTC.
    drivers : `int`
        How many had claimed it.
    result : `RunResult` or `None`
        How it ended; `None` when a driver has to go on with it.
    salvage : `bool`
        Whether its quanta have to be taken from its graphs or the butler first.
    versions : `~collections.abc.Mapping` or `None`
        Of the LSST stack.
    ran : `bool`
        Whether anything ran under these.
    job_epoch : `int` or `None`
        Epoch of the last driver that was to be a Slurm job; `None` when none was.
    """

    step: str
    group: str
    number: int
    directory: str
    run: str
    generation: int
    remedy: Remedy
    reason: str
    basis: Basis | None
    at: datetime
    ended_at: datetime
    drivers: int
    result: RunResult | None
    salvage: bool
    versions: Mapping[str, Any] | None
    ran: bool
    job_epoch: int | None = None

    def driver_job(self, campaign: str) -> str:
        """Return the name of the Slurm job of its driver; empty when that was none."""
        if self.job_epoch is None:
            return ""
        return driver_job_of(
            campaign=campaign, step=self.step, group=self.group, number=self.number, directory=self.directory,
            epoch=self.job_epoch,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class RebuildPlan:
    """What is put on record, and what is to be said.

    Parameters
    ----------
    rounds : `tuple` [`tuple` [`Rebuilt`, ...], ...]
        The first submissions of all groups, then the second ones and so on.
    selections : `~collections.abc.Mapping`
        By step and key, what groups select that the campaign file does not name.
    highest : `int`
        The highest id of a submission in the lost database, as far as known.
    identity : `str`
        UUID of the campaign in the lost database, which its directories bear; empty if none says it.
    notes : `tuple` [`str`, ...]
        What is damaged, gone, or of somebody else.
    """

    rounds: tuple[tuple[Rebuilt, ...], ...] = ()
    selections: Mapping[tuple[str, str], Selection] = field(default_factory=dict)
    highest: int = 0
    identity: str = ""
    notes: tuple[str, ...] = ()


def plan_rebuild(
    spec: CampaignSpec,
    remains: Iterable[Remains],
    *,
    runs: Iterable[str],
    known: frozenset[tuple[str, str]],
    root: str,
) -> RebuildPlan:
    """Return how to put a campaign on record again.

    Parameters
    ----------
    spec : `CampaignSpec`
        The campaign, as its file says now.
    remains : iterable of `Remains`
        What lies in the directories of its submissions.
    runs : iterable of `str`
        RUN collections below its outputs, as the butler has them.
    known : `frozenset`
        Step and key of the groups that the file names.
    root : `str`
        Folder of all submissions.
    """
    steps = {step.name: step for step in spec.steps}
    notes: list[str] = []
    own = _of_the_latest(remains, notes)
    found: dict[tuple[str, str], dict[int, Remains | None]] = defaultdict(dict)
    for entry in own:
        if entry.step in steps:
            found[entry.step, entry.group][entry.number] = entry
        else:
            notes.append(f"{entry.directory}: the campaign file has no step {entry.step!r}; left out")
    names = _runs_by_group(spec, runs)
    for (step, group), numbers in names.items():
        for number in numbers:
            found[step, group].setdefault(number, None)
    selections = {
        place: made.selection
        for place, entries in found.items()
        for made in _mades(entries.values())
        if place not in known
    }
    rounds: dict[int, list[Rebuilt]] = defaultdict(list)
    for place in sorted(found, key=lambda place: (list(steps).index(place[0]), place[1])):
        if place not in known and place not in selections:
            notes.append(f"{place[0]}/{place[1]}: nothing says what it selects; left out")
            continue
        made = _group(spec, place, found[place], names=names.get(place, {}), notes=notes, root=root)
        for turn, one in enumerate(made):
            rounds[turn].append(one)
    return RebuildPlan(
        rounds=tuple(tuple(rounds[turn]) for turn in sorted(rounds)),
        selections=selections,
        identity=next((entry.campaign for entry in own if entry.campaign), ""),
        highest=max((made.id for entries in found.values() for made in _mades(entries.values())), default=0),
        notes=tuple(notes),
    )


def _mades(entries: Iterable[Remains | None]) -> list[WhenMade]:
    return [entry.made for entry in entries if entry is not None and entry.made is not None]


def _of_the_latest(remains: Iterable[Remains], notes: list[str]) -> list[Remains]:
    """Leave out what an earlier campaign of the same name has left."""
    entries = list(remains)
    latest = max((entry for entry in entries if entry.campaign), key=lambda entry: entry.at, default=None)
    own = []
    for entry in entries:
        if latest is not None and entry.campaign not in {"", latest.campaign}:
            notes.append(f"{entry.directory}: is of another campaign of this name; left out")
        else:
            own.append(entry)
            notes += [entry.trouble] if entry.trouble else []
    return own


def _runs_by_group(spec: CampaignSpec, runs: Iterable[str]) -> dict[tuple[str, str], dict[int, RunName]]:
    """Return the RUN collections of groups by number."""
    outputs = {spec.output_of(step): step.name for step in spec.steps if isinstance(step, BpsStep)}
    found: dict[tuple[str, str], dict[int, RunName]] = defaultdict(dict)
    for run in runs:
        try:
            name = parse_run_collection(run)
        except ValueError:
            continue
        if name.step_output in outputs:
            found[outputs[name.step_output], name.group][name.number] = name
    return found


def _group(
    spec: CampaignSpec,
    place: tuple[str, str],
    entries: Mapping[int, Remains | None],
    *,
    names: Mapping[int, RunName],
    notes: list[str],
    root: str,
) -> Sequence[Rebuilt]:
    """Return the submissions of one group, in order."""
    made: list[Rebuilt] = []
    numbers = sorted(entries)
    for number in numbers:
        entry = entries[number]
        before = made[-1] if made else None
        if entry is None:
            notes.append(
                f"{place[0]}/{place[1]}: the directory of submission {number} is gone; what succeeded is "
                "taken from the butler"
            )
        elif entry.made is None:
            notes.append(f"{entry.directory}: does not say how it came to be, which is guessed")
        made.append(_one(spec, place, number, entry, name=names.get(number), before=before, root=root))
    last = made[-1] if made else None
    return [
        entry
        if entry is last or entry.result is not None
        else _over(entry, "nothing says how it ended, and another one was made after it")
        for entry in made
    ]


def _over(entry: Rebuilt, reason: str) -> Rebuilt:
    end = RunEnd.LOST if entry.ran else RunEnd.FAILED
    return replace(entry, result=RunResult(end=end, reason=reason), salvage=entry.ran and bool(entry.run))


def _one(
    spec: CampaignSpec,
    place: tuple[str, str],
    number: int,
    entry: Remains | None,
    *,
    name: RunName | None,
    before: Rebuilt | None,
    root: str,
) -> Rebuilt:
    """Return one submission; where nothing says how it was made, it comes after the one ``before`` it."""
    made = None if entry is None else entry.made
    after = before.ended_at if before is not None else datetime.fromtimestamp(0, UTC)
    at = max(after, made.at if made is not None else entry.at if entry is not None else after)
    generation = _generation(made, name=name, before=before)
    run = _run_of(spec, place, number, generation=generation)
    common: dict[str, Any] = {
        "step": place[0],
        "group": place[1],
        "number": number,
        "directory": submission_directory(
            root=root, campaign=spec.campaign, step=place[0], group=place[1], number=number
        ),
        "run": run,
        "generation": generation,
        "remedy": made.remedy if made is not None else Remedy(),
        "reason": made.reason if made is not None else "it was made by a database that is lost",
        "basis": None if made is None else made.basis,
        "at": at,
    }
    if entry is None:
        return Rebuilt(
            **common, ended_at=at + timedelta(seconds=1), drivers=1,
            result=RunResult(end=RunEnd.FAILED, reason=GONE), salvage=True, versions=None, ran=True,
        )  # fmt: skip
    over = entry.result is not None and entry.result.end is not RunEnd.EMPTY
    return Rebuilt(
        **common,
        ended_at=max(at, entry.ended_at or at),
        drivers=max(entry.epoch, entry.started or 0),
        result=entry.result,
        salvage=bool(run) and over and entry.started is not None and not entry.harvested,
        versions=entry.versions,
        ran=entry.started is not None,
        job_epoch=entry.job_epoch,
    )


def _generation(made: WhenMade | None, *, name: RunName | None, before: Rebuilt | None) -> int:
    """Return a submission's generation: as it says, as its RUN collection does, as the one before it was."""
    if made is not None:
        return made.generation
    if name is not None:
        return name.generation
    return before.generation if before is not None else 1


def _run_of(spec: CampaignSpec, place: tuple[str, str], number: int, *, generation: int) -> str:
    """Return the RUN collection of a submission; empty for an action."""
    step = spec.step(place[0])
    if not isinstance(step, BpsStep):
        return ""
    name = RunName(step_output=spec.output_of(step), group=place[1], number=number, generation=generation)
    return run_collection(name)
