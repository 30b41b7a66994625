"""The folder of an export: copying with checksums, resuming, verifying, packing and unpacking.

A ledger in the folder (one line a file, written after the file is there) lets an interrupted export go on.
The manifest comes last; while it is missing, the export is not complete.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from pydantic import ValidationError

from merian_campaign.domain.errors import BadInputError, BusyError
from merian_campaign.domain.safe_text import json_values
from merian_campaign.domain.safe_text.text import one_line
from merian_campaign.files.paths import is_file
from merian_campaign.host.atomic_files import appending, write_if_changed
from merian_campaign.host.inside import folder_inside, open_inside
from merian_campaign.host.regular_files import DamagedFileError
from merian_campaign.transfer.manifest import BUTLER_FILE, MANIFEST, FileEntry, Manifest, SourceFile, inside

Tell = Callable[[str], None]
"""Takes a line on how far something is."""

OpenFile = Callable[[str], AbstractContextManager[IO[bytes]]]
"""Opens a URI for reading."""

_CHUNK = 1 << 20
_LEDGER = ".export.jsonl"
_LOCK = ".export.lock"
_PART = ".part"
_SPARE = 0.02


@dataclass(frozen=True, kw_only=True)
class Copied:
    """A line of the ledger: a file that was copied whole."""

    path: str
    dataset: str
    size: int
    sha256: str


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold an export's folder, which is made if need be.

    Raises
    ------
    BusyError
        Raised if another process exports into it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with appending(folder / _LOCK) as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BusyError(f"{folder}: another process is exporting into this folder") from None
        yield


def claim(folder: Path, *, campaign: str, repository: str) -> dict[str, Copied]:
    """Return what an earlier export of the same campaign has copied; a new folder is begun.

    Raises
    ------
    BadInputError
        Raised if the folder holds anything else.
    """
    owner = {"campaign": campaign, "repository": repository}
    lines = _read(folder, _LEDGER).splitlines() if os.path.lexists(folder / _LEDGER) else []
    if not lines:
        others = sorted(entry.name for entry in folder.iterdir() if entry.name not in {_LEDGER, _LOCK})
        if others:
            raise BadInputError(
                f"{folder}: holds {others[0]}, which is no export; give a new or an empty folder"
            )
        _append(folder, owner)
        return {}
    try:
        found = _object(lines[0])
    except ValueError:
        raise BadInputError(f"{folder / _LEDGER}: is no ledger of an export; give another folder") from None
    if found != owner:
        raise BadInputError(
            f"{folder}: holds an export of campaign {found.get('campaign')!r} from "
            f"{found.get('repository')}; give another folder"
        )
    copied = {}
    for line in lines[1:]:
        try:
            entry = Copied(**_object(line))
            inside(entry.path)
        except (ValueError, TypeError, AttributeError):
            continue  # the process was killed while it wrote the line
        copied[entry.path] = entry
    return copied


def _object(line: bytes) -> dict[str, Any]:
    found = json_values.loads(line)
    if not isinstance(found, dict):
        raise json_values.WrongValueError(f"expected an object, found {type(found).__name__}")
    return found


def _append(folder: Path, value: Mapping[str, object]) -> None:
    # A line that was cut short stays a line of its own.
    with appending(folder / _LEDGER) as stream:
        start = b"" if _ends_well(folder) else b"\n"
        stream.write(start + json.dumps(value).encode() + b"\n")


def _ends_well(folder: Path) -> bool:
    with os.fdopen(open_inside(folder, _LEDGER), "rb") as stream:
        if not stream.seek(0, os.SEEK_END):
            return True
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) == b"\n"


def _read(folder: Path, path: str) -> bytes:
    with os.fdopen(open_inside(folder, path), "rb") as stream:
        return stream.read()


def fault(folder: Path, entry: FileEntry | Copied) -> str:
    """Say in words how a file differs from what is on record of it; empty when it does not."""
    try:
        with os.fdopen(open_inside(folder, entry.path), "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            if size != entry.size:
                return f"has {size} bytes instead of {entry.size}"
            if hashlib.file_digest(stream, "sha256").hexdigest() != entry.sha256:
                return "its checksum differs from the manifest's"
    except FileNotFoundError:
        return "is not there"
    except DamagedFileError as error:
        return error.found
    return ""


def missing(
    folder: Path, wanted: Sequence[SourceFile], copied: Mapping[str, Copied], *, tell: Tell
) -> list[SourceFile]:
    """Return the files that have to be copied: those not there, of another dataset, or damaged."""
    found = []
    for number, file in enumerate(wanted, start=1):
        tell(f"checking what is there: {number} of {len(wanted)} files")
        entry = copied.get(file.path)
        same = entry is not None and (entry.dataset, entry.size) == (file.dataset, file.size)
        if entry is None or not same or fault(folder, entry):
            found.append(file)
    return found


def require_space(folder: Path, size: int, *, what: str) -> None:
    """Refuse to begin what the disk cannot hold.

    Raises
    ------
    BadInputError
        Raised with what is needed and what is free.
    """
    place = folder.resolve()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    needed = int(size * (1 + _SPARE))
    if needed > free:
        raise BadInputError(
            f"{folder}: {what} needs {needed / 1e9:.3f} GB and {free / 1e9:.3f} GB are free; make room, "
            "or choose less (--types, --tract, --where)"
        )


def copy(folder: Path, files: Sequence[SourceFile], *, open_file: OpenFile, tell: Tell) -> dict[str, Copied]:
    """Copy files into an export, each whole or not at all, and write each into the ledger.

    Raises
    ------
    BadInputError
        Raised if a source cannot be read, or is not as long as it was a moment ago.
    """
    total = sum(file.size for file in files)
    done = 0
    copied: dict[str, Copied] = {}
    for number, file in enumerate(files, start=1):
        tell(f"copying {number} of {len(files)} files, {done / 1e9:.3f} of {total / 1e9:.3f} GB: {file.path}")
        entry = _copy(folder_inside(folder, file.path), file, open_file=open_file)
        _append(folder, asdict(entry))
        copied[file.path] = entry
        done += file.size
    return copied


def _copy(place: Path, file: SourceFile, *, open_file: OpenFile) -> Copied:
    target = place / file.path.rpartition("/")[2]
    part = target.with_name(target.name + _PART)
    part.unlink(missing_ok=True)
    try:
        with open_file(file.uri) as source, part.open("xb") as stream:
            size, sha256 = pour(source, stream)
    except FileNotFoundError:
        raise BadInputError(f"{file.uri}: the file of a registered dataset is not there") from None
    if size != file.size:
        raise BadInputError(f"{file.uri}: has {size} bytes instead of {file.size}; is it being written?")
    part.replace(target)
    return Copied(path=file.path, dataset=file.dataset, size=size, sha256=sha256)


def pour(source: IO[bytes], target: IO[bytes]) -> tuple[int, str]:
    """Copy all of a stream to disk; return its bytes and SHA-256."""
    digest, size = hashlib.sha256(), 0
    while chunk := source.read(_CHUNK):
        digest.update(chunk)
        target.write(chunk)
        size += len(chunk)
    target.flush()
    os.fsync(target.fileno())
    return size, digest.hexdigest()


def drop(folder: Path, copied: Iterable[str], wanted: Iterable[str]) -> int:
    """Remove what an earlier export copied and this one does not want; return how many files."""
    gone = set(copied) - set(wanted)
    for path in gone:
        with suppress(FileNotFoundError, DamagedFileError):
            os.close(open_inside(folder, path))  # what a link leads to is not ours
            (folder / path).unlink(missing_ok=True)
    return len(gone)


def place_butler_file(folder: Path, part: Path) -> None:
    """Put the file for ``butler import`` into its place, unless it is there already."""
    file = folder / BUTLER_FILE
    if file.exists() and file.read_bytes() == part.read_bytes():
        part.unlink()
        return
    open_again(folder)
    part.replace(file)


def open_again(folder: Path) -> None:
    """Withdraw the manifest: the export is not complete any more."""
    (folder / MANIFEST).unlink(missing_ok=True)


def entry_of(folder: Path, path: str) -> FileEntry:
    """Return what a manifest says of a file."""
    content = _read(folder, path)
    return FileEntry(path=path, size=len(content), sha256=hashlib.sha256(content).hexdigest())


def listed(copied: Copied) -> FileEntry:
    """Return what a manifest says of a copied file."""
    return FileEntry(path=copied.path, size=copied.size, sha256=copied.sha256)


def write_manifest(folder: Path, manifest: Manifest) -> bool:
    """Write the manifest, whole; return whether it was. One that says the same but for its date stays."""
    file = folder / MANIFEST
    if file.exists():
        before = read_manifest(folder)
        manifest = (
            before
            if before.model_copy(update={"created": ""}) == manifest.model_copy(update={"created": ""})
            else manifest
        )
    return write_if_changed(file, manifest.model_dump_json(indent=1) + "\n")


def is_export(place: Path) -> bool:
    """Say whether a path is a folder with a manifest, or a file, as an archive is."""
    return is_file(place) or is_file(place / MANIFEST)


def read_manifest(folder: Path) -> Manifest:
    """Return an export's manifest.

    Raises
    ------
    BadInputError
        Raised if there is none, or it is not one.
    """
    file = folder / MANIFEST
    try:
        return Manifest.model_validate_json(_read(folder, MANIFEST))
    except FileNotFoundError:
        what = "the export was not finished; run it again" if (folder / _LEDGER).exists() else "no export"
        raise BadInputError(f"{file}: there is no such file ({what})") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        said = one_line(f"{place}: {first['msg']}")
        raise BadInputError(f"{file}: {said}; is it a manifest of this version?") from None


def pack(folder: Path, archive: Path, manifest: Manifest, *, tell: Tell) -> bool:
    """Write an export into a tar file, whole, unless it is that already; return whether it was written.

    The manifest comes first in it.
    """
    text = _read(folder, MANIFEST)
    if archive.is_file() and _first_member(archive) == text:
        return False
    entries = [manifest.butler_file, *manifest.files]
    require_space(archive.parent, sum(entry.size for entry in entries), what="the archive")
    archive.parent.mkdir(parents=True, exist_ok=True)
    part = archive.with_name(archive.name + _PART)
    compressed = archive.suffix in {".gz", ".tgz"}
    part.unlink(missing_ok=True)
    with tarfile.open(part, "x:gz" if compressed else "x", dereference=True) as tar:
        _add(tar, folder, MANIFEST)
        for number, entry in enumerate(entries, start=1):
            tell(f"packing {number} of {len(entries)} files: {entry.path}")
            _add(tar, folder, entry.path)
    part.replace(archive)
    return True


def _add(tar: tarfile.TarFile, folder: Path, path: str) -> None:
    with os.fdopen(open_inside(folder, path), "rb") as stream:
        tar.addfile(tar.gettarinfo(arcname=path, fileobj=stream), stream)


def _first_member(archive: Path) -> bytes:
    try:
        with tarfile.open(archive) as tar:
            first = tar.next()
            stream = tar.extractfile(first) if first is not None and first.name == MANIFEST else None
            return stream.read() if stream is not None else b""
    except tarfile.TarError:
        return b""
