"""An export as received: unpacked, compared with its manifest, taken over from where others may write."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.safe_text.text import one_line
from merian_campaign.host.inside import folder_inside, open_inside
from merian_campaign.host.ownership import UntrustedError, doubt, doubt_private, private_folder
from merian_campaign.transfer import exports
from merian_campaign.transfer.exports import Tell
from merian_campaign.transfer.manifest import FileEntry, inside

_SHOWN = 10


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
        words = exports.fault(folder, entry)
        if words:
            wrong.append(f"{folder / entry.path}: {words}")
    if wrong:
        more = f"\n  and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise BadInputError(
            "nothing was imported, for the export is damaged; transfer these files again:\n  "
            + "\n  ".join(wrong[:_SHOWN])
            + more
        )


@contextmanager
def unpacked(source: Path, *, tell: Tell) -> Iterator[Path]:
    """Give the folder of an export: the source itself, or what is in an archive.

    An archive is unpacked beside itself; that folder is removed at the end, or at the next beginning.

    Raises
    ------
    BadInputError
        Raised if it is neither.
    UntrustedError
        Raised if the folder to unpack into is there already and belongs to somebody else.
    """
    if source.is_dir():
        yield source
        return
    if not source.is_file() or not tarfile.is_tarfile(source):
        raise BadInputError(f"{source}: is neither the folder of an export nor its archive")
    folder = source.with_name(f".{source.name}.unpacked")
    _remove(folder)
    private_folder(folder)
    try:
        _unpack(source, folder, tell=tell)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unpack(source: Path, folder: Path, *, tell: Tell) -> None:
    try:
        with tarfile.open(source) as tar:
            members = [member for member in tar.getmembers() if _is_plain(member, source)]
            exports.require_space(folder, sum(member.size for member in members), what="unpacking")
            for number, member in enumerate(members, start=1):
                tell(f"unpacking {number} of {len(members)} files: {member.name}")
                tar.extract(member, folder, filter="data")
    except (tarfile.TarError, EOFError) as error:
        raise BadInputError(f"{source}: the archive is damaged ({error}); transfer it again") from None


def _is_plain(member: tarfile.TarInfo, source: Path) -> bool:
    """Say whether to unpack a member, whose name loses a ``./``; refuse all but files and folders."""
    member.name = member.name.removeprefix("./").rstrip("/")
    if member.isdir() and member.name in {"", "."}:
        return False
    if not (member.isreg() or member.isdir()):
        raise BadInputError(f"{source}: {one_line(member.name)} in it is neither a file nor a folder")
    try:
        inside(member.name)
    except ValueError as error:
        raise BadInputError(f"{source}: {error}") from None
    return True


def shared(folder: Path, entries: Sequence[FileEntry]) -> str:
    """Say in words who else may exchange the files of an export while it is read; empty when nobody may."""
    places = {folder} | {parent for entry in entries for parent in (folder / entry.path).parents}
    for place in sorted(place for place in places if place == folder or folder in place.parents):
        words = doubt(place.resolve() if place == folder else place)
        if words:
            return f"{place} {words}"
    return ""


@contextmanager
def taken_over(folder: Path, entries: Sequence[FileEntry], *, beside: Path, tell: Tell) -> Iterator[Path]:
    """Give a private copy of an export's files, each as the manifest says.

    Parameters
    ----------
    folder : `~pathlib.Path`
        The export, in which others may exchange files at any moment.
    entries : sequence of `FileEntry`
        What is needed of it.
    beside : `~pathlib.Path`
        Where the copy is made; it is removed at the end, or at the next beginning.
    tell : callable
        Told how far it is.

    Raises
    ------
    BadInputError
        Raised if a file is not what the manifest says.
    """
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    copy_ = beside / f".merian-import-{name}"
    _remove(copy_)
    private_folder(copy_)
    try:
        for number, entry in enumerate(entries, start=1):
            tell(f"copying {number} of {len(entries)} files: {entry.path}")
            target = folder_inside(copy_, entry.path) / entry.path.rpartition("/")[2]
            with os.fdopen(open_inside(folder, entry.path), "rb") as source, target.open("xb") as stream:
                found = exports.pour(source, stream)
            if found != (entry.size, entry.sha256):
                raise BadInputError(f"{folder / entry.path}: was changed while it was imported")
        yield copy_
    finally:
        shutil.rmtree(copy_, ignore_errors=True)


def _remove(folder: Path) -> None:
    """Remove what an earlier run of ours has left."""
    if os.path.lexists(folder):
        words = doubt_private(folder, owner=os.geteuid())
        if words:
            raise UntrustedError(folder, words)
        shutil.rmtree(folder)
