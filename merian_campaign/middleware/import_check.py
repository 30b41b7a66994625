"""What this Python can import of what merian-campaign needs, and where it comes from.

As a program it says in one line what is missing, for the start of drivers inside a stack.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import warnings
from importlib import metadata
from pathlib import Path

from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.stack.requirements import (
    MODULES,
    PACKAGE,
    InstalledModule,
    Requirement,
    StackReport,
    parse_requirement,
    pip_command,
)
from merian_campaign.wms import version_lookup

_PROGRAMS = ("merian-campaign", "bps", "butler", "pipetask", "interchange.py", "process_worker_pool.py")


def report() -> StackReport:
    """Return what this Python has of all that is needed; everything of it is imported once.

    Raises
    ------
    BadInputError
        Raised if this package was not installed for this Python.
    """
    from merian_campaign.middleware.programs import program  # noqa: PLC0415 - the quick look needs none

    places = {name: program(name) for name in _PROGRAMS}
    return StackReport(
        python=sys.executable,
        versions=version_lookup.take(),
        found=tuple(try_import(wanted) for wanted in requirements()),
        programs=tuple((name, path if os.access(path, os.X_OK) else "") for name, path in places.items()),
    )


def requirements() -> tuple[Requirement, ...]:
    """Return what this package requires, the LSST middleware included, and what that requires in turn.

    Raises
    ------
    BadInputError
        Raised if this package was not installed for this Python.
    """
    try:
        found = {wanted.name: wanted for wanted in _required_by(PACKAGE)}
    except metadata.PackageNotFoundError:
        install = f"{sys.executable} -m pip install --no-deps {PACKAGE}"
        raise BadInputError(f"{PACKAGE} is not installed for {sys.executable}: {install}") from None
    waiting = [name for name in found if not found[name].of_stack]
    while waiting:
        try:
            further = _required_by(waiting.pop())
        except metadata.PackageNotFoundError:
            continue  # it is missing, or came without a record of what it needs
        for wanted in further:
            if wanted.name not in found:
                found[wanted.name] = wanted
                waiting.append(wanted.name)
    return tuple(found.values())


def _required_by(name: str) -> list[Requirement]:
    lines = metadata.requires(name) or []
    return [wanted for line in lines if (wanted := parse_requirement(line, of=name)) is not None]


def look(wanted: Requirement) -> InstalledModule:
    """Look one requirement up without importing it."""
    where = folder_of(wanted.module) or _place(wanted)
    if not where:
        return InstalledModule(wanted=wanted, error=f"no module named {wanted.module}")
    own = version_lookup.module_version(wanted.module) if wanted.of_stack else ""
    version = own or _distributed(wanted) or version_lookup.module_version(wanted.module)
    return InstalledModule(wanted=wanted, version=version, where=where)


def try_import(wanted: Requirement) -> InstalledModule:
    """Look one requirement up and import it: what lies there may still not load."""
    found = look(wanted)
    if not folder_of(wanted.module):
        return found
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = importlib.import_module(wanted.module)
    except Exception as error:  # noqa: BLE001 - whatever a package does when it is imported
        words = str(error).strip().splitlines()
        return InstalledModule(wanted=wanted, error=f"{type(error).__name__}: {words[0] if words else ''}")
    version = found.version or str(getattr(module, "__version__", ""))
    return InstalledModule(wanted=wanted, version=version, where=found.where)


def folder_of(module: str) -> str:
    """Return the folder a module would come from, without importing the packages around it."""
    if "." not in module:
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None:
            return ""
        path = Path(spec.origin)
        return str(path.parent.parent if path.name == "__init__.py" else path.parent)
    relative = Path(*module.split("."))
    for entry in sys.path:
        if (Path(entry or ".") / relative / "__init__.py").is_file():
            return entry or str(Path.cwd())
    return ""


def _place(wanted: Requirement) -> str:
    """Return where a distribution lies whose modules have other names than itself."""
    if wanted.of_stack or wanted.name in MODULES:
        return ""
    try:
        return str(metadata.distribution(wanted.name).locate_file(""))
    except metadata.PackageNotFoundError:
        return ""


def _distributed(wanted: Requirement) -> str:
    names = (wanted.name, "psycopg2") if wanted.name == "psycopg2-binary" else (wanted.name,)
    for name in names:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return ""


def main() -> int:
    """Say in one line what is missing, if anything."""
    try:
        bad = [entry for entry in map(look, requirements()) if entry.trouble]
    except BadInputError as error:
        sys.stdout.write(f"{error}\n")
        return 1
    if bad:
        command = pip_command(bad, python=sys.executable)
        advice = f"; to install what is missing, and nothing else: {command}" if command else ""
        sys.stdout.write(f"{', '.join(entry.words for entry in bad)}{advice}\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
