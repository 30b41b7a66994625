"""Help, completion, logging, the database's URL, and pictures that Graphviz cannot draw at once."""

from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
import sqlalchemy
from cli_help import Cli, Done

from merian_campaign.cli.commands_graph import Format, _drawn
from merian_campaign.domain.errors import BadInputError

NOWHERE = {"MERIAN_CAMPAIGN_DATABASE_URL": "postgresql://127.0.0.1:1/none"}


def completed(cli: Cli, line: str, **changes: str) -> list[str]:
    """Return what the shell would offer for the last word of a line."""
    done: Done = cli(
        _MERIAN_CAMPAIGN_COMPLETE="complete_bash",
        COMP_WORDS=line,
        COMP_CWORD=str(line.count(" ")),
        cwd=cli.survey.folder,
        **changes,
    )
    assert (done.code, done.stderr) == (0, "")
    return done.stdout.split()


def test_campaigns_steps_and_groups_are_completed(cli: Cli) -> None:
    name = cli.applied()
    assert completed(cli, f"merian-campaign status {name[:-2]}") == [name]
    assert completed(cli, f"merian-campaign status {name} --step s") == ["step1", "step3"]
    assert completed(cli, f"merian-campaign retry {name} step3/") == ["step3/tract9813", "step3/tract9814"]
    assert completed(cli, f"merian-campaign cancel {name} step1") == ["step1/all"]
    assert completed(cli, "merian-campaign validate n") == ["night.yaml"]
    assert completed(cli, "merian-campaign graph night.yaml --step step3") == ["step3"]


def test_completion_is_silent_and_starts_nothing(cli: Cli, tmp_path: Path) -> None:
    assert completed(cli, "merian-campaign status t", **NOWHERE) == []
    home = tmp_path / "home"
    assert completed(cli, "merian-campaign status t", MERIAN_CAMPAIGN_HOME=str(home)) == []
    assert not home.exists()
    cli.survey.file.write_text("steps: [")
    assert completed(cli, "merian-campaign graph night.yaml --step s") == []


@pytest.mark.parametrize("command", [(), ("status",), ("export",), ("run",), ("graph",), ("db", "url")])
def test_help_has_no_types(cli: Cli, command: tuple[str, ...]) -> None:
    text = cli(*command, "--help").fine()
    assert "<" not in text
    if command == ("graph",):
        assert "mermaid|dot|svg|pdf" in text
        assert "FILE|NAME" in text


@pytest.mark.parametrize(
    ("command", "usage"),
    [
        ("retry", "NAME [GROUP]..."),
        ("log", "NAME [QUANTUM]..."),
        ("tick", "[NAME]..."),
        ("graph", "FILE|NAME"),
    ],
)
def test_usage_says_what_may_be_left_out(cli: Cli, command: str, usage: str) -> None:
    words = " ".join(cli(command, "--help").fine().split())
    assert f"Usage: merian-campaign {command} [OPTIONS] {usage} " in words


def test_words_in_the_wrong_place_are_told(cli: Cli) -> None:
    for command in ("status", "run", "plan", "failures"):
        cli(command, "mine.yaml").refused(2, "'mine.yaml' is a campaign file", "takes the name")
    name = cli.applied()
    for command in ("status", "failures", "blocks", "usage", "completeness"):
        cli(command, name, "--step", "step9").refused(2, "has no step 'step9'", "step1, step3")


def test_a_step_that_waits_for_its_nights_is_one(cli: Cli) -> None:
    nights = "scope: exposure\n    group_by: {kind: day_obs, nights: discover}\n"
    cli.survey.file.write_text(cli.survey.file.read_text().replace("scope: exposure\n", nights, 1))
    name = cli.applied()
    for command in ("blocks", "failures", "status", "usage", "completeness"):
        cli(command, name, "--step", "step1").fine()
        cli(command, name, "--step", "step9").refused(2, "has no step 'step9'; it has step1, step3")


def test_the_url_is_for_sqlalchemy_or_for_libpq(cli: Cli, url: str) -> None:
    for_sqlalchemy = cli("db", "url").fine().strip()
    assert for_sqlalchemy.startswith("postgresql+psycopg2://")
    engine = sqlalchemy.create_engine(for_sqlalchemy)
    with engine.connect() as connection:
        assert connection.execute(sqlalchemy.text("SELECT 1")).scalar() == 1
    engine.dispose()
    with closing(psycopg2.connect(url)) as plain:
        assert plain.info.dbname == "merian"
    # The password stays in a file that the URL names: what is printed can be pasted anywhere.
    named = {"MERIAN_CAMPAIGN_DATABASE_URL": "postgres://me:x@db.example.org/t?sslmode=require"}
    rest = f"://me@db.example.org/t?sslmode=require&passfile={cli.home}/passfiles/"
    assert cli("db", "url", **named).fine().startswith(f"postgresql+psycopg2{rest}")
    assert cli("db", "url", "--libpq", **named).fine().startswith(f"postgres{rest}")
    cli("db", "url", MERIAN_CAMPAIGN_DATABASE_URL="sqlite:///x").refused(2, "not a PostgreSQL URL")


def test_log_options_are_those_of_butler(cli: Cli, tmp_path: Path) -> None:
    text, lines = tmp_path / "x.log", tmp_path / "x.json"
    options = ("--long-log", "--log-level", "INFO", "--log-file", f"{text},{lines}", "--no-log-tty")
    assert cli(*options, "validate", cli.file).code == 0
    cli(*options, "validate", "none.yaml").refused(2, "no such file")
    entries = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [entry["message"] for entry in entries][-1].startswith("ends with exit status 2: none.yaml")
    assert entries[0]["levelname"] == "INFO"
    assert entries[0]["asctime"].endswith("+00:00")
    assert text.read_text().startswith("INFO 20")
    assert f"validate {cli.file}" in text.read_text()
    assert len(text.read_text().splitlines()) == len(entries) == 3

    said = cli("--log-level", "merian_campaign=info", "validate", cli.file).stderr
    assert said.startswith("merian_campaign INFO: begins: merian-campaign ")
    cli("--log-level", "lsst=loud", "list").refused(2, "--log-level: found 'lsst=loud'")
    cli("--log-file", str(tmp_path / "none" / "x.log"), "list").refused(74, "No such file")


def test_edges_that_graphviz_cannot_bend_are_drawn_straight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "dot"
    program.write_text(
        "#!/bin/sh\ntext=$(cat)\ncase $text in *ortho*|*worse*) echo 'maze.c: overflow' >&2; exit 1;; esac\n"
        'echo "$text"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert _drawn('digraph { splines="ortho"; a -> b }', Format.SVG) == (
        b"digraph { splines=polyline; a -> b }\n"
    )
    assert "drawn straight" in capsys.readouterr().err
    with pytest.raises(BadInputError, match=r"drew nothing: maze\.c: overflow"):
        _drawn('digraph { splines="ortho"; worse -> b }', Format.PDF)
