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
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from merian_campaign.domain.errors import BadInputError, BusyError
from merian_campaign.domain.transfer import BUTLER_FILE, MANIFEST, FileEntry, Manifest, SourceFile
from merian_campaign.host.atomic_files import write_if_changed

Tell = Callable[[str], None]
"""Takes a line on how far something is."""

OpenFile = Callable[[str], AbstractContextManager[IO[bytes]]]
"""Opens a URI for reading."""

_CHUNK = 1 << 20
_LEDGER = ".export.jsonl"
_LOCK = ".export.lock"
_PART = ".part"
_SHOWN = 10
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
    with (folder / _LOCK).open("w") as stream:
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
    ledger = folder / _LEDGER
    owner = {"campaign": campaign, "repository": repository}
    lines = ledger.read_bytes().splitlines() if ledger.exists() else []
    if not lines:
        others = sorted(entry.name for entry in folder.iterdir() if entry.name not in {_LEDGER, _LOCK})
        if others:
            raise BadInputError(
                f"{folder}: holds {others[0]}, which is no export; give a new or an empty folder"
            )
        _append(folder, owner)
        return {}
    found = json.loads(lines[0])
    if found != owner:
        raise BadInputError(
            f"{folder}: holds an export of campaign {found.get('campaign')!r} from "
            f"{found.get('repository')}; give another folder"
        )
    copied = {}
    for line in lines[1:]:
        try:
            entry = Copied(**json.loads(line))
        except (ValueError, TypeError):
            continue  # the process was killed while it wrote the line
        copied[entry.path] = entry
    return copied


def _append(folder: Path, value: Mapping[str, object]) -> None:
    with (folder / _LEDGER).open("ab") as stream:
        # A line that was cut short stays a line of its own.
        start = b"\n" if stream.tell() and not _ends_well(folder / _LEDGER) else b""
        stream.write(start + json.dumps(value).encode() + b"\n")


def _ends_well(path: Path) -> bool:
    with path.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) == b"\n"


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def is_whole(path: Path, *, size: int, sha256: str) -> bool:
    """Say whether a file is there with this size and checksum."""
    return path.is_file() and path.stat().st_size == size and sha256_of(path) == sha256


def missing(
    folder: Path, wanted: Sequence[SourceFile], copied: Mapping[str, Copied], *, tell: Tell
) -> list[SourceFile]:
    """Return the files that have to be copied: those not there, of another dataset, or damaged."""
    found = []
    for number, file in enumerate(wanted, start=1):
        tell(f"checking what is there: {number} of {len(wanted)} files")
        entry = copied.get(file.path)
        same = entry is not None and (entry.dataset, entry.size) == (file.dataset, file.size)
        if entry is None or not same or not is_whole(folder / file.path, size=file.size, sha256=entry.sha256):
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
        entry = _copy(folder / file.path, file, open_file=open_file)
        _append(folder, asdict(entry))
        copied[file.path] = entry
        done += file.size
    return copied


def _copy(target: Path, file: SourceFile, *, open_file: OpenFile) -> Copied:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + _PART)
    digest, size = hashlib.sha256(), 0
    try:
        with open_file(file.uri) as source, part.open("wb") as stream:
            while chunk := source.read(_CHUNK):
                digest.update(chunk)
                stream.write(chunk)
                size += len(chunk)
            stream.flush()
            os.fsync(stream.fileno())
    except FileNotFoundError:
        raise BadInputError(f"{file.uri}: the file of a registered dataset is not there") from None
    if size != file.size:
        raise BadInputError(f"{file.uri}: has {size} bytes instead of {file.size}; is it being written?")
    part.replace(target)
    return Copied(path=file.path, dataset=file.dataset, size=size, sha256=digest.hexdigest())


def drop(folder: Path, copied: Iterable[str], wanted: Iterable[str]) -> int:
    """Remove what an earlier export copied and this one does not want; return how many files."""
    gone = set(copied) - set(wanted)
    for path in gone:
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
    return FileEntry(path=path, size=(folder / path).stat().st_size, sha256=sha256_of(folder / path))


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


def read_manifest(folder: Path) -> Manifest:
    """Return an export's manifest.

    Raises
    ------
    BadInputError
        Raised if there is none, or it is not one.
    """
    file = folder / MANIFEST
    try:
        return Manifest.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        what = "the export was not finished; run it again" if (folder / _LEDGER).exists() else "no export"
        raise BadInputError(f"{file}: there is no such file ({what})") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise BadInputError(f"{file}: {place}: {first['msg']}; is it a manifest of this version?") from None


def verify(folder: Path, entries: Sequence[FileEntry], *, tell: Tell) -> None:
    """Compare files with their checksums.

    Raises
    ------
    BadInputError
        Raised with every file that is missing or damaged (the first few of many).
    """
    wrong = []
    for number, entry in enumerate(entries, start=1):
        tell(f"verifying checksums: {number} of {len(entries)} files")
        path = folder / entry.path
        if not path.is_file():
            wrong.append(f"{path}: is not there")
        elif path.stat().st_size != entry.size:
            wrong.append(f"{path}: has {path.stat().st_size} bytes instead of {entry.size}")
        elif sha256_of(path) != entry.sha256:
            wrong.append(f"{path}: its checksum differs from the manifest's")
    if wrong:
        more = f"\n  and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise BadInputError(
            "nothing was imported, for the export is damaged; transfer these files again:\n  "
            + "\n  ".join(wrong[:_SHOWN])
            + more
        )


# -- archives --------------------------------------------------------------------------------------
def pack(folder: Path, archive: Path, manifest: Manifest, *, tell: Tell) -> bool:
    """Write an export into a tar file, whole, unless it is that already; return whether it was written.

    The manifest comes first in it.
    """
    text = (folder / MANIFEST).read_bytes()
    if archive.is_file() and _first_member(archive) == text:
        return False
    entries = [manifest.butler_file, *manifest.files]
    require_space(archive.parent, sum(entry.size for entry in entries), what="the archive")
    archive.parent.mkdir(parents=True, exist_ok=True)
    part = archive.with_name(archive.name + _PART)
    compressed = archive.suffix in {".gz", ".tgz"}
    with tarfile.open(part, "w:gz" if compressed else "w") as tar:
        tar.add(folder / MANIFEST, arcname=MANIFEST)
        for number, entry in enumerate(entries, start=1):
            tell(f"packing {number} of {len(entries)} files: {entry.path}")
            tar.add(folder / entry.path, arcname=entry.path, recursive=False)
    part.replace(archive)
    return True


def _first_member(archive: Path) -> bytes:
    try:
        with tarfile.open(archive) as tar:
            first = tar.next()
            stream = tar.extractfile(first) if first is not None and first.name == MANIFEST else None
            return stream.read() if stream is not None else b""
    except tarfile.TarError:
        return b""


@contextmanager
def unpacked(source: Path, *, tell: Tell) -> Iterator[Path]:
    """Give the folder of an export: the source itself, or what is in an archive.

    An archive is unpacked beside itself; that folder is removed at the end, and found again after a kill.

    Raises
    ------
    BadInputError
        Raised if it is neither.
    """
    if source.is_dir():
        yield source
        return
    if not source.is_file() or not tarfile.is_tarfile(source):
        raise BadInputError(f"{source}: is neither the folder of an export nor its archive")
    folder = source.with_name(f".{source.name}.unpacked")
    try:
        _unpack(source, folder, tell=tell)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unpack(source: Path, folder: Path, *, tell: Tell) -> None:
    try:
        with tarfile.open(source) as tar:
            members = tar.getmembers()
            require_space(folder, sum(member.size for member in members), what="unpacking")
            for number, member in enumerate(members, start=1):
                tell(f"unpacking {number} of {len(members)} files: {member.name}")
                tar.extract(member, folder, filter="data")
    except (tarfile.TarError, EOFError) as error:
        raise BadInputError(f"{source}: the archive is damaged ({error}); transfer it again") from None
