"""What is reached into, or replaced, inside the middleware, Parsl and Python where there is no public way.

No other module touches a name of theirs that begins with an underscore, or puts one of its own in place of
theirs (but `zipfix`, which tries whether it has to).  ``tests/wms/test_upstream.py`` has a canary for each,
which fails when a release of theirs changes the thing.  Imports stand in functions, because supervisors and
workers that must not load the middleware import this too.
"""

import atexit
import copy
import os
import sys
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from importlib import import_module
from typing import Any, NoReturn

__all__ = [
    "answer_from_emptiness",
    "butler_parts",
    "datastore_below",
    "empty_trash",
    "files_with_refs",
    "forget_butler_commands",
    "interchange_of",
    "leave",
    "parsl_is_loaded",
    "prune_failed_blocks",
    "put_out_of_use",
    "replace_environment_writer",
    "replace_executor_of_bps",
    "replace_in_run_qbb",
    "replace_type_names",
    "run_exit_hooks",
    "time_quantum_parts",
    "uris_of",
]

type Around = Callable[..., Any]
"""What takes the place of a function of theirs: called with that function and then with its arguments."""


def _replace(owner: Any, name: str, around: Around) -> Callable[[], None]:  # noqa: ANN401 - a module or class
    """Put something around a function of theirs; return what takes it away again."""
    theirs, bare = getattr(owner, name), vars(owner)[name]

    def call(*args: Any, **options: Any) -> Any:  # noqa: ANN401 - passes anything through
        return around(theirs, *args, **options)

    setattr(owner, name, call)
    return lambda: setattr(owner, name, bare)


# -- Python --------------------------------------------------------------------------------------------
def run_exit_hooks() -> None:
    """Do what the interpreter does when it ends: wait for threads, then run the exit hooks."""
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001
    atexit._run_exitfuncs()  # noqa: SLF001


def leave(code: int) -> NoReturn:
    """End this process as the interpreter would, but for taking itself down."""
    run_exit_hooks()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


# -- ctrl_bps ------------------------------------------------------------------------------------------
def replace_environment_writer(write: Callable[[str], None]) -> None:
    """Have BPS, in this process, write the environment of a submission through another function."""
    from lsst.ctrl.bps import bps_utils, drivers, initialize  # noqa: PLC0415 - costs seconds

    for module in (bps_utils, drivers, initialize):
        if hasattr(module, "_dump_env_info"):
            module._dump_env_info = write  # noqa: SLF001


def replace_executor_of_bps(execute: Callable[..., Any]) -> None:
    """Have BPS, in this process, run the commands that build a quantum graph through another function."""
    from lsst.ctrl.bps import pre_transform  # noqa: PLC0415 - costs seconds

    pre_transform.execute = execute


# -- pipe_base and ctrl_mpexec -------------------------------------------------------------------------
def time_quantum_parts(timed: Callable[[str, Callable[..., Any]], Callable[..., Any]]) -> None:
    """Wrap what the middleware does for a quantum, by the name of the part: butler, task, executor."""
    from lsst.daf.butler import QuantumBackedButler  # noqa: PLC0415 - loaded already
    from lsst.pipe.base.mp_graph_executor import MPGraphExecutor  # noqa: PLC0415
    from lsst.pipe.base.single_quantum_executor import SingleQuantumExecutor  # noqa: PLC0415

    QuantumBackedButler.initialize = timed("butler", QuantumBackedButler.initialize)
    SingleQuantumExecutor._run_quantum = timed("task", SingleQuantumExecutor._run_quantum)  # noqa: SLF001
    MPGraphExecutor.execute = timed("executor", MPGraphExecutor.execute)


def replace_type_names(around: Around) -> bool:
    """Go around the function by which the middleware names the type of an exception that a task raised.

    Returns
    -------
    done : `bool`
        False where a release of the middleware does this in another way.
    """
    executor = import_module("lsst.pipe.base.single_quantum_executor")
    if not hasattr(executor, "get_full_type_name"):
        return False
    _replace(executor, "get_full_type_name", around)
    return True


def replace_in_run_qbb(
    *,
    read_quanta: Around,
    butler_config: Around,
    datastore: Around,
    add_storage_classes: Around,
    limit_threads: Callable[[], None],
) -> Callable[[], None]:
    """Go around the steps in which ``pipetask run-qbb`` here reads its graph and sets up its butler.

    Returns
    -------
    undo : callable
        Puts theirs back.
    """
    import lsst.daf.butler._quantum_backed as backed  # noqa: PLC0415 - heavy
    from lsst.daf.butler import StorageClassFactory  # noqa: PLC0415
    from lsst.pipe.base.quantum_graph import PredictedQuantumGraph  # noqa: PLC0415

    # Not "import ... as": the package gives this module's name to the function in it.
    script = import_module("lsst.ctrl.mpexec.cli.script.run_qbb")
    undoing = (
        _replace(PredictedQuantumGraph, "read_execution_quanta", read_quanta),
        _replace(backed, "ButlerConfig", butler_config),
        _replace(backed, "instantiate_standalone_datastore", datastore),
        _replace(StorageClassFactory, "addFromConfig", add_storage_classes),
        _replace(script, "disable_implicit_threading", lambda _theirs: limit_threads()),
    )

    def undo() -> None:
        for back in undoing:
            back()

    return undo


def butler_parts(repository: str, *, universe: Any) -> tuple[Any, Any]:  # noqa: ANN401 - theirs
    """Return the configuration and the datastore that a quantum-backed butler would make for itself."""
    import lsst.daf.butler._quantum_backed as backed  # noqa: PLC0415 - heavy

    config = backed.ButlerConfig(repository, searchPaths=None)
    return config, backed.instantiate_standalone_datastore(config, universe)


def datastore_below(root: str, datastore: Any) -> Any:  # noqa: ANN401 - theirs
    """Return a datastore with the set-up and the records of another, and with its files below another root.

    Raises
    ------
    TypeError
        It is none of files in one place.
    """
    from lsst.daf.butler.datastore.cache_manager import DatastoreDisabledCacheManager  # noqa: PLC0415 - heavy
    from lsst.daf.butler.datastores.fileDatastore import FileDatastore  # noqa: PLC0415
    from lsst.resources import ResourcePath  # noqa: PLC0415

    if type(datastore) is not FileDatastore:
        raise TypeError(f"{datastore} keeps no files in one place")
    other = copy.copy(datastore)
    other.root = ResourcePath(root, forceDirectory=True)
    other.locationFactory = type(datastore.locationFactory)(other.root)
    other.cacheManager = DatastoreDisabledCacheManager("", universe=datastore.universe)
    return other


def answer_from_emptiness(datastore: Any) -> None:  # noqa: ANN401 - theirs
    """Have a datastore of files that has no records yet not ask its database for them, until it gets some.

    A quantum asks four times before it writes: whether outputs and inputs are there, and where an input is.
    """
    from lsst.daf.butler.datastores.fileDatastore import FileDatastore  # noqa: PLC0415 - heavy
    from lsst.daf.butler.registry.opaque import ByNameOpaqueTableStorage  # noqa: PLC0415

    table = datastore._table if type(datastore) is FileDatastore else None  # noqa: SLF001
    if type(table) is not ByNameOpaqueTableStorage:
        return

    def nothing(**where: Any) -> Iterator[Any]:  # noqa: ANN401 - as theirs
        del where
        return iter(())

    def writing(name: str) -> Callable[..., None]:
        def call(*rows: Any, **options: Any) -> None:  # noqa: ANN401 - passes anything through
            for one in own:
                vars(table).pop(one, None)
            getattr(table, name)(*rows, **options)

        return call

    own: dict[str, Callable[..., Any]] = {"fetch": nothing, "fetch_batches": nothing}
    own |= {name: writing(name) for name in ("insert", "ensure", "replace")}
    vars(table).update(own)


# -- daf_butler ----------------------------------------------------------------------------------------
def uris_of(
    butler: Any,  # noqa: ANN401 - lsst type
    refs: Iterable[Any],
    *,
    allow_missing: bool = False,
    predict: bool = False,
) -> Any:  # noqa: ANN401 - lsst type
    """Return the URIs of datasets by reference, in one question; the public way asks the registry."""
    datastore = butler._datastore  # noqa: SLF001
    return datastore.getManyURIs(refs, predict=predict, allow_missing=allow_missing)


def empty_trash(butler: Any) -> None:  # noqa: ANN401 - a butler
    """Remove the files of datasets that the registry has forgotten and the datastore has not."""
    butler._datastore.emptyTrash()  # noqa: SLF001


def files_with_refs(butler: Any, paths: Collection[str]) -> set[str]:  # noqa: ANN401 - a butler
    """Return which paths below the datastore's root any dataset of the repository has."""
    return set(butler._datastore._refs_associated_with_artifacts(paths))  # noqa: SLF001


def forget_butler_commands() -> None:
    """Have ``butler``, in this process, look up its plug-ins again: the environment may have changed."""
    from lsst.daf.butler.cli.butler import LoaderCLI  # noqa: PLC0415 - costs seconds

    LoaderCLI._getCommands.cache_clear()  # noqa: SLF001 - a functools.cache


# -- Parsl ---------------------------------------------------------------------------------------------
def parsl_is_loaded() -> bool:
    """Return whether jobs are with Parsl, so that a stop must go through its shutdown."""
    from parsl import DataFlowKernelLoader  # noqa: PLC0415 - slow

    return DataFlowKernelLoader._dfk is not None  # noqa: SLF001


def interchange_of(executor: Any) -> Any:  # noqa: ANN401 - Parsl's executor, and a Popen
    """Return the process of an executor's interchange; None when it has none."""
    return getattr(executor, "interchange_proc", None)


def put_out_of_use(executor: Any, error: Exception) -> None:  # noqa: ANN401 - Parsl's executor
    """Have an executor take no more jobs; Parsl's own method also logs a traceback and fails what it has."""
    executor._executor_exception = error  # noqa: SLF001
    executor._executor_bad_state.set()  # noqa: SLF001


def prune_failed_blocks(executor: Any, failed: Any) -> None:  # noqa: ANN401 - Parsl's executor and state
    """Drop Parsl's notes on submissions of blocks that came to nothing, which it would keep for ever."""
    for block, status in list(executor._simulated_status.items()):  # noqa: SLF001
        if status.state == failed and block not in executor.blocks_to_job_id:
            executor._simulated_status.pop(block, None)  # noqa: SLF001
            executor._status.pop(block, None)  # noqa: SLF001
