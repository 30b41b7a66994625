"""The lines of predicted graphs, by quantum: read once, and parsed where something happens to the quantum."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from merian_campaign.host.regular_files import read_lines

_UUID: Final = re.compile(r'"uuid": ?"([0-9a-f-]{36})"')
_KEPT: Final = 32
"""Files whose lines are kept, those last asked for; some megabytes each."""


class PredictedLines:
    """Lines of the files that were asked for last, as long as these stay as they are."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[tuple[int, int, int], Mapping[str, str]]] = OrderedDict()

    def of(self, path: str) -> Mapping[str, str]:
        """Return the lines of a file by the UUID of their quantum; none when there is no file.

        Raises
        ------
        DamagedFileError
            Raised if it is no file of lines.
        """
        try:
            found = Path(path).lstat()
        except FileNotFoundError:
            return {}
        state = (found.st_ino, found.st_size, found.st_mtime_ns)
        kept = self._kept.pop(path, None)
        if kept is None or kept[0] != state:
            named = ((_UUID.search(line), line) for line in read_lines(path, follow=False))
            kept = (state, {uuid[1]: line for uuid, line in named if uuid is not None})
        self._kept[path] = kept
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return kept[1]
