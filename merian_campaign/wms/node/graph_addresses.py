"""Where in a quantum graph's file the quanta are: its address file, kept as bytes and searched by bisection.

The middleware makes objects of up to 125,000 rows to find one, in every process that reads a quantum.  Rows
are sorted by UUID and of one length, so that looking at some twenty of them finds any.
"""

from bisect import bisect_left
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Self
from uuid import UUID

__all__ = ["GraphAddresses"]

_KEY = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class GraphAddresses:
    """Stands in for an `lsst.pipe.base.quantum_graph.AddressReader` of whole quanta.

    Parameters
    ----------
    rows : `bytes`
        The file behind its header.
    int_size : `int`
        Bytes of an integer in it.
    row_size : `int`
        Bytes of a row.
    """

    rows: bytes
    int_size: int
    row_size: int

    @classmethod
    def read(cls, data: bytes, *, int_size: int) -> Self:
        """Read an address file.

        Raises
        ------
        ValueError
            It is of another form.
        """
        from lsst.pipe.base.quantum_graph import AddressReader  # noqa: PLC0415 - heavy

        header, row_size = (
            AddressReader.compute_header_size(int_size),
            AddressReader.compute_row_size(int_size, 1),
        )
        words = [data[start : start + int_size] for start in (1, 1 + int_size)]
        number, addresses = (int.from_bytes(word) for word in words)
        if data[0] != int_size or addresses != 1 or len(data) != header + number * row_size:
            raise ValueError("addresses of another form")
        return cls(rows=data[header:], int_size=int_size, row_size=row_size)

    def find(self, key: UUID) -> Any:  # noqa: ANN401 - an AddressRow
        """Return the row of a quantum.

        Raises
        ------
        LookupError
            There is none.
        """
        from lsst.pipe.base.quantum_graph import AddressRow  # noqa: PLC0415 - loaded already

        size = self.row_size
        number = len(self.rows) // size
        at = bisect_left(range(number), key.bytes, key=lambda row: self.rows[row * size : row * size + _KEY])
        row = self.rows[at * size : (at + 1) * size]
        if row[:_KEY] != key.bytes:
            raise LookupError(f"Address for {key} not found.")
        return AddressRow.read(BytesIO(row), 1, self.int_size)
