"""Command lines that can be pasted, read back by bash itself."""

from __future__ import annotations

import glob
import os
import subprocess
from pathlib import Path

import pytest
from domain_help import action, campaign
from hypothesis import given
from hypothesis import strategies as st

from merian_campaign.domain.campaign.typed_commands import campaign_commands
from merian_campaign.domain.safe_text.shell import ShellPattern, quoted, shown
from merian_campaign.domain.safe_text.text import clean

ODD = [
    *(
        "#x",
        "~root",
        "~",
        "a=~root",
        "$HOME",
        "`id`",
        "$(id)",
        "!!",
        "a!b",
        "it's",
        "it's $x!",
        "",
        " ",
        "\t",
    ),
    *(
        "\n",
        "a\nb",
        "\\",
        "\\n",
        "'",
        '"',
        "*",
        "?",
        "[a]",
        "{a,b}",
        "<x>",
        ">",
        "|",
        "&",
        ";",
        "(",
        "-",
        "--",
    ),
    *(
        "=ls",
        "%1",
        "\x1b]52;c;x\x07",
        "\x1b[2J",
        "\x7f",
        "\x9b31m",
        "\u202eevil",
        "\x011",
        "é1",
        "星",
        "a\u0301",
    ),
    *("u/it's/run, 'x'", "exposure > 3 AND band = 'r'", "\r", "\x01" + "7", "\u200b0"),
]
WORDS = st.lists(
    st.sampled_from(ODD) | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    min_size=1,
)


def read_by_bash(text: str, *, locale: str = "C.UTF-8") -> list[str]:
    done = subprocess.run(
        ["bash", "--norc", "-c", f"printf '%s\\0' {text}"],
        capture_output=True,
        check=True,
        env={"PATH": os.environ["PATH"], "HOME": "/", "LC_ALL": locale},
    )
    return done.stdout.decode("utf-8").split("\0")[:-1]


@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
def test_bash_reads_odd_words_back(locale: str) -> None:
    assert read_by_bash(shown(("word", *ODD)), locale=locale) == ["word", *ODD]


@given(WORDS)
def test_bash_reads_any_words_back_and_nothing_of_them_acts(words: list[str]) -> None:
    text = " ".join(quoted(word) for word in words)
    assert read_by_bash(text) == words
    assert clean(text, limit=len(text) + 1) == text
    assert "\n" not in text


@pytest.mark.parametrize("word", ["if", "time", "A=b", "x+=1", "PATH=/evil", "function"])
def test_the_name_of_a_program_stays_one(word: str, tmp_path: Path) -> None:
    program = tmp_path / word.replace("/", "")
    program.write_text("#!/bin/sh\nprintf ran\n")
    program.chmod(0o755)
    if "/" in word:
        assert shown((word,)) == f"'{word}'"
        return
    done = subprocess.run(
        ["bash", "--norc", "-c", shown((word,))],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )
    assert done.stdout == "ran"


@pytest.mark.parametrize(
    "pattern",
    [
        *("*.fits", "a?.fits", "[ab]1.fits", "[!a]1.fits", "[^a]1.fits", "a*[", "~*", "#*", "sp ace*", "$x*"),
        *("{a,b}*", "it's*", "back\\*", "[]]*", "[!]]*", "[a-b]?.fits", "a[ b]c", "[$x]*", "a[1", "[\\a]*"),
    ],
)
def test_the_shell_expands_a_pattern_as_the_campaign_does(pattern: str, tmp_path: Path) -> None:
    names = [
        "a1.fits",
        "b1.fits",
        "^1.fits",
        "~root",
        "#x",
        "sp ace1",
        "$x1",
        "{a,b}1",
        "it's",
        "back\\1",
        "]x",
    ]
    for name in [*names, "a[", "a c", "a[1", "abc", "\\x", "x"]:
        (tmp_path / name).touch()
    whole = f"{tmp_path}/{pattern}"
    expected = sorted(glob.glob(whole)) or [whole]  # noqa: PTH207 - what the campaign itself calls
    assert sorted(read_by_bash(shown(("w", ShellPattern(whole))))[1:]) == expected


def test_the_commands_of_a_campaign_can_be_pasted() -> None:
    words = ("printf", "#x", "~root", "$HOME", "`id`", "!!", "it's", "*", "a b", '"', "exposure IN ('a')")
    spec = campaign(action(action="command", arguments={"run": list(words)}))
    (group,) = campaign_commands(spec)
    (command,) = group.commands
    assert read_by_bash(shown(("word", *command))) == ["word", *words]


def test_bytes_that_are_no_utf8_come_back() -> None:
    assert quoted("a\udcff") == r"$'a\377'"
