"""The WMS service that BPS talks to: prepare, submit, restart, report, status, cancel.

``wmsServiceClass: merian_campaign.wms.CampaignParslService``.  The id of a run is its submit directory.
"""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from lsst.ctrl.bps import BaseWmsWorkflow, BpsSubprocessError, GenericWorkflow, WmsRunReport, WmsStates
from lsst.ctrl.bps.bps_config import BpsConfig
from lsst.ctrl.bps.parsl import ParslService

from merian_campaign.domain.execution.runs import INFRASTRUCTURE_FAILED
from merian_campaign.host.processes import sees_alive, this_host
from merian_campaign.wms import version_lookup
from merian_campaign.wms.driver import CANCEL_NAME
from merian_campaign.wms.job_outcome import WorkerGoneError
from merian_campaign.wms.lease import LEASE_NAME, DriverState, read_lease
from merian_campaign.wms.node.process_cleanup import reap
from merian_campaign.wms.report import NoSubmissionError, run_report
from merian_campaign.wms.slurm_blocks import UnreachableError, cancel_submission
from merian_campaign.wms.workflow import CampaignWorkflow, StageError, StoppedError
from merian_campaign.wms.zipfix import mend

__all__ = ["CampaignParslService"]

_CANCEL_SECONDS = 30.0


mend()  # this process reads graphs as well


class CampaignParslService(ParslService):  # type: ignore[misc]
    """Service on Parsl with outcomes, reports and a cancel that leaves nothing behind."""

    def prepare(
        self, config: BpsConfig, generic_workflow: GenericWorkflow, out_prefix: str | None = None
    ) -> BaseWmsWorkflow:
        """Turn BPS's workflow into ours and write it to the submit directory."""
        prefix = out_prefix if out_prefix is not None else config["submitPath"]
        name = f"{type(self).__module__}.{type(self).__name__}"
        workflow = CampaignWorkflow.from_generic_workflow(config, generic_workflow, prefix, name)
        workflow.write(prefix)
        # The graph was built a moment ago, in this very environment.
        version_lookup.keep(Path(prefix) / version_lookup.FILE_NAME, version_lookup.take())
        return workflow

    def submit(self, workflow: BaseWmsWorkflow, **kwargs: Any) -> BaseWmsWorkflow:  # noqa: ANN401
        """Run a workflow to its end.

        Raises
        ------
        lsst.ctrl.bps.BpsSubprocessError
            Not everything succeeded; ``errno`` is the exit status: ``PAYLOAD_FAILED``,
            ``INFRASTRUCTURE_FAILED``, or 128 and the signal's number after a stop.
        """
        del kwargs
        assert isinstance(workflow, CampaignWorkflow)
        workflow.run_id = str(workflow.submit)
        self._run(workflow, resumed=False)
        return workflow

    def restart(self, wms_workflow_id: str) -> tuple[str, str, str]:
        """Run what an earlier run of a submission left undone.

        Returns
        -------
        wms_id, run_name, message : `str`
            As BPS wants them.

        Raises
        ------
        lsst.ctrl.bps.BpsSubprocessError
            As `submit`.
        """
        workflow = CampaignWorkflow.read(wms_workflow_id)
        assert isinstance(workflow, CampaignWorkflow)
        initialized = (workflow.submit / "logs" / "pipetaskInit").exists()
        self._run(workflow, resumed=initialized)
        return str(workflow.submit), workflow.name, ""

    def _run(self, workflow: CampaignWorkflow, *, resumed: bool) -> None:
        other = version_lookup.mismatch(workflow.submit)
        if other:
            words = f"the LSST stack is not the one that built the quantum graph: {other}"
            raise BpsSubprocessError(INFRASTRUCTURE_FAILED, f"{workflow.submit}: {words}")
        try:
            tally = workflow.execute_all(resumed=resumed)
        except StoppedError as stopped:
            raise BpsSubprocessError(128 + stopped.number, f"{workflow.submit}: {stopped}") from stopped
        except (StageError, WorkerGoneError) as error:
            raise BpsSubprocessError(INFRASTRUCTURE_FAILED, f"{workflow.submit}: {error}") from error
        sys.stdout.write(f"Jobs: {tally}\n")
        if tally.exit_code:
            print(f"Run Id: {workflow.submit}\nRun Name: {workflow.name}", flush=True)  # noqa: T201 - as bps
            raise BpsSubprocessError(tally.exit_code, f"{workflow.submit}: {tally}")

    def list_submitted_jobs(
        self,
        wms_id: str | None = None,
        user: str | None = None,
        require_bps: bool = True,  # noqa: FBT001, FBT002 - upstream's signature
        pass_thru: str | None = None,
        is_global: bool = False,  # noqa: FBT001, FBT002
    ) -> list[str]:
        """Return the submit directory itself, if it is one."""
        del user, require_bps, pass_thru, is_global
        return [wms_id] if wms_id and Path(wms_id).is_dir() else []

    def report(
        self,
        wms_workflow_id: str | None = None,
        user: str | None = None,
        hist: float = 0,
        pass_thru: str | None = None,
        is_global: bool = False,  # noqa: FBT001, FBT002
        return_exit_codes: bool = False,  # noqa: FBT001, FBT002
    ) -> tuple[list[WmsRunReport], str]:
        """Return the state of a submission from its journal.

        Raises
        ------
        NoSubmissionError
            The directory is no submission's; `bps` says so in one line and exits with status 1.
        """
        del user, hist, pass_thru, is_global, return_exit_codes
        if not wms_workflow_id:
            return [], "give the submit directory as --id"
        return [run_report(Path(wms_workflow_id))], ""

    def get_status(
        self,
        wms_workflow_id: str,
        hist: float = 1,
        is_global: bool = False,  # noqa: FBT001, FBT002
    ) -> tuple[WmsStates, str]:
        """Return the state of a submission as a whole."""
        del hist, is_global
        try:
            state = run_report(Path(wms_workflow_id)).state
        except NoSubmissionError as error:
            return WmsStates.UNKNOWN, error.message
        return WmsStates.UNKNOWN if state is None else state, ""

    def cancel(self, wms_id: str, pass_thru: str | None = None) -> tuple[bool, str]:
        """Stop a submission and wait until nothing of it runs.

        A driver on this host gets a signal; one elsewhere finds a request in the submit directory.  If the
        driver is dead already, what it left on this host and in Slurm is ended here.
        """
        del pass_thru
        submit = Path(wms_id)
        lease = read_lease(submit / LEASE_NAME)
        if lease is None or lease.state == DriverState.CLOSED:
            return False, "it is not running"
        (submit / CANCEL_NAME).touch()
        lives = sees_alive(lease.pid, lease.pid_start) if lease.host == this_host() else None
        if lives:
            os.kill(lease.pid, signal.SIGTERM)
        elif lives is False:
            return _end_leftovers(submit)
        deadline = time.monotonic() + _CANCEL_SECONDS
        while time.monotonic() < deadline:
            now = read_lease(submit / LEASE_NAME)
            if now is None or now.state == DriverState.CLOSED:
                return True, ""
            time.sleep(0.1)
        return False, f"driver {lease.pid} on {lease.host} has not stopped after {_CANCEL_SECONDS:g} s"

    def run_submission_checks(self) -> None:
        """Nothing to check before a submission."""

    def ping(self, pass_thru: str | None) -> tuple[int, str]:
        """Answer that the service is there: it has no server."""
        del pass_thru
        return 0, ""


def _end_leftovers(submit: Path) -> tuple[bool, str]:
    """End what a dead driver left in Slurm and on this host; return whether all of it is gone, and words."""
    try:
        cancel_submission(submit)
    except (TimeoutError, UnreachableError) as error:
        return False, f"its driver was dead; Slurm jobs of it may be left: {error}"
    finally:
        reap(submit)
    return True, "its driver was dead; leftovers were ended"
