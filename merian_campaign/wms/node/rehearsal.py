"""``pipetask run-qbb`` run in the forkserver, on quanta that do nothing, before children run more real ones.

Much of what the middleware, SQLAlchemy, networkx, click and Python itself do is done on first use and kept:
compiled statements, answers of ``isinstance``, functions made from text.  Forked children inherit it.  What a
rehearsal changes of the process besides is put back: logging, environment, streams, the names that stand for
others in the middleware, the datastore's records.  Its files lie in a folder of its own, which goes with it.
No task of the campaign runs here.
"""

import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from merian_campaign.wms import upstream

__all__ = ["rehearse"]

_WORDS = ("pipetask", "--long-log", "--log-level=VERBOSE", "run-qbb")
"""What BPS calls a quantum with, up to its repository."""

_CACHE = "DAF_BUTLER_CACHE_DIRECTORY_IF_UNSET"
"""Set, the middleware neither names a cache of its own nor registers an exit hook for it."""


def rehearse(
    *,
    universe: Any,  # noqa: ANN401 - theirs
    datastore: Any,  # noqa: ANN401 - theirs
    repository: str,
    install: Callable[..., Callable[[], None]],
) -> None:
    """Run two quanta that do nothing in this process.

    Parameters
    ----------
    universe : `lsst.daf.butler.DimensionUniverse`
        Dimensions of the graph that is prepared.
    datastore : `lsst.daf.butler.Datastore`
        The one that children will use; it has the same records afterwards as before.
    repository : `str`
        Path or URI of the butler repository, as children are given it.
    install : callable
        Has ``run-qbb`` take its ``graph`` and its ``datastore`` in this process; returns what undoes that.

    Raises
    ------
    Exception
        Anything the middleware raises, or that a change of its internals causes; all is put back then too.
    """
    from lsst.ctrl.mpexec.cli.pipetask import main  # noqa: PLC0415 - heavy

    from merian_campaign.wms.node.rehearsal_task import rehearsal_graph  # noqa: PLC0415

    graph = rehearsal_graph(universe)
    quanta = graph.build_execution_quanta()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="merian-campaign-rehearsal-"))
        stack.enter_context(_process_as_before(folder))
        stack.enter_context(_logging_as_before())
        other = upstream.datastore_below(folder, datastore)
        refs = {ref for quantum in quanta.values() for ref in chain.from_iterable(quantum.outputs.values())}
        stack.callback(other.forget, refs)
        stack.callback(install(graph=graph, datastore=other))
        sys.argv = [*_WORDS, repository, str(Path(folder) / "rehearsal.qg")]
        sys.argv += ["--qgraph-node-id", ",".join(map(str, quanta))]
        try:
            main()
        except SystemExit as end:
            if end.code:
                raise RuntimeError(f"rehearsal ended with {end.code}") from end


@contextmanager
def _process_as_before(folder: str) -> Iterator[None]:
    """Put environment, arguments and streams back; meanwhile nothing is printed."""
    environment, arguments, streams = dict(os.environ), sys.argv, (sys.stdout, sys.stderr)
    os.environ[_CACHE] = folder
    try:
        with Path(os.devnull).open("w") as null:
            sys.stdout = sys.stderr = null
            yield
    finally:
        sys.stdout, sys.stderr = streams
        sys.argv = arguments
        os.environ.clear()
        os.environ.update(environment)


@contextmanager
def _logging_as_before() -> Iterator[None]:
    """Put handlers, levels and the record factory back."""
    from lsst.daf.butler.cli.cliLog import CliLog  # noqa: PLC0415 - heavy

    root = logging.getLogger()
    levels = {name: logging.getLogger(name).level for name in (None, *CliLog.root_loggers())}
    handlers = list(root.handlers)
    try:
        yield
    finally:
        CliLog.resetLog()
        logging.captureWarnings(capture=False)
        root.handlers[:] = handlers
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
