"""Which tracts cover a campaign's data: what to ask a repository, and the rows of the answer."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from merian_campaign.domain.campaign.plan import plan_groups
from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.readiness.overlap_refresh import cut_of, question, reaching
from merian_campaign.domain.spec import BpsStep, CampaignSpec
from merian_campaign.domain.spec.base import as_ranges

type Footprint = tuple[int, int]
"""A visit and a detector."""


@dataclass(frozen=True, kw_only=True)
class CoverageQuestion:
    """What to ask.

    Parameters
    ----------
    instrument, skymap : `str`
        Names.
    steps : `~collections.abc.Mapping` [`str`, `tuple` [`str`, ...]]
        By step over exposures or visits, its data queries.
    collections : `tuple` [`str`, ...]
        Where ``visitSummary`` datasets may be.
    """

    instrument: str
    skymap: str
    steps: Mapping[str, tuple[str, ...]]
    collections: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TractCoverage:
    """One tract.

    Parameters
    ----------
    tract : `int`
        Its id.
    visits, detectors : `int`
        How many visits, and detectors of visits, overlap it.
    bands : `~collections.abc.Mapping` [`str`, `float`]
        Fraction of it that is covered, by band.
    """

    tract: int
    visits: int
    detectors: int
    bands: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """The answer.

    Parameters
    ----------
    tracts : `tuple` [`TractCoverage`, ...]
        In ascending order.
    selected : `int`
        Visits that the campaign takes.
    summarized : `int`
        How many of them have a ``visitSummary``; 0 when regions of all of them were taken instead.
    """

    tracts: tuple[TractCoverage, ...]
    selected: int
    summarized: int

    @property
    def source(self) -> str:
        """Where it comes from, in words."""
        if not self.summarized:
            return f"from the regions of {self.selected} visits; none has a visitSummary yet"
        return f"from {self.summarized} visits with a visitSummary, of {self.selected}"

    def at_least(self, visits: int) -> Coverage:
        """Return the tracts with so many visits."""
        kept = tuple(row for row in self.tracts if row.visits >= visits)
        return Coverage(tracts=kept, selected=self.selected, summarized=self.summarized)


def coverage_question(
    spec: CampaignSpec, *, step: str | None = None, collections: tuple[str, ...] = ()
) -> CoverageQuestion:
    """Return what to ask for a campaign.

    Parameters
    ----------
    spec : `CampaignSpec`
        The campaign.
    step : `str`, optional
        Only visits and detectors that reach this step over exposures or visits.
    collections : `tuple` [`str`, ...], optional
        Where to look for ``visitSummary``; the outputs of all steps.

    Raises
    ------
    BadInputError
        Raised if the campaign has no sky map or no steps over exposures or visits.
    """
    if spec.skymap is None:
        raise BadInputError(f"campaign {spec.campaign}: skymap: missing; it says whose tracts are meant")
    steps = question(spec, plan_groups(spec).wanted).steps
    if not steps or step not in {None, *steps}:
        what = "it has no step over exposures or visits" if step is None else f"{step!r} is no such step"
        raise BadInputError(
            f"campaign {spec.campaign}: {what}; steps over exposures or visits: {', '.join(steps) or 'none'}"
        )
    outputs = tuple(spec.output_of(one) for one in reversed(spec.steps) if isinstance(one, BpsStep))
    return CoverageQuestion(
        instrument=spec.instrument, skymap=spec.skymap, steps=steps, collections=collections or outputs
    )


def campaigns_own(
    spec: CampaignSpec, taken: Mapping[str, AbstractSet[Footprint]], *, step: str | None = None
) -> set[Footprint]:
    """Return the visits and detectors that reach a step; by default the steps by tract, or else the last."""
    by_tract = [one.name for one in spec.steps if cut_of(spec, one.name) == "tract"]
    last = [one.name for one in spec.steps if taken.get(one.name)][-1:]
    names = [step] if step is not None else by_tract or last
    return set().union(*(reaching(spec, taken, name) for name in names))


def tracts_text(tracts: tuple[int, ...]) -> str:
    """Return tracts as a campaign file lists them."""
    return f"[{', '.join(f'"{text}"' if '-' in text else text for text in as_ranges(tracts))}]"
