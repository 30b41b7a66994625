"""`make bench`: every benchmark, or those of one PART; writes build/bench.json.

Each measures ratios side by side in one run, so that the machine's speed and noise cancel; three times, of
which the median counts. BENCH_QUANTA says how large the large campaign is. ``compare OLD NEW`` holds two
files of results against each other.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from bench_results import OUT, TURN, DamagedResultsError, asked, compare, held, line, read

HERE = Path(__file__).resolve().parent
PARTS = {
    "cli": ("cli/bench_start.py",),
    "render": ("render/bench_render.py",),
    "store": ("store/bench_store.py", "store/bench_scale.py"),
    "tick": ("tick/bench_tick.py", "domain/bench_new_data.py"),
    "graphs": ("graphs/bench_graphs.py",),
    "makespan": ("makespan/bench_makespan.py",),
    "reports": ("reports/bench_reports.py",),
    "memory": ("domain/bench_memory.py",),
    "wms": ("wms/bench_wms.py", "wms/bench_handover.py", "wms/bench_harvest.py"),
}


SCALE = "store/bench_scale.py"
QUIET = ((SCALE,), ("graphs/bench_graphs.py",), ("makespan/bench_makespan.py",))
"""What wants the whole machine, or its memory: set up beside others, and then one after the other."""

LONG = ("wms/bench_wms.py", "wms/bench_harvest.py")
"""What is begun first of the others, so that none is left alone in the end."""

AT_ONCE = 2
"""So many of the others run at once: they hold processor times, or turns of two, against each other.

One of them at first is what makes the large campaign, minutes of one core.
"""

NUMBERS = {"BENCH_QUANTA": 10_000, "BENCH_GRAPHS": 2, "BENCH_RUN": 10, "BENCH_DETECTORS": 1}
"""What may be said in the environment, and the least that there is something to measure."""


class Scripts:
    """Scripts that run beside each other; however that ends, they take down their servers first.

    Parameters
    ----------
    folder : `~pathlib.Path`
        Where what they share is, and where some wait for their turn.
    """

    def __init__(self, *, folder: Path) -> None:
        self._environ = {**os.environ, "BENCH_CAMPAIGNS": str(folder)}
        self._folder = folder
        self._running: dict[subprocess.Popen[bytes], tuple[str, float]] = {}
        self._turns: dict[subprocess.Popen[bytes], IO[str]] = {}

    def run(self, commands: Sequence[tuple[str, ...]], *, at_once: int) -> list[str]:
        """Run scripts with their arguments, and say how long each took; return those that failed.

        Those that ask for the whole machine get it when the others are done, each to its end.
        """
        failed: list[str] = []
        left = deque(commands)
        try:
            while left or self._running:
                waiting = self._waiting()
                while left and len(self._running) - len(waiting) < at_once:
                    self._start(left.popleft())
                time.sleep(0.1)  # between two looks at a condition
                if not left and waiting and len(waiting) == len(self._running):
                    self._give_turn(waiting[0])
                failed += self._failed()
        except KeyboardInterrupt:
            raise  # Ctrl-C went to them too
        except BaseException:
            for process in self._running:
                process.send_signal(signal.SIGINT)
            raise
        finally:
            for turn in self._turns.values():
                turn.close()
            for process in self._running:
                process.wait()
        return failed

    def _start(self, command: tuple[str, ...]) -> None:
        script, *words = command
        environ = dict(self._environ)
        turn = None
        if command in QUIET:
            turn = (self._folder / Path(script).with_suffix(".turn").name).open("w")
            fcntl.flock(turn, fcntl.LOCK_EX)
            environ[TURN] = turn.name
        process = subprocess.Popen([sys.executable, str(HERE / script), *words], env=environ)
        self._running[process] = " ".join(command), time.perf_counter()
        if turn is not None:
            self._turns[process] = turn
        _say(f"{' '.join(command)}: begun")

    def _waiting(self) -> list[subprocess.Popen[bytes]]:
        """Return those that are set up and wait for their turn."""
        return [one for one, turn in self._turns.items() if asked(Path(turn.name)).exists()]

    def _give_turn(self, process: subprocess.Popen[bytes]) -> None:
        self._turns.pop(process).close()
        name, begin = self._running[process]
        _say(f"{name}: set up in {time.perf_counter() - begin:.0f} s")
        self._running[process] = name, time.perf_counter()

    def _failed(self) -> Iterator[str]:
        for process in [one for one in self._running if one.poll() is not None]:
            name, begin = self._running.pop(process)
            if turn := self._turns.pop(process, None):
                turn.close()
            _say(f"{name}: {time.perf_counter() - begin:.0f} s\n")
            if process.returncode:
                yield name


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def wrong_numbers(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield what is wrong with the numbers of the environment."""
    for name, least in NUMBERS.items():
        text = environ.get(name, str(least))
        try:
            known = int(text) >= least
        except ValueError:
            known = False
        if not known:
            yield f"{name}: found {text!r}; write a whole number of {least:,} at least, e.g. {10 * least}"


def main(arguments: list[str]) -> int:
    """Run them; exit status 1 when a ratio is not as it must be."""
    if arguments[:1] == ["compare"] and len(arguments) == 3:
        return compare(Path(arguments[1]), Path(arguments[2]))
    part = os.environ.get("PART", "")
    if arguments or part not in {"", *PARTS}:
        sys.stderr.write(f"usage: bench [compare OLD NEW]; PART is one of {', '.join(PARTS)}\n")
        return 2
    if wrong := list(wrong_numbers(os.environ)):
        sys.stderr.write("".join(f"{words}\n" for words in wrong))
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    return measure(part)


def measure(part: str) -> int:
    """Run the benchmarks of a part, or all, and print what was found."""
    if not part:
        OUT.unlink(missing_ok=True)
    elif OUT.exists():
        read(OUT)  # what it holds of other parts is kept: refused now, not after an hour
    wanted = [script for name, scripts in PARTS.items() if part in {"", name} for script in scripts]
    commands = [(script,) for script in wanted]
    commands.sort(key=lambda one: (one in QUIET, one[0] not in LONG))
    begin, since = time.perf_counter(), datetime.now(UTC).isoformat(timespec="seconds")
    with tempfile.TemporaryDirectory(prefix="merian-bench-made-") as made:
        # Campaigns of three sizes are made first, for whoever asks for them.
        making = [] if part else [(SCALE, "--make")]
        failed = Scripts(folder=Path(made)).run([*making, *commands], at_once=1 if part else AT_ONCE)
    _say(f"all: {time.perf_counter() - begin:.0f} s\n")
    found = read(OUT)["entries"] if OUT.exists() else []
    # Of an earlier run are those of other parts.
    entries = [one for one in found if one.get("at", "") >= since]
    _say("".join(f"{line(one)}\n" for one in entries))
    for name in failed:
        _say(f"{name}: not as it must be, or it broke off; see above")
    return int(bool(failed) or not entries or not all(map(held, entries)))


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except DamagedResultsError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
