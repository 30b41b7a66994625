"""``bps submit FILE`` with its stages warm: ``python -m merian_campaign.wms.submit FILE``.

Exit status: 0 all succeeded; 10 the payload failed (quanta failed, blocked or held); 11 the infrastructure
failed (configuration, graph building, initialization, ingest, workers); 12 the quantum graph was empty;
13 the caller would not let it begin; 128 and the number of the signal that stopped it.
"""

import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from merian_campaign.domain.execution.runs import (
    EMPTY_GRAPH,
    INFRASTRUCTURE_FAILED,
    NOTHING_TO_RUN,
    PREFLIGHT_FAILED,
)
from merian_campaign.host.atomic_files import open_append
from merian_campaign.host.collector import collect_seldom
from merian_campaign.host.regular_files import read_tail
from merian_campaign.wms.node.forkserver import preload
from merian_campaign.wms.scrubbed_bps import keep_secrets
from merian_campaign.wms.stages import Locker, Stages, current, use
from merian_campaign.wms.supervisor_start import fork_supervisor
from merian_campaign.wms.upstream import replace_executor_of_bps

__all__ = ["main", "submit"]

_LOG = logging.getLogger("lsst.ctrl.bps.pre_transform")  # theirs, whose part this plays
_SHOWN = 1 << 20


def submit(
    config_file: str,
    *,
    locker: Locker | None = None,
    before: Callable[[], bool] | None = None,
    on_graph: Callable[[str], None] | None = None,
    restart: bool = False,
    times: Path | None = None,
) -> int:
    """Run one submission to its end in this process, which must have no threads yet.

    Parameters
    ----------
    config_file : `str`
        BPS configuration, as for ``bps submit``; the submit directory when ``restart``.
    locker : `Locker` or `None`
        Takes the lock of a butler repository around graph building and ingest, where the commands ask for
        it by the prefix ``merian-campaign exclusive`` or ``shared``.  Without it, such commands are
        run with their prefix, and cold.
    before : callable or `None`
        Called when all is loaded and before anything else; `False` ends it.
    on_graph : callable or `None`
        Called with the submit directory when a quantum graph was built, before anything runs.
    restart : `bool`
        Run what an earlier run left undone, as ``bps restart``.
    times : `pathlib.Path` or `None`
        File for what stages took; see `Stages`.

    Returns
    -------
    status : `int`
        Exit status, as in the module's docstring.
    """
    _start_stages(locker, times=times)
    from lsst.ctrl.bps import BpsSubprocessError, drivers, pre_transform  # noqa: PLC0415 - after the fork
    from lsst.daf.butler.cli.cliLog import CliLog  # noqa: PLC0415

    from merian_campaign.wms.service import CampaignParslService  # noqa: PLC0415

    keep_secrets()
    CliLog.initLog(longlog=False)
    CliLog.setLogLevels([(None, "WARNING"), ("lsst", "INFO")])
    _execute.on_graph = on_graph
    replace_executor_of_bps(_execute)
    try:
        if before is not None and not before():
            return PREFLIGHT_FAILED
        if restart:
            CampaignParslService({}).restart(config_file)
        else:
            drivers.submit_driver(config_file)
    except BpsSubprocessError as error:
        sys.stdout.write(f"{error}\n")
        return _status(error, pre_transform)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except Exception:  # noqa: BLE001 - a message and a status for the caller, not a lost driver
        traceback.print_exc()
        return INFRASTRUCTURE_FAILED
    finally:
        current().shutdown()
        sys.stdout.flush()
    return 0


def _start_stages(locker: Locker | None, *, times: Path | None) -> None:
    """Import what is run here and in children, then fork the preloaded supervisor."""
    before = preload()
    import_module("merian_campaign.wms.pool")
    import_module("merian_campaign.wms.service")
    forked = fork_supervisor()
    os.environ.clear()
    os.environ.update(before)
    path, pid = forked if forked is not None else (None, None)
    use(Stages(path=path, pid=pid, locker=locker, times=times))


def _status(error: Any, stage: Any) -> int:  # noqa: ANN401 - upstream's exception and module
    """Return our exit status for an error of BPS: its own number, unless a stage of BPS's failed."""
    graph = getattr(stage.execute, "last", None)
    if graph is not None and graph.failed:
        return EMPTY_GRAPH if NOTHING_TO_RUN in read_tail(graph.output) else INFRASTRUCTURE_FAILED
    return int(error.errno)


class _Execute:
    """Replacement of ``lsst.ctrl.bps.pre_transform.execute``: same file, same log, no new interpreter."""

    def __init__(self) -> None:
        self.last: _Execute | None = None
        self.failed = False
        self.output = Path()
        self.on_graph: Callable[[str], None] | None = None

    def __call__(self, command: str, filename: str, write_buffering: int = 1) -> int:
        del write_buffering
        self.last = self
        self.output = Path(filename)
        with os.fdopen(open_append(self.output, empty=True), "w") as stream:
            stream.write(f"{command}\n\n\n")
        code = current().run(command, stdout=filename, stderr=filename, name=self.output.stem)
        # As much as anybody reads; by now it may be anything, and a FIFO would be waited for.
        for line in read_tail(self.output, size=_SHOWN).splitlines()[3:]:
            _LOG.info("%s", line)
        self.failed = code != 0
        if not self.failed and self.on_graph is not None:
            self.on_graph(str(self.output.parent))
        return code


_execute = _Execute()


def main(arguments: list[str]) -> int:
    """Run ``[--restart] FILE``."""
    words = [word for word in arguments if word != "--restart"]
    if len(words) != 1 or words[0].startswith("-"):
        sys.stderr.write("usage: python -m merian_campaign.wms.submit [--restart] FILE\n")
        return 2
    signal.signal(signal.SIGTERM, _terminate)
    collect_seldom()
    return submit(words[0], restart="--restart" in arguments)


def _terminate(number: int, frame: object) -> None:
    """End at once before there is anything to stop in order; stages die with this process."""
    del frame
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
