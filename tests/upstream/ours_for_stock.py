"""A plug-in of pytest: puts our service in the stock one's place, and writes down what came of each test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SERVICE = "merian_campaign.wms.CampaignParslService"
STOCK = "lsst.ctrl.bps.parsl.ParslService"


def pytest_configure() -> None:
    """Let whoever asks for the stock classes have ours."""
    if not os.environ["BPS_TEST_OURS"]:
        os.environ.setdefault("BPS_WMS_SERVICE_CLASS", STOCK)
        return
    os.environ["BPS_WMS_SERVICE_CLASS"] = SERVICE
    import lsst.ctrl.bps.parsl  # noqa: PLC0415 - only where ours is tested
    import lsst.ctrl.bps.parsl.service  # noqa: PLC0415
    import lsst.ctrl.bps.parsl.workflow  # noqa: PLC0415

    from merian_campaign.wms import CampaignParslService  # noqa: PLC0415
    from merian_campaign.wms.workflow import CampaignWorkflow  # noqa: PLC0415

    package = lsst.ctrl.bps.parsl
    for module in (package, package.service, package.workflow):
        for name, own in (("ParslService", CampaignParslService), ("ParslWorkflow", CampaignWorkflow)):
            if hasattr(module, name):
                setattr(module, name, own)


def _write(name: str, outcome: str) -> None:
    with Path(os.environ["BPS_TEST_OUTCOMES"]).open("a", encoding="utf-8") as stream:
        stream.write(f"{name}\t{outcome}\n")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Write down a test that has run, or could not."""
    if report.when == "call" or report.outcome != "passed":
        _write(report.nodeid, report.outcome)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Write down a module that could not be imported."""
    if report.outcome == "failed":
        _write(report.nodeid, "not imported")
