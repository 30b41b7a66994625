"""Whom to tell: the file of notices in the home directory, which may hold secrets, or the environment."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.tick.notices import Channel, NoticeOptions
from merian_campaign.files.complaints import bad_file
from merian_campaign.files.yaml_lines import read_document
from merian_campaign.host.ownership import require

__all__ = ["NOTICE_FILE", "NOTICE_VARIABLE", "read_notices"]

NOTICE_FILE: Final = "notices.yaml"
NOTICE_VARIABLE: Final = "MERIAN_CAMPAIGN_NOTICES"
"""More channels: URLs with blanks between them."""


def read_notices(home: Path, *, environ: Mapping[str, str]) -> NoticeOptions:
    """Return whom to tell what; nobody, where nothing says so.

    Raises
    ------
    BadInputError
        Raised if the file is wrong, or others may read it.
    """
    path = home / NOTICE_FILE
    options = _read(path) if path.exists() else NoticeOptions()
    more = tuple(Channel(url=url) for url in environ.get(NOTICE_VARIABLE, "").split())
    return options.model_copy(update={"channels": (*options.channels, *more)})


def _read(path: Path) -> NoticeOptions:
    require(path)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise BadInputError(
            f"{path}: it may hold passwords, and others may read it (mode {mode:04o}); `chmod 600` it"
        )
    document = read_document(path)
    try:
        return NoticeOptions.model_validate(document.data)
    except ValidationError as error:
        known = [*NoticeOptions.model_fields, *Channel.model_fields]
        raise bad_file(document, error.errors(), known=known) from None
