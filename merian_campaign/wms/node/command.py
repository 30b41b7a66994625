"""Reading command lines: which of them a warm child may run itself, and what they ask for.

Pure text.  The rule is narrow on purpose: a plain call of ``pipetask`` or ``butler``, without anything
that needs a shell, and, for ``run-qbb``, only options known to behave the same in a forked child.
Everything else is left to bash, exactly as the stock service does.
"""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePath

__all__ = [
    "Locked",
    "RunQbb",
    "changed_variables",
    "plain_words",
    "quanta_of",
    "read_run_qbb",
    "split_locked",
]

_SHELL = re.compile(r"[;&|<>()`*?\[\]~!{}\n\\]|^#|\$\(")
"""What a shell reads in a word; ``#`` only where it begins one: ``FILE#SUBSET`` is a pipeline's subset."""
_SIMPLE = re.compile(r"[A-Za-z0-9_@%+=:,./ -]*")
"""What a shell, and `shlex` at a hundred times the cost, only split at blanks: most quanta's commands."""
_VARIABLE = re.compile(r"\$(\w+|\{\w+\})")
_ENV = re.compile(r"<ENV:([^>]+)>")
_MARKS = "MERIAN_CAMPAIGN_"
_GROUP_OPTIONS = frozenset({"--log-level", "--log-file", "--log-label"})
_WITH_VALUE = frozenset(
    {"--qgraph-node-id", "--qgraph-id", "--summary", "--cores-per-quantum", "--memory-per-quantum"}
)
_FLAGS = frozenset(
    {
        "--no-existing-outputs",
        "--raise-on-partial-outputs",
        "--no-raise-on-partial-outputs",
        "--fail-fast",
        "--no-fail-fast",
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunQbb:
    """A ``pipetask run-qbb`` call that a warm child may make."""

    words: tuple[str, ...]
    repository: str
    graph: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Locked:
    """A command that asked to be run under the lock of a butler repository; see `repository_lock`."""

    repository: str
    readers: int | None
    command: str


def changed_variables(variables: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return what BPS's ``environment`` changes of an environment; our own marks are not its to change.

    ``<ENV:NAME>`` in a value stands for what the variable was before.
    """
    own = {name: _ENV.sub(lambda m: environment.get(m[1], ""), value) for name, value in variables.items()}
    return {
        name: value
        for name, value in own.items()
        if environment.get(name) != value and not name.startswith(_MARKS)
    }


def plain_words(command: str, environment: Mapping[str, str]) -> tuple[str, ...] | None:
    """Return the words of a command that needs no shell, variables expanded, or None.

    Single quotes together with a variable are left to the shell, which knows not to expand there.
    """
    if _VARIABLE.search(command):
        if "'" in command:
            return None
        command = _VARIABLE.sub(lambda m: environment.get(m[1].strip("{}"), ""), command)
    if "$" in command:
        return None
    try:
        simple = command.split() if _SIMPLE.fullmatch(command) else None
        words = simple or shlex.split(command)
        bare = simple or shlex.split(command, posix=False)
    except ValueError:
        return None
    # Only what stands outside quotes is special to a shell.
    if any(_SHELL.search(word) for word in bare if word[:1] not in "\"'"):
        return None
    if not words or "=" in words[0]:
        return None
    return tuple(words)


def read_run_qbb(words: tuple[str, ...]) -> RunQbb | None:
    """Return the call if it is a ``run-qbb`` with options a warm child supports, else None."""
    if not words or PurePath(words[0]).name != "pipetask" or "run-qbb" not in words:
        return None
    at = words.index("run-qbb")
    if not all(_is_group_option(word, before) for before, word in pairwise(words[:at])):
        return None
    positional: list[str] = []
    rest = iter(words[at + 1 :])
    for word in rest:
        name, equals, _ = word.partition("=")
        if name in _WITH_VALUE:
            if not equals:
                next(rest, None)
        elif word.startswith("-"):
            if word not in _FLAGS:
                return None
        else:
            positional.append(word)
    if len(positional) != 2:  # noqa: PLR2004 - REPO and QGRAPH
        return None
    return RunQbb(words=words, repository=positional[0], graph=positional[1])


def _is_group_option(word: str, before: str) -> bool:
    if before in _GROUP_OPTIONS:
        return True
    return word.startswith("-") and not word.startswith("--log-file")


def quanta_of(command: str) -> tuple[str, ...]:
    """Return the UUIDs named by a command's ``--qgraph-node-id``, in order."""
    found = re.search(r"--qgraph-node-id[ =]+([0-9A-Fa-f,-]+)", command)
    return tuple(item for item in found[1].split(",") if item) if found else ()


def split_locked(command: str) -> Locked | None:
    """Return what is behind ``merian-campaign exclusive ... --`` or ``merian-campaign shared ... --``."""
    found = re.match(
        r"\s*(?:\S*/)?merian-campaign\s+(?:exclusive|shared\s+--readers[ =]+(\d{1,9}))"
        r"\s+--repository[ =]+(\"[^\"]*\"|'[^']*'|\S+)\s+--\s+(.*)",
        command,
        re.DOTALL,
    )
    if not found:
        return None
    readers = None if found[1] is None else int(found[1])
    return Locked(repository=found[2].strip("\"'"), readers=readers, command=found[3].strip())
