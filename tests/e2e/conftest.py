"""One finished demo for the session on each kind of registry, made by the command a user types."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from e2e_help import Installation, new_installation, watching
from postgresql_help import need_server, private_registry

SIGN = "s3cret"
"""What the password of the server begins with, and nothing else."""


@pytest.fixture(scope="session")
def installation() -> Iterator[Installation]:
    """A home with an embedded database of its own, stopped and checked for orphans at the end."""
    with new_installation() as made:
        yield made


def _reduce(installation: Installation) -> Path:
    with watching(installation, SIGN) as holding:
        done = installation.run("demo", "--dir", str(installation.demo))
    assert done.returncode == 0, done.stdout + done.stderr
    (installation.root / "demo.out").write_text(done.stdout, encoding="utf-8")
    (installation.root / "demo.err").write_text(done.stderr, encoding="utf-8")
    # It was given the password itself.
    (installation.root / "holding").write_text(
        "\n".join(line for line in holding if "merian-campaign demo" not in line), encoding="utf-8"
    )
    return installation.demo


@pytest.fixture(scope="session")
def demo(installation: Installation) -> Path:
    """The demo's directory after `merian-campaign demo` ended with exit status 0; its butler is on SQLite."""
    return _reduce(installation)


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def reduced(request: pytest.FixtureRequest) -> Iterator[Installation]:
    """An installation in which the demo has ended, on each kind of registry."""
    if request.param == "sqlite":
        request.getfixturevalue("demo")
        yield request.getfixturevalue("installation")
        return
    need_server()
    with ExitStack() as stack:
        folder = request.getfixturevalue("tmp_path_factory").mktemp("registry")
        registry = stack.enter_context(private_registry(folder))
        # This process opens the repository too.
        stack.enter_context(pytest.MonkeyPatch.context()).setenv("LSST_DB_AUTH", str(registry.passwords))
        made = stack.enter_context(
            new_installation(SEED_CONFIG=str(registry.seed), MERIAN_CAMPAIGN_DATABASE_URL=registry.tracking)
        )
        done = made.run("db", "upgrade")
        assert done.returncode == 0, done.stderr
        assert not (_reduce(made) / "repo" / "gen3.sqlite3").exists()
        yield made
