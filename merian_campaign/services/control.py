"""What a person may order: retry, accept, redo, reject, hold, release, pause, resume, cancel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from merian_campaign.domain.campaign.group_selection import ANY, Choice, Filter, choose
from merian_campaign.domain.campaign.order_rules import STATES_OF, may_move, may_redo, waits_for_its_time
from merian_campaign.domain.campaign.retry_request import RetryRequest
from merian_campaign.domain.errors import BadInputError, ForeignError
from merian_campaign.domain.execution.liveness import Liveness
from merian_campaign.domain.failures.fault_attribution import alone
from merian_campaign.domain.record.applied_spec import applied_spec
from merian_campaign.domain.record.records import ArchivedCampaign, Event
from merian_campaign.domain.record.snapshot import CampaignView, GroupView, SubmissionView
from merian_campaign.domain.spec import CampaignSpec
from merian_campaign.domain.states import GROUP_MOVES, CampaignState, GroupState
from merian_campaign.domain.tick import storms
from merian_campaign.domain.tick.notices import STORM
from merian_campaign.host.ownership import UntrustedError
from merian_campaign.services.find import find_campaign, find_group
from merian_campaign.services.ports import Drivers, Scheduler, Store
from merian_campaign.services.runtime import Runtime
from merian_campaign.services.slurm_view import look_at

_WITH_ALL = "cancelled with the campaign"
"""Why a group was cancelled that `resume` revives; one that was cancelled by itself stays so."""


@dataclass(frozen=True, kw_only=True)
class Cancelled:
    """What cancelling did.

    Parameters
    ----------
    submissions : `int`
        Running ones that were asked to stop.
    jobs : `tuple` [`str`, ...]
        Slurm jobs that were cancelled because no living driver would do it.
    trouble : `str`
        What went wrong at that, in words; empty for nothing.
    changed : `bool`
        Whether anything was to be cancelled.
    """

    submissions: int
    jobs: tuple[str, ...] = ()
    trouble: str = ""
    changed: bool = True


@dataclass(frozen=True, kw_only=True)
class Control:
    """Orders of a person to one campaign.

    Parameters
    ----------
    store, drivers, scheduler, runtime
        The world.
    trusted_by : callable
        Returns the groups whose members may write a campaign's submissions; never fails.
    """

    store: Store
    drivers: Drivers
    scheduler: Scheduler
    runtime: Runtime
    trusted_by: Callable[[CampaignSpec], Sequence[str]]

    def choose(self, name: str, words: Sequence[str], *, verb: str, only: Filter = ANY) -> Choice:
        """Return the groups that ``words`` mean for ``verb``; nothing is done.

        Raises
        ------
        BadInputError
            Raised if a word means nothing, or nothing to which the verb applies.
        """
        find_campaign(self.store, name)
        held = verb == "release" if verb in {"hold", "release"} else None
        return choose(self.store.snapshot(name), words, states=STATES_OF[verb], only=only, held=held)

    def open_groups(self, name: str) -> tuple[int, int]:
        """Return how many groups of a campaign are not over, and how many of these are under way."""
        find_campaign(self.store, name)
        found = [group for group in self.store.snapshot(name).groups if group.state in STATES_OF["cancel"]]
        return len(found), sum(group.live is not None for group in found)

    def retry(
        self,
        name: str,
        *,
        groups: Sequence[str],
        reason: str,
        allow_stack_change: bool = False,
        request: RetryRequest | None = None,
    ) -> tuple[GroupView, ...]:
        """Let groups be submitted again, their caps forgotten; if asked, under other versions of the stack.

        All of them are looked at first: if one cannot be retried, none is.
        """
        with self.store.campaign_lock(name):
            found = self._groups(name, groups, GroupState.READY, "retry")
            asked = [None if request is None else request.of(entry) for entry in found]
            now = self.runtime.clock()
            for entry, remedy in zip(found, asked, strict=True):
                self.store.retry_group(
                    group_id=entry.id,
                    reason=f"{reason}; the stack may differ from now on" if allow_stack_change else reason,
                    actor=self.runtime.actor,
                    now=now,
                    allow_stack_change=allow_stack_change,
                    asked=remedy,
                )
        return found

    def accept(
        self, name: str, *, groups: Sequence[str], reason: str, until: datetime | None = None
    ) -> tuple[GroupView, ...]:
        """Take groups as they are, for good or until some moment: what comes after them is released.

        All of them, or none.
        """
        with self.store.campaign_lock(name):
            found = self._groups(name, groups, GroupState.DONE, "accept")
            now = self.runtime.clock()
            if until is not None and until <= now:
                raise BadInputError(f"accept: {until:%Y-%m-%d %H:%M} UTC is over; name a later moment")
            for entry in found:
                self.store.move_group(
                    group_id=entry.id,
                    state=GroupState.DONE,
                    reason=f"accepted: {reason}",
                    actor=self.runtime.actor,
                    now=now,
                    accepted=True,
                    accepted_until=until,
                    kind="accept",
                )
        return found

    def redo(self, name: str, *, groups: Sequence[str], reason: str) -> tuple[GroupView, ...]:
        """Begin a new generation of groups, for which nothing of the one that is there is skipped.

        All of them are looked at first: if one cannot be made anew, none is.
        """
        with self.store.campaign_lock(name):
            found = self._named(name, groups)
            for entry in found:
                may_redo(entry)
            now = self.runtime.clock()
            for entry in found:
                self.store.again(
                    group_id=entry.id,
                    redo=True,
                    reason=reason,
                    actor=self.runtime.actor,
                    now=now,
                    ordered=True,
                )
        return found

    def stopped(self, name: str) -> tuple[str, ...]:
        """Return the groups that need a person for the storm for which their campaign is paused, if any."""
        campaign = find_campaign(self.store, name)
        stormy = campaign.state is CampaignState.PAUSED and campaign.reason.startswith(STORM)
        return storms.stopped(self.store.snapshot(name)) if stormy else ()

    def pause(self, name: str, *, reason: str = "") -> bool:
        """Start nothing new; what runs goes on and is followed. Say whether that was news.

        Raises
        ------
        BadInputError
            Raised if the campaign was cancelled, which a pause must not undo.
        """
        campaign = find_campaign(self.store, name)
        if campaign.state is CampaignState.CANCELLED:
            raise BadInputError(f"campaign {name!r} is cancelled ({campaign.reason}); `resume` it first")
        now = self.runtime.clock()
        return self._set_state(campaign, CampaignState.PAUSED, "pause", reason=reason, now=now)

    def resume(self, name: str, *, reason: str = "") -> int | None:
        """Go on after a pause or a cancellation; return how many groups live again, `None` for no news.

        Groups that were cancelled with the campaign do; those that were cancelled by themselves stay so. What
        needed a person before does so again.
        """
        campaign = find_campaign(self.store, name)
        now = self.runtime.clock()  # one for all of an order: by that `undo` knows what belongs to it
        if not self._set_state(campaign, CampaignState.ACTIVE, "resume", reason=reason, now=now):
            return None
        if campaign.state is not CampaignState.CANCELLED:
            return 0
        with self.store.campaign_lock(name):
            cancels = self.store.last_cancels(name)
            revived = [
                (group, cancels.get(group.id))
                for group in self.store.snapshot(name).groups
                if group.state is GroupState.CANCELLED
                and (group.id not in cancels or cancels[group.id].reason.startswith(_WITH_ALL))
            ]
            for group, cancelled in revived:
                review = cancelled is not None and cancelled.from_state == GroupState.NEEDS_REVIEW
                before = cancelled.before if cancelled is not None else None
                self.store.move_group(
                    group_id=group.id,
                    state=GroupState.NEEDS_REVIEW if review else GroupState.WAITING,
                    reason=str((before or {}).get("reason", "resumed")) if review else "resumed",
                    actor=self.runtime.actor,
                    now=now,
                    kind="resume",
                )
        return len(revived)

    def cancel(self, name: str, *, groups: Sequence[str] = (), reason: str = "") -> Cancelled:
        """Stop some groups, or everything.

        A living driver stops by itself within seconds and takes its blocks along. Slurm jobs without one
        (drivers still in the queue, blocks whose driver is gone) are found by name and comment and
        cancelled here.

        Raises
        ------
        BadInputError
            Raised if a group that is named is over already.
        """
        campaign = find_campaign(self.store, name)
        now = self.runtime.clock()
        if not groups:
            self._set_state(campaign, CampaignState.CANCELLED, "cancel", reason=reason, now=now)
        with self.store.campaign_lock(name):
            snapshot = self.store.snapshot(name)
            found = tuple(find_group(snapshot, each) for each in groups) if groups else snapshot.groups
            for entry in found if groups else ():
                if entry.state in {GroupState.DONE, GroupState.CANCELLED}:
                    raise BadInputError(
                        f"{entry.step}/{entry.key} is {entry.state}; there is nothing to cancel"
                    )
            live = [entry.live for entry in found if entry.live is not None]
            words = "cancelled" if groups else _WITH_ALL
            why = f"{words}: {reason}" if reason else words
            changed = [self._cancel(entry, why, now=now) for entry in found]
            with suppress(BadInputError):  # of another release: then only what is ours is believed
                spec = applied_spec(find_campaign(self.store, name))
                self.drivers.settle_in(
                    trusted=self.trusted_by(spec), repository=spec.butler, shared=spec.group_writable,
                    campaign=campaign.uuid,
                )  # fmt: skip
            try:
                jobs, trouble = self._cancel_jobs(live)
            except (UntrustedError, ForeignError) as error:
                jobs, trouble = (), f"{error}; Slurm jobs of it, if any, were left alone"
        state = campaign.state is not CampaignState.CANCELLED and not groups
        return Cancelled(
            submissions=len(live), jobs=jobs, trouble=trouble, changed=state or any(changed) or bool(jobs)
        )

    def _cancel_jobs(self, live: Sequence[SubmissionView]) -> tuple[tuple[str, ...], str]:
        slurm_view = look_at(live, drivers=self.drivers, scheduler=self.scheduler)
        if slurm_view.unreachable:
            return (), f"Slurm does not answer ({slurm_view.unreachable}); cancel again when it does"
        orphans: list[str] = []
        for submission in live:
            self.drivers.require_own(submission.directory)
            jobs = [(job, role) for job, role in slurm_view.jobs(submission) if not job.over]
            driving = any(role == "driver" and job.started is not None for job, role in jobs)
            if not submission.driver_job and jobs:
                seen = alone(partial(self.drivers.liveness, submission, now=self.runtime.clock()))
                driving = seen is Liveness.ALIVE
            orphans += [] if driving else [job.job_id for job, _ in jobs]
        return tuple(orphans), self.scheduler.cancel(orphans)

    def forget(self, name: str) -> None:
        """Delete a campaign's rows; refused while a submission is under way."""
        with self._at_rest(name):
            self.store.forget(name)

    def archive(self, name: str, *, folder: Path, keep: bool) -> ArchivedCampaign:
        """Write a campaign's rows into files, and delete them unless they are to be kept.

        Refused while a submission is under way. What is deleted was written, whole, before.
        """
        with self._at_rest(name):
            written = self.store.write_archive(name, folder)
            if not keep:
                self.store.forget(name)
            return written

    def unarchive(self, folder: Path) -> ArchivedCampaign:
        """Put an archived campaign on record again, as it was."""
        return self.store.read_archive(folder)

    @contextmanager
    def _at_rest(self, name: str) -> Iterator[None]:
        """Hold the lock of a campaign of which nothing is under way."""
        find_campaign(self.store, name)
        with self.store.campaign_lock(name):
            live = [group for group in self.store.snapshot(name).groups if group.live is not None]
            if live:
                raise BadInputError(
                    f"{live[0].step}/{live[0].key} of {name!r} has a submission under way; cancel it first"
                )
            yield

    def _cancel(self, group: GroupView, reason: str, *, now: datetime) -> bool:
        """Cancel a group, or ask what runs of it to stop; say whether that was news."""
        if group.live is not None:
            self.store.request_cancel(
                submission_id=group.live.id, actor=self.runtime.actor, now=now, reason=reason
            )
            return not group.live.cancel_requested
        if GroupState.CANCELLED not in GROUP_MOVES[group.state]:
            return False
        self.store.move_group(
            group_id=group.id,
            state=GroupState.CANCELLED,
            reason=reason,
            actor=self.runtime.actor,
            now=now,
            kind="cancel",
        )
        return True

    def _set_state(
        self, campaign: CampaignView, state: CampaignState, kind: str, *, reason: str, now: datetime
    ) -> bool:
        """Change a campaign's state; say whether it was another."""
        if campaign.state is state:
            return False
        actor = self.runtime.actor
        words = f"{reason} (by {actor})" if reason else f"by {actor}"
        event = Event(kind=kind, actor=actor, reason=words, from_state=campaign.state, to_state=state)
        self.store.set_campaign_state(name=campaign.name, state=state, event=event, now=now)
        return True

    def _named(self, name: str, groups: Sequence[str]) -> tuple[GroupView, ...]:
        find_campaign(self.store, name)
        snapshot = self.store.snapshot(name)
        return tuple(find_group(snapshot, each) for each in groups)

    def _groups(
        self, name: str, groups: Sequence[str], target: GroupState, verb: str
    ) -> tuple[GroupView, ...]:
        """Return groups by name, all of which a person may move."""
        found = self._named(name, groups)
        snapshot = self.store.snapshot(name)
        for entry in found:
            if verb == "retry" and waits_for_its_time(snapshot, entry):
                continue  # a person need not wait for the next try
            may_move(entry, target, verb)
        return found
