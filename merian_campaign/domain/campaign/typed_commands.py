"""A campaign as the commands a person would type instead of running it."""

from __future__ import annotations

from dataclasses import dataclass

from merian_campaign.domain.campaign.plan import plan_groups
from merian_campaign.domain.rendering.render import data_query, input_collections
from merian_campaign.domain.selection import Selection
from merian_campaign.domain.spec import ActionStep, BpsStep, CampaignSpec
from merian_campaign.domain.spec.actions.base import Command


@dataclass(frozen=True, kw_only=True)
class GroupCommands:
    """What stands for one group.

    Parameters
    ----------
    step, group : `str`
        Names.
    commands : `tuple` [`Command`, ...]
        Command lines as lists of words, in order.
    """

    step: str
    group: str
    commands: tuple[Command, ...]


def campaign_commands(spec: CampaignSpec, *, step: str | None = None) -> tuple[GroupCommands, ...]:
    """Return the commands of all groups, or of one step's.

    Parameters
    ----------
    spec : `CampaignSpec`
        The campaign.
    step : `str`, optional
        Only this step.
    """
    return tuple(
        GroupCommands(
            step=group.step,
            group=group.key,
            commands=step_commands(spec, spec.step(group.step), selection=group.selection),
        )
        for group in plan_groups(spec).wanted
        if step in {None, group.step}
    )


def step_commands(
    spec: CampaignSpec, step: BpsStep | ActionStep, *, selection: Selection
) -> tuple[Command, ...]:
    """Return the commands of one group: butler commands of an action, or the ``pipetask run`` of a selection.

    The latter shows collections and data query; a campaign runs the same through BPS, quantum by quantum.
    """
    if isinstance(step, ActionStep):
        given = step.typed_arguments()
        return given.commands(repository=spec.butler)
    return (
        (
            "pipetask", "--long-log", "run", "--register-dataset-types",
            "-b", spec.butler,
            "-i", ",".join(input_collections(spec=spec, step=step)),
            "-o", spec.output_of(step),
            "-p", step.pipeline,
            *step.overrides,
            "-d", data_query(spec=spec, step=step, selection=selection),
        ),
    )  # fmt: skip
