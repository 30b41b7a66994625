"""One finished demo for the session, made by the command a user types."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e_help import Installation, new_installation


@pytest.fixture(scope="session")
def installation() -> Iterator[Installation]:
    """A home with an embedded database of its own, stopped and checked for orphans at the end."""
    with new_installation() as made:
        yield made


@pytest.fixture(scope="session")
def demo(installation: Installation) -> Path:
    """The demo's directory after `merian-campaign demo` ended with exit status 0."""
    directory = installation.root / "demo"
    done = installation.run("demo", "--dir", str(directory))
    assert done.returncode == 0, done.stdout + done.stderr
    (installation.root / "demo.out").write_text(done.stdout, encoding="utf-8")
    return directory
