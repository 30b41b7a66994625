"""Import into a repository on PostgreSQL, export out of it, and removal from it: the same as on SQLite."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from house_help import FINAL, INSTRUMENT, SKYMAP, TRACTS, House, chain, put_tract
from lsst.daf.butler import Butler, Config
from postgresql_help import need_server, private_registry

from merian_campaign.context import CommandContext
from merian_campaign.housekeeping.butler_collections import ButlerHousekeeping
from merian_campaign.transfer import export_of
from merian_campaign.transfer.butler_export import ButlerExport
from merian_campaign.transfer.butler_import import ButlerImport
from merian_campaign.transfer.manifest import ExportRequest
from merian_campaign.transfer.transfer_service import Imported, import_export


def test_tables_come_and_go(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_server()
    runs = [f"runs/{house.name}/step3/tract{tract}/001" for tract in TRACTS]
    with house.butler() as butler:
        for run, tract in zip(runs, TRACTS, strict=True):
            put_tract(butler, run, tract, *FINAL)
        chain(butler, f"runs/{house.name}/step3", *runs)
    service = export_of(CommandContext(environ=house.environ), tell=lambda _: None)
    folder = tmp_path / "export"
    service.run(house.name, folder=folder, types=(), tracts=(), where="", archive=None)

    with private_registry(tmp_path) as registry:
        monkeypatch.setenv("LSST_DB_AUTH", str(registry.passwords))
        there = str(tmp_path / "there")
        Butler.makeRepo(there, config=Config(str(registry.seed)))

        def bring() -> Imported:
            def opened() -> AbstractContextManager[ButlerImport]:
                return ButlerImport.opened(there)

            return import_export(
                place=folder,
                open_destination=opened,
                chain="DR1",
                transfer="copy",
                skip=(),
                tell=lambda _: None,
            )

        first, second = bring(), bring()
        assert (first.datasets, first.chained, second.datasets, second.chained) == (2, True, 0, False)
        with ButlerExport.opened(there, {"instrument": INSTRUMENT, "skymap": SKYMAP}) as source:
            wish = ExportRequest(
                chains=("DR1",), types=(FINAL[1],), where="tract = 9813", chain="DR1", incomplete=()
            )
            assert source.select(wish, tell=lambda _: None).runs == (runs[0],)

        collections = ButlerHousekeeping(there)
        facts = collections.runs(runs, files=True, tell=lambda _: None)
        assert facts[runs[0]].seen == f"1 {FINAL[1]} of it through DR1"
        assert (facts[runs[0]].strays, facts[runs[0]].size > 0) == (0, True)
        collections.unchain(runs[0])
        collections.remove_run(runs[0], again=False)
        collections.remove_files(runs[0])
        assert not (tmp_path / "there" / runs[0]).exists()
        with Butler.from_config(there) as butler:
            assert butler.collections.get_info("DR1").children == (runs[1],)
            assert len(butler.query_datasets(FINAL[1], collections="DR1", explain=False)) == 1
