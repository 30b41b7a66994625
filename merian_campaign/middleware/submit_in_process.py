"""``bps submit`` with warm stages, and what a driver does after it, in one process that has lsst loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from merian_campaign.domain.execution.runs import PAYLOAD_FAILED
from merian_campaign.domain.rendering.naming import SubmissionPaths
from merian_campaign.host.atomic_files import write_json
from merian_campaign.middleware import bps_run
from merian_campaign.middleware.preflight.driver_preflight import check_apart
from merian_campaign.wms.stages import Locker


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where a submission's outputs belong: repository, RUN collection, and the step's chain.

    Of a generation that is not in force there is no chain: it is put into the step's as a whole.
    """

    repository: str
    run: str
    chain: str


def submit_warm(paths: SubmissionPaths, *, target: Target, locker: Locker) -> int:
    """Look, submit, then write down the quanta and show the RUN in its step's chain.

    Parameters
    ----------
    paths : `SubmissionPaths`
        The submission's files.
    target : `Target`
        Where its outputs belong.
    locker : `Locker`
        Takes a butler repository's lock.

    Returns
    -------
    code : `int`
        Exit status of `merian_campaign.wms.submit.submit`.
    """
    from merian_campaign.wms.submit import submit  # noqa: PLC0415 - imports lsst

    code = submit(
        paths.yaml,
        locker=locker,
        before=lambda: not check_apart(paths),
        on_graph=lambda _: _write_predicted(paths),
        times=Path(paths.stages),
    )
    if code in {0, PAYLOAD_FAILED} and Path(paths.provenance).exists():
        _collect(paths, target=target, locker=locker)
    return code


def _write_predicted(paths: SubmissionPaths) -> None:
    from merian_campaign.middleware import butler_helper  # noqa: PLC0415 - used with lsst only

    graph = bps_run.find_graph(paths)
    if graph is not None and not Path(paths.predicted).exists():
        butler_helper.predicted(graph=str(graph), out=paths.predicted)


def _collect(paths: SubmissionPaths, *, target: Target, locker: Locker) -> None:
    from merian_campaign.middleware import butler_helper  # noqa: PLC0415

    _write_predicted(paths)
    logs = str(Path(paths.bps) / "logs")
    butler_helper.harvest(provenance=paths.provenance, logs=logs, out=paths.harvest, journal=paths.journal)
    with locker(target.repository):
        butler_helper.prepend(repository=target.repository, chain=target.chain, run=target.run)
    write_json(Path(paths.collected), {"version": 1, "chain": target.chain, "run": target.run})
