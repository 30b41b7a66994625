"""Taking a campaign's final datasets to another site: what is chosen, and the manifest of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.record.snapshot import Snapshot
from merian_campaign.domain.safe_text.text import one_line
from merian_campaign.domain.spec import BpsStep, CampaignSpec
from merian_campaign.domain.spec.base import Strict
from merian_campaign.domain.spec.steps import effective_scope
from merian_campaign.domain.states import GroupState

FINAL_TYPES = ("objectTable*", "deepCoadd", "deepCoadd_calexp")
"""Dataset types that are final, as the survey's notes transfer them."""

MANIFEST = "manifest.json"
"""The file that says that an export is complete, written last."""

BUTLER_FILE = "export.yaml"
"""The file that ``butler import`` reads."""


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """What is to be exported.

    Parameters
    ----------
    chains : `tuple` [`str`, ...]
        Collections to search, the first that has a dataset gives it.
    types : `tuple` [`str`, ...]
        Patterns of dataset types.
    where : `str`
        Data query; empty for everything.
    chain : `str`
        Chain to make at the other site.
    incomplete : `tuple` [`str`, ...]
        Groups of the searched steps that are not done: what they lack is not exported.
    """

    chains: tuple[str, ...]
    types: tuple[str, ...]
    where: str
    chain: str
    incomplete: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """A file to be exported.

    Parameters
    ----------
    path : `str`
        Where it will lie in the export: relative, with ``/``.
    uri : `str`
        Where it is.
    dataset : `str`
        UUID of its dataset.
    size : `int`
        Bytes.
    """

    path: str
    uri: str
    dataset: str
    size: int


@dataclass(frozen=True, kw_only=True)
class SelectedDatasets:
    """What the repository has of a wish.

    Parameters
    ----------
    files : `tuple` [`SourceFile`, ...]
        Sorted by path.
    types : `tuple` [`tuple` [`str`, `int`], ...]
        Dataset types with their numbers of datasets, sorted.
    runs : `tuple` [`str`, ...]
        RUN collections in the order of the search.
    skymaps : `tuple` [`tuple` [`str`, `str`], ...]
        Sky maps with their hashes.
    """

    files: tuple[SourceFile, ...]
    types: tuple[tuple[str, int], ...]
    runs: tuple[str, ...]
    skymaps: tuple[tuple[str, str], ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


def inside(path: str) -> str:
    """Return a path that leads to a place inside a folder, whatever the folder; with ``/``.

    Raises
    ------
    ValueError
        Raised if it is absolute, leads out, is written in more ways than one, or cannot be a path.
    """
    parts = path.split("/")
    if not path or any(part in {"", ".", ".."} for part in parts) or "\0" in path:
        raise ValueError(f"{one_line(path)!r} is no path inside the export")
    return path


class FileEntry(Strict):
    """A file of an export: path relative to the manifest, bytes, SHA-256 in hexadecimal."""

    path: Annotated[str, AfterValidator(inside)]
    size: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Manifest(Strict):
    """What an export holds. It is written when all of that is there."""

    version: Literal[1] = 1
    campaign: str
    revision: int
    campaign_sha256: str
    repository: str
    created: str
    searched: list[str]
    where: str
    chain: str
    runs: list[str]
    dataset_types: dict[str, int]
    incomplete: list[str]
    skymaps: dict[str, str]
    versions: dict[str, str]
    butler_file: FileEntry
    files: list[FileEntry]

    @model_validator(mode="after")
    def _check(self) -> Manifest:
        if self.butler_file.path != BUTLER_FILE:
            raise ValueError(f"butler_file: found {one_line(self.butler_file.path)!r}, it is {BUTLER_FILE}")
        if any(file.path in {BUTLER_FILE, MANIFEST} for file in self.files):
            raise ValueError(f"files: {BUTLER_FILE} and {MANIFEST} are no files of datasets")
        return self


def wish(
    spec: CampaignSpec, snapshot: Snapshot, *, types: Sequence[str], tracts: Sequence[int], where: str
) -> ExportRequest:
    """Return what to export of a campaign.

    Parameters
    ----------
    spec : `CampaignSpec`
        The campaign.
    snapshot : `Snapshot`
        How far it is.
    types : `~collections.abc.Sequence` [`str`]
        Patterns of dataset types, of any step; without any, `FINAL_TYPES` of the last steps over tracts.
    tracts : `~collections.abc.Sequence` [`int`]
        Only these tracts.
    where : `str`
        Data query, added to that.

    Raises
    ------
    BadInputError
        Raised if that is nothing a campaign of this kind has.
    """
    steps = [step for step in spec.steps if isinstance(step, BpsStep)]
    searched = list(reversed(steps)) if types else last_tract_steps(spec)
    if not searched:
        raise BadInputError(
            f"campaign {spec.campaign!r} has no step over tracts; name what to export with --types"
        )
    names = {step.name for step in searched}
    terms = [f"({where.strip()})"] if where.strip() else []
    if tracts:
        if spec.skymap is None:
            raise BadInputError(f"campaign {spec.campaign!r} has no sky map, so --tract means nothing")
        listed = ", ".join(map(str, sorted(set(tracts))))
        terms.insert(0, f"skymap = '{spec.skymap}' AND tract IN ({listed})")
    return ExportRequest(
        chains=tuple(spec.output_of(step) for step in searched),
        types=tuple(types) or FINAL_TYPES,
        where=" AND ".join(terms),
        chain=spec.collections.output,
        incomplete=tuple(
            f"{group.step}/{group.key}"
            for group in snapshot.groups
            if group.step in names
            and (group.state is not GroupState.DONE or group.counts.open)
            and (not tracts or group.tract is None or group.tract in tracts)
        ),
    )


def last_tract_steps(spec: CampaignSpec) -> list[BpsStep]:
    """Return the steps over tracts that no other BPS step comes after, latest in the file first."""
    followed = {gate.step for step in spec.steps if isinstance(step, BpsStep) for gate in step.after}
    return [
        step
        for step in reversed(spec.steps)
        if isinstance(step, BpsStep) and step.name not in followed and effective_scope(step) == "tract"
    ]


def chosen_types(found: Iterable[str], patterns: Sequence[str]) -> tuple[str, ...]:
    """Return the dataset types that a wish means, of those there are.

    Raises
    ------
    BadInputError
        Raised if a pattern matches none of them, unless it is one of the defaults and others match.
    """
    names = sorted(found)
    missing = [pattern for pattern in patterns if not any(fnmatchcase(name, pattern) for name in names)]
    chosen = tuple(name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns))
    if missing and (not chosen or tuple(patterns) != FINAL_TYPES):
        products = [name for name in names if not name.endswith(("_log", "_metadata", "_config"))]
        raise BadInputError(
            f"there is no dataset type {', '.join(missing)}; there are: {', '.join(products) or 'none yet'}"
        )
    return chosen


def merged_chain(existing: Sequence[str], wanted: Sequence[str]) -> tuple[str, ...]:
    """Return a chain with the wanted children in it, in their order, before those that it has anyway."""
    if [child for child in existing if child in wanted] == list(wanted):
        return tuple(existing)
    return (*wanted, *(child for child in existing if child not in wanted))
