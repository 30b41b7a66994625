"""What quanta of one graph share: the graph's header, pipeline, dimension records, and the butler's set-up.

The forkserver prepares these once per graph; each forked child gets its own copy of them by copy-on-write, so
nothing a quantum does to them reaches another.  In the child, a few names in the middleware are pointed at
the prepared pieces before ``pipetask run-qbb`` runs its ordinary path; whatever was not prepared (another
graph, another repository, a second butler in a cluster) is made by the middleware as always.

Not shared: anything read for one quantum (its datasets, its datastore records), logging, random numbers,
the environment.  This module follows internals of pipe_base and daf_butler; a release in which they moved
makes `prepare` raise, and then children do everything themselves.
"""

import time
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import UUID

from merian_campaign.wms import upstream
from merian_campaign.wms.node.graph_addresses import GraphAddresses
from merian_campaign.wms.node.rehearsal import rehearse

__all__ = ["PreloadClock", "PreloadedGraph", "prepare", "prepare_threads"]

type _Function = Callable[..., Any]


class PreloadClock:
    """CPU seconds by part of a quantum's life, for the benchmark and the journal's evidence."""

    def __init__(self) -> None:
        self.parts: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add the CPU time of the enclosed work to a part."""
        begin = time.process_time()
        try:
            yield
        finally:
            self.parts[name] = self.parts.get(name, 0.0) + time.process_time() - begin

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that is counted as a part."""

        def wrapper(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - passes anything through
            with self.part(name):
                return function(*args, **kwargs)

        return wrapper


@dataclass(kw_only=True)
class PreloadedGraph:
    """Pieces prepared for one graph and one repository."""

    graph: str
    stamp: tuple[int, int]
    repository: str
    header: Any
    pipeline_graph: Any
    init_quanta: Any
    dimension_data: Any
    decompressor: Any
    addresses: GraphAddresses
    page_size: int
    butler_config: Any
    datastore: Any
    used: bool = field(default=False)

    def fits(self, *, graph: str, repository: str) -> bool:
        """Return whether these pieces were made from this very graph file and repository."""
        return self.graph == graph and self.repository == repository and self.stamp == _stamp(graph)

    def install(self, clock: PreloadClock) -> None:
        """Point the middleware of this process (a forked child) at the prepared pieces."""
        upstream.replace_in_run_qbb(
            read_quanta=clock.timed("reader", self._quanta),
            butler_config=self._config,
            datastore=self._datastore,
            add_storage_classes=self._add_storage_classes,
            limit_threads=_limit_threads_again,
        )

    def rehearse(self, quanta: Collection[str]) -> None:
        """Do here what the middleware does at the first quantum only; see `rehearsal`.

        Parameters
        ----------
        quanta : collection of `str`
            UUIDs of quanta of this graph, to be read and no more.

        Raises
        ------
        Exception
            Anything the middleware raises, or that a change of its internals causes.
        """
        datastore, _ = self.datastore
        rehearse(
            universe=self.pipeline_graph.universe,
            datastore=datastore,
            repository=self.repository,
            install=self._install_for_rehearsal,
        )
        read = self._read([UUID(quantum) for quantum in quanta]).build_execution_quanta().values()
        outputs = chain.from_iterable(quantum.outputs.values() for quantum in read)
        datastore.getManyURIs(chain.from_iterable(outputs), predict=True)

    def _install_for_rehearsal(self, *, graph: Any, datastore: Any) -> Callable[[], None]:  # noqa: ANN401
        return upstream.replace_in_run_qbb(
            read_quanta=lambda *_, **_options: graph,
            butler_config=self._config,
            datastore=lambda *_, **_options: (datastore, None),
            add_storage_classes=self._add_storage_classes,
            limit_threads=_limit_threads_again,
        )

    def _quanta(self, theirs: _Function, uri: Any, quantum_ids: Any = None, **options: Any) -> Any:  # noqa: ANN401
        if str(uri) != self.graph or quantum_ids is None or options:
            return theirs(uri, quantum_ids, **options)
        return self._read(quantum_ids)

    def _config(self, theirs: _Function, config: Any, searchPaths: Any = None) -> Any:  # noqa: ANN401, N803 - their name
        ours = str(config) == self.repository and not searchPaths
        return self.butler_config if ours else theirs(config, searchPaths=searchPaths)

    def _datastore(self, theirs: _Function, config: Any, dimensions: Any, *options: Any) -> Any:  # noqa: ANN401
        fresh = config is self.butler_config and not self.used and not any(options)
        if not fresh or dimensions != self.pipeline_graph.universe:
            return theirs(config, dimensions, *options)
        self.used = True
        upstream.answer_from_emptiness(self.datastore[0])
        return self.datastore

    def _add_storage_classes(self, theirs: _Function, factory: Any, config: Any) -> None:  # noqa: ANN401
        # The forkserver has added these already; definitions cannot be added twice to different effect.
        if config is not self.butler_config:
            theirs(factory, config)

    def _read(self, quantum_ids: Iterable[Any]) -> Any:  # noqa: ANN401 - a PredictedQuantumGraph
        from lsst.pipe.base.quantum_graph import PredictedQuantumGraphReader  # noqa: PLC0415

        # The file is opened anew: a descriptor from before the fork would share its position.
        with Path(self.graph).open("rb") as stream, zipfile.ZipFile(stream) as archive:
            reader = PredictedQuantumGraphReader(
                header=self.header,
                pipeline_graph=self.pipeline_graph,
                zf=archive,
                decompressor=self.decompressor,
                address_reader=self.addresses,
                page_size=self.page_size,
            )
            reader.components.init_quanta = self.init_quanta
            reader.components.dimension_data = self.dimension_data
            reader.read_quantum_datasets(quantum_ids)
            return reader.finish()


def _stamp(path: str) -> tuple[int, int]:
    status = Path(path).stat()
    return status.st_mtime_ns, status.st_size


def prepare(*, graph: str, repository: str) -> PreloadedGraph:
    """Read what all quanta of a graph need and set up a butler's datastore for them.

    Imports the graph's task modules.

    Parameters
    ----------
    graph : `str`
        Path of a ``.qg`` file.
    repository : `str`
        Path or URI of the butler repository.

    Raises
    ------
    Exception
        Anything the middleware raises, or that a change of its internals causes.
    """
    from lsst.daf.butler import StorageClassFactory  # noqa: PLC0415 - heavy
    from lsst.pipe.base.quantum_graph import PredictedQuantumGraph  # noqa: PLC0415

    if not graph.endswith(".qg"):
        raise ValueError(f"{graph} is not in the current graph format")
    stamp = _stamp(graph)
    with PredictedQuantumGraph.open(graph) as reader:
        reader.read_init_quanta()
        reader.read_dimension_data()
        addresses = GraphAddresses.read(reader.zf.read("quanta.addr"), int_size=reader.header.int_size)
    config, datastore = upstream.butler_parts(repository, universe=reader.pipeline_graph.universe)
    StorageClassFactory().addFromConfig(config)
    prepared = PreloadedGraph(
        graph=graph,
        stamp=stamp,
        repository=repository,
        header=reader.header,
        pipeline_graph=reader.pipeline_graph,
        init_quanta=reader.components.init_quanta,
        dimension_data=reader.components.dimension_data,
        decompressor=reader.decompressor,
        addresses=addresses,
        page_size=reader.page_size,
        butler_config=config,
        datastore=datastore,
    )
    for node in prepared.pipeline_graph.tasks.values():
        node.get_connections()
    return prepared


def prepare_threads() -> None:
    """Do the thread limiting of ``run-qbb`` once; children inherit it."""
    from lsst.utils.threads import disable_implicit_threading  # noqa: PLC0415 - heavy

    disable_implicit_threading()


def _limit_threads_again() -> None:
    """Repeat the cheap part of ``disable_implicit_threading``; the rest was done before the fork."""
    from lsst.utils.threads import set_thread_envvars  # noqa: PLC0415 - loaded already

    set_thread_envvars(1, True)  # noqa: FBT003 - upstream's signature
