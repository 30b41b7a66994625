"""`make bench`: every benchmark, or those of one PART, one after the other; writes build/bench.json.

Each measures ratios side by side in one run, so that the machine's speed and noise cancel; three times, of
which the median counts. BENCH_QUANTA says how large the large campaign is. ``compare OLD NEW`` holds two
files of results against each other.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path

from bench_results import OUT, DamagedResultsError, compare, held, line, read

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
QUIET = (SCALE, "graphs/bench_graphs.py", "makespan/bench_makespan.py")
"""What wants the whole machine, or its disk: last.

Making the large campaign takes minutes of one core, and goes on beside the others, which hold processor
times, or turns of two, against each other.
"""

NUMBERS = {"BENCH_QUANTA": 10_000, "BENCH_GRAPHS": 2, "BENCH_RUN": 10, "BENCH_DETECTORS": 1}
"""What may be said in the environment, and the least that there is something to measure."""


@contextmanager
def started(script: str, *words: str, environ: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a script beside what is done meanwhile; however that ends, it takes down its servers first."""
    process = subprocess.Popen([sys.executable, str(HERE / script), *words], env=environ)
    try:
        yield process
    except KeyboardInterrupt:
        raise  # Ctrl-C went to it too
    except BaseException:
        process.send_signal(signal.SIGINT)
        raise
    finally:
        process.wait()


def timed(script: str, *, environ: Mapping[str, str]) -> int:
    """Run a benchmark and say how long it took; return its exit status."""
    begin = time.perf_counter()
    with started(script, environ=environ) as process:
        code = process.wait()
    sys.stdout.write(f"{script}: {time.perf_counter() - begin:.0f} s\n\n")
    sys.stdout.flush()
    return code


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
    scripts = [script for name, scripts in PARTS.items() if part in {"", name} for script in scripts]
    begin, since = time.perf_counter(), datetime.now(UTC).isoformat(timespec="seconds")
    with tempfile.TemporaryDirectory(prefix="merian-bench-made-") as made:
        environ = {**os.environ, "BENCH_CAMPAIGNS": made}
        # Campaigns of three sizes are made meanwhile, and waited for in the end.
        with started(SCALE, "--make", environ=environ) if not part else nullcontext():
            codes = [timed(script, environ=environ) for script in scripts if script not in QUIET]
        codes += [timed(script, environ=environ) for script in QUIET if script in scripts]
    sys.stdout.write(f"all: {time.perf_counter() - begin:.0f} s\n\n")
    found = read(OUT)["entries"] if OUT.exists() else []
    # Of an earlier run are those of other parts.
    entries = [one for one in found if one.get("at", "") >= since]
    sys.stdout.write("".join(f"{line(one)}\n" for one in entries))
    return int(any(codes) or not entries or not all(map(held, entries)))


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except DamagedResultsError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
