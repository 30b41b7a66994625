"""The services name classes of other rooms for their types, and load none of them."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import importlib, pkgutil, sys
import merian_campaign.services as services
for module in pkgutil.iter_modules(services.__path__):
    importlib.import_module(f"{services.__name__}.{module.name}")
print(sorted({name.split(".")[0] for name in sys.modules} & {"sqlalchemy", "psycopg2", "lsst", "parsl"}))
print([name for name in sys.modules if name.split(".")[1:2] in (["store"], ["middleware"])])
"""


def test_services_run_without_what_their_ports_stand_for() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n[]\n"
