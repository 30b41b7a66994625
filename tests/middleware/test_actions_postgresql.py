"""A repository on a PostgreSQL server: seed file, password file, and the same actions."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from lsst.daf.butler import Butler
from postgresql_help import need_server, private_registry

from merian_campaign.middleware.actions.perform import perform

INSTRUMENT = "merian_campaign.demo.instrument.MiniDecam"


def test_it_is_created_and_filled_by_the_same_actions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_server()
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("LSST_DB_AUTH", raising=False)
    repository = str(tmp_path / "repo")
    with private_registry(tmp_path) as registry:
        (tmp_path / ".lsst").mkdir()
        registry.passwords.rename(tmp_path / ".lsst" / "db-auth.yaml")
        for name, arguments in (
            ("create", {"seed_config": str(registry.seed), "group_writable": True}),
            ("register-instrument", {"instrument": INSTRUMENT}),
        ):
            for changed in (True, False):
                answer = perform(name=name, repository=repository, arguments=arguments)
                assert answer["changed"] is changed
        assert not (tmp_path / "repo" / "gen3.sqlite3").exists()
        with Butler.from_config(repository) as butler:
            assert [record.name for record in butler.query_dimension_records("instrument")] == ["DECam"]
