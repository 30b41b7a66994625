"""Compare the datasets of two collections, value by value.

What describes a run rather than its result is left out: configurations, logs, metadata, package versions and
provenance.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from astropy.table import Table
from lsst.daf.butler import Butler, CollectionType, DatasetRef

__all__ = ["Difference", "compare_collections"]

_IGNORED_SUFFIXES: Final = ("_config", "_log", "_metadata")
_IGNORED_NAMES: Final = frozenset({"packages", "run_provenance"})

Key = tuple[str, str]


@dataclass(frozen=True, kw_only=True, order=True)
class Difference:
    """One dataset in which two collections differ.

    Parameters
    ----------
    dataset_type : `str`
        Name of the dataset type.
    data_id : `str`
        Data ID, as ``dimension=value`` pairs.
    problem : `str`
        What differs, in words.
    """

    dataset_type: str
    data_id: str
    problem: str


def compare_collections(
    *,
    repository: Path,
    first: str | Sequence[str],
    second: str | Sequence[str],
    other_repository: Path | None = None,
) -> list[Difference]:
    """Return every difference between the datasets of two collections.

    Parameters
    ----------
    repository : `pathlib.Path`
        Butler repository.
    first, second : `str` or `list` [`str`]
        Collections to compare.  Of chains, the RUN collections in them are compared.
    other_repository : `pathlib.Path`, optional
        Repository of the second collection, if it is another one.

    Returns
    -------
    differences : `list` [`Difference`]
        Datasets that one side lacks, that hold other values, or that one side has in more than one RUN
        collection; sorted, and empty if the collections agree.
    """
    with ExitStack() as stack:
        left = stack.enter_context(Butler.from_config(os.fspath(repository), writeable=False))
        right = left
        if other_repository is not None:
            right = stack.enter_context(Butler.from_config(os.fspath(other_repository), writeable=False))
        return sorted(_differences(left, right, _datasets(left, first), _datasets(right, second)))


def _datasets(butler: Butler, collections: str | Sequence[str]) -> dict[Key, list[DatasetRef]]:
    """Return the datasets in the RUN collections of a search path, those found first at the front."""
    runs = butler.collections.query(
        collections, collection_types=CollectionType.RUN, flatten_chains=True, include_chains=False
    )
    found: dict[Key, list[DatasetRef]] = {}
    for run in runs:
        for name in sorted(butler.collections.get_info(run, include_summary=True).dataset_types or ()):
            if name in _IGNORED_NAMES or name.endswith(_IGNORED_SUFFIXES):
                continue
            for ref in butler.query_datasets(
                name, collections=run, find_first=False, explain=False, limit=None
            ):
                found.setdefault((name, _data_id_text(ref)), []).append(ref)
    return found


def _data_id_text(ref: DatasetRef) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(ref.dataId.required.items()))


def _differences(
    left: Butler, right: Butler, first: Mapping[Key, list[DatasetRef]], second: Mapping[Key, list[DatasetRef]]
) -> Iterator[Difference]:
    """Yield differences, dataset by dataset."""
    for key in first.keys() | second.keys():
        name, data_id = key
        for side, refs in (("first", first.get(key, [])), ("second", second.get(key, []))):
            if not refs:
                yield Difference(dataset_type=name, data_id=data_id, problem=f"missing in the {side}")
            if len(refs) > 1:
                runs = ", ".join(ref.run for ref in refs)
                yield Difference(dataset_type=name, data_id=data_id, problem=f"in the {side} twice: {runs}")
        if key in first and key in second:
            one, other = first[key][0], second[key][0]
            if left is right and one.id == other.id:
                continue
            problem = _compare_values(left.get(one), right.get(other))
            if problem:
                yield Difference(dataset_type=name, data_id=data_id, problem=problem)


def _compare_values(one: Any, other: Any) -> str:
    """Return what differs between two values, or nothing."""
    if type(one) is not type(other):
        return f"types {type(one).__name__} and {type(other).__name__}"
    if isinstance(one, np.ndarray):
        return _compare_arrays(one, other)
    if isinstance(one, Table):
        if one.colnames != other.colnames:
            return f"columns {one.colnames} and {other.colnames}"
        problems = (
            (name, _compare_arrays(np.asarray(one[name]), np.asarray(other[name]))) for name in one.colnames
        )
        return "; ".join(f"column {name}: {problem}" for name, problem in problems if problem)
    return "" if one == other else f"values {one!r} and {other!r}"


def _compare_arrays(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> str:
    """Return what differs between two arrays, or nothing."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return f"{one.dtype}{one.shape} and {other.dtype}{other.shape}"
    has_nan = one.dtype.kind in "fc"
    if np.array_equal(one, other, equal_nan=has_nan):
        return ""
    differ = one != other
    if has_nan:
        differ &= ~(np.isnan(one) & np.isnan(other))
    return f"{np.count_nonzero(differ)} of {one.size} values"
