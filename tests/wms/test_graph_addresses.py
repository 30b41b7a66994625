"""Addresses of quanta are those that the middleware wrote, and are found without reading the others."""

import io
import random
from uuid import UUID

import pytest
from lsst.pipe.base.quantum_graph import Address, AddressReader, AddressWriter

from merian_campaign.wms.node.graph_addresses import GraphAddresses


def written(number: int, *, int_size: int = 8) -> tuple[bytes, dict[UUID, Address]]:
    dice = random.Random(number)
    rows = {
        UUID(int=dice.getrandbits(128)): Address(offset=dice.getrandbits(30), size=n) for n in range(number)
    }
    stream = io.BytesIO()
    AddressWriter([rows]).write(stream, int_size)
    return stream.getvalue(), rows


@pytest.mark.parametrize("number", [1, 2, 3, 100, 1000])
@pytest.mark.parametrize("int_size", [4, 8])
def test_each_quantum_is_found_as_the_middleware_finds_it(number: int, int_size: int) -> None:
    data, rows = written(number, int_size=int_size)
    ours = GraphAddresses.read(data, int_size=int_size)
    stream = io.BytesIO(data)
    theirs = AddressReader.from_stream(stream, page_size=400, n_addresses=1, int_size=int_size)
    for key, address in rows.items():
        assert ours.find(key) == theirs.find(key)
        assert ours.find(key).addresses == [address]


def test_one_that_is_not_there_is_not_found() -> None:
    data, rows = written(50)
    ours = GraphAddresses.read(data, int_size=8)
    for key in (UUID(int=0), UUID(int=2**128 - 1), UUID(int=next(iter(rows)).int + 1)):
        with pytest.raises(LookupError):
            ours.find(key)
    empty, _ = written(0)
    with pytest.raises(LookupError):
        GraphAddresses.read(empty, int_size=8).find(UUID(int=1))


def test_a_file_of_another_form_is_refused() -> None:
    data, _ = written(5)
    for other in (data[:-1], data + b"0", b"\x04" + data[1:]):
        with pytest.raises(ValueError, match="another form"):
            GraphAddresses.read(other, int_size=8)
