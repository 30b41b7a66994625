"""`make bench`: every benchmark, one after the other; writes build/bench.json.

Each measures ratios side by side in one run, so that the machine's speed and noise cancel.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCRIPTS = (
    "domain/bench_new_data.py",
    "render/bench_render.py",
    "store/bench_store.py",
    "reports/bench_reports.py",
    "wms/bench_wms.py",
    "wms/bench_handover.py",
)


def main() -> int:
    """Run all; exit status 1 when a ratio is below what must hold."""
    out = HERE.parents[1] / "build" / "bench.json"
    out.parent.mkdir(exist_ok=True)
    out.unlink(missing_ok=True)
    commands = ([sys.executable, str(HERE / script)] for script in SCRIPTS)
    codes = [subprocess.run(command, check=False).returncode for command in commands]
    entries = json.loads(out.read_text(encoding="utf-8")) if out.exists() else []
    for entry in entries:
        held = "ok  " if entry["ratio"] >= entry["at_least"] else "LOW "
        wanted = f"(at least {entry['at_least']}, aim {entry['aim']})"
        sys.stdout.write(f"{held}{entry['name']:34} {entry['ratio']:8.2f}  {wanted}\n")
    low = [entry for entry in entries if entry["ratio"] < entry["at_least"]]
    return 1 if low or any(codes) or not entries else 0


if __name__ == "__main__":
    sys.exit(main())
