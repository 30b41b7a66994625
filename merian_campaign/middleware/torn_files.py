"""Files that a full disk or a dying node has left half written, moved out of the way of ``aggregate-graph``.

It reads the metadata and the log of every quantum, and gives up on the first that it cannot read: nothing is
ingested then. One that is not there costs it the one quantum. A log without content it bears; datasets it
does not read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from merian_campaign.domain.safe_text import json_values
from merian_campaign.domain.safe_text.text import one_line
from merian_campaign.host.atomic_files import write_lines
from merian_campaign.host.regular_files import DamagedFileError, read_lines
from merian_campaign.wms.upstream import uris_of

__all__ = ["SET_ASIDE", "TYPE", "set_aside", "told"]

SET_ASIDE: Final = ".torn"
"""What is added to the name of such a file."""

TYPE: Final = "TornFile"
"""What stands in the place of an exception's type for a quantum that failed by it."""

_READERS: Final = 8


def set_aside(*, graph: str, repository: str, out: str) -> dict[str, Any]:
    """Rename metadata and logs of a run that hold no such thing, and write down which.

    Parameters
    ----------
    graph : `str`
        The predicted quantum graph.
    repository : `str`
        The butler repository.
    out : `str`
        File of lines, to which they are added.
    """
    from lsst.daf.butler import Butler  # noqa: PLC0415 - costs seconds

    outputs = {ref: quantum for quantum, ref in _outputs(graph)}
    with Butler.from_config(repository, writeable=False) as butler:
        # Asked of the datastore: the registry may not know their dataset types yet.
        places = {ref: each.primaryURI for ref, each in uris_of(butler, outputs, predict=True).items()}

    def look(ref: Any) -> tuple[str, Any, str]:  # noqa: ANN401 - lsst type
        is_log = ref.datasetType.storageClass_name != "TaskMetadata"
        return outputs[ref], places[ref], unreadable(places[ref], is_log=is_log)

    with ThreadPoolExecutor(_READERS) as pool:
        found = [entry for entry in pool.map(look, outputs) if entry[2]]
    if found:
        lines = [line for line in _lines(out) if line.strip()]
        for quantum, uri, what in found:
            words = (
                f"{uri.ospath if uri.isLocal else uri} {what}; it was renamed, with {SET_ASIDE} at its end"
            )
            lines.append(json.dumps({"uuid": quantum, "words": words}))
        write_lines(Path(out), lines)
    for _, uri, _ in found:
        _rename(uri)
    return {"found": len(found)}


def _lines(path: str) -> list[str]:
    try:
        return read_lines(path)
    except DamagedFileError:
        return []  # they explain, and nothing rests on them


def _outputs(graph: str) -> Iterator[tuple[str, Any]]:
    """Return UUID and reference for the metadata and the log of each quantum."""
    from lsst.pipe.base import automatic_connection_constants as names  # noqa: PLC0415
    from lsst.pipe.base.pipeline_graph import TaskImportMode  # noqa: PLC0415
    from lsst.pipe.base.quantum_graph import PredictedQuantumGraph  # noqa: PLC0415

    with PredictedQuantumGraph.open(graph, import_mode=TaskImportMode.DO_NOT_IMPORT) as reader:
        reader.read_dimension_data()
        reader.read_quantum_datasets()
        components = reader.components
        for quantum_id, quantum in components.quantum_datasets.items():
            for name in (names.METADATA_OUTPUT_CONNECTION_NAME, names.LOG_OUTPUT_CONNECTION_NAME):
                for dataset in quantum.outputs.get(name, ()):
                    yield str(quantum_id), components.make_dataset_ref(dataset)


def unreadable(uri: Any, *, is_log: bool) -> str:  # noqa: ANN401 - lsst type
    """Return in words why a file is no metadata, or no log; empty when it is, or is not there.

    What cannot be read for the file system's sake may be read later, and is left alone.
    """
    from lsst.daf.butler.logging import ButlerLogRecords  # noqa: PLC0415
    from lsst.pipe.base import TaskMetadata  # noqa: PLC0415

    try:
        content = uri.read()
    except IsADirectoryError:
        return "is a folder"
    except OSError:
        return ""
    if not content and not is_log:
        return "is empty"
    try:
        if is_log:
            ButlerLogRecords.from_raw(content)
        else:
            TaskMetadata.model_validate_json(content)
    except ValueError as error:
        return f"is half written or damaged ({one_line(str(error), limit=80)})"
    return ""


def _rename(uri: Any) -> None:  # noqa: ANN401 - lsst type
    if uri.isLocal:
        Path(uri.ospath).rename(uri.ospath + SET_ASIDE)
    else:
        uri.updatedFile(uri.basename() + SET_ASIDE).transfer_from(uri, "move")


def told(path: str) -> Mapping[str, str]:
    """Return what was set aside, in words by UUID of the quantum."""
    found: dict[str, str] = {}
    for line in _lines(path):
        try:
            entry = json_values.loads(line)
            if not isinstance(entry, Mapping):
                continue
            found.setdefault(json_values.text(entry, "uuid"), json_values.text(entry, "words"))
        except json_values.WrongValueError:
            continue
    return found
