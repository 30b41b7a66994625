"""Paths that a file names: made absolute, looked at, whatever they hold; nothing here raises."""

from __future__ import annotations

import os
from pathlib import Path

from merian_campaign.host.home import expanded

__all__ = ["absolute", "is_file", "is_folder", "why_no_file"]


def absolute(path: str, base: Path) -> str:
    """Return a path absolute and without links, relative ones from a folder."""
    try:
        return str((base / expanded(path)).resolve())
    except (OSError, RuntimeError, ValueError):  # a circle of links, a name too long, a NUL
        return os.path.abspath(base / expanded(path))  # noqa: PTH100 - only the text


def is_file(path: Path) -> bool:
    """Say whether there is a regular file; a name that no file can have has none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Say whether there is a folder."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def why_no_file(path: Path) -> str:
    """Return in words why a path that `is_file` refused is none."""
    try:
        return "is no regular file" if path.exists() else "does not exist"
    except OSError as error:
        return f"cannot be looked at ({error.strerror})"
    except ValueError:
        return "does not exist"
