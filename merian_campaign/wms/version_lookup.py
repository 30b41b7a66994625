"""Which versions of the LSST stack this process would load: looked up, never imported.

The same answer in every process with the same environment, so that a driver's and its workers' can be
compared. Standard library only. Without eups, packages are found by their ``version.py`` along
``sys.path``, the first of a name as an import would; with eups, by its ``SETUP_*`` variables.
"""

import hashlib
import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from merian_campaign.domain.stack.stack_versions import (
    PIXELS,
    Versions,
    change_words,
    from_json,
    tag_of,
    to_json,
)
from merian_campaign.host.atomic_files import write_json
from merian_campaign.host.regular_files import DamagedFileError, read_json_object

__all__ = ["FILE_NAME", "keep", "mismatch", "module_version", "take"]

FILE_NAME = "versions.json"
"""File in a submit directory: the versions under which its quantum graph was built."""

_OTHERS = (*PIXELS, "parsl", "pydantic", "sqlalchemy")
_VERSION = re.compile(
    r"""^[ \t]*(?:__version__|version|VERSION)[ \t]*(?::[^=\n]+)?=[ \t]*['"]([^'"\n]+)['"]""", re.MULTILINE
)
_CODE = {".py", ".yaml", ".cfg"}
_LOCAL = "LOCAL:"
_MOST_FILES = 5000


def take(environ: Mapping[str, str] | None = None) -> Versions:
    """Return the versions that this process would load.

    Parameters
    ----------
    environ : `~collections.abc.Mapping`, optional
        Its environment.
    """
    environ = os.environ if environ is None else environ
    products = _eups(environ)
    stack = products or _along_path()
    others = {name: found for name in _OTHERS if (found := _distribution(name) or module_version(name))}
    return Versions(
        stack=stack,
        others=others,
        python=platform.python_version(),
        manager=_distribution("merian-campaign") or "",
        environment=environ.get("CONDA_DEFAULT_ENV") or (sys.prefix if sys.prefix != sys.base_prefix else ""),
        tag=_release(environ, products),
    )


def keep(path: Path, versions: Versions) -> dict[str, Any]:
    """Write versions to a file, whole or not at all; return its content."""
    content = to_json(versions)
    write_json(path, content)
    return content


def mismatch(submit: Path) -> str:
    """Return how this process differs from the versions under which a submission's graph was built.

    Returns
    -------
    words : `str`
        Empty when nothing that counts differs, or nothing is on record.
    """
    try:
        before = from_json(read_json_object(submit / FILE_NAME) or {})
        return change_words(before, take())
    except (OSError, DamagedFileError, ValueError, KeyError, TypeError, AttributeError):
        return ""


# -- eups ------------------------------------------------------------------------------------------------


def _eups(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the products that eups has set up: ``SETUP_PIPE_BASE=pipe_base VERSION -f FLAVOR -Z STACK``."""
    found = {}
    for name, value in environ.items():
        if not name.startswith("SETUP_") or name == "SETUP_EUPS":
            continue
        product, _, rest = value.partition(" ")
        version = rest.partition(" -f ")[0].strip()
        if version and product.upper() == name.removeprefix("SETUP_"):
            found[product] = _with_digest(version)
    return found


def _with_digest(version: str) -> str:
    """Add a digest of its code to a local package's version, which by itself is only a folder."""
    if not version.startswith(_LOCAL):
        return version
    return f"{version}#{_digest(Path(version.removeprefix(_LOCAL)))}"


def _digest(folder: Path) -> str:
    made = hashlib.sha256()
    for number, path in enumerate(_code(folder)):
        if number >= _MOST_FILES:
            break
        with suppress(OSError):
            what = path.read_bytes() if path.suffix in _CODE else str(path.stat().st_size).encode()
            made.update(str(path.relative_to(folder)).encode() + b"\0" + what + b"\0")
    return made.hexdigest()[:8]


def _code(folder: Path) -> Iterator[Path]:
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name[0] not in "._" and name != "tests")
        yield from (Path(where) / name for name in sorted(names) if Path(name).suffix in {*_CODE, ".so"})


def _release(environ: Mapping[str, str], products: Mapping[str, str]) -> str:
    """Return the tag of the set-up release, from the chain files of eups (one small file a tag)."""
    version = products.get("lsst_distrib", "")
    if not version or version.startswith(_LOCAL):
        return ""
    tags = []
    for root in environ.get("EUPS_PATH", "").split(os.pathsep):
        for chain in Path(root).glob("ups_db/lsst_distrib/*.chain") if root else ():
            with suppress(OSError):
                if version in chain.read_text(errors="replace").split():
                    tags.append(chain.stem)
    return tag_of(" ".join(sorted(tags)))


# -- without eups ----------------------------------------------------------------------------------------


def _along_path() -> dict[str, str]:
    found: dict[str, str] = {}
    for entry in sys.path:
        root = Path(entry or ".") / "lsst"
        for file in _version_files(root):
            name = "_".join(("lsst", *file.parent.relative_to(root).parts))
            if name not in found and (version := _read_version(file)):
                found[name] = version
    return dict(sorted(found.items()))


def _version_files(root: Path) -> Iterator[Path]:
    for pattern in ("*/version.py", "*/*/version.py", "ctrl/bps/*/version.py"):
        yield from sorted(root.glob(pattern))


def module_version(name: str) -> str:
    """Return the version of a module along ``sys.path`` from its files; empty when they do not say."""
    for entry in sys.path:
        folder = Path(entry or ".").joinpath(*name.split("."))
        if folder.is_dir():
            files = (folder / file for file in ("version.py", "_version.py", "__init__.py"))
            return next((found for file in files if (found := _read_version(file))), "")
    return ""


def _read_version(file: Path) -> str:
    try:
        found = _VERSION.search(file.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return ""
    return found[1] if found else ""


def _distribution(name: str) -> str | None:
    from importlib import metadata  # noqa: PLC0415 - not in every process

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
