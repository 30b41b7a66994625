"""A butler's registry as a tick sees it: a child process asks, so that ticks do without the middleware."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from merian_campaign.domain.errors import UnavailableError
from merian_campaign.domain.execution.runs import Salvaged
from merian_campaign.domain.preflight.facts import PipelineFacts
from merian_campaign.domain.preflight.queries import StepQuery
from merian_campaign.domain.readiness.generations import ChainChange
from merian_campaign.domain.readiness.overlap_refresh import (
    OverlapQuery,
    OverlapRefresh,
    OverlapRefreshFailed,
)
from merian_campaign.domain.record.overlaps import SkyExposure
from merian_campaign.domain.safe_text.text import one_line
from merian_campaign.domain.sky_regions import RegionKind, RegionQuery, SkyRegion
from merian_campaign.domain.spec.stack import Stack
from merian_campaign.middleware import programs
from merian_campaign.middleware.warm_helper import WarmHelper

_SECONDS = 900.0
_AGAIN_SECONDS = 60.0
_LASTING = ("UserExpression", "InvalidQuery", "DimensionNameError", "DataIdValueError", "DimensionValueError")
"""Errors of the butler that are a data query's fault."""

_UNREADABLE = (KeyError, TypeError, ValueError)


class ButlerRegistry:
    """The registries of butler repositories.

    Parameters
    ----------
    environ : `~collections.abc.Mapping`
        Environment of the child.
    seconds : `float`
        How long it may take.
    """

    def __init__(self, *, environ: Mapping[str, str], seconds: float = _SECONDS) -> None:
        self._environ = dict(environ)
        self._helper = WarmHelper(seconds=seconds)
        self._failed: tuple[float, str, OverlapRefreshFailed] | None = None

    def look(
        self, question: OverlapQuery, *, repository: str, environment: Mapping[str, str], stack: Stack
    ) -> OverlapRefresh | OverlapRefreshFailed:
        """Return which exposures there are and which tracts they overlap, as seen from inside a stack.

        A failure is given as an answer again for a minute: who follows a campaign ticks every second.
        """
        configuration = Path(repository) if repository.endswith(".yaml") else Path(repository) / "butler.yaml"
        if "://" not in repository and not configuration.is_file():
            return OverlapRefreshFailed(reason=f"there is no butler repository at {repository}", lasting=True)
        request = {"do": "overlaps", "repository": repository, **asdict(question)}
        text = json.dumps(request)
        if self._failed is not None and self._failed[1] == text:
            at, _, failure = self._failed
            if time.monotonic() - at < _AGAIN_SECONDS:
                return failure
        answer = self._ask(text, environment, stack)
        self._failed = (time.monotonic(), text, answer) if isinstance(answer, OverlapRefreshFailed) else None
        return answer

    def publish(
        self, change: ChainChange, *, repository: str, environment: Mapping[str, str], stack: Stack
    ) -> str:
        """Put RUN collections into a chain in the place of others; return in words what went wrong, if so."""
        request = {"do": "publish", "repository": repository, **asdict(change)}
        try:
            answer = self._answer(json.dumps(request), environment, stack)
            return "" if answer["ok"] else str(answer["error"])
        except _UNREADABLE as error:
            return f"the butler's process gave no answer that can be read: {one_line(str(error))}"
        except UnavailableError as error:
            return str(error)

    def salvage(
        self,
        lost: Sequence[tuple[str, str]],
        *,
        repository: str,
        environment: Mapping[str, str],
        stack: Stack,
    ) -> tuple[Salvaged, ...]:
        """Write anew what the directories of submissions have lost of their quanta.

        Parameters
        ----------
        lost : sequence of `tuple` [`str`, `str`]
            Directory and RUN collection of each.
        repository, environment, stack
            Where it is asked, and how.
        """
        entries = [{"directory": directory, "run": run} for directory, run in lost]
        request = json.dumps({"do": "salvage_all", "repository": repository, "submissions": entries})
        found = self._read(request, environment, stack, read=_read_salvaged)
        if isinstance(found, OverlapRefreshFailed):
            return tuple(Salvaged(trouble=found.reason) for _ in lost)
        return found

    def runs(
        self, outputs: Sequence[str], *, repository: str, environment: Mapping[str, str], stack: Stack
    ) -> tuple[str, ...] | OverlapRefreshFailed:
        """Return the RUN collections below some outputs, or why that cannot be said."""
        request = json.dumps({"do": "runs", "repository": repository, "outputs": list(outputs)})
        return self._read(request, environment, stack, read=_read_runs)

    def pipelines(
        self, looks: Sequence[StepQuery], *, environment: Mapping[str, str], stack: Stack
    ) -> Mapping[str, PipelineFacts]:
        """Return what the pipelines of steps read and make, as loaded in a stack, or why they cannot be."""
        request = json.dumps({"do": "pipelines", "looks": [look.to_json() for look in looks]})
        found = self._read(request, environment, stack, read=_read_pipelines)
        if isinstance(found, OverlapRefreshFailed):
            return {look.place: PipelineFacts(problem=found.reason) for look in looks}
        return found

    def regions(
        self, question: RegionQuery, *, repository: str, environment: Mapping[str, str], stack: Stack
    ) -> tuple[SkyRegion, ...] | OverlapRefreshFailed:
        """Return where tracts and visits lie on the sky, those of which the registry knows it."""
        request = json.dumps({**question.request(), "repository": repository})
        return self._read(request, environment, stack, read=_read_regions)

    def _ask(
        self, request: str, environment: Mapping[str, str], stack: Stack
    ) -> OverlapRefresh | OverlapRefreshFailed:
        return self._read(request, environment, stack, read=_read)

    def _read[T](
        self,
        request: str,
        environment: Mapping[str, str],
        stack: Stack,
        *,
        read: Callable[[Any], T | OverlapRefreshFailed],
    ) -> T | OverlapRefreshFailed:
        try:
            return read(self._answer(request, environment, stack))
        except _UNREADABLE as error:
            return OverlapRefreshFailed(reason=f"the butler's answer cannot be read: {one_line(str(error))}")
        except UnavailableError as error:
            return OverlapRefreshFailed(reason=str(error))

    def _answer(self, request: str, environment: Mapping[str, str], stack: Stack) -> Any:  # noqa: ANN401 - JSON
        """Return what the child says.

        Raises
        ------
        UnavailableError
            Raised if it says nothing.
        """
        environ = programs.environment({**self._environ, **environment}, marker="")
        return self._helper.ask(request, environ=environ, stack=stack)

    def rest(self) -> None:
        """End the child if nobody has asked it for a while."""
        self._helper.rest()


def _read_regions(answer: Any) -> tuple[SkyRegion, ...] | OverlapRefreshFailed:  # noqa: ANN401 - see _read
    if not answer["ok"]:
        return _refused(answer)
    return tuple(
        SkyRegion(
            kind=RegionKind(kind), number=int(number), ra=tuple(map(float, ra)), dec=tuple(map(float, dec))
        )
        for kind, number, ra, dec in answer["regions"]
    )


def _read_salvaged(answer: Any) -> tuple[Salvaged, ...] | OverlapRefreshFailed:  # noqa: ANN401 - see _read
    if not answer["ok"]:
        return _refused(answer)
    return tuple(
        Salvaged(source=str(entry["source"]), quanta=int(entry["quanta"])) for entry in answer["found"]
    )


def _read_pipelines(answer: Any) -> Mapping[str, PipelineFacts] | OverlapRefreshFailed:  # noqa: ANN401 - see _read
    if not answer["ok"]:
        return _refused(answer)
    return {step: PipelineFacts.from_json(facts) for step, facts in answer["pipelines"].items()}


def _read_runs(answer: Any) -> tuple[str, ...] | OverlapRefreshFailed:  # noqa: ANN401 - see _read
    return tuple(map(str, answer["runs"])) if answer["ok"] else _refused(answer)


def _refused(answer: Any) -> OverlapRefreshFailed:  # noqa: ANN401 - see _read
    reason = str(answer["error"]).removeprefix("ActionError: ")
    return OverlapRefreshFailed(reason=reason, lasting=reason.startswith(_LASTING))


def _read(answer: Any) -> OverlapRefresh | OverlapRefreshFailed:  # noqa: ANN401 - any JSON value; what it is not, raises
    if not answer["ok"]:
        return _refused(answer)
    if "failed" in answer:
        return OverlapRefreshFailed(reason=str(answer["failed"]), lasting=True)
    return OverlapRefresh(
        exposures=tuple(
            SkyExposure(
                exposure=exposure,
                day_obs=night,
                visits=tuple(visits),
                tracts=None if tracts is None else tuple(tracts),
                raws=raws,
            )
            for exposure, night, visits, tracts, raws in answer["exposures"]
        ),
        taken={step: frozenset(exposures) for step, exposures in answer["taken"].items()},
    )
