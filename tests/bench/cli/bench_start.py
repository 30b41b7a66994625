"""What it costs to start a command: CPU time of `status` on a small campaign against `bps --help`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parents[1] / "reports")]

from bench_reports import campaign  # noqa: E402 - beside this one
from bench_results import entry, keep  # noqa: E402

PROGRAMS = Path(sys.executable).parent
ROUNDS = 3


def cpu(home: Path, *words: str) -> float:
    """Return the CPU seconds of a program."""
    environ = {**os.environ, "MERIAN_CAMPAIGN_HOME": str(home)}
    for name in ("MERIAN_CAMPAIGN_DATABASE_URL", "PYTHONDONTWRITEBYTECODE"):
        environ.pop(name, None)
    silent = os.open(os.devnull, os.O_WRONLY)
    command = [str(PROGRAMS / words[0]), *words[1:]]
    pid = os.posix_spawn(command[0], command, environ, file_actions=[(os.POSIX_SPAWN_DUP2, silent, 1)])
    _, status, used = os.wait4(pid, 0)
    os.close(silent)
    assert status == 0, words
    return used.ru_utime + used.ru_stime


def main() -> int:
    """Measure, side by side."""
    with campaign(tracts=4, quanta=400) as home:
        cpu(home, "merian-campaign", "status", "wide")
        pairs = [
            (cpu(home, "merian-campaign", "status", "wide"), cpu(home, "bps", "--help"))
            for _ in range(ROUNDS)
        ]
    found = median(ours / theirs for ours, theirs in pairs)
    return keep([entry("cli: start of status against bps --help", found, 0.12, 0.08, less=True)])


if __name__ == "__main__":
    sys.exit(main())
