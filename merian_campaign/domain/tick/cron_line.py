"""What starts ticks is given: the script that sets their environment up, and the line that names it."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.safe_text.credentials import is_secret_name

__all__ = [
    "NEXT_TICK",
    "Entry",
    "TickStarter",
    "bare_environment",
    "entry_lines",
    "kept_environment",
    "launched_names",
    "launcher_text",
    "timer_units",
    "unit_name",
    "with_entry",
    "without_entry",
]

NEXT_TICK: Final = "MERIAN_CAMPAIGN_NEXT_TICK"
"""Environment variable of ticks and drivers: the script by which a driver that has ended starts a tick."""

_MARK: Final = "# merian-campaign ticks of "
_SCRON: Final = "#SCRON "
_DISABLED: Final = "#DISABLED: "
"""What Slurm puts before each line of an entry whose job somebody has cancelled."""

_KEPT: Final = re.compile(
    r"MERIAN_CAMPAIGN_\w+|PG(?!PASSWORD$)[A-Z]+|PATH|LD_LIBRARY_PATH|PYTHONPATH|TMPDIR|LANG|LC_\w+|TZ"
    r"|USER|LOGNAME|HOME|SHELL|REPO|DAF_BUTLER_\w+|SLURM_CONF|KRB5CCNAME|SSL_CERT_\w+|https?_proxy|no_proxy"
)
_OF_A_STACK: Final = re.compile(r"(?:LSST|EUPS|SETUP|CONDA|MAMBA|RUBIN)_\w+|\w+_DIR|PYTHON\w*|\w*PATH")


class TickStarter(StrEnum):
    """What starts ticks."""

    CRONTAB = "crontab"
    """cron, on this host."""
    SCRONTAB = "scrontab"
    """Slurm's cron, on whatever node there is."""
    SYSTEMD = "systemd"
    """A timer of the user's own systemd."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry of a scheduler's table.

    Parameters
    ----------
    starter : `TickStarter`
        Whose table it is.
    home : `str`
        The home directory whose ticks it starts, absolute; of each there is one entry at most.
    launcher : `str`
        The script, absolute.
    every : `int`
        Minutes between ticks, 1 to 59.
    options : `tuple` [`str`, ...]
        Of ``sbatch``, for Slurm's cron.
    """

    starter: TickStarter
    home: str
    launcher: str
    every: int
    options: tuple[str, ...] = ()


def kept_environment(environ: Mapping[str, str], *, also: Iterable[str] = ()) -> dict[str, str]:
    """Return what of an environment a tick needs under a scheduler, which sets next to nothing.

    Parameters
    ----------
    environ : `~collections.abc.Mapping`
        Of the person who installs the entry, passwords taken out.
    also : iterable of `str`, optional
        More names to keep.

    Raises
    ------
    BadInputError
        Raised if a name of ``also`` is not set, or a value cannot stand in a script.
    """
    wanted = set(also)
    missing = sorted(wanted - environ.keys())
    if missing:
        raise BadInputError(f"--keep {missing[0]}: that variable is not set here")
    stack = "EUPS_PATH" in environ or "CONDA_PREFIX" in environ
    kept = {
        name: value
        for name, value in sorted(environ.items())
        if name in wanted
        or (not is_secret_name(name) and (_KEPT.fullmatch(name) or (stack and _OF_A_STACK.fullmatch(name))))
    }
    for name, value in kept.items():
        if "\n" in value or "\0" in value or not name.isidentifier():
            raise BadInputError(
                f"{name}: found a line break in its value; no scheduler's script can set that"
            )
    return kept


_DEFAULT = re.compile(r"^if \[ \$# -eq 0 \]; then set -- (.*); fi$", re.MULTILINE)


def launcher_text(
    *, program: Sequence[str], environment: Mapping[str, str], umask: int, names: Sequence[str]
) -> str:
    """Return the script that starts a tick of some campaigns, of all by default, in an environment."""
    exports = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in environment.items())
    default = shlex.join(names) if names else "--all"
    return (
        "#!/bin/sh\n"
        "# Written by `merian-campaign cron install`: starts a tick in the environment that it needs.\n"
        "# With words, a tick of what they name.\n"
        f"umask {umask:03o}\n{exports}\n"
        f"if [ $# -eq 0 ]; then set -- {default}; fi\n"
        f'exec {shlex.join(program)} tick --quiet "$@"\n'
    )


def launched_names(text: str) -> tuple[str, ...]:
    """Return the campaigns that a script of `launcher_text` names; none of one that means all."""
    found = _DEFAULT.search(text)
    try:
        words = shlex.split(found[1]) if found else []
    except ValueError:  # somebody has edited it
        words = []
    return tuple(word for word in words if not word.startswith("-"))


def bare_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment that cron gives its jobs (crontab(5) of Debian)."""
    user = environ.get("USER") or environ.get("LOGNAME") or ""
    home = environ.get("HOME", "/")
    return {"HOME": home, "LOGNAME": user, "USER": user, "SHELL": "/bin/sh", "PATH": "/usr/bin:/bin"}


def entry_lines(entry: Entry) -> tuple[str, ...]:
    """Return the lines of an entry in a crontab: a remark by which it is found again, options, the line.

    Raises
    ------
    BadInputError
        Raised if a path cannot stand in a crontab.
    """
    if any(character in entry.home + entry.launcher for character in "\n\r"):
        raise BadInputError(f"{entry.home}: a crontab cannot hold a path with a line break")
    command = shlex.quote(entry.launcher)
    options = entry.options
    if entry.starter is TickStarter.CRONTAB:
        # In a crontab an unquoted % is a line break, even in quotes of the shell; Slurm leaves it as it is.
        command = command.replace("%", "\\%")
    else:
        # Slurm would write what a tick says into the home directory of its user. It knows no quotes here.
        said = f"{entry.home}/logs/scrontab.out"
        output = "/dev/null" if re.search(r"[\s%\\]", said) else said
        options = ("--job-name=merian-campaign", f"--output={output}", *options)
    minutes = "*" if entry.every == 1 else f"*/{entry.every}"
    scron = (f"{_SCRON}{' '.join(options)}",) if options else ()
    return (f"{_MARK}{entry.home}", *scron, f"{minutes} * * * * {command}")


def with_entry(table: str, entry: Entry) -> str:
    """Return a crontab with an entry, in place of what it had for the same home."""
    kept = without_entry(table, home=entry.home)
    return "".join(f"{line}\n" for line in (*kept.splitlines(), *entry_lines(entry)))


def without_entry(table: str, *, home: str) -> str:
    """Return a crontab without the entry of a home; all else stays as it is."""
    kept: list[str] = []
    ours = False
    for line in table.splitlines():
        if line == f"{_MARK}{home}":
            ours = True
        elif ours:
            # Up to the line itself: Slurm's options come before it.
            ours = line.removeprefix(_DISABLED).startswith(_SCRON)
        else:
            kept.append(line)
    return "".join(f"{line}\n" for line in kept)


def unit_name(home: str) -> str:
    """Return the name of the units of a home: each has its own, as it has a line of its own in a crontab."""
    return f"merian-campaign-{hashlib.sha256(home.encode()).hexdigest()[:8]}"


def timer_units(entry: Entry) -> Mapping[str, str]:
    """Return the text of a systemd service and of its timer, by suffix."""
    # systemd's own quoting: % and $ are doubled, and a word stands in double quotes (systemd.service(5)). The
    # program itself may hold neither quotes nor backslashes, so that the script is an argument of the shell.
    word = entry.launcher.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    about = f"Description=Ticks of merian-campaign in {entry.home}".replace("\\", "\\\\").replace("%", "%%")
    service = (
        f"[Unit]\n{about}\n\n[Service]\nType=oneshot\n"
        # Drivers go on when the tick has ended; 1 and 75 are no failures of it.
        f'KillMode=process\nSuccessExitStatus=1 75\nExecStart=/bin/sh "{word}"\n'
    )
    timer = (
        f"[Unit]\n{about}\n\n[Timer]\n"
        # Left to itself, systemd may start it up to a minute later.
        f"OnCalendar=*:0/{entry.every}\nAccuracySec=1s\nPersistent=true\n\n"
        "[Install]\nWantedBy=timers.target\n"
    )
    return {"service": service, "timer": timer}
