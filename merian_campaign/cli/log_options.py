"""What programs log: ``--log-level``, ``--log-file``, ``--long-log`` and ``--log-tty``, as butler has them.

Names, meanings and formats are those of ``lsst.daf.butler.cli``, which may not be there: `status` and its kin
run without any of the stack. Without these options nothing about logging is changed.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from merian_campaign.cli.output import note
from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.safe_text.text import clean, redact
from merian_campaign.host.atomic_files import open_append

LEVELS = ("CRITICAL", "ERROR", "WARNING", "INFO", "VERBOSE", "DEBUG", "TRACE")
ROOTS = ("lsst", "merian_campaign")
"""Loggers that a level without a name is for."""

_OWN_LEVELS = {"VERBOSE": 15, "TRACE": 5}
"""Of ``lsst.utils.logging``."""

_SHORT = "{name} {levelname}: {message}"
_LONG = "{levelname} {asctime} {name} ({filename}:{lineno}) - {message}"
_KEYS = (
    "name",
    "levelno",
    "levelname",
    "filename",
    "pathname",
    "lineno",
    "funcName",
    "process",
    "processName",
)


class _Precise(logging.Formatter):
    """Times in UTC, to the millisecond; inert, and without passwords."""

    def format(self, record: logging.LogRecord) -> str:
        return clean(redact(super().format(record)))

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802
        return datetime.fromtimestamp(record.created, tz=UTC).isoformat(timespec="milliseconds")


class _Json(_Precise):
    """One JSON object a line, with the keys of butler's log records."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {key: getattr(record, key) for key in _KEYS}
        entry |= {"asctime": self.formatTime(record), "message": record.getMessage(), "MDC": {}}
        if record.exc_info:
            entry["exc_info"] = self.formatException(record.exc_info)
        return redact(json.dumps(entry))


class _Notes(logging.Handler):
    """Standard error, through its door."""

    def emit(self, record: logging.LogRecord) -> None:
        note(self.format(record))


def levels_of(texts: Iterable[str]) -> Mapping[str, str]:
    """Return the level of each logger that ``--log-level`` names; the empty name is for `ROOTS`.

    Parameters
    ----------
    texts : iterable of `str`
        ``LEVEL`` or ``LOGGER=LEVEL``, several with commas; ``.`` is Python's root logger.

    Raises
    ------
    BadInputError
        Raised if a level is unknown.
    """
    found: dict[str, str] = {}
    for entry in (entry for text in texts for entry in text.split(",") if entry):
        logger, _, level = entry.rpartition("=")
        if level.upper() not in LEVELS:
            raise BadInputError(f"--log-level: found {entry!r}; write [LOGGER=]LEVEL, of {', '.join(LEVELS)}")
        found[logger] = level.upper()
    return found


def begin(*, levels: Iterable[str], files: Iterable[str], long: bool, tty: bool) -> None:
    """Set logging up, if any option asks for it.

    Parameters
    ----------
    levels, files : iterable of `str`
        Of ``--log-level`` and ``--log-file``; files are appended to, those named ``.json`` get JSON.
    long : `bool`
        Whether lines have time and place.
    tty : `bool`
        Whether standard error gets them too.

    Raises
    ------
    BadInputError
        Raised if a level is unknown.
    OSError
        Raised if a file cannot be written.
    """
    names = [name for text in files for name in text.split(",") if name]
    wanted = levels_of(levels)
    if not wanted and not names and not long and tty:
        return
    plain: logging.Formatter = _Precise(_LONG, style="{") if long else _Precise(_SHORT, style="{")
    handlers: list[logging.Handler] = [_Notes() if tty else logging.NullHandler()]
    handlers[0].setFormatter(plain)
    for name in names:
        stream = os.fdopen(open_append(name), "a", encoding="utf-8", errors="backslashreplace")
        handler = logging.StreamHandler(stream)
        handler.setFormatter(_Json() if name.endswith(".json") else plain)
        handlers.append(handler)
    for name, number in _OWN_LEVELS.items():
        logging.addLevelName(number, name)
    logging.basicConfig(level=logging.WARNING, force=True, handlers=handlers)
    logging.captureWarnings(capture=True)
    for logger, level in {"": "INFO", **wanted}.items():
        for root in (logger if logger != "." else None,) if logger else ROOTS:
            logging.getLogger(root).setLevel(_OWN_LEVELS.get(level, level))
