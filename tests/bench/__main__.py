"""`make bench`: every benchmark, or those of one PART, one after the other; writes build/bench.json.

Each measures ratios side by side in one run, so that the machine's speed and noise cancel; three times, of
which the median counts. BENCH_QUANTA says how large the large campaign is. ``compare OLD NEW`` holds two
files of results against each other.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path

from bench_results import OUT, compare, held, line, read

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


def timed(script: str, *, environ: Mapping[str, str]) -> int:
    """Run a benchmark and say how long it took; return its exit status."""
    begin = time.perf_counter()
    code = subprocess.run([sys.executable, str(HERE / script)], env=environ, check=False).returncode
    sys.stdout.write(f"{script}: {time.perf_counter() - begin:.0f} s\n\n")
    sys.stdout.flush()
    return code


@contextmanager
def making(environ: Mapping[str, str]) -> Iterator[None]:
    """Make the campaigns of three sizes meanwhile; wait for them in the end."""
    with subprocess.Popen([sys.executable, str(HERE / SCALE), "--make"], env=environ):
        yield


def main(arguments: list[str]) -> int:
    """Run them; exit status 1 when a ratio is not as it must be."""
    if arguments[:1] == ["compare"] and len(arguments) == 3:
        return compare(Path(arguments[1]), Path(arguments[2]))
    part = os.environ.get("PART", "")
    if arguments or part not in {"", *PARTS}:
        sys.stderr.write(f"usage: bench [compare OLD NEW]; PART is one of {', '.join(PARTS)}\n")
        return 2
    if not part:
        OUT.unlink(missing_ok=True)
    scripts = [script for name, scripts in PARTS.items() if part in {"", name} for script in scripts]
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="merian-bench-made-") as made:
        environ = {**os.environ, "BENCH_CAMPAIGNS": made}
        with making(environ) if not part else nullcontext():
            codes = [timed(script, environ=environ) for script in scripts if script not in QUIET]
        codes += [timed(script, environ=environ) for script in QUIET if script in scripts]
    sys.stdout.write(f"all: {time.perf_counter() - begin:.0f} s\n\n")
    entries = read()["entries"] if OUT.exists() else []
    sys.stdout.write("".join(f"{line(one)}\n" for one in entries))
    return int(any(codes) or not entries or not all(map(held, entries)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
