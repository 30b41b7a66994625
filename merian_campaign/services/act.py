"""Carrying out what was decided; every side effect comes after the committed intention to have it."""

from __future__ import annotations

from functools import partial

from merian_campaign.domain.errors import BusyError, UnavailableError
from merian_campaign.domain.execution.runs import RunEnd, RunResult
from merian_campaign.domain.failures.fault_attribution import Broken, alone
from merian_campaign.domain.readiness.generations import chain_change, chain_words
from merian_campaign.domain.record.basis import Basis
from merian_campaign.domain.record.records import Event, JobRecord, JobRole, NewGroup
from merian_campaign.domain.record.snapshot import GroupView, SubmissionView
from merian_campaign.domain.rendering.naming import (
    RunName,
    SubmissionPaths,
    run_collection,
    submission_directory,
)
from merian_campaign.domain.slurm.slurm_jobs import SlurmJob, comment_of
from merian_campaign.domain.spec import BpsStep
from merian_campaign.domain.spec.site import DriverOptions
from merian_campaign.domain.states import GROUP_MOVES, CampaignState, GroupState, SubmissionOutcome
from merian_campaign.domain.tick import decisions as core
from merian_campaign.domain.tick.decisions import Decision
from merian_campaign.domain.tick.driver_jobs import driver_job_of, script
from merian_campaign.services.record import Recorder, name_of
from merian_campaign.services.submission_files import SubmissionFiles, is_later
from merian_campaign.services.tick_context import TickContext, TickPart

_PATIENCE_SECONDS = 10.0
"""How long a tick waits for a repository in which a graph is built, before it leaves it to the next tick."""


class Executor(TickPart):
    """Carries out decisions, one at a time; what goes wrong in one group hurts no other.

    Parameters
    ----------
    context : `TickContext`
        The campaign and the world.

    Attributes
    ----------
    no_jobs : `str`
        Why Slurm took no more drivers' jobs for now, in words: none is submitted after that.
    trouble : `Exception` or `None`
        What is wrong with this machine, for which nothing can be started; nothing is after that.
    notes : `list` [`str`]
        What went wrong that cannot be put on record.
    aside : `list` [`str`]
        The groups that were set aside, with their reasons.
    unpublished : `set` [`int`]
        Ids of the groups of which a new generation could not be put in force; the next tick tries again.
    """

    def __init__(self, context: TickContext) -> None:
        super().__init__(context)
        self._recorder = Recorder(context)
        self.no_jobs = ""
        self.trouble: Exception | None = None
        self.notes: list[str] = []
        self.aside: list[str] = []
        self.unpublished: set[int] = set()
        self._files = SubmissionFiles(context, notes=self.notes)
        self._fit: bool | None = None
        self._followed: set[int] = set()

    @property
    def progressed(self) -> int:
        """Quantum rows that live progress changed."""
        return self._recorder.progressed

    def act(self, decision: Decision) -> str:
        """Carry out a decision; return it in words, or nothing when it was only looking.

        Raises
        ------
        Exception
            Raised for what is no fault of the group at hand, e.g. a database that does not answer.
        """
        if isinstance(decision, core.Submit | core.Launch):
            return self._start(decision)
        done = alone(partial(self._act, decision))
        return done if isinstance(done, str) else self._broken(decision, done)

    def _start(self, decision: core.Submit | core.Launch) -> str:
        """Start something if this machine can; what it has run out of stops the starting, not the tick."""
        if self.no_jobs or self.trouble is not None or not self._is_fit():
            return ""
        try:
            done = alone(partial(self._act, decision))
        except OSError as error:
            self.trouble = error
            return ""
        return done if isinstance(done, str) else self._broken(decision, done)

    def _is_fit(self) -> bool:
        """Look once whether a driver could run at all where this process runs."""
        if self._fit is None:
            folder = self._spec.work_dir or self._runtime.root
            why = self._drivers.unfit(stack=self._settings.stack, folder=folder)
            self._fit = not why
            self.trouble = UnavailableError(f"nothing was started: {why}") if why else self.trouble
        return self._fit

    def _broken(self, decision: Decision, broken: Broken) -> str:
        """Set a group aside for which a decision could not be carried out."""
        if isinstance(decision, core.PauseCampaign):
            self.notes.append(f"the campaign cannot be paused: {broken.reason}")
            return ""
        if isinstance(decision, core.AddGroups):
            self.notes.append(f"{decision.step}: its groups cannot be added: {broken.reason}")
            return ""
        group = self._afresh(decision.group)
        reason = broken.reason
        if group.live is not None and group.live.directory not in reason:
            reason = f"{reason}; its files are in {group.live.directory}"
        aside = alone(partial(self._set_aside, group, reason))
        if isinstance(aside, str):
            return aside
        self.notes.append(f"{name_of(group)}: it cannot even be set aside: {aside.reason}")
        return ""

    def _afresh(self, group: GroupView) -> GroupView:
        """Return a group as it is now: a submission may have been prepared since it was read."""
        return self._store.snapshot(self._spec.campaign).group(group.id)

    def _set_aside(self, group: GroupView, reason: str) -> str:
        """End what runs of a group, without reading anything of it, and ask a person.

        A driver that is alive finds its submission finished when it next renews its lease, and ends itself
        with all that it started.
        """
        if group.live is not None:
            jobs = alone(partial(self._alive, group.live))
            self._scheduler.cancel(() if isinstance(jobs, Broken) else jobs)
            self._store.harvest(
                submission_id=group.live.id,
                quanta=(),
                outcome=SubmissionOutcome.FAILED,
                reason=reason,
                actor=self._runtime.actor,
                now=self._runtime.clock(),
                needs_person=True,
            )
        if GroupState.NEEDS_REVIEW in GROUP_MOVES[group.state]:
            self._recorder.move(group, GroupState.NEEDS_REVIEW, reason)
        self.aside.append(f"{name_of(group)}: {reason}")
        return f"{name_of(group)}: {GroupState.NEEDS_REVIEW} ({reason})"

    def _act(self, decision: Decision) -> str:  # noqa: C901, PLR0911, PLR0912 - one a kind of decision
        match decision:
            case core.AddGroups(step=step, groups=groups, reason=reason):
                return self._add_groups(step, groups, reason)
            case core.MoveGroup(group=group, state=state, reason=reason):
                return self._recorder.move(group, state, reason)
            case core.Again(group=group, redo=redo, reason=reason):
                return self._again(group, redo=redo, reason=reason)
            case core.Publish(group=group, none=none):
                return self._publish(group, generation=0 if none else group.generation)
            case core.Submit():
                return self._submit(decision)
            case core.Launch(group=group, submission=submission, reason=reason):
                words = f"{name_of(group)}: driver started for submission {submission.number} ({reason})"
                return self._launch(group, submission, words)
            case core.Follow(group=group, submission=submission):
                # Once in a tick, however often it decides: nobody needs it fresher than that.
                if submission.id not in self._followed:
                    self._recorder.follow(submission)
                    self._followed.add(submission.id)
                return ""
            case core.Wait():
                return ""
            case core.PauseCampaign(reason=reason):
                return self._pause(reason)
            case core.Harvest(group=group, submission=submission):
                return self._harvest(group, submission)
            case core.GiveUp(group=group, submission=submission, reason=reason):
                self._scheduler.cancel(self._alive(submission))
                return self._recorder.finish(group, submission, RunResult(end=RunEnd.FAILED, reason=reason))
            case core.SetAside(group=group, reason=reason):
                return self._set_aside(group, reason)
            case core.CallOff(group=group, submission=submission, reason=reason):
                return self._call_off(group, submission, reason)

    def _pause(self, reason: str) -> str:
        actor = self._runtime.actor
        event = Event(
            kind="storm",
            actor=actor,
            reason=reason,
            from_state=CampaignState.ACTIVE,
            to_state=CampaignState.PAUSED,
        )
        self._store.set_campaign_state(
            name=self._spec.campaign, state=CampaignState.PAUSED, event=event, now=self._runtime.clock()
        )
        return f"campaign {self._spec.campaign}: paused ({reason})"

    def _add_groups(self, step: str, groups: tuple[NewGroup, ...], reason: str) -> str:
        self._store.add_groups(
            campaign_id=self._campaign_id,
            groups=groups,
            reason=reason,
            actor=self._runtime.actor,
            now=self._runtime.clock(),
        )
        return f"{step}: {len(groups)} groups added ({reason})"

    def _again(self, group: GroupView, *, redo: bool, reason: str) -> str:
        self._store.again(
            group_id=group.id,
            redo=redo,
            reason=reason,
            actor=self._runtime.actor,
            now=self._runtime.clock(),
        )
        what = f"generation {group.generation + 1} begins" if redo else "it goes on with what is new"
        return f"{name_of(group)}: {what} ({reason})"

    def _publish(self, group: GroupView, *, generation: int) -> str:
        """Let the step's chain show a generation; what goes wrong is tried again by the next tick."""
        if group.id in self.unpublished:
            return ""
        step = self._spec.step(group.step)
        trouble = ""
        if isinstance(step, BpsStep):
            trouble = self._put_in_chain(group, self._spec.output_of(step), generation=generation)
        if trouble:
            self.unpublished.add(group.id)
            shown = f"generation {generation} is not in its step's chain yet"
            shown = shown if generation else "it is still in its step's chain"
            self.notes.append(f"{name_of(group)}: {shown}: {trouble}")
            return ""
        self._store.published(
            group_id=group.id,
            generation=generation,
            actor=self._runtime.actor,
            now=self._runtime.clock(),
        )
        return f"{name_of(group)}: {chain_words(generation, group.published)}"

    def _put_in_chain(self, group: GroupView, chain: str, *, generation: int) -> str:
        change = chain_change(group.submissions, chain=chain, generation=generation)
        patience = 0.0 if self.unpublished else _PATIENCE_SECONDS
        try:
            with self._store.repository_lock(self._spec.butler, patience=patience):
                return self._registry.publish(
                    change,
                    repository=self._spec.butler,
                    environment=self._spec.environment,
                    stack=self._settings.stack,
                )
        except BusyError as error:
            return str(error)

    def _submit(self, decision: core.Submit) -> str:
        group, number = decision.group, decision.number
        step = self._spec.step(group.step)
        directory = submission_directory(
            root=self._spec.work_dir or self._runtime.root,
            campaign=self._spec.campaign,
            step=group.step,
            group=group.key,
            number=number,
        )
        foreign = self._drivers.foreign(directory, identity=self._files.identity(group, number))
        if foreign:
            # Nothing of it is touched: its driver, jobs and files may be alive, and another's.
            self.aside.append(f"{name_of(group)}: {foreign}")
            return self._recorder.move(group, GroupState.NEEDS_REVIEW, f"not submitted: {foreign}")
        run = ""
        if isinstance(step, BpsStep):
            output = self._spec.output_of(step)
            name = RunName(step_output=output, group=group.key, number=number, generation=group.generation)
            run = run_collection(name)
        submission = self._store.prepare_submission(
            group_id=group.id,
            number=number,
            run_collection=run,
            repository=self._spec.butler,
            directory=directory,
            remedy=decision.remedy,
            reason=decision.reason,
            actor=self._runtime.actor,
            now=self._runtime.clock(),
            basis=decision.basis,
        )
        later = submission.run_collection and is_later(group, submission)
        kind = "afterburner" if later else "submission"
        words = f"{name_of(group)}: {kind} {number} started ({decision.reason})"
        return self._launch(group, submission, words, basis=decision.basis)

    def _launch(
        self, group: GroupView, submission: SubmissionView, words: str, *, basis: Basis | None = None
    ) -> str:
        """Start a driver; return ``words``, or what went wrong."""
        self._drivers.prepare(
            directory=submission.directory, files=self._files.of(group, submission, basis=basis)
        )
        if self._settings.site.driver is not None:
            return self._launch_job(group, submission, self._settings.site.driver, words)
        self._store.launching(submission_id=submission.id, now=self._runtime.clock())
        try:
            self._drivers.launch(submission=submission, environment=self._spec.environment)
        except OSError:
            self._store.not_launched(submission_id=submission.id)  # there is none to be waited for
            raise
        return words

    def _launch_job(
        self, group: GroupView, submission: SubmissionView, options: DriverOptions, words: str
    ) -> str:
        """Submit a driver's Slurm job, under a name by which it is found if the answer is lost."""
        paths = SubmissionPaths(directory=submission.directory)
        name = driver_job_of(
            campaign=self._spec.campaign, step=group.step, group=group.key, number=submission.number,
            directory=submission.directory, epoch=submission.epoch,
        )  # fmt: skip
        text = script(
            name=name,
            directory=submission.directory,
            log=paths.driver_log,
            options=options,
            command=self._drivers.command(submission),
        )
        self._store.launching(submission_id=submission.id, now=self._runtime.clock(), driver_job=name)
        answer = self._scheduler.submit(
            text,
            path=paths.driver_script(submission.epoch),
            marker=f"{submission.directory}#driver{submission.epoch}",
            environment=self._spec.environment,
        )
        if answer.refused:
            reason = f"Slurm refused the driver's job: {answer.refused}"
            result = RunResult(end=RunEnd.FAILED, reason=reason, needs_person=True)
            return self._recorder.finish(group, submission, result)
        if answer.deferred:
            # No job came of it, so nothing has to be waited for but room.
            self._store.not_launched(submission_id=submission.id)
            self.no_jobs = answer.deferred
            return f"{name_of(group)}: Slurm takes no driver's job for now ({answer.deferred})"
        if answer.unsure:
            return f"{words}; sbatch gave no answer to rely on ({answer.unsure}), the job is looked for"
        job = SlurmJob(
            job_id=answer.job_id, name=name, state="PENDING", comment=comment_of(submission.directory),
            submitted=self._runtime.clock(),
        )  # fmt: skip
        record = JobRecord(job=job, role=JobRole.DRIVER)
        self._store.record_jobs(submission_id=submission.id, jobs=[record], now=self._runtime.clock())
        return f"{words}; Slurm job {answer.job_id}"

    def _call_off(self, group: GroupView, submission: SubmissionView, reason: str) -> str:
        """Finish a cancelled submission that no driver began; its job must be out of the queue first."""
        trouble = self._scheduler.cancel(self._alive(submission))
        if trouble:
            return ""  # asked again by the next tick
        return self._recorder.finish(group, submission, RunResult(end=RunEnd.CANCELLED, reason=reason))

    def _alive(self, submission: SubmissionView) -> tuple[str, ...]:
        self._drivers.require_own(submission.directory)  # else its jobs are another's
        return tuple(job.job_id for job, _ in self._slurm_view.jobs(submission) if not job.over)

    def _harvest(self, group: GroupView, submission: SubmissionView) -> str:
        outcome = self._drivers.outcome(submission.directory)
        assert outcome is not None
        return self._recorder.finish(group, submission, outcome)
