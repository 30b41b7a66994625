"""Comparing collections finds what is missing, doubled or different, and nothing else."""

from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from demo_compare import Difference, compare_collections
from lsst.daf.butler import Butler, DatasetType

TYPES = {
    "image": "NumpyArray",
    "table": "ArrowAstropy",
    "facts": "StructuredDataDict",
    "isr_log": "StructuredDataDict",
}
IMAGE = np.array([1.0, np.nan])
TABLE = {"flux": [1.0, np.nan], "band": ["N540", "N708"]}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    Butler.makeRepo(str(tmp_path))
    with Butler.from_config(str(tmp_path), writeable=True) as butler:
        for name, storage_class in TYPES.items():
            butler.registry.registerDatasetType(
                DatasetType(name, ("instrument",), storage_class, universe=butler.dimensions)
            )
        butler.registry.insertDimensionData("instrument", {"name": "DECam", "class_name": "x"})
    return tmp_path


def _put(repository: Path, run: str, **values: object) -> None:
    with Butler.from_config(str(repository), writeable=True) as butler:
        butler.collections.register(run)
        for name, value in values.items():
            butler.put(value, name, {"instrument": "DECam"}, run=run)


def _compare(repository: Path, first: object = "one", second: object = "other") -> list[tuple[str, str]]:
    found = compare_collections(repository=repository, first=first, second=second)
    assert all(isinstance(difference, Difference) for difference in found)
    return [(difference.dataset_type, difference.problem) for difference in found]


def test_equal_values_agree_with_nan_and_without_logs(repository: Path) -> None:
    _put(repository, "one", image=IMAGE, table=Table(TABLE), facts={"a": 1}, isr_log={"time": 1})
    _put(repository, "other", image=IMAGE.copy(), table=Table(TABLE), facts={"a": 1}, isr_log={"time": 2})
    assert _compare(repository) == []


def test_other_values_are_found(repository: Path) -> None:
    _put(repository, "one", image=IMAGE, table=Table(TABLE), facts={"a": 1})
    other = TABLE | {"flux": [2.0, np.nan]}
    _put(repository, "other", image=np.array([3.0, np.nan]), table=Table(other), facts={"a": 2})
    assert _compare(repository) == [
        ("facts", "values {'a': 1} and {'a': 2}"),
        ("image", "1 of 2 values"),
        ("table", "column flux: 1 of 2 values"),
    ]


def test_another_type_is_found(repository: Path) -> None:
    _put(repository, "one", image=IMAGE)
    _put(repository, "other", image=IMAGE.astype(np.float32))
    assert _compare(repository) == [("image", "float64(2,) and float32(2,)")]


def test_missing_datasets_are_found_on_either_side(repository: Path) -> None:
    _put(repository, "one", image=IMAGE)
    _put(repository, "other", facts={"a": 1})
    assert _compare(repository) == [("facts", "missing in the first"), ("image", "missing in the second")]


def test_doubled_datasets_are_found(repository: Path) -> None:
    _put(repository, "one", image=IMAGE)
    _put(repository, "other", image=IMAGE)
    _put(repository, "again", image=IMAGE)
    assert _compare(repository, second=["again", "other"]) == [("image", "in the second twice: again, other")]
