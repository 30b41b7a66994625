"""Runs the unit tests of ctrl_bps and ctrl_bps_parsl with the stock service and with ours, and compares."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
GOOD = frozenset({"passed", "skipped"})


def outcomes(checkout: Path, *, ours: bool) -> dict[str, str]:
    """Return what came of each test of a checkout, by its name.

    Parameters
    ----------
    checkout : `~pathlib.Path`
        Its folder; there is one called ``tests`` in it.
    ours : `bool`
        Whether our service stands in for the stock one.
    """
    with tempfile.TemporaryDirectory() as scratch:
        result = Path(scratch) / "outcomes"
        environ = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH")))),
            "BPS_TEST_OUTCOMES": str(result),
            "BPS_TEST_OURS": "yes" if ours else "",
        }
        subprocess.run(
            [
                sys.executable, "-m", "pytest", "-q", "-p", "ours_for_stock", "-p", "no:cacheprovider",
                "--rootdir", str(checkout), "-c", os.devnull, "--continue-on-collection-errors",
                str(checkout / "tests"),
            ],
            cwd=scratch, env=environ, check=False, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        lines = result.read_text(encoding="utf-8").splitlines() if result.exists() else []
    return dict(line.rpartition("\t")[::2] for line in lines)


def failed(found: dict[str, str]) -> set[str]:
    """Return the tests that did not end well."""
    return {name for name, outcome in found.items() if outcome not in GOOD}


def compare(checkout: Path) -> bool:
    """Say how a checkout's tests went; return whether nothing fails that passes with the stock service."""
    stock, own = (outcomes(checkout, ours=ours) for ours in (False, True))
    if not stock:
        sys.stdout.write(f"{checkout}: no test has run; is it a checkout?\n")
        return False
    only = sorted(failed(own) - failed(stock))
    for service, found in (("stock", stock), ("ours", own)):
        counted = ", ".join(f"{number} {what}" for what, number in sorted(Counter(found.values()).items()))
        sys.stdout.write(f"{checkout.name}, {service}: {counted}\n")
    for name in sorted(failed(own) & failed(stock)):
        sys.stdout.write(f"  with both: {name}\n")
    for name in (*only, *sorted(set(stock) - set(own))):
        sys.stdout.write(f"  ONLY WITH OURS: {name}\n")
    return not only and set(stock) <= set(own)


def main() -> int:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", nargs="+", type=Path, help="Checkout, or unpacked sdist.")
    given = parser.parse_args()
    went_well = [compare(checkout.resolve()) for checkout in given.checkout]
    return 0 if all(went_well) else 1


sys.exit(main())
