"""Tables of a report as plain rows: for JSON, CSV and Parquet."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from types import NoneType, UnionType
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

from merian_campaign.domain.report.lines import (
    BlockSumLine,
    CauseLine,
    ChangeLine,
    CompletenessLine,
    GroupLine,
    RevisionLine,
    StepLineOfReport,
    SubmissionLine,
    TractLine,
)
from merian_campaign.domain.report.numbers import Report
from merian_campaign.domain.report.rows import ProgressRow, StackRow, UsageRow

KINDS: Final[Mapping[str, type]] = {
    "steps": StepLineOfReport,
    "groups": GroupLine,
    "tracts": TractLine,
    "completeness": CompletenessLine,
    "causes": CauseLine,
    "usage": UsageRow,
    "progress": ProgressRow,
    "blocks": BlockSumLine,
    "submissions": SubmissionLine,
    "changes": ChangeLine,
    "revisions": RevisionLine,
    "stacks": StackRow,
}
"""Tables by name, with the class of their lines."""

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\N{FULLWIDTH EQUALS SIGN}")
"""What a spreadsheet begins a formula at."""

type Row = dict[str, Any]


def need() -> None:
    """See that what writes Parquet is there.

    Raises
    ------
    ModuleNotFoundError
        Raised if pyarrow is not there.
    """
    import pyarrow.parquet  # noqa: F401, PLC0415 - of an extra


def columns(kind: type) -> dict[str, Any]:
    """Return the columns of a table with the types of their values, `None` aside."""
    hints = get_type_hints(kind)
    return {field.name: _without_none(hints[field.name]) for field in fields(kind)}


def _without_none(hint: Any) -> Any:  # noqa: ANN401 - a type hint
    if get_origin(hint) in {UnionType, Union}:
        return next(one for one in get_args(hint) if one is not NoneType)
    return hint


def rows(report: Report, name: str) -> list[Row]:
    """Return the rows of a table; what is a list of numbers is text with blanks between them."""
    found: Sequence[Any] = getattr(report, name)
    return [{key: _flat(value) for key, value in asdict(line).items()} for line in found]


def _flat(value: Any) -> Any:  # noqa: ANN401 - any value of a line
    return " ".join(map(str, value)) if isinstance(value, tuple) else value


def report_json(report: Report) -> dict[str, Any]:
    """Return a report for machines."""
    head = {name: value for name, value in asdict(report.headline).items() if name != "campaign"}
    return {
        "campaign": report.headline.campaign,
        "file": report.file,
        "database_schema": report.schema,
        "headline": _plain(head),
        "collections": dict(report.collections),
        "progress_seconds": report.span_seconds,
        **{name: [_plain(row) for row in rows(report, name)] for name in KINDS},
    }


def _plain(row: Mapping[str, Any]) -> Row:
    return {key: value.isoformat() if isinstance(value, datetime) else value for key, value in row.items()}


def as_csv(report: Report, name: str) -> str:
    """Return a table as CSV (RFC 4180, UTF-8); no text in it is taken for a formula."""
    stream = io.StringIO()
    writer = csv.writer(stream)
    names = list(columns(KINDS[name]))
    writer.writerow(names)
    for row in rows(report, name):
        writer.writerow([_cell(row[key]) for key in names])
    return stream.getvalue()


def _cell(value: Any) -> Any:  # noqa: ANN401 - any value of a line
    match value:
        case datetime():
            return value.isoformat()
        case str() if value.startswith(_FORMULA):
            return f"'{value}"
        case None:
            return ""
    return value


def as_parquet(report: Report, name: str) -> bytes:
    """Return a table as Parquet.

    Raises
    ------
    ModuleNotFoundError
        Raised if pyarrow is not there.
    """
    import pyarrow as pa  # noqa: PLC0415 - of an extra
    import pyarrow.parquet as pq  # noqa: PLC0415

    types = {int: pa.int64(), float: pa.float64(), bool: pa.bool_(), datetime: pa.timestamp("us", tz="UTC")}
    schema = pa.schema(
        [(key, types.get(kind, pa.string())) for key, kind in columns(KINDS[name]).items()],
        metadata={"merian_campaign": report.headline.campaign, "at": report.headline.at.isoformat()},
    )
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows(report, name), schema=schema), stream, compression="zstd")
    return stream.getvalue()
