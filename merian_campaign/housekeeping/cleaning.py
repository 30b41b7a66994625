"""What is known of RUN collections that may have to go, and what may go: values, no policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from merian_campaign.domain.errors import BadInputError

REMOVING = "removing"
"""State in the record of events: the intention to remove a submission's RUN was committed."""

REMOVED = "removed"
"""State in the record of events: it is gone."""

_LATEST = datetime.max.replace(tzinfo=UTC)


class RunKind(StrEnum):
    """Why something may go."""

    SUPERSEDED = "superseded"
    """A RUN of an earlier submission of which no chain shows anything any more."""
    OLD_GENERATION = "old generation"
    """A RUN of a generation that another one has taken the place of, in chains of such generations only."""
    DEAD_RUN = "dead run"
    """A RUN of a submission that did not end well, and that is in no chain."""
    DEAD_FOLDER = "dead folder"
    """Files of a submission that did not end well; the registry never heard of them."""
    STRAY_FILES = "stray files"
    """Files in the folder of a RUN that stays, of which the registry does not know."""
    UNFINISHED = "unfinished removal"
    """What an interrupted removal has left."""


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What a butler repository and its file system say about one RUN collection.

    Parameters
    ----------
    run : `str`
        Its name.
    kind : `str`
        Its type as the registry has it; empty when it is not registered.
    parents : `tuple` [`str`, ...]
        Chains it is a child of.
    datasets : `int`
        How many it holds; of one that is seen, counted only when it is of an old generation.
    seen : `str`
        In words, which of its datasets some chain gives first; empty when none.
    held_by : `tuple` [`str`, ...]
        TAGGED and CALIBRATION collections that hold datasets of it.
    folder : `bool`
        Whether there is a folder of this name below the repository.
    size : `int`
        Of the files in the folder, bytes.
    strays, stray_size : `int`
        Files in the folder that the registry does not know, and their bytes.
    """

    run: str
    kind: str = ""
    parents: tuple[str, ...] = ()
    datasets: int = 0
    seen: str = ""
    held_by: tuple[str, ...] = ()
    folder: bool = False
    size: int = 0
    strays: int = 0
    stray_size: int = 0

    @property
    def registered(self) -> bool:
        """Whether the registry knows it."""
        return bool(self.kind)

    @property
    def exists(self) -> bool:
        """Whether there is anything of it."""
        return self.registered or self.folder


@dataclass(frozen=True, kw_only=True)
class CleaningFacts:
    """What else is going on in the same repository.

    Parameters
    ----------
    inputs : `frozenset` [`str`]
        Collections that some campaign names in its file.
    foreign : `frozenset` [`str`]
        RUN collections of other campaigns.
    live : `tuple` [`str`, ...]
        Submissions under way, of any campaign: their graphs may read what chains no longer show.
    with_jobs : `frozenset` [`int`]
        Ids of submissions of which Slurm jobs were alive when last seen.
    cleaning : `~collections.abc.Mapping`
        `REMOVING` or `REMOVED` by submission id, for those that were removed before.
    now : `datetime.datetime`
        When this was seen, UTC.
    keep : `datetime.timedelta`
        How long RUNs of an old generation stay.
    """

    inputs: frozenset[str] = frozenset()
    foreign: frozenset[str] = frozenset()
    live: tuple[str, ...] = ()
    with_jobs: frozenset[int] = frozenset()
    cleaning: Mapping[int, str] = field(default_factory=dict)
    now: datetime = _LATEST
    keep: timedelta = timedelta(0)


@dataclass(frozen=True, kw_only=True)
class Removal:
    """Something that may go.

    Parameters
    ----------
    kind : `RunKind`
        Why, in one word.
    reason : `str`
        Why, in words.
    submission_id, number : `int`
        Whose it is.
    step, group : `str`
        Of that submission.
    facts : `RunFacts`
        What was found.
    """

    kind: RunKind
    reason: str
    submission_id: int
    step: str
    group: str
    number: int
    facts: RunFacts

    @property
    def name(self) -> str:
        """The submission, for people."""
        return f"{self.step}/{self.group} {self.number}"

    @property
    def size(self) -> int:
        """What it frees, bytes."""
        return self.facts.stray_size if self.kind is RunKind.STRAY_FILES else self.facts.size


@dataclass(frozen=True, kw_only=True)
class KeptRun:
    """Something that would go, were it not for the reason given."""

    step: str
    group: str
    number: int
    run: str
    reason: str

    @property
    def name(self) -> str:
        """The submission, for people."""
        return f"{self.step}/{self.group} {self.number}"


@dataclass(frozen=True, kw_only=True)
class CleaningPlan:
    """What may go and what has to stay, in the order of steps."""

    removals: tuple[Removal, ...]
    kept: tuple[KeptRun, ...] = ()

    @property
    def size(self) -> int:
        """What it frees, bytes."""
        return sum(removal.size for removal in self.removals)


class ForbiddenError(BadInputError):
    """A plan that would remove what must never be removed; nothing of it was done."""
