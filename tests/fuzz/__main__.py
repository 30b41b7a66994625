"""One fuzz input again: ``PYTHONPATH=tests python tests/fuzz TARGET NUMBER`` shows it, then reads it."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from harness import make_input, refused
from targets import TARGETS


def main(name: str, number: str) -> None:
    target = TARGETS[name]
    data = make_input(target, int(number))
    sys.stdout.write(data[:4000].decode("utf-8", "backslashreplace") + "\n")
    sys.stdout.flush()
    with tempfile.TemporaryDirectory() as folder:
        sys.stdout.write("refused\n" if refused(target.reader(Path(folder)), data) else "taken\n")


main(*sys.argv[1:])
