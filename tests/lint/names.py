"""One word, one meaning: no two classes of one name in the package, no file name in more than two rooms.

Nor two test modules of one name: pytest imports them without their folder, and can collect only the first.
Nor anything in git at the top that does not belong there.

Part of ``make lint``: prints what is wrong, and exits 1 if anything is.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "merian_campaign"
TESTS = PACKAGE.parent / "tests"
MOST_ROOMS = 2
EVERYWHERE = {"__init__.py", "base.py"}
"""Names that say nothing but their place."""

TOP = {
    "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "SECURITY.md",
    "bps_configs", "campaign", "docs", "merian_campaign", "pyproject.toml", "requirements.lock", "site",
    "tests",
}  # fmt: skip
"""What the repository holds beside dotfiles."""


def strays() -> list[str]:
    """Return what git keeps at the top that is not of the repository; nothing outside of a checkout."""
    if not (PACKAGE.parent / ".git").exists():
        return []
    command = ["git", "-C", str(PACKAGE.parent), "ls-files", "-z"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    tops = {name.split("/")[0] for name in listed if name}
    return sorted(name for name in tops - TOP if not name.startswith("."))


def main() -> int:
    """Look at every module of the package."""
    classes: dict[str, list[str]] = defaultdict(list)
    files: dict[str, list[str]] = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        place = str(path.relative_to(PACKAGE.parent))
        files[path.name].append(place)
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                classes[node.name].append(f"{place}:{node.lineno}")
    wrong = [f"class {name}: {', '.join(places)}" for name, places in classes.items() if len(places) > 1]
    wrong += [
        f"file {name}: {', '.join(places)}"
        for name, places in files.items()
        if len(places) > MOST_ROOMS and name not in EVERYWHERE
    ]
    tests: dict[str, list[str]] = defaultdict(list)
    for path in sorted(TESTS.rglob("*.py")):
        if path.name.startswith("test_") or path.name.endswith("_help.py"):
            tests[path.name].append(str(path.relative_to(TESTS.parent)))
    wrong += [f"test module {name}: {', '.join(places)}" for name, places in tests.items() if len(places) > 1]
    wrong += [
        f"at the top, in git: {name} (belongs there? then list it in {Path(__file__).name})"
        for name in strays()
    ]
    sys.stdout.write("".join(f"{line}\n" for line in wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
