"""Pictures of campaigns."""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
from xml.etree import ElementTree as ET

import pytest
from domain_help import action, bps, by_tract, campaign
from hypothesis import given, settings
from hypothesis import strategies as st

from merian_campaign.domain.campaign.campaign_graph import Node, dot, mermaid, nodes
from merian_campaign.domain.safe_text.text import one_line
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


ODD = [
    *(
        'a"b',
        "a\\",
        "\\N",
        "a\nb",
        "<script>alert(1)</script>",
        "&lt;",
        "#quot;",
        "[x]",
        "{x}",
        "end",
        "a`b`",
        "%%",
    ),
    *(
        "a;b",
        "]]",
        '"];\n  evil',
        "\x1b[2J",
        "\u202e",
        "--> b",
        "<br/>",
        "<b>",
        "\\\\",
        '\\"',
        "\0",
        "é",
        "星",
        " ",
        "'",
    ),
]
NAMES = st.sampled_from(ODD) | st.text(max_size=12)


@st.composite
def pictures(draw: st.DrawFn) -> tuple[Node, ...]:
    names = draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
    return tuple(
        Node(
            name=name,
            lines=tuple(draw(st.lists(NAMES, max_size=2))),
            action=draw(st.booleans()),
            colour=draw(st.sampled_from(["", "#bfe3bf"])),
            after=tuple(names[:index][:1]),
        )
        for index, name in enumerate(names)
    )


LABEL = r"(?:[\w .,:()+/*=-]|#\d+;|<br/>)*"
LINE = re.compile(
    rf's_\w*(?:\(\["{LABEL}"\]\)|\["{LABEL}"\])|s_\w* --> s_\w*|style s_\w* fill:#[0-9a-f]{{6}}', re.ASCII
)
LINE_OF_ANY_SCRIPT = re.compile(LINE.pattern)


@given(pictures())
def test_no_name_is_more_than_a_name_in_mermaid(picture: tuple[Node, ...]) -> None:
    first, *lines = mermaid(picture).splitlines()
    assert first == "flowchart TD"
    assert all(LINE_OF_ANY_SCRIPT.fullmatch(line.strip()) for line in lines), lines
    assert len(lines) == sum(1 + len(node.after) + bool(node.colour) for node in picture)
    for line, node in zip(lines, picture, strict=False):
        (label,) = re.findall(r'"(.*)"', line)
        shown = [re.sub(r"#(\d+);", lambda code: chr(int(code[1])), part) for part in label.split("<br/>")]
        assert shown == [one_line(text) for text in (node.name, *node.lines)]


def test_no_two_names_are_one_in_a_picture() -> None:
    names = ["one-a", "one_d_a", "one_a", "one__a", "oneXa", "one a", "one-_a", "one_-a"]
    made = tuple(Node(name=name, lines=(), action=False, colour="", after=()) for name in names)
    assert len(set(re.findall(r"s_\w*", mermaid(made)))) == len(names)


@pytest.fixture(scope="module")
def graphviz() -> str:
    found = shutil.which("dot")
    if found is None:
        assert "MERIAN_GRAPHVIZ_REQUIRED" not in os.environ
        pytest.skip("no Graphviz")
    return found


@settings(max_examples=15)
@given(picture=pictures(), name=NAMES)
def test_graphviz_draws_every_name_as_it_is(graphviz: str, picture: tuple[Node, ...], name: str) -> None:
    check_drawn(graphviz, picture, name)


@pytest.mark.parametrize("name", ODD)
def test_graphviz_draws_odd_names(graphviz: str, name: str) -> None:
    check_drawn(graphviz, (Node(name=name, lines=(name,), action=True, colour="", after=()),), name)


def check_drawn(graphviz: str, picture: tuple[Node, ...], name: str) -> None:
    text = dot(picture, name=name)
    done = subprocess.run([graphviz, "-Tsvg"], input=text.encode(), capture_output=True, check=False)
    assert done.returncode == 0, (text, done.stderr)
    assert b"script>" not in done.stdout
    drawn = ET.fromstring(done.stdout)
    texts = ["".join(found.itertext()) for found in drawn.iter("{http://www.w3.org/2000/svg}text")]
    wanted = [one_line(line) for node in picture for line in (node.name, *node.lines)]
    assert sorted(html.unescape(found).replace("\xa0", " ") for found in texts if found.strip()) == sorted(
        html.unescape(found) for found in wanted if found.strip()
    )
