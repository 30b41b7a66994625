"""Reading many bad files in processes of their own: each is refused in words, or taken.

A traceback, an end by a signal, ten seconds of computing, or memory beyond the bound is a failure; it is told
with the number of the input, which makes the same input again.
"""

from __future__ import annotations

import json
import os
import random
import resource
import select
import signal
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mutate import mutated

from merian_campaign.domain.errors import CampaignError

SEED = 20261125
SECONDS = 10
"""Of computing, for one input; a loaded machine computes no more for it."""

MEGABYTES = 500
_NO_WORD = 120.0
"""Seconds after which a reader that computes nothing is taken for one that waits."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A kind of file that the product reads.

    Parameters
    ----------
    name : `str`
        Of the kind.
    kind : `str`
        As for `mutate.mutated`.
    seeds : `tuple` [`bytes`, ...]
        Good ones.
    reader : callable
        Given an empty folder, returns what reads one file's bytes.
    """

    name: str
    kind: str
    seeds: tuple[bytes, ...]
    reader: Callable[[Path], Callable[[bytes], object]]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An input that was neither refused in words nor taken."""

    target: str
    number: int
    why: str

    def __str__(self) -> str:
        again = f"PYTHONPATH=tests python tests/fuzz {self.target} {self.number}"
        return f"{self.target} input {self.number} (seed {SEED}): {self.why}\n  again: {again}"


def make_input(target: Target, number: int) -> bytes:
    """Return one input; the same for the same number. The first are the good files themselves."""
    if number < len(target.seeds):
        return target.seeds[number]
    generator = random.Random(f"{SEED}:{target.name}:{number}")
    return mutated(generator.choice(target.seeds), target.seeds, generator, kind=target.kind)


def refused(read: Callable[[bytes], object], data: bytes) -> bool:
    """Read one input; return whether it was refused in words. Anything else is raised."""
    try:
        read(data)
    except CampaignError as error:
        text = str(error)
        assert text.strip(), "refused without a word"
        assert text.isprintable() or all(c.isprintable() or c in "\n\t" for c in text), (
            f"acts: {text[:300]!r}"
        )
        assert len(text) < 200_000, f"{len(text)} characters of complaint"
        return True
    return False


def run(target: Target, numbers: range) -> tuple[list[Failure], int]:
    """Read inputs one after the other; return what failed, and how many were refused."""
    failures: list[Failure] = []
    refusals = 0
    start = numbers.start
    while start < numbers.stop:
        last = start
        ended = False
        for message in _child(target, range(start, numbers.stop)):
            last = message["number"]
            if "why" in message:
                failures.append(Failure(target=target.name, number=last, why=message["why"]))
            refusals += bool(message.get("refused"))
            ended = "done" in message
        if ended:
            break
        start = last + 1
        if len(failures) >= 20:
            break
    return failures, refusals


def _child(target: Target, numbers: range) -> Iterator[dict[str, object]]:
    """Yield what a forked process says of its inputs, and how it ended if not as it should."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _become_child(target, numbers, writer)
    os.close(writer)
    current, rest, done, silent = numbers.start, b"", False, False
    while True:
        ready, _, _ = select.select([reader], [], [], _NO_WORD)
        chunk = os.read(reader, 65536) if ready else b""
        if not chunk:
            silent = not ready
            break
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            message = json.loads(line)
            current = message["number"]
            done = "done" in message
            if "begun" not in message:
                yield message
    os.close(reader)
    if silent:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if silent:
        yield {"number": current, "why": f"no word for {_NO_WORD:g} s: it waits"}
    elif not done:
        yield {"number": current, "why": _ending(status)}


def _ending(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGPROF:
        return f"{SECONDS} s of computing"
    return f"killed by signal {-code}" if code < 0 else f"ended with status {code}"


def _become_child(target: Target, numbers: range, writer: int) -> None:
    def say(**words: object) -> None:
        os.write(writer, json.dumps(words).encode() + b"\n")

    try:
        os.setsid()
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        with tempfile.TemporaryDirectory() as folder:
            read = target.reader(Path(folder))
            # What a first reading imports and caches is no growth.
            refused(read, target.seeds[0])
            _bound_memory()
            for number in numbers:
                say(number=number, begun=True)
                signal.setitimer(signal.ITIMER_PROF, SECONDS)
                try:
                    say(number=number, refused=refused(read, make_input(target, number)))
                except BaseException as error:  # noqa: BLE001 - that is what is looked for
                    where = "".join(traceback.format_exception(error, limit=-4))[-1500:]
                    say(number=number, why=where.encode("utf-8", "backslashreplace").decode())
                signal.setitimer(signal.ITIMER_PROF, 0)
        say(number=numbers.stop - 1, done=True)
    except BaseException as error:  # noqa: BLE001 - nothing may go back into the parent's code
        say(number=numbers.start, why=f"the harness itself: {error!r}")
    finally:
        os._exit(0)


def _bound_memory() -> None:
    """Let this process grow by `MEGABYTES` and no more."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + (MEGABYTES << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
