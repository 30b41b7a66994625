"""Reading what the submissions of a campaign left in their directories."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from merian_campaign.domain.remains import Remains, WhenMade, made_from_json
from merian_campaign.domain.rendering.naming import SubmissionPaths
from merian_campaign.domain.safe_text.json_values import WrongValueError
from merian_campaign.domain.safe_text.text import one_line
from merian_campaign.domain.stack import stack_versions
from merian_campaign.host.ownership import require_submission
from merian_campaign.host.regular_files import DamagedFileError, read_json_object, read_tail, read_text
from merian_campaign.middleware.submission_run import read_outcome

__all__ = ["read_remains"]

_SCRIPT: Final = re.compile(r"driver([0-9]{1,3})[.]sh")
_NUMBER: Final = re.compile(r"(?!000)[0-9]{3}|[1-9][0-9]{3,8}")


def read_remains(folder: str, *, trusted: Sequence[str]) -> tuple[Remains, ...]:
    """Return what lies in a folder of submissions, by step, group and number; what is damaged is said.

    Parameters
    ----------
    folder : `str`
        Of one campaign.
    trusted : `~collections.abc.Sequence` [`str`]
        Groups whose members may write there.

    Raises
    ------
    UntrustedError
        Raised if others may have written there.
    """
    return tuple(_read(directory, trusted=trusted) for directory in _directories(Path(folder)))


def _directories(folder: Path) -> Iterator[Path]:
    for directory in sorted(folder.glob("*/*/*")):
        if _NUMBER.fullmatch(directory.name) and directory.is_dir():
            yield directory


def _read(directory: Path, *, trusted: Sequence[str]) -> Remains:
    paths = SubmissionPaths(directory=str(directory))
    present = [Path(paths.identity), Path(paths.started), Path(paths.outcome), Path(paths.versions)]
    names = [str(path) for path in present if path.exists()]
    require_submission(str(directory), *names, trusted=trusted)
    trouble: list[str] = []
    identity = _try(lambda: read_json_object(paths.identity, follow=False), trouble) or {}
    result = _try(lambda: read_outcome(str(directory)), trouble)
    outcome = _try(lambda: read_json_object(paths.outcome, follow=False), []) or {}
    epoch = outcome.get("epoch")
    if _is_cut(Path(paths.journal)):
        trouble.append(f"{paths.journal}: is cut; what became of quanta is taken from the provenance graph")
    return Remains(
        step=directory.parent.parent.name,
        group=directory.parent.name,
        number=int(directory.name),
        directory=str(directory),
        at=_moment(Path(paths.identity)) or _moment(directory) or datetime.now(UTC),
        campaign=str(identity.get("campaign", "")),
        made=_made(paths, identity, trouble),
        started=_epoch(paths.started),
        result=result,
        epoch=epoch if isinstance(epoch, int) and result is not None else 0,
        ended_at=_moment(Path(paths.outcome)) if result is not None else None,
        versions=_versions(paths, trouble),
        harvested=Path(paths.harvest).is_file(),
        job_epoch=_job_epoch(directory),
        trouble=one_line("; ".join(trouble), limit=1000),
    )


def _try[T](read: Callable[[], T], trouble: list[str]) -> T | None:
    try:
        return read()
    except DamagedFileError as error:
        trouble.append(str(error))
        return None


def _made(paths: SubmissionPaths, identity: Mapping[str, Any], trouble: list[str]) -> WhenMade | None:
    if "made" not in identity:
        return None
    try:
        return made_from_json(identity["made"])
    except WrongValueError as error:
        trouble.append(f"{paths.identity}: {error}")
        return None


def _versions(paths: SubmissionPaths, trouble: list[str]) -> Mapping[str, Any] | None:
    found = _try(lambda: read_json_object(paths.versions, follow=False), trouble)
    try:
        return None if found is None else stack_versions.to_json(stack_versions.from_json(found))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        trouble.append(f"{paths.versions}: {type(error).__name__}: {error}")
        return None


def _epoch(path: str) -> int | None:
    try:
        text = read_text(path, follow=False).strip()
    except (FileNotFoundError, DamagedFileError):
        return None
    return int(text) if text.isdecimal() and len(text) < 4 else 1  # noqa: PLR2004 - a damaged one has begun


def _job_epoch(directory: Path) -> int | None:
    """Return the epoch of the last driver that was to be a Slurm job, by its script."""
    found = (_SCRIPT.fullmatch(path.name) for path in directory.glob("driver*.sh"))
    return max((int(name[1]) for name in found if name), default=None)


def _is_cut(journal: Path) -> bool:
    """Say whether a journal ends within a line."""
    try:
        found = read_tail(journal, size=1)
    except (OSError, DamagedFileError):
        return False
    return found not in {"", "\n"}


def _moment(path: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp(path.lstat().st_mtime, UTC)
    except OSError:
        return None
