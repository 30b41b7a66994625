"""What a preflight is told: facts about repository, pipelines, tracking database, host and folders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from merian_campaign.domain.record.snapshot import GroupView
from merian_campaign.domain.resources.cluster import Cluster
from merian_campaign.domain.spec import CampaignSpec


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something to mend, or to know.

    Parameters
    ----------
    place : `str`
        Step or step/group; what else it is about otherwise.
    message : `str`
        What is wrong.
    fix : `str`
        What to do.
    fatal : `bool`
        Whether submissions would fail.
    empties : `bool`
        Whether it comes to no more than an empty graph, for the step's ``if_empty`` to judge.
    nowhere : `bool`
        Whether that is so whatever the group selects.
    """

    place: str
    message: str
    fix: str = ""
    fatal: bool = True
    empties: bool = False
    nowhere: bool = False

    @property
    def text(self) -> str:
        """Both in one line."""
        return f"{self.message}; {self.fix}" if self.fix else self.message


@dataclass(frozen=True, kw_only=True)
class InputNeed:
    """A dataset type that a pipeline reads and does not make itself.

    Parameters
    ----------
    name : `str`
        Dataset type.
    dimensions : `frozenset` [`str`]
        Its dimensions.
    prerequisite : `bool`
        Whether it is looked up for each quantum, instead of deciding which quanta there are.
    calibration : `bool`
        Whether it may have a validity range.
    optional : `bool`
        Whether quanta do without.
    """

    name: str
    dimensions: frozenset[str]
    prerequisite: bool = False
    calibration: bool = False
    optional: bool = False


@dataclass(frozen=True, kw_only=True)
class TaskFacts:
    """A task of a pipeline.

    Parameters
    ----------
    label : `str`
        Its label.
    dimensions : `frozenset` [`str`]
        Dimensions of its quanta, with those they imply.
    reads, makes : `frozenset` [`str`]
        Dataset types that its quanta read and make.
    calibration : `bool`
        Whether it makes calibrations, which are certified for a time, or what they are made of, or works on
        them alone.
    """

    label: str
    dimensions: frozenset[str]
    reads: frozenset[str] = frozenset()
    makes: frozenset[str] = frozenset()
    calibration: bool = False


@dataclass(frozen=True, kw_only=True)
class PipelineFacts:
    """A pipeline, or what is wrong with it.

    Parameters
    ----------
    problem : `str`
        Why it cannot be used; empty when it can.
    labels : `frozenset` [`str`]
        Its task labels.
    inputs : `tuple` [`InputNeed`, ...]
        What it reads and does not make.
    outputs : `frozenset` [`str`]
        Dataset types that it makes.
    tasks : `tuple` [`TaskFacts`, ...]
        Its tasks, in the order in which they can run.
    declared : `frozenset` [`str`] or `None`
        Dimensions by which its subset may be cut, as it declares under ``steps:``; `None` without that.
    """

    problem: str = ""
    labels: frozenset[str] = frozenset()
    inputs: tuple[InputNeed, ...] = ()
    outputs: frozenset[str] = frozenset()
    tasks: tuple[TaskFacts, ...] = ()
    declared: frozenset[str] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            **_plain(self),
            "inputs": [_plain(need) for need in self.inputs],
            "tasks": [_plain(task) for task in self.tasks],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` gave."""
        return cls(
            problem=str(value["problem"]),
            labels=frozenset(value["labels"]),
            inputs=tuple(InputNeed(**_sets(need, "dimensions")) for need in value["inputs"]),
            outputs=frozenset(value["outputs"]),
            tasks=tuple(TaskFacts(**_sets(task, "dimensions", "reads", "makes")) for task in value["tasks"]),
            declared=None if value["declared"] is None else frozenset(value["declared"]),
        )


def _plain(facts: InputNeed | TaskFacts | PipelineFacts) -> dict[str, Any]:
    """Return fields with sorted lists for sets."""
    values = {each.name: getattr(facts, each.name) for each in fields(facts)}
    return {key: sorted(value) if isinstance(value, frozenset) else value for key, value in values.items()}


def _sets(value: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {**value, **{name: frozenset(value[name]) for name in names}}


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """An exposure that a step selects; times in nanoseconds of TAI since 1970.

    Parameters
    ----------
    exposure, day_obs : `int`
        Its id and its night.
    physical_filter : `str`
        Whole name.
    begin, end : `int`
        When it was taken; 0 when that is not known.
    visits : `tuple` [`int`, ...]
        Its visits, where groups are cut by visit.
    """

    exposure: int
    day_obs: int
    physical_filter: str
    begin: int
    end: int
    visits: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Selected:
    """What a step selects, or the butler's complaint about its query.

    Parameters
    ----------
    exposures : `tuple` [`Exposure`, ...]
        By id.
    detectors : `tuple` [`int`, ...]
        Detectors of any of them.
    problem : `str`
        The complaint.
    known : `str`
        When it selects nothing: in words, what the registry has.
    """

    exposures: tuple[Exposure, ...] = ()
    detectors: tuple[int, ...] = ()
    problem: str = ""
    known: str = ""


@dataclass(frozen=True, kw_only=True)
class CollectionFacts:
    """A collection: its type, its children in order, and the dataset types in it (or below it)."""

    kind: str
    children: tuple[str, ...] = ()
    holds: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Certified:
    """One validity range of one calibration; `None` where its dimensions have no such value."""

    dataset_type: str
    collection: str
    begin: int
    end: int
    detector: int | None = None
    physical_filter: str | None = None


@dataclass(frozen=True, kw_only=True)
class Present:
    """For which values of its groups' dimension a step finds datasets of one type.

    Parameters
    ----------
    values : `frozenset` [`int`]
        Values of the dimension; some number for steps of one group.
    problem : `str`
        The butler's complaint.
    """

    values: frozenset[int] = frozenset()
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class FolderFacts:
    """A folder to be written to, or the nearest one above it that exists.

    Parameters
    ----------
    folder : `str`
        As configured.
    free_gb : `float`
        Free for this user.
    free_files : `int` or `None`
        How many files may be made; `None` when the file system sets no number.
    unwritable : `str`
        What of it this user cannot write to; empty when all is well.
    quota : `str`
        What the quota system complains about, in words.
    """

    folder: str
    free_gb: float
    free_files: int | None = None
    unwritable: str = ""
    quota: str = ""


@dataclass(frozen=True, kw_only=True)
class HostFacts:
    """The machine that asks.

    Parameters
    ----------
    cores, memory_mb : `int`
        Cores that it has, and memory that it shares out among quanta, MiB.
    folders : `tuple` [`FolderFacts`, ...]
        Folders to be written to.
    credentials : `str`
        What is wrong with the file of database passwords.
    remains : `frozenset` [`str`]
        Submission directories, of those that come next, in which something ran already.
    """

    cores: int
    memory_mb: int
    folders: tuple[FolderFacts, ...] = ()
    credentials: str = ""
    remains: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """What the tracking database knows.

    Parameters
    ----------
    problem : `str`
        Why it cannot be used, with what to do.
    asked : `bool`
        Whether there is one yet.
    groups : `tuple` [`GroupView`, ...]
        Of this campaign.
    others : `tuple` [`CampaignSpec`, ...]
        The other campaigns.
    """

    problem: str = ""
    asked: bool = True
    groups: tuple[GroupView, ...] = ()
    others: tuple[CampaignSpec, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SchedulerFacts:
    """What Slurm allows.

    Parameters
    ----------
    cluster : `Cluster` or `None`
        Its partitions; `None` when nobody asked, or it did not answer.
    unreachable : `str`
        Why it did not answer.
    refused : `tuple` [`str`, ...]
        What ``sbatch --test-only`` says against the site's jobs.
    """

    cluster: Cluster | None = None
    unreachable: str = ""
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RepositoryFacts:
    """What a repository says.

    Parameters
    ----------
    there : `bool`
        Whether there is one.
    problem : `str`
        Why it cannot be opened.
    collections : `~collections.abc.Mapping`
        By name.
    selected : `~collections.abc.Mapping`
        By step, for those that take exposures.
    present : `~collections.abc.Mapping`
        By step and dataset type.
    certified : `tuple` [`Certified`, ...]
        Validity ranges in the input collections.
    tracts : `frozenset` [`int`] or `None`
        Of the sky map; `None` when it is not registered.
    filters : `~collections.abc.Mapping` or `None`
        Band by physical filter; `None` when the instrument is not registered.
    """

    there: bool = True
    problem: str = ""
    collections: Mapping[str, CollectionFacts] = field(default_factory=dict)
    selected: Mapping[str, Selected] = field(default_factory=dict)
    present: Mapping[tuple[str, str], Present] = field(default_factory=dict)
    certified: tuple[Certified, ...] = ()
    tracts: frozenset[int] | None = None
    filters: Mapping[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All that is known before anything is submitted."""

    pipelines: Mapping[str, PipelineFacts] = field(default_factory=dict)
    repository: RepositoryFacts = field(default_factory=RepositoryFacts)
    host: HostFacts | None = None
    tracking: Tracking | None = None
    scheduler: SchedulerFacts | None = None
