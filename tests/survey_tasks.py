"""A task with the dimensions and connections of a recorded table, whose quanta make mock datasets."""

# mypy: disallow-subclassing-any=False
# lsst ships no types that mypy may follow here, so every base class is Any.

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import yaml
from lsst.pex.config import Field
from lsst.pipe.base import PipelineTaskConnections, connectionTypes
from lsst.pipe.base.tests.mocks import DynamicTestPipelineTask
from lsst.pipe.base.tests.mocks._pipeline_task import BaseTestPipelineTaskConfig
from lsst.pipe.base.tests.mocks._storage_class import MockStorageClass

STORAGE = "StructuredDataDict"
MARKS = "*?~"


@lru_cache
def read_table(file: str) -> dict[str, Any]:
    """Return a table of `tests/surveys/tables`."""
    found: dict[str, Any] = yaml.load(Path(file).read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    return found


def storage_class(name: str, table: dict[str, Any]) -> str:
    """Return the storage class of a dataset type: that of the middleware for what it writes itself."""
    label, _, kind = name.rpartition("_")
    if label in table["tasks"] and kind in {"metadata", "config"}:
        return {"metadata": "TaskMetadata", "config": "Config"}[kind]
    return str(MockStorageClass.get_or_register_mock(STORAGE).name)


class TableConnections(PipelineTaskConnections, dimensions=()):
    """Connections as the table has them, each called by its dataset type."""

    def __init__(self, *, config: Any) -> None:
        table = read_table(config.table)
        task = table["tasks"][config.label]
        self._bounds = tuple(task.get("bounds", ()))
        self.dimensions.update(task["dimensions"])
        kinds = {
            "looks_up": connectionTypes.PrerequisiteInput,
            "reads": connectionTypes.Input,
            "makes": connectionTypes.Output,
        }
        for key, kind in kinds.items():
            for word in task.get(key, ()):
                name = word.rstrip(MARKS)
                marks = word[len(name) :]
                of = table["types"][name]
                options: dict[str, Any] = {"minimum": 0} if "?" in marks else {}
                if "~" in marks:
                    options["deferGraphConstraint"] = True
                made = kind(
                    name=name,
                    storageClass=storage_class(name, table),
                    dimensions=frozenset(of) - {"calibration"},
                    isCalibration="calibration" in of,
                    multiple="*" in marks,
                    **options,
                )
                # A task that reads what it makes, one group after the other, has two connections of one name.
                setattr(self, f"{name}_of_others" if hasattr(self, name) else name, made)

    def getSpatialBoundsConnections(self) -> tuple[str, ...]:  # noqa: N802 - name set by the base class
        """Return whose regions say where prerequisites on the sky are looked up, instead of the quantum's."""
        return self._bounds


class TableConfig(BaseTestPipelineTaskConfig, pipelineConnections=TableConnections):
    """Which task of which table it is."""

    table = Field[str](dtype=str, doc="File of the table.")
    label = Field[str](dtype=str, doc="Label of the task there.")


class TableTask(DynamicTestPipelineTask):
    """A task of a table."""

    ConfigClass: ClassVar[type[TableConfig]] = TableConfig
    _DefaultName: ClassVar[str] = "table"
