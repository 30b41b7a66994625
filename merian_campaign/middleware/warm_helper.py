"""A butler's process that answers several questions: each one's own would pay seconds of imports."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from merian_campaign.domain.errors import UnavailableError
from merian_campaign.domain.safe_text import json_values
from merian_campaign.domain.safe_text.json_values import WrongValueError
from merian_campaign.domain.safe_text.text import one_line
from merian_campaign.domain.spec.stack import Stack
from merian_campaign.domain.stack.stack_setup import prelude
from merian_campaign.host import termination
from merian_campaign.middleware.drivers import in_stack

_IDLE_SECONDS = 120.0
"""How long it is kept without a question: it is asked when data come, and when tracts are done."""

_AT_ONCE = 1 << 16


@dataclass(frozen=True, kw_only=True)
class _WarmProcess:
    process: subprocess.Popen[bytes]
    said: IO[bytes]
    folder: tempfile.TemporaryDirectory[str] | None
    left: bytearray = field(default_factory=bytearray)

    def close(self) -> None:
        """End it."""
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        termination.stop_child(self.process, patience=5.0)
        self.said.close()
        if self.folder is not None:
            self.folder.cleanup()

    def ask(self, request: str, *, seconds: float) -> Any | None:  # noqa: ANN401 - JSON
        """Return its answer; `None` when it died before it gave one."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(f"{request}\n".encode())
            self.process.stdin.flush()
        except BrokenPipeError:
            return None
        until = time.monotonic() + seconds
        while True:
            line = self._line(until)
            if line is None:
                return None
            try:
                answer = json_values.loads(line)
            except WrongValueError:
                continue  # what the set-up of a stack had to say
            if isinstance(answer, dict) and "ok" in answer:
                return answer

    def _line(self, until: float) -> bytes | None:
        assert self.process.stdout is not None
        while b"\n" not in self.left:
            if not select.select([self.process.stdout], [], [], max(0.0, until - time.monotonic()))[0]:
                raise TimeoutError
            more = os.read(self.process.stdout.fileno(), _AT_ONCE)
            if not more:
                return None
            self.left.extend(more)
        line, _, rest = self.left.partition(b"\n")
        self.left[:] = rest
        return bytes(line)

    def last_words(self) -> str:
        """Return the last line of what it said, or its exit code."""
        termination.stop_child(self.process, patience=5.0)
        self.said.seek(0)
        lines = [line for line in self.said.read().decode(errors="replace").splitlines() if line.strip()]
        return one_line(lines[-1]) if lines else str(self.process.returncode)


class WarmHelper:
    """A child process with the LSST middleware in it, kept for as long as it is asked.

    Parameters
    ----------
    seconds : `float`
        How long an answer may take.
    """

    def __init__(self, *, seconds: float) -> None:
        self._seconds = seconds
        self._children: dict[tuple[object, ...], _WarmProcess] = {}
        self._used = 0.0
        weakref.finalize(self, _close_all, self._children)

    def ask(self, request: str, *, environ: Mapping[str, str], stack: Stack) -> Any:  # noqa: ANN401 - JSON
        """Return the answer to one question.

        Raises
        ------
        UnavailableError
            Raised if there is none.
        """
        key = (tuple(sorted(environ.items())), stack.model_dump_json())
        while True:
            kept = self._children.get(key)
            if kept is None:
                self.close()  # of another environment: one at a time is enough
            try:
                child = kept or self._children.setdefault(key, _start(environ, stack))
                answer = child.ask(request, seconds=self._seconds)
            except TimeoutError:
                self.close()
                raise UnavailableError(f"the butler did not answer within {self._seconds:.0f} s") from None
            except OSError as error:
                raise UnavailableError(f"{sys.executable} cannot be started ({error.strerror})") from None
            self._used = time.monotonic()
            if answer is not None:
                if not answer["ok"] and stack.sets_up:
                    self.close()  # a stack that could not be set up may be there next time
                return answer
            words = child.last_words()
            self.close()
            if kept is None:
                raise UnavailableError(f"the butler's process died: {words}")
            # One that was kept may have been ended in between: asked again, of a new one.

    def rest(self) -> None:
        """End the process if nobody has asked for a while."""
        if time.monotonic() - self._used > _IDLE_SECONDS:
            self.close()

    def close(self) -> None:
        """End the process."""
        _close_all(self._children)


def _close_all(children: dict[tuple[object, ...], _WarmProcess]) -> None:
    while children:
        children.popitem()[1].close()


def _start(environ: Mapping[str, str], stack: Stack) -> _WarmProcess:
    folder = None
    command: tuple[str, ...] = (sys.executable, "-P", "-m", "merian_campaign.middleware.butler_helper")
    if stack.sets_up:
        folder = tempfile.TemporaryDirectory()
        file = Path(folder.name) / "stack.sh"
        file.write_text(prelude(stack, file=str(file)), encoding="utf-8")
        command = in_stack(str(file), words=("butler-helper",), output=str(Path(folder.name) / "stack.out"))
    said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the child
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=said,
        env=dict(environ),
        preexec_fn=termination.die_with_parent,  # noqa: PLW1509 - see bps_run
    )
    return _WarmProcess(process=process, said=said, folder=folder)
