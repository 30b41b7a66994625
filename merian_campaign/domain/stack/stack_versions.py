"""Which versions of the LSST stack a submission ran under, and whether two submissions may be mixed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from merian_campaign.domain.record.snapshot import GroupView, SubmissionView
from merian_campaign.domain.safe_text.shell import shown

PIXELS = ("astropy", "galsim", "healpy", "numpy", "pyarrow", "pyerfa", "scipy")
"""Packages outside the stack that have a say in what comes out."""

_SHOWN_CHANGES = 4
_LONGEST_TAGS = 1000
_TAG = re.compile(r"\b[wdv]_?[0-9]+[_.0-9a-z]*\b")


@dataclass(frozen=True, kw_only=True)
class Versions:
    """What was loaded.

    Parameters
    ----------
    stack : `~collections.abc.Mapping`
        Packages of the LSST stack with their versions.
    others : `~collections.abc.Mapping`
        Other packages that are worth knowing.
    python : `str`
        E.g. ``3.12.1``.
    manager : `str`
        Version of this package.
    environment : `str`
        Name or folder of the conda or virtual environment.
    tag : `str`
        What eups calls the set-up release, e.g. ``w_2022_26``; empty without eups.
    """

    stack: Mapping[str, str]
    others: Mapping[str, str] = field(default_factory=dict)
    python: str = ""
    manager: str = ""
    environment: str = ""
    tag: str = ""


def counted(versions: Versions) -> Mapping[str, str]:
    """Return the versions that must not differ within a group.

    All of the LSST stack, what else computes or writes pixels and tables, and Python's minor version.
    Not this package: it only decides what runs where.
    """
    minor = ".".join(versions.python.split(".")[:2])
    others = {name: versions.others[name] for name in PIXELS if name in versions.others}
    return {**versions.stack, **others, "python": minor}


def sha_of(versions: Versions) -> str:
    """Return a short digest of the versions that count; equal for equal ones."""
    text = "".join(f"{name} {version}\n" for name, version in sorted(counted(versions).items()))
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]


def to_json(versions: Versions) -> dict[str, Any]:
    """Return what is kept of versions, in the file and in the database."""
    return {
        "version": 1,
        "sha": sha_of(versions),
        "short": short(versions),
        "tag": versions.tag,
        "environment": versions.environment,
        "python": versions.python,
        "manager": versions.manager,
        "stack": dict(sorted(versions.stack.items())),
        "others": dict(sorted(versions.others.items())),
    }


def from_json(value: Mapping[str, Any]) -> Versions:
    """Read what `to_json` made."""
    return Versions(
        stack=value["stack"],
        others=value["others"],
        python=value["python"],
        manager=value["manager"],
        environment=value["environment"],
        tag=value["tag"],
    )


def short(versions: Versions) -> str:
    """Return versions in a few words."""
    best = versions.tag
    if not best:
        name = next((n for n in ("lsst_distrib", "lsst_pipe_base", "pipe_base") if n in versions.stack), "")
        best = f"{name} {versions.stack[name]}" if name else "no LSST stack"
    local = [name for name, version in sorted(versions.stack.items()) if version.startswith("LOCAL:")]
    words = [best, *(f"local {name}" for name in local), f"python {versions.python}"]
    return f"{', '.join(words)} ({sha_of(versions)[:8]})"


def differences(before: Versions, after: Versions) -> tuple[str, ...]:
    """Return what changed, e.g. ``lsst_pipe_base 30.1 -> 30.2``, by name; empty for nothing that counts."""
    old, new = counted(before), counted(after)
    return tuple(
        f"{name} {old.get(name, 'not there')} -> {new.get(name, 'not there')}"
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    )


def change_words(before: Versions, after: Versions) -> str:
    """Return what changed as text: the release where it has a name, and the first few of many packages.

    Empty when nothing that counts did.
    """
    changes = differences(before, after)
    text = ", ".join(changes[:_SHOWN_CHANGES])
    more = len(changes) - _SHOWN_CHANGES
    text = f"{text} and {more} more" if more > 0 else text
    other_release = changes and before.tag and after.tag and before.tag != after.tag
    return f"{before.tag} -> {after.tag}: {text}" if other_release else text


def binding(group: GroupView, *, number: int) -> SubmissionView | None:
    """Return the submission whose versions a later one of its group must keep to.

    The latest earlier one that ran anything. None binds when no quantum of the group was ever predicted,
    because then there is nothing that could be mixed, nor those from before a change that was asked for.
    """
    if not group.counts.expected:
        return None
    for entry in reversed(group.submissions):
        if group.stack_from < entry.number < number and entry.versions_sha:
            return entry
    return None


def refusal(*, campaign: str, group: GroupView, earlier: SubmissionView, changes: str) -> str:
    """Return why a submission under other versions does not run, and what to do."""
    words = ("merian-campaign", "retry", campaign, f"{group.step}/{group.key}", "--allow-stack-change")
    return (
        f"the stack changed since submission {earlier.number}: {changes}; run it with the old "
        f"one, or allow it with `{shown(words)}`"
    )


def tag_of(words: str) -> str:
    """Return the release tag among the tags of an eups version, e.g. ``w_2022_26``; empty for none."""
    found = _TAG.findall(words[:_LONGEST_TAGS])
    return found[0] if found else ""
