"""Puts the rooms together for the processes of one submission: its driver, and what that starts."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from merian_campaign.context import CommandContext
    from merian_campaign.domain.record.records import Claim
    from merian_campaign.domain.spec import CampaignSpec
    from merian_campaign.middleware.submit_in_process import Target
    from merian_campaign.services.ports import SubmissionRunner


def drive_submission(
    context: CommandContext, *, submission_id: int, expected_epoch: int, no_stack: str | None = None
) -> bool:
    """Drive one submission; `False` when another driver has it.

    ``no_stack`` says why its LSST environment could not be set up: then only that is put on record.
    """
    from merian_campaign.domain.record.applied_spec import applied_spec  # noqa: PLC0415
    from merian_campaign.host.processes import identity  # noqa: PLC0415
    from merian_campaign.middleware.actions.perform import share_with_group  # noqa: PLC0415
    from merian_campaign.middleware.submission_run import SubmissionRun  # noqa: PLC0415
    from merian_campaign.services.campaign_settings import changes_allowed, trusted_by  # noqa: PLC0415
    from merian_campaign.services.driver_loop import drive  # noqa: PLC0415
    from merian_campaign.services.stack_guard import StackGuard  # noqa: PLC0415

    claims: list[Claim] = []

    def make_work(claim: Claim) -> SubmissionRunner:
        claims.append(claim)
        spec = applied_spec(claim.campaign)
        # Inherited by all that this driver starts, so that what they write is the group's too.
        share_with_group(spec.butler)
        return SubmissionRun(
            directory=claim.submission.directory,
            epoch=claim.epoch,
            campaign=claim.campaign.uuid,
            target=target_of(claim, spec),
            warm=spec.wms == "campaign",
            environ=context.environ,
            trusted=trusted_by(spec),
        )

    result = drive(
        store=context.store,
        submission_id=submission_id,
        expected_epoch=expected_epoch,
        identity=identity(os.getpid()),
        make_work=make_work,
        guard=StackGuard(store=context.store, changes_allowed=changes_allowed),
        no_stack=no_stack,
    )
    if result is not None and not claims[0].submission.driver_job:
        _next_tick(context, claims[0].campaign.name)
    return result is not None


def _next_tick(context: CommandContext, name: str) -> None:
    """Start the tick that takes in how a driver ended, as cron would start it."""
    from merian_campaign.domain.tick.cron_line import NEXT_TICK, bare_environment  # noqa: PLC0415
    from merian_campaign.host.home import home_directory  # noqa: PLC0415
    from merian_campaign.host.ownership import doubt  # noqa: PLC0415
    from merian_campaign.host.processes import start_detached  # noqa: PLC0415

    launcher = context.environ.get(NEXT_TICK, "")
    if not launcher or not os.access(launcher, os.X_OK) or doubt(launcher):
        return
    home = home_directory(context.environ)
    start_detached(
        (launcher, "--wait", "60", name),
        directory=home,
        log=home / "logs" / "next-tick.log",
        environment=bare_environment(context.environ),
    )


def target_of(claim: Claim, spec: CampaignSpec) -> Target:
    """Return where the outputs of a claimed submission belong.

    A generation that is not in force is put into the step's chain as a whole, when it is complete.
    """
    from merian_campaign.domain.spec import BpsStep  # noqa: PLC0415
    from merian_campaign.middleware.submit_in_process import Target  # noqa: PLC0415

    step = spec.step(claim.group.step)
    in_force = claim.submission.generation == claim.group.published
    chain = spec.output_of(step) if isinstance(step, BpsStep) and in_force else ""
    return Target(repository=spec.butler, run=claim.submission.run_collection, chain=chain)


def submit_warm(*, directory: str, repository: str, run: str, chain: str) -> NoReturn:
    """Run a submission's rendered file through our WMS service, stages warm; end with its exit code.

    The interpreter is not taken down: with the middleware in it that takes a second, for which its driver
    would wait.
    """
    from merian_campaign.domain.rendering.naming import SubmissionPaths  # noqa: PLC0415
    from merian_campaign.middleware import submit_in_process  # noqa: PLC0415
    from merian_campaign.store.server.locks import repository_lock  # noqa: PLC0415
    from merian_campaign.store.server.server import prepared_url  # noqa: PLC0415
    from merian_campaign.wms.upstream import leave  # noqa: PLC0415

    code = submit_in_process.submit_warm(
        SubmissionPaths(directory=directory),
        target=submit_in_process.Target(repository=repository, run=run, chain=chain),
        locker=lambda name, *, readers=None: repository_lock(prepared_url(), name, readers=readers),
    )
    leave(code)


def run_locked(*, repository: str, command: Sequence[str], readers: int | None = None) -> int:
    """Run a command while holding a butler repository's lock; return its exit code.

    Only psycopg2 is imported: this stands in front of every graph building and every ingest.
    """
    from merian_campaign.host.stage_times import STAGE_TIMES, timed  # noqa: PLC0415
    from merian_campaign.host.termination import die_with_parent  # noqa: PLC0415
    from merian_campaign.store.server.locks import repository_lock  # noqa: PLC0415
    from merian_campaign.store.server.server import prepared_url  # noqa: PLC0415

    lock = repository_lock(prepared_url(), repository, readers=readers)
    with timed(lock, file=os.environ.get(STAGE_TIMES), name=command[0]):
        # It ends with this process, which ends when the lock was lost.
        done = subprocess.run(list(command), check=False, preexec_fn=die_with_parent)
    return done.returncode if done.returncode >= 0 else 128 - done.returncode
