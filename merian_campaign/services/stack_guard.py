"""Keeps a group to the versions of the LSST stack that it began with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from merian_campaign.domain.execution.runs import RunEnd, RunResult
from merian_campaign.domain.record.records import Claim
from merian_campaign.domain.spec import CampaignSpec
from merian_campaign.domain.stack import stack_versions
from merian_campaign.host.patience import patiently
from merian_campaign.services.ports import Store, SubmissionRunner


@dataclass(frozen=True, kw_only=True)
class StackGuard:
    """Puts versions on record, and refuses to mix them.

    Parameters
    ----------
    store : `Store`
        The tracking database.
    changes_allowed : callable
        Says of a campaign whether its groups may go on under other versions.
    """

    store: Store
    changes_allowed: Callable[[CampaignSpec], bool]

    def refusal(self, claim: Claim, *, spec: CampaignSpec, work: SubmissionRunner) -> RunResult | None:
        """Put a driver's versions on record; return why nothing may run under them, if so."""
        found = work.versions()
        why = self._why(claim, spec=spec, found=found)
        patiently(
            lambda: self.store.record_versions(
                submission_id=claim.submission.id,
                epoch=claim.epoch,
                versions=stack_versions.to_json(found),
                ran=not why,
            )
        )
        return RunResult(end=RunEnd.FAILED, reason=why, needs_person=True) if why else None

    def _why(self, claim: Claim, *, spec: CampaignSpec, found: stack_versions.Versions) -> str:
        earlier = stack_versions.binding(claim.group, number=claim.submission.number)
        if (
            earlier is None
            or earlier.versions_sha == stack_versions.sha_of(found)
            or self.changes_allowed(spec)
        ):
            return ""
        content = patiently(lambda: self.store.versions(submission_id=earlier.id))
        if content is None:
            return ""
        changes = stack_versions.change_words(stack_versions.from_json(content), found)
        return stack_versions.refusal(
            campaign=spec.campaign, group=claim.group, earlier=earlier, changes=changes
        )
