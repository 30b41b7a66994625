"""What a step's tasks ask for, and how much more of it, and how often, once they have failed."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from merian_campaign.domain.spec.base import MOST_CORES, MOST_MEMORY, Strict, Walltime

MOST_TRIES: Final = 1000
"""Submissions of a group, and attempts of a quantum: what failed a thousand times does not pass by itself."""


class Resources(Strict):
    """Requests of one task; the same meaning as the BPS keys in camel case."""

    memory: Annotated[int | None, Field(ge=1, le=MOST_MEMORY, description="requestMemory, MiB.")] = None
    memory_max: Annotated[int | None, Field(ge=1, le=MOST_MEMORY, description="requestMemoryMax, MiB.")] = (
        None
    )
    memory_multiplier: Annotated[
        float | None,
        Field(gt=1, le=1000, strict=False, allow_inf_nan=False, description="Instead of the afterburner's."),
    ] = None
    cpus: Annotated[int | None, Field(ge=1, le=MOST_CORES, description="requestCpus.")] = None
    walltime: Annotated[Walltime | None, Field(description='requestWalltime, quoted "HH:MM:SS".')] = None
    run_options: Annotated[
        str | None,
        Field(
            pattern=r"^[A-Za-z0-9_.:/=,@+ -]+$",
            max_length=1000,
            description='extraRunQuantumOptions, e.g. "-n 10 --no-raise-on-partial-outputs".',
        ),
    ] = None


class Afterburner(Strict):
    """What may be retried, how often, and with how much more memory."""

    max_attempts: Annotated[
        int,
        Field(
            ge=1, le=MOST_TRIES, description="Charged attempts a quantum may have, those out of memory apart."
        ),
    ] = 3
    max_submissions: Annotated[
        int, Field(ge=1, le=MOST_TRIES, description="Submissions a group may have.")
    ] = 6
    memory_multiplier: Annotated[
        float,
        Field(
            gt=1,
            le=1000,
            strict=False,
            allow_inf_nan=False,
            description="Of the request, at each memory failure.",
        ),
    ] = 2.0
    memory_max: Annotated[int, Field(ge=1, le=MOST_MEMORY, description="Largest request, MiB.")] = 491_520
    workers: Annotated[
        int | None,
        Field(
            ge=1,
            le=MOST_CORES,
            description="Workers a node when memory failed; default: the site's, divided alike.",
        ),
    ] = None
    collect_hours: Annotated[
        float,
        Field(
            ge=0,
            le=168,
            strict=False,
            allow_inf_nan=False,
            description="On exclusive nodes, how long what does not fill one may wait for its like; 0: not.",
        ),
    ] = 1.0
