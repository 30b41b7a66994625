"""Asks a butler repository and the file system what a campaign wants to know before it begins."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from merian_campaign.domain.errors import UnavailableError
from merian_campaign.domain.preflight import Answers, Questions
from merian_campaign.middleware.doing import ActionError, reading

_GB = 1e9


def ask(questions: Questions, *, repository: str, folders: tuple[str, ...]) -> Answers:
    """Return the answers to a campaign's questions.

    Parameters
    ----------
    questions : `Questions`
        What to ask.
    repository : `str`
        Butler repository; it need not exist.
    folders : `tuple` [`str`, ...]
        Folders to be written to.

    Raises
    ------
    UnavailableError
        Raised if the repository exists and cannot be opened.
    """
    pipelines = {step: said for step, name in questions.pipelines.items() if (said := parse_pipeline(name))}
    free = {folder: shutil.disk_usage(_existing(Path(folder))).free / _GB for folder in folders}
    configuration = Path(repository) if repository.endswith(".yaml") else Path(repository) / "butler.yaml"
    if "://" not in repository and not configuration.is_file():
        return Answers(pipelines=pipelines, free_gb=free, repository=False)
    try:
        with reading(repository) as butler:
            return Answers(
                exposures={
                    place: count_exposures(butler, where) for place, where in questions.exposures.items()
                },
                pipelines=pipelines,
                tracts=_tracts(butler, questions.skymap),
                collections={
                    info.name: info.type.name
                    for info in butler.collections.query_info("*", flatten_chains=False)
                },
                free_gb=free,
            )
    except ActionError as error:
        raise UnavailableError(str(error)) from None


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder


def parse_pipeline(uri: str) -> str | None:
    """Return what is wrong with a pipeline and its subset, if anything; tasks are not imported."""
    from lsst.pipe.base import Pipeline  # noqa: PLC0415 - costs seconds

    try:
        Pipeline.from_uri(uri)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it is the finding
        return f"{uri}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    return None


def count_exposures(butler: Any, where: str) -> int | str:  # noqa: ANN401 - lsst type
    """Return how many exposures a data query selects, or the butler's complaint about it."""
    try:
        return len(exposures(butler, where))
    except Exception as error:  # noqa: BLE001 - a wrong query is a finding
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def exposures(butler: Any, where: str) -> list[tuple[int, int]]:  # noqa: ANN401 - lsst type
    """Return the exposures that a data query selects, each with its night."""
    with butler.query() as query:
        ids = query.where(where).data_ids(["exposure"]).with_dimension_records()
        return sorted({(int(row["exposure"]), int(row["day_obs"])) for row in ids})


def _tracts(butler: Any, skymap: str | None) -> frozenset[int] | None:  # noqa: ANN401 - lsst type
    if skymap is None:
        return None
    known = {record.name for record in butler.query_dimension_records("skymap", explain=False)}
    if skymap not in known:
        return None
    records = butler.query_dimension_records("tract", skymap=skymap, explain=False, limit=None)
    return frozenset(int(record.id) for record in records)


def select(*, repository: str, where: str) -> list[tuple[int, int]]:
    """Return the exposures of a repository that a data query selects, each with its night.

    Raises
    ------
    UnavailableError
        Raised if the repository cannot be opened, or refuses the query.
    """
    try:
        with reading(repository) as butler:
            return exposures(butler, where)
    except ActionError as error:
        raise UnavailableError(str(error)) from None
    except Exception as error:
        raise UnavailableError(f"{repository} refuses the query {where!r}: {error}") from error
