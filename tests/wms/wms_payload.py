"""Real, small PipelineTasks that behave well or badly on request, for tests and benchmarks."""

import ctypes
import fcntl
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, ClassVar

from lsst.pex.config import DictField, Field
from lsst.pipe.base import (
    InputQuantizedConnection,
    OutputQuantizedConnection,
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    QuantumContext,
    Struct,
)
from lsst.pipe.base import connectionTypes as ct  # noqa: N813 - as everybody writes it

MIB = 1024 * 1024
_HELD: list[Any] = []


class FirstConnections(PipelineTaskConnections, dimensions=("instrument", "detector")):
    product = ct.Output(
        doc="What the task made.",
        name="first",
        storageClass="StructuredDataDict",
        dimensions=("instrument", "detector"),
    )


class BehaviourConfig(PipelineTaskConfig, pipelineConnections=FirstConnections):
    misbehave = DictField(keytype=int, itemtype=str, default={}, doc="Detector -> what to do (see act).")
    seconds = Field(dtype=float, default=0.0, doc="Sleep in every quantum.")


def act(what: str) -> None:
    """Do what a broken or greedy algorithm does; several such things, with ``;`` between, one by one."""
    for part in what.split(";"):
        verb, _, argument = part.partition(":")
        globals()[f"_{verb}"](argument)


def _raise(argument: str) -> None:
    raise ValueError(argument or "told to fail")


def _once(argument: str) -> None:
    """Fail the first time, succeed from then on; the argument is a flag file."""
    flag = Path(argument)
    if not flag.exists():
        flag.touch()
        raise ValueError("told to fail once")


def _segfault(argument: str) -> None:
    del argument
    ctypes.string_at(0)


def _exit(argument: str) -> None:
    os._exit(int(argument))


def _kill(argument: str) -> None:
    os.kill(os.getpid(), int(argument))


def _spam(argument: str) -> None:
    line = "x" * 1023 + "\n"
    for _ in range(int(argument) * 1024):
        sys.stderr.write(line)


def _grow(argument: str) -> None:
    """Grow by 8 MiB every 80 ms until ended, or up to argument MiB and then return."""
    limit = int(argument or 4096)
    held = []
    for _ in range(limit // 8):
        block = bytearray(8 * MIB)
        block[::4096] = b"x" * len(block[::4096])
        held.append(block)
        time.sleep(0.08)


def _creep(argument: str) -> None:
    """Grow by 8 MiB every 60 ms, up to so many MiB, slowly enough to be seen doing it."""
    held = []
    for _ in range(int(argument) // 8):
        block = bytearray(8 * MIB)
        block[::4096] = b"x" * len(block[::4096])
        held.append(block)
        time.sleep(0.06)


def _tree(argument: str) -> None:
    """Spread memory over three grandchildren and threads; wait for ever."""
    each = int(argument)
    code = f"b=bytearray({each}*1048576); b[::4096]=b'x'*len(b[::4096]); import time; time.sleep(600)"
    children = [subprocess.Popen([sys.executable, "-c", code], start_new_session=i == 2) for i in range(3)]
    threads = [threading.Thread(target=time.sleep, args=(600,), daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    children[0].wait()


def _gulp(argument: str) -> None:
    """Take so many MiB at once, far quicker than anybody looks."""
    block = bytearray(int(argument) * MIB)
    block[::4096] = b"x" * len(block[::4096])


def _helper(argument: str) -> None:
    """Have a child of a session of its own take so many MiB, and fail when it does not come through."""
    # The kernel ends the larger of two; a quantum's own pages shared with its worker count as its own there.
    first = "open('/proc/self/oom_score_adj', 'w').write('1000')"
    code = f"{first}; b=bytearray({int(argument)}*1048576); b[::4096]=b'x'*len(b[::4096])"
    subprocess.run([sys.executable, "-c", code], start_new_session=True, check=True)


def _deaf(argument: str) -> None:
    """Go on for ever after a child has died."""
    try:
        _helper(argument)
    except subprocess.CalledProcessError:
        time.sleep(600)


def _sleep(argument: str) -> None:
    time.sleep(float(argument))


def _wait(argument: str) -> None:
    """Wait until a file appears, at most ten minutes."""
    deadline = time.monotonic() + 600
    while not Path(argument).exists() and time.monotonic() < deadline:
        time.sleep(0.02)


def _linger(argument: str) -> None:
    """Go on for ever the first time; return at once from then on. The argument is a flag file."""
    flag = Path(argument)
    if not flag.exists():
        flag.touch()
        time.sleep(600)


def _alone(argument: str) -> None:
    """Write down that this runs, and until its process ends, that another one runs beside it."""
    file = Path(argument).open("a")  # noqa: SIM115 - the lock is to last as long as the process
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        Path(f"{argument}.beside").touch()
    file.write(f"{os.getpid()}\n")
    file.flush()
    _HELD.append(file)


def _stubborn(argument: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(float(argument))


class FirstTask(PipelineTask):
    """Write one small dataset, after doing what the configuration asks of this detector."""

    ConfigClass: ClassVar = BehaviourConfig
    _DefaultName: ClassVar = "first"

    def runQuantum(  # noqa: N802 - upstream's name
        self,
        butlerQC: QuantumContext,  # noqa: N803 - upstream's name
        inputRefs: InputQuantizedConnection,  # noqa: N803 - upstream's name
        outputRefs: OutputQuantizedConnection,  # noqa: N803 - upstream's name
    ) -> None:
        detector = butlerQC.quantum.dataId.get("detector", -1)
        inputs = butlerQC.get(inputRefs)
        if self.config.seconds:
            time.sleep(self.config.seconds)
        what = self.config.misbehave.get(detector)
        self.log.info("Running on detector %s: %s", detector, what or "well")
        if what:
            act(what)
        butlerQC.put(Struct(product=self.run(detector=int(detector), **inputs)), outputRefs)

    def run(self, *, detector: int, source: Any = None) -> dict[str, Any]:
        sources = source if isinstance(source, list) else [source] if source is not None else []
        value = sum(item["value"] for item in sources) + 1
        self.metadata["value"] = value
        self.metadata["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 0
        return {"detector": detector, "value": value, "task": self.getName()}


class SecondConnections(FirstConnections, dimensions=("instrument", "detector")):
    source = ct.Input(
        doc="Output of the task before.",
        name="first",
        storageClass="StructuredDataDict",
        dimensions=("instrument", "detector"),
    )
    product = ct.Output(
        doc="What the task made.",
        name="second",
        storageClass="StructuredDataDict",
        dimensions=("instrument", "detector"),
    )


class SecondConfig(BehaviourConfig, pipelineConnections=SecondConnections):
    pass


class SecondTask(FirstTask):
    ConfigClass: ClassVar = SecondConfig
    _DefaultName: ClassVar = "second"


class GatherConnections(PipelineTaskConnections, dimensions=("instrument",)):
    source = ct.Input(
        doc="Outputs of all detectors.",
        name="second",
        storageClass="StructuredDataDict",
        dimensions=("instrument", "detector"),
        multiple=True,
    )
    product = ct.Output(
        doc="One for the instrument.",
        name="gathered",
        storageClass="StructuredDataDict",
        dimensions=("instrument",),
    )


class GatherConfig(BehaviourConfig, pipelineConnections=GatherConnections):
    pass


class GatherTask(FirstTask):
    ConfigClass: ClassVar = GatherConfig
    _DefaultName: ClassVar = "gather"
