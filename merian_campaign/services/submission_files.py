"""The files that a driver begins with."""

from __future__ import annotations

import json
from datetime import timedelta

from merian_campaign.domain.preflight.group_check import GroupCheck, group_check
from merian_campaign.domain.record.basis import Basis
from merian_campaign.domain.record.snapshot import GroupView, SubmissionView
from merian_campaign.domain.remains import made_of
from merian_campaign.domain.rendering import render
from merian_campaign.domain.rendering.naming import SubmissionPaths
from merian_campaign.domain.resources.resource_fit import workload
from merian_campaign.domain.spec import BpsStep
from merian_campaign.domain.stack.stack_setup import prelude
from merian_campaign.files.bps_files import read_clusters
from merian_campaign.services.hold_file import hold_file
from merian_campaign.services.record import name_of
from merian_campaign.services.tick_context import TickContext, TickPart

NODE_REST = timedelta(hours=24)
"""How long a node is left out on which blocks were lost again and again, counted from the last one."""

MOST_LOST = 3
"""Blocks that may be lost on a node within that time before it is left out."""


class SubmissionFiles(TickPart):
    """Makes what is written into a submission's directory before its driver starts.

    Parameters
    ----------
    context : `TickContext`
        The campaign and the world.
    notes : `list` [`str`]
        Where to say what people should know and no record says.
    """

    def __init__(self, context: TickContext, *, notes: list[str]) -> None:
        super().__init__(context)
        self._notes = notes

    def identity(self, group: GroupView, number: int) -> dict[str, object]:
        """Return what a submission's directory says of whose it is."""
        return {"campaign": self._uuid, "group": name_of(group), "number": number}

    def of(
        self, group: GroupView, submission: SubmissionView, *, basis: Basis | None = None
    ) -> dict[str, str]:
        """Return the files that a driver begins with: the submit YAML, and how its stack is set up."""
        step = self._spec.step(group.step)
        paths = SubmissionPaths(directory=submission.directory)
        made = made_of(submission, selection=group.selection, basis=basis or group.basis)
        identity = self.identity(group, submission.number) | {"name": self._spec.campaign, "made": made}
        files: dict[str, str] = {paths.identity: json.dumps(identity, indent=1) + "\n"}
        stack = self._settings.stack
        if stack.sets_up:
            files[paths.stack] = prelude(stack, file=paths.stack)
        if isinstance(step, BpsStep):
            request = self.request(group, step, submission)
            files[paths.yaml] = render.render(request)
            if request.hold:
                files[paths.hold] = hold_file(self._store.held_quanta(group_id=group.id))
            check = self._group_check(group, step, submission)
            if check.first or (check.skymap is not None and not check.look.on_skymap):
                files[paths.preflight] = json.dumps(check.to_json(), indent=1) + "\n"
        return files

    def _group_check(self, group: GroupView, step: BpsStep, submission: SubmissionView) -> GroupCheck:
        """Return what the driver looks at before it builds a graph."""
        return group_check(
            self._spec,
            step,
            group=group.key,
            selection=group.selection,
            number=submission.number,
            generation=submission.generation,
            clusters=read_clusters(self._spec, step),
            first=not group.counts.expected,  # no submission of it has had a graph
        )

    def request(self, group: GroupView, step: BpsStep, submission: SubmissionView) -> render.RenderRequest:
        """Return what a submission's YAML is rendered from."""
        requests = self._settings.requests[step.name]
        earlier = is_later(group, submission)
        return render.RenderRequest(
            spec=self._spec,
            step=step,
            group=group.key,
            selection=group.selection,
            number=submission.number,
            directory=submission.directory,
            site=self._settings.site,
            remedy=submission.remedy,
            quantum_wrapper=self._runtime.quantum_wrapper,
            hold=earlier,
            work=workload(
                group,
                spec=self._spec,
                step=step,
                remedy=submission.remedy,
                requests=requests,
                reason=submission.reason if earlier else "",
            ),
            exclude=tuple(dict.fromkeys((*self._left_out(), *submission.remedy.exclude))),
            requests=requests,
            generation=submission.generation,
            earlier=earlier,
        )

    def _left_out(self) -> tuple[str, ...]:
        """Return the nodes that blocks are lost on again and again; say which, with the evidence."""
        if self._settings.site.blocks is None:
            return ()
        found = self._store.bad_nodes(since=self._runtime.clock() - NODE_REST, fewest=MOST_LOST)
        self._notes += [
            f"node {entry.node} is left out until {entry.last + NODE_REST:%Y-%m-%d %H:%M} UTC: "
            f"{entry.lost} blocks were lost on it, the last at {entry.last:%H:%M}"
            for entry in found
        ]
        return tuple(entry.node for entry in found)


def is_later(group: GroupView, submission: SubmissionView) -> bool:
    """Say whether a submission follows another one of its generation."""
    return any(
        entry.number < submission.number and entry.generation == submission.generation
        for entry in group.submissions
    )
