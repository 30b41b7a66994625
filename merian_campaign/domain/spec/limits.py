"""How much of a campaign may be under way at once, and when it starts what."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BeforeValidator, Field

from merian_campaign.domain.spec.base import MOST_CORES, Strict, tuple_of
from merian_campaign.domain.spec.clock import Window

MOST_STEPS: Final = 500
"""Steps of a campaign; the pipelines of a data release have some twenty."""

MOST_HOURS: Final = 1e9
"""Core-hours; more is a slip of the pen."""

Pattern = Annotated[str, Field(min_length=1, max_length=300)]


class Limits(Strict):
    """How much of the campaign may be under way at once, and how much is started when."""

    window: Annotated[Window | None, Field(description="When submissions may start.")] = None
    per_night: Annotated[
        int | None,
        Field(
            ge=1,
            le=MOST_CORES,
            description="Submissions from noon to noon, in the window's time zone or UTC.",
        ),
    ] = None
    total: Annotated[
        int | None, Field(ge=1, le=10_000_000, description="Submissions in the campaign's life.")
    ] = None
    core_hours_per_night: Annotated[
        float | None,
        Field(
            gt=0,
            le=MOST_HOURS,
            strict=False,
            description="Core-hours of its quanta from noon to noon; nothing is submitted after that.",
        ),
    ] = None
    core_hours: Annotated[
        float | None,
        Field(
            gt=0,
            le=MOST_HOURS,
            strict=False,
            description="Core-hours of its quanta in the campaign's life; nothing is submitted after that.",
        ),
    ] = None
    priority: Annotated[
        int,
        Field(
            ge=-1000, le=1000, description="Of two campaigns, a tick does the one of higher priority first."
        ),
    ] = 0
    first: Annotated[
        tuple[Pattern, ...],
        BeforeValidator(tuple_of),
        Field(
            max_length=MOST_STEPS,
            description="Groups that start before all others: STEP, KEY, STEP/KEY, or patterns.",
        ),
    ] = ()

    submissions: Annotated[
        int, Field(ge=1, le=MOST_CORES, description="Unfinished submissions at any moment.")
    ] = 2
    blocks: Annotated[
        int | None,
        Field(ge=1, le=MOST_CORES, description="Blocks of all its submissions together, at any moment."),
    ] = None
    jobs: Annotated[
        int | None,
        Field(
            ge=1,
            le=MOST_CORES,
            description="Slurm jobs of this user, of whatever kind; nothing is submitted beyond it.",
        ),
    ] = None
    canary: Annotated[
        int | None,
        Field(ge=1, le=MOST_CORES, description="Groups of a step that run alone until one has succeeded."),
    ] = None
    graphs: Annotated[
        int | None,
        Field(
            ge=1,
            le=10_000,
            description="Quantum graphs built at once; default: the host's cores, at least 2.",
        ),
    ] = None
    nice: Annotated[
        int | None,
        Field(ge=0, le=10_000, description="How far blocks stand back in Slurm's queue (sbatch --nice)."),
    ] = None
