"""Pictures of campaigns."""

from __future__ import annotations

from domain_help import action, bps, by_tract, campaign

from merian_campaign.domain.picture import dot, mermaid, nodes
from merian_campaign.domain.states import GroupState

SPEC = campaign(action("end"), bps("one-a", "step1", after=["end"]), by_tract("three", after=["one-a"]))


def test_steps_gates_and_sizes_are_drawn() -> None:
    assert mermaid(nodes(SPEC)) == (
        "flowchart TD\n"
        '    s_end(["end<br/>collection-chain"])\n'
        '    s_one_d_a["one-a<br/>1 group"]\n'
        '    s_three["three<br/>2 groups"]\n'
        "    s_end --> s_one_d_a\n"
        "    s_one_d_a --> s_three\n"
    )


def test_a_step_has_the_colour_of_the_group_that_needs_a_person() -> None:
    states = [("end", GroupState.DONE), ("three", GroupState.DONE), ("three", GroupState.NEEDS_REVIEW)]
    picture = nodes(SPEC, states=states)
    done, unknown, stuck = (node.colour for node in picture)
    assert unknown == ""
    assert len({done, stuck, unknown}) == 3
    assert picture[2].lines == ("2 groups", "1 needs review, 1 done")
    assert f"style s_three fill:{stuck}" in mermaid(picture)


def test_graphviz_says_the_same() -> None:
    text = dot(nodes(SPEC, states=[("end", GroupState.DONE)]), name="night")
    assert text.startswith('digraph "night" {')
    assert 's_end [label="end\\ncollection-chain\\n1 done", shape=ellipse, fillcolor="#bfe3bf"];' in text
    assert "s_one_d_a -> s_three;" in text


def test_steps_whose_tracts_are_not_known_yet() -> None:
    spec = campaign(bps("step1"), by_tract("three", after=["step1"]), tracts="discover")
    assert nodes(spec)[1].lines == ("tracts to be discovered",)
    known = nodes(spec, states=[("three", GroupState.DONE), ("three", GroupState.READY)])
    assert known[1].lines == ("2 groups", "1 ready, 1 done")
