"""Gathering a process's memory into large pages, so that forking it copies a two-hundredth of the page table.

Linux 6.1 and later do it on request, whatever is set for programs that do not ask; earlier ones refuse, and
nothing is lost.  A forked child still copies single small pages, when it writes to them.
"""

import ctypes
from pathlib import Path

__all__ = ["gather_pages", "large_ranges"]

_LIBC = ctypes.CDLL(None)
_LARGE = 2 * 1024 * 1024
_MADV_COLLAPSE = 25


def gather_pages() -> int:
    """Gather what this process has allocated; return how many large pages came of it."""
    return sum(_collapse(start) for start in large_ranges(Path("/proc/self/maps").read_text()))


def large_ranges(maps: str) -> list[int]:
    """Return the addresses at which large pages can lie in private memory of no file."""
    found: list[int] = []
    for line in maps.splitlines():
        span, mode, _, _, inode, *name = line.split(maxsplit=5)
        if mode != "rw-p" or inode != "0" or (name and name[0] != "[heap]"):
            continue
        start, end = (int(address, 16) for address in span.split("-"))
        found += range(-(-start // _LARGE) * _LARGE, end // _LARGE * _LARGE, _LARGE)
    return found


def _collapse(start: int) -> bool:
    done: int = _LIBC.madvise(ctypes.c_void_p(start), ctypes.c_size_t(_LARGE), _MADV_COLLAPSE)
    return done == 0
