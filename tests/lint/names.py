"""One word, one meaning: no two classes of one name in the package, no file name in more than two rooms.

Nor two test modules of one name: pytest imports them without their folder, and can collect only the first.

Part of ``make lint``: prints what is named twice, and exits 1 if anything is.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "merian_campaign"
TESTS = PACKAGE.parent / "tests"
MOST_ROOMS = 2
EVERYWHERE = {"__init__.py", "base.py"}
"""Names that say nothing but their place."""


def main() -> int:
    """Look at every module of the package."""
    classes: dict[str, list[str]] = defaultdict(list)
    files: dict[str, list[str]] = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        place = str(path.relative_to(PACKAGE.parent))
        files[path.name].append(place)
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
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
    sys.stdout.write("".join(f"{line}\n" for line in wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
