"""What a person asks of the submissions that follow a retry: more memory, more time."""

from __future__ import annotations

from dataclasses import dataclass

from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.record.snapshot import GroupView, Remedy

__all__ = ["RetryRequest"]


@dataclass(frozen=True, kw_only=True)
class RetryRequest:
    """What a person asks of the submissions that follow a retry.

    Parameters
    ----------
    tasks : `tuple` [`str`, ...]
        Labels of tasks; of each group those that have not succeeded, without any.
    memory_mb, minutes : `int` or `None`
        Memory and walltime of their quanta.
    """

    tasks: tuple[str, ...] = ()
    memory_mb: int | None = None
    minutes: int | None = None

    def of(self, group: GroupView) -> Remedy:
        """Return what a group is asked for, with what it was asked for before.

        Raises
        ------
        BadInputError
            Raised if it has no task to which that could apply.
        """
        known = {entry.task for entry in group.open_quanta}
        tasks = self.tasks or tuple(sorted(known))
        unknown = sorted(set(self.tasks) - known) if known else []
        if not tasks or unknown:
            what = f"no quantum of {unknown[0]!r} that is not done" if unknown else "no task that has failed"
            there = f"; it has {', '.join(sorted(known))}" if known else "; name it with --task"
            raise BadInputError(f"{group.step}/{group.key} has {what}{there}")
        memory, walltime = dict(group.asked.memory_mb), dict(group.asked.walltime)
        for task in tasks:
            if self.memory_mb is not None:
                memory[task] = self.memory_mb
            if self.minutes is not None:
                walltime[task] = self.minutes
        return Remedy(memory_mb=tuple(sorted(memory.items())), walltime=tuple(sorted(walltime.items())))
