"""The documentation's own module on the path, and a campaign that its commands are typed at."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from docs_place import ROOT, Place, make_place

sys.path.insert(0, str(ROOT / "docs" / "_ext"))


@pytest.fixture(scope="session")
def place() -> Iterator[Place]:
    """A folder as a reader has it: the checkout's files, the demo's repository, its campaign applied."""
    folder = Path(tempfile.mkdtemp(prefix="merian-docs-")).resolve()
    # Run as root, the server has an account of its own.
    folder.chmod(0o711)
    made = make_place(folder)
    try:
        made.fill()
        yield made
    finally:
        made.type("db", "stop")
        shutil.rmtree(folder, ignore_errors=True)
