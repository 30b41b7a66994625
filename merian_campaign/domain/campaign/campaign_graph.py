"""A campaign as a picture: steps and gates, with their state by colour, for Mermaid and Graphviz."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from merian_campaign.domain.campaign.plan import plan_groups
from merian_campaign.domain.safe_text.text import one_line
from merian_campaign.domain.spec import ActionStep, BpsStep, CampaignSpec
from merian_campaign.domain.states import GroupState

_ODD_IN_KEY = re.compile("[^A-Za-z0-9]")
_ODD_IN_MERMAID = re.compile(r"[^\w .,:()+/*=-]")

_COLOURS = {
    GroupState.NEEDS_REVIEW: "#f4b6b6",
    GroupState.BLOCKED: "#e3c9a8",
    GroupState.CANCELLED: "#d0d0d0",
    GroupState.RUNNING: "#b9d4f1",
    GroupState.READY: "#e6eef8",
    GroupState.WAITING: "#f4f4f4",
    GroupState.DONE: "#bfe3bf",
}
"""By state, the one that matters most first: a step has the colour of its worst group."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """A step in the picture.

    Parameters
    ----------
    name : `str`
        The step's name.
    lines : `tuple` [`str`, ...]
        What stands below it.
    action : `bool`
        Whether it is a butler action.
    colour : `str`
        Fill; empty when nothing is known of its state.
    after : `tuple` [`str`, ...]
        Steps it waits for.
    """

    name: str
    lines: tuple[str, ...]
    action: bool
    colour: str
    after: tuple[str, ...]


def nodes(spec: CampaignSpec, *, states: Iterable[tuple[str, GroupState]] | None = None) -> tuple[Node, ...]:
    """Return the steps of a campaign as nodes, in the order of the file.

    Parameters
    ----------
    spec : `CampaignSpec`
        The campaign.
    states : iterable of (`str`, `GroupState`), optional
        Step and state of each group, once the campaign is applied.
    """
    sizes = Counter(group.step for group in plan_groups(spec).wanted)
    known: dict[str, Counter[GroupState]] = {}
    for name, state in states or ():
        known.setdefault(name, Counter())[state] += 1
    return tuple(
        Node(
            name=step.name,
            lines=_lines(_what(spec, step, sizes[step.name], known.get(step.name)), known.get(step.name)),
            action=isinstance(step, ActionStep),
            colour=_colour(known.get(step.name, Counter())),
            after=tuple(gate.step for gate in step.after),
        )
        for step in spec.steps
    )


def _what(
    spec: CampaignSpec, step: BpsStep | ActionStep, size: int, states: Mapping[GroupState, int] | None
) -> str:
    if isinstance(step, ActionStep):
        return step.action
    if spec.discovers(step):
        size = sum((states or {}).values())
        if not size:
            return "tracts to be discovered"
    return f"{size} groups" if size > 1 else "1 group"


def _lines(what: str, states: Mapping[GroupState, int] | None) -> tuple[str, ...]:
    if not states:
        return (what,)
    parts = [f"{states[state]} {state.value.replace('_', ' ')}" for state in _COLOURS if states.get(state)]
    return (what, ", ".join(parts))


def _colour(states: Mapping[GroupState, int]) -> str:
    return next((colour for state, colour in _COLOURS.items() if states.get(state)), "")


def _key(name: str) -> str:
    """Return a name as both languages take it for an identifier, no two names the same one.

    ``end`` alone is a word of Mermaid's.
    """
    return "s_" + _ODD_IN_KEY.sub(_key_character, name)


def _key_character(found: re.Match[str]) -> str:
    return {"_": "__", "-": "_d_"}.get(found[0], f"_u{ord(found[0]):x}_")


def _in_mermaid(text: str) -> str:
    """Return text as it can stand in a quoted label: what Mermaid or HTML would read is a character code."""
    return _ODD_IN_MERMAID.sub(lambda found: f"#{ord(found[0])};", one_line(text))


def _in_dot(text: str) -> str:
    """Return text as it can stand in a quoted string of Graphviz; labels know HTML's character codes."""
    inert = one_line(text).replace("&", "&amp;")
    return inert.replace("\\", "\\\\").replace('"', '\\"')


def mermaid(picture: tuple[Node, ...]) -> str:
    """Return a Mermaid flowchart."""
    lines = ["flowchart TD"]
    for node in picture:
        label = "<br/>".join(_in_mermaid(text) for text in (node.name, *node.lines))
        left, right = ("([", "])") if node.action else ("[", "]")
        lines.append(f'    {_key(node.name)}{left}"{label}"{right}')
    lines += [f"    {_key(before)} --> {_key(node.name)}" for node in picture for before in node.after]
    lines += [f"    style {_key(node.name)} fill:{node.colour}" for node in picture if node.colour]
    return "\n".join(lines) + "\n"


def dot(picture: tuple[Node, ...], *, name: str) -> str:
    """Return a Graphviz digraph."""
    lines = [
        f'digraph "{_in_dot(name)}" {{',
        '    node [fontname="sans-serif", style="filled", fillcolor="white"];',
    ]
    for node in picture:
        label = "\\n".join(_in_dot(text) for text in (node.name, *node.lines))
        shape = "ellipse" if node.action else "box"
        fill = f', fillcolor="{node.colour}"' if node.colour else ""
        lines.append(f'    {_key(node.name)} [label="{label}", shape={shape}{fill}];')
    lines += [f"    {_key(before)} -> {_key(node.name)};" for node in picture for before in node.after]
    return "\n".join([*lines, "}"]) + "\n"
