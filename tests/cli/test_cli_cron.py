"""`cron install` where the table's own program refuses; a real cron is in the tests of whole campaigns."""

from __future__ import annotations

import os
from pathlib import Path

from cli_help import Cli


def test_what_is_refused_leaves_the_earlier_script_and_entry(cli: Cli, tmp_path: Path) -> None:
    own, table = tmp_path / "bin", tmp_path / "table"
    own.mkdir()
    program, launcher = own / "crontab", cli.home / "cron" / "tick"
    program.write_text(
        f'#!/bin/sh\n[ "$1" = -l ] && exec cat {table}\n'
        f'test -e {tmp_path}/off && {{ echo "you may not use this program" >&2; exit 1; }}\ncp "$1" {table}\n'
    )
    program.chmod(0o755)
    table.write_text("0 0 1 1 * true\n")
    path = f"{own}:{os.environ['PATH']}"

    def install(word: str) -> tuple[int, str]:
        done = cli("cron", "install", "--keep", "WORD", "--yes", PATH=path, WORD=word)
        return done.code, done.stderr

    assert install("first")[0] == 0
    before = launcher.read_text(), table.read_text()
    assert "export WORD=first\n" in before[0]
    (tmp_path / "off").touch()
    code, said = install("second")
    assert (code, "crontab refused: you may not use this program" in said) == (69, True)
    assert (launcher.read_text(), table.read_text()) == before
    assert [entry.name for entry in launcher.parent.iterdir()] == ["tick"]
    (tmp_path / "off").unlink()
    assert cli("cron", "remove", PATH=path).fine() == "removed\n"
    assert table.read_text() == "0 0 1 1 * true\n"
