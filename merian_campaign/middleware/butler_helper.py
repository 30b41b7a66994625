"""A child process that does what needs the LSST middleware, so that its parent need not import it.

Requests are JSON objects, one a line, on standard input; each gets one JSON line on standard output:
``{"ok": true, ...}`` or ``{"ok": false, "error": "..."}``. Everything else that is printed goes to
standard error. It never talks to the tracking database.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from merian_campaign.domain.failures import error_classes
from merian_campaign.domain.safe_text.text import clean
from merian_campaign.host.atomic_files import write_lines
from merian_campaign.host.collector import no_collection
from merian_campaign.host.regular_files import read_lines
from merian_campaign.middleware import exception_bases, harvest_lines, provenance_quanta, torn_files

_METADATA = "_metadata"
_encode = json.JSONEncoder(check_circular=False, separators=(",", ":")).encode


def _identity(task: str, data_id: Any, quantum_id: Any) -> dict[str, Any]:  # noqa: ANN401 - lsst types
    values = data_id.mapping if data_id.hasFull() else data_id.required
    return harvest_lines.identity(task, quantum_id, required=data_id.required, values=values)


def _write_lines(path: str, lines: Iterator[Mapping[str, Any]]) -> int:
    """Write JSON lines atomically; return how many."""
    number = 0

    def counted() -> Iterator[str]:
        nonlocal number
        for line in lines:
            number += 1
            yield _encode(line)

    write_lines(Path(path), counted())
    return number


@no_collection()
def predicted(*, graph: str, out: str) -> dict[str, Any]:
    """Write the quanta of a predicted quantum graph."""
    from lsst.pipe.base.pipeline_graph import TaskImportMode  # noqa: PLC0415 - costs seconds
    from lsst.pipe.base.quantum_graph import PredictedQuantumGraph  # noqa: PLC0415

    with PredictedQuantumGraph.open(graph, import_mode=TaskImportMode.DO_NOT_IMPORT) as reader:
        reader.read_dimension_data()
        reader.read_thin_graph()
        found = reader.finish()
    upstream = found.quantum_only_xgraph

    def lines() -> Iterator[Mapping[str, Any]]:
        for task, quanta in found.quanta_by_task.items():
            for data_id, quantum_id in quanta.items():
                before = [str(other) for other in upstream.predecessors(quantum_id)]
                yield {**_identity(task, data_id, quantum_id), "after": before}

    return {"quanta": _write_lines(out, lines())}


@no_collection()
def harvest(*, provenance: str, logs: str, out: str, journal: str = "", torn: str = "") -> dict[str, Any]:
    """Write the quanta of a provenance graph with their attempts and log files.

    What their exceptions are by class is looked up here where the journal, if any, does not say. Of quanta
    whose files were ``torn`` that is said in place of an exception.
    """
    words = torn_files.told(torn) if torn else {}
    quanta = provenance_quanta.read(provenance)
    raised = harvest_lines.raised(quanta)
    bases = exception_bases.look_up(raised - harvest_lines.noted_in(journal)) if raised else {}
    lines = harvest_lines.lines(quanta, logs=harvest_lines.log_files(logs), bases=bases, torn=words)
    return {"quanta": _write_lines(out, lines)}


def salvage_all(*, repository: str, submissions: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Do `salvage` for each of some submissions, given as ``directory`` and ``run``."""
    return {"found": [salvage(repository=repository, **entry) for entry in submissions]}


def runs(*, repository: str, outputs: Sequence[str]) -> dict[str, Any]:
    """Return the RUN collections below some outputs."""
    from lsst.daf.butler import Butler, CollectionType  # noqa: PLC0415

    with Butler.from_config(repository, writeable=False) as butler:
        patterns = [f"{output}/*" for output in outputs]
        found = butler.collections.query(patterns, collection_types=CollectionType.RUN) if patterns else ()
        return {"runs": list(found)}


def salvage(*, directory: str, repository: str, run: str) -> dict[str, Any]:
    """Write anew what a submission's directory has lost of its quanta: of its graphs, or the butler.

    Where no provenance graph can be read, what has metadata in the RUN collection has succeeded.

    Returns
    -------
    answer : `dict`
        ``source``: what the quanta were taken from; empty when there is nothing to take them from.
    """
    from merian_campaign.domain.rendering.naming import SubmissionPaths  # noqa: PLC0415
    from merian_campaign.middleware.bps_run import find_graph  # noqa: PLC0415

    paths = SubmissionPaths(directory=directory)
    graph = find_graph(paths)
    if graph is not None:
        predicted(graph=str(graph), out=paths.predicted)
    if Path(paths.provenance).is_file():
        try:
            logs = str(Path(paths.bps) / "logs")
            found = harvest(provenance=paths.provenance, logs=logs, out=paths.harvest, journal=paths.journal)
            return {"source": Path(paths.provenance).name, **found}
        except Exception:  # noqa: BLE001 - of a graph that is damaged anything may come
            traceback.print_exc()
    succeeded = _successes(repository, run, known=_known_uuids(paths.predicted))
    if not succeeded:
        return {"source": "", "quanta": 0}
    Path(directory).mkdir(parents=True, exist_ok=True)
    return {"source": "the butler", "quanta": _write_lines(paths.harvest, iter(succeeded))}


def _known_uuids(path: str) -> dict[tuple[str, str], str]:
    """Return the UUIDs of the quanta of a graph, by task and data ID, as far as they can be read."""
    from merian_campaign.domain.execution.provenance import LineReport, parse_predicted  # noqa: PLC0415

    found = parse_predicted(read_lines(path), wrong=LineReport())
    return {(entry.task, entry.data_id): entry.uuid for entry in found}


def _successes(repository: str, run: str, *, known: Mapping[tuple[str, str], str]) -> list[dict[str, Any]]:
    """Return the quanta whose metadata a RUN collection has, as lines of a harvest."""
    from lsst.daf.butler import Butler  # noqa: PLC0415
    from lsst.pipe.base.resource_usage import QuantumResourceUsage  # noqa: PLC0415

    lines = []
    with Butler.from_config(repository, writeable=False) as butler:
        if not _exists(butler, run):
            return []
        for ref in butler.query_all_datasets([run], name=f"*{_METADATA}", find_first=False, limit=None):
            if ref.datasetType.storageClass_name != "TaskMetadata":
                continue
            line = _identity(ref.datasetType.name.removesuffix(_METADATA), ref.dataId, ref.id)
            usage = QuantumResourceUsage.from_task_metadata(butler.get(ref))
            attempt = {"status": "SUCCESSFUL"} | (harvest_lines.usage_fields(usage) if usage else {})
            line |= {"uuid": known.get((line["task"], line["data_id"]), line["uuid"]), "status": "SUCCESSFUL"}
            lines.append({**line, "caveats": "", "attempts": [attempt]})
    return lines


def prepend(*, repository: str, chain: str, run: str) -> dict[str, Any]:
    """Put a RUN first in a CHAINED collection, which is made if it is not there; idempotent.

    Nothing happens without a name of a chain: that of a generation which is not in force shows it later.
    """
    if not chain:
        return {"changed": False}
    from lsst.daf.butler import Butler, CollectionType  # noqa: PLC0415

    with Butler.from_config(repository, writeable=True) as butler:
        if not _exists(butler, run):
            return {"changed": False}  # nothing was ingested, so there is nothing to show
        butler.collections.register(chain, CollectionType.CHAINED)
        if run in butler.collections.get_info(chain).children:
            return {"changed": False}
        butler.collections.prepend_chain(chain, run)
    return {"changed": True}


def _exists(butler: Any, collection: str) -> bool:  # noqa: ANN401 - lsst type
    from lsst.daf.butler import MissingCollectionError  # noqa: PLC0415

    try:
        butler.collections.get_info(collection)
    except MissingCollectionError:
        return False
    return True


def publish(*, repository: str, chain: str, runs: Sequence[str], drop: Sequence[str]) -> dict[str, Any]:
    """Put RUNs first in a CHAINED collection and take others out of it, in one transaction; idempotent.

    Those that do not exist are left out: nothing was ingested into them.
    """
    from lsst.daf.butler import Butler, CollectionType  # noqa: PLC0415

    with Butler.from_config(repository, writeable=True) as butler:
        butler.collections.register(chain, CollectionType.CHAINED)
        there = butler.collections.get_info(chain).children
        first = [run for run in runs if _exists(butler, run)]
        children = [*first, *(name for name in there if name not in {*first, *drop})]
        if children == list(there):
            return {"changed": False}
        butler.collections.redefine_chain(chain, children)
    return {"changed": True}


def action(*, name: str, repository: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Do a butler action, unless the repository shows that it is done."""
    from merian_campaign.middleware.actions import perform  # noqa: PLC0415 - only action steps need it

    perform.share_with_group(repository)
    return perform.perform(name=name, repository=repository, arguments=arguments)


def overlaps(**question: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON values
    """Ask a registry for exposures, their visits, and the tracts that those overlap."""
    from merian_campaign.middleware import registry_overlaps as asking  # noqa: PLC0415 - only ticks need it

    return asking.look(**question)


def regions(**question: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON values
    """Ask a registry where tracts and visits lie on the sky."""
    from merian_campaign.middleware import registry_regions  # noqa: PLC0415 - only reports need it

    return registry_regions.look(**question)


def preflight(*, directory: str) -> dict[str, Any]:
    """Look at what a submission reads and writes, before its graph is built."""
    from merian_campaign.domain.rendering.naming import SubmissionPaths  # noqa: PLC0415
    from merian_campaign.middleware.preflight.driver_preflight import check  # noqa: PLC0415

    return {"refused": check(SubmissionPaths(directory=directory))}


def pipelines(*, looks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the pipelines of steps read and make."""
    from merian_campaign.domain.preflight.queries import StepQuery  # noqa: PLC0415 - for this alone
    from merian_campaign.middleware.preflight.pipeline_facts import PipelinesHere  # noqa: PLC0415

    here = PipelinesHere()
    asked = tuple(map(StepQuery.from_json, looks))
    return {"pipelines": {step: facts.to_json() for step, facts in here.read(asked).items()}}


COMMANDS: Mapping[str, Callable[..., dict[str, Any]]] = {
    "predicted": predicted,
    "harvest": harvest,
    "runs": runs,
    "salvage": salvage,
    "set_aside": torn_files.set_aside,
    "salvage_all": salvage_all,
    "prepend": prepend,
    "publish": publish,
    "action": action,
    "overlaps": overlaps,
    "pipelines": pipelines,
    "regions": regions,
    "preflight": preflight,
}


def serve(requests: Iterator[str], reply: Callable[[str], None]) -> None:
    """Answer requests until standard input closes."""
    for line in requests:
        request = json.loads(line)
        command = COMMANDS[request.pop("do")]
        try:
            answer = {"ok": True, **command(**request)}
        except Exception as error:  # noqa: BLE001 - the parent decides what an error means
            traceback.print_exc()
            text = clean(f"{type(error).__name__}: {error}")
            hopeless = getattr(error, "needs_person", error_classes.needs_person(text, checked=False))
            answer = {"ok": False, "error": text, "needs_person": hopeless}
        reply(json.dumps(answer))


def main() -> None:
    """Serve on standard input and output; stray prints of libraries go to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def reply(text: str) -> None:
        answers.write(text + "\n")
        answers.flush()

    serve(iter(sys.stdin.readline, ""), reply)


if __name__ == "__main__":
    main()
