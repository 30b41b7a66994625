"""One finished demo for the session, made by the command a user types; its butler is on SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e_help import Installation, new_installation, reduce


@pytest.fixture(scope="session")
def installation() -> Iterator[Installation]:
    """A home with an embedded database of its own, stopped and checked for orphans at the end."""
    with new_installation() as made:
        yield made


@pytest.fixture(scope="session")
def demo(installation: Installation) -> Path:
    """The demo's directory after `merian-campaign demo` ended with exit status 0."""
    return reduce(installation)


@pytest.fixture(scope="session")
def reduced(installation: Installation, demo: Path) -> Installation:
    """The installation in which the demo has ended."""
    assert demo == installation.demo
    return installation
