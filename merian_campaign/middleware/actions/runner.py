"""How a butler action is done: look whether it is done, run the command lines, look again.

What is particular to one action is in the other modules of this folder.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import sys
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import get_original_bases
from typing import IO, Any, NoReturn, get_args, get_origin

from merian_campaign.domain.failures import error_classes
from merian_campaign.domain.safe_text.last_error import telling
from merian_campaign.domain.safe_text.shell import shown
from merian_campaign.domain.spec.actions import Action
from merian_campaign.domain.spec.actions.base import Command
from merian_campaign.host import termination
from merian_campaign.middleware import programs
from merian_campaign.wms import upstream

_TAIL = 400
_MANY_FILES = 4096
_ERROR_LINE = re.compile(
    r"^(?:[\w.]+\.)?[A-Z]\w*(?:Error|Exception|Exit)\b.*|^Error: .*|^psycopg2\.errors\.[A-Z]\w*: "
)


class ActionError(Exception):
    """An action that could not be done; the message says why, and what to do.

    Parameters
    ----------
    message : `str`
        For the person who reads it.
    needs_person : `bool`, optional
        Whether another try gives the same; without it, the message tells.
    """

    def __init__(self, message: str, *, needs_person: bool | None = None) -> None:
        super().__init__(message)
        self.needs_person = (
            error_classes.needs_person(message, checked=True) if needs_person is None else needs_person
        )


class CommandError(ActionError):
    """A command line that failed.

    Parameters
    ----------
    command : `str`
        As a person types it.
    words : `str`
        Its own last words.
    output : `str`
        The end of what it printed.
    """

    def __init__(self, *, command: str, words: str, output: str) -> None:
        text = f"{words}\n{output}"
        super().__init__(f"{command}: {words}", needs_person=error_classes.needs_person(text, checked=False))
        self.command = command
        self.words = words
        self.output = output


RUNNERS: dict[type[Action], type[ActionRunner[Any]]] = {}
"""What does each action, by its model; made by `ActionRunner` from its subclasses."""


class ActionRunner[GivenAction: Action]:
    """One action on one repository.

    Parameters
    ----------
    repository : `str`
        Butler repository.
    given : `Action`
        Its arguments.

    Attributes
    ----------
    unfinished : `bool`
        Whether it has done what it could, and a person has to see to the rest.
    """

    unfinished = False

    def __init_subclass__(cls) -> None:
        """Take the runner into `RUNNERS`, under the model that it is a runner of."""
        super().__init_subclass__()
        for base in get_original_bases(cls):
            if get_origin(base) is ActionRunner:
                RUNNERS[get_args(base)[0]] = cls

    def __init__(self, *, repository: str, given: GivenAction) -> None:
        self.repository = repository
        self.given = given

    def check(self) -> None:
        """Refuse what cannot work, before anything is done.

        Raises
        ------
        ActionError
            Raised with what was found and what to do.
        """

    def seen(self) -> str | None:
        """Say in words that the repository shows the action done; `None` when it does not."""
        raise NotImplementedError

    def run(self) -> None:
        """Run what is left to do.

        Raises
        ------
        ActionError
            Raised if a command fails.
        """
        for command in self.given.commands(repository=self.repository):
            run_command(command)

    def advice(self, error: CommandError) -> str:
        """Return a failed command's last words, with what to do where that is known."""
        return error.words

    def after(self) -> str:
        """Return what came of it, in words.

        Raises
        ------
        ActionError
            Raised if the repository does not show what the commands should have done.
        """
        found = self.seen()
        if found is None:
            raise ActionError(f"the commands ended well, but {self.repository} does not show what they did")
        return found


def run_command(command: Command, *, umask: int = -1, environ: Mapping[str, str] | None = None) -> str:
    """Run a command line; its output goes to standard error as it comes.

    Parameters
    ----------
    command : `tuple` [`str`, ...]
        Words; no shell reads them.
    umask : `int`, optional
        For the files it makes.
    environ : `~collections.abc.Mapping`, optional
        Its environment, if that is not this process's.

    Returns
    -------
    output : `str`
        The end of its output.

    Raises
    ------
    CommandError
        Raised if it cannot be started or its exit code is not 0.
    """
    text = shown(command)
    sys.stderr.write(f"+ {text}\n")
    sys.stderr.flush()
    tail: deque[str] = deque(maxlen=_TAIL)
    try:
        if _is_our_butler(command):
            output, wait = _fork(command, umask)
        else:
            output, wait = _start(command, umask, environ)
    except OSError as error:
        words = f"{command[0]} cannot be started ({error.strerror})"
        raise CommandError(command=text, words=words, output="") from None
    with output:
        for line in output:
            sys.stderr.write(line)
            sys.stderr.flush()
            tail.append(line.rstrip("\n"))
    code = wait()
    if code != 0:
        words = last_words(list(tail)) or f"exit code {code}"
        raise CommandError(command=text, words=words, output="\n".join(tail))
    return "\n".join(tail)


def _start(
    command: Command, umask: int, environ: Mapping[str, str] | None
) -> tuple[IO[str], Callable[[], int]]:
    """Start a command; return its output and what waits for its exit code."""
    process = subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        umask=umask,
        env=environ,
        preexec_fn=termination.die_with_parent,  # noqa: PLW1509 - one prctl, and no threads that hold locks
    )
    assert process.stdout is not None
    return process.stdout, process.wait


def _is_our_butler(command: Command) -> bool:
    """Say whether a command is the ``butler`` of this very Python, which has its modules loaded already."""
    found = shutil.which(command[0]) if command[0] == "butler" else None
    return found is not None and found == programs.program("butler")


def _fork(command: Command, umask: int) -> tuple[IO[str], Callable[[], int]]:
    """Run ``butler`` in a forked child: the same program without two seconds of imports."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # Threads that Python warns of are those of numerical libraries, which sleep.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        _become_butler(command, writer, umask)
    os.close(writer)

    def wait() -> int:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    return os.fdopen(reader, encoding="utf-8", errors="replace"), wait


def _become_butler(command: Command, writer: int, umask: int) -> NoReturn:
    code = 70
    try:
        termination.die_with_parent()
        if umask >= 0:
            os.umask(umask)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(writer, 1)
        os.dup2(writer, 2)
        os.closerange(3, _MANY_FILES)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", errors="replace", closefd=False)
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="replace", closefd=False)
        for handler in list(logging.getLogger().handlers):
            logging.getLogger().removeHandler(handler)  # it writes to the parent's output
        from lsst.daf.butler.cli.butler import cli  # noqa: PLC0415 - costs seconds

        # Whatever plug-ins the parent has looked up: its environment may have changed since.
        upstream.forget_butler_commands()
        cli.main(args=list(command[1:]), prog_name=command[0])
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 - nothing may go back into the parent's code
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def last_words(lines: list[str]) -> str:
    """Return the last line that names an error, or the last line at all."""
    said = [line for line in lines if line.strip()]
    errors = [line for line in said if _ERROR_LINE.match(line)]
    return (telling(errors) if errors else (said or [""])[-1]).strip()


@contextmanager
def reading(repository: str) -> Iterator[Any]:
    """Open a repository for looking.

    Raises
    ------
    ActionError
        Raised if there is none, or it cannot be opened.
    """
    from lsst.daf.butler import Butler  # noqa: PLC0415 - costs seconds

    try:
        butler = Butler.from_config(repository, writeable=False)
    except Exception as error:
        raise ActionError(
            f"{repository}: the repository cannot be opened ({type(error).__name__}: {error}); "
            "is the create step before this one?"
        ) from error
    with butler:
        yield butler


def few(names: list[str], *, at_most: int = 3) -> str:
    """Return names as text, the first few of many."""
    text = ", ".join(names[:at_most])
    return text if len(names) <= at_most else f"{text} and {len(names) - at_most} more"
