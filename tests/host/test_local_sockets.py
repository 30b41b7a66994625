"""Sockets of one user: the kernel says who is at the other end, and the folder lets nobody else in."""

from __future__ import annotations

import os
import selectors
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from another_user import NOBODY, as_nobody

from merian_campaign.host.local_sockets import is_ours, peer_uid
from merian_campaign.host.ownership import UntrustedError
from merian_campaign.wms import supervisor_start
from merian_campaign.wms.node.connections import Connections


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody can enter, against all rules."""
    with tempfile.TemporaryDirectory(prefix="merian-sockets-") as name:
        Path(name).chmod(0o777)
        yield Path(name)


def send(path: Path) -> str:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(b'{"kind": "run"}\n')
        return f"answer: {connection.recv(10)!r}"


def test_a_supervisor_hears_nobody_else(folder: Path) -> None:
    heard: list[Any] = []
    with socket.socket(socket.AF_UNIX) as listener, selectors.DefaultSelector() as selector:
        listener.bind(str(folder / "sock"))
        (folder / "sock").chmod(0o777)
        listener.listen()
        clients = Connections(
            listener=listener, selector=selector, on_message=lambda _, said: heard.append(said),
            on_gone=lambda _: None,
        )  # fmt: skip
        clients.listen()
        with socket.socket(socket.AF_UNIX) as own:
            own.connect(str(folder / "sock"))
            own.sendall(b'{"kind": "mine"}\n')
            while not heard:
                for key, _ in selector.select(10):
                    key.data()
        listener.settimeout(0)
        reader, writer = os.pipe()
        if os.fork() == 0:  # so that it connects while this process looks
            os.write(writer, as_nobody(lambda: send(folder / "sock")).encode() if os.geteuid() == 0 else b"-")
            os._exit(0)
        os.close(writer)
        selector.register(reader, selectors.EVENT_READ, lambda: None)
        while not any(key.fileobj == reader for key, _ in _handled(selector)):
            pass
        said = os.read(reader, 4000).decode()
        os.close(reader)
    if os.geteuid() != 0:
        pytest.skip("only root can be two users")
    assert "answer: b''" in said or "ConnectionResetError" in said or "BrokenPipeError" in said
    assert heard == [{"kind": "mine"}]


def _handled(selector: selectors.BaseSelector) -> list[tuple[selectors.SelectorKey, int]]:
    found = selector.select(10)
    for key, _ in found:
        key.data()
    return found


def test_who_is_there() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert peer_uid(one) == os.geteuid()
        assert is_ours(other)


def test_a_planted_folder_for_sockets_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(folder))
    place = folder / f"merian-campaign-{os.getuid()}"
    as_nobody(place.mkdir)
    with pytest.raises(UntrustedError, match="belongs to nobody"):
        supervisor_start.socket_path("x")
    place.rmdir()
    place.symlink_to("/etc")
    with pytest.raises(UntrustedError, match="must be a private folder"):
        supervisor_start.socket_path("x")
    place.unlink()
    assert supervisor_start.socket_path("x").parent == place
    assert place.stat().st_mode & 0o777 == 0o700


def test_a_worker_speaks_to_nobody_else(folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can be two users")
    with socket.socket(socket.AF_UNIX) as listener:
        os.seteuid(NOBODY)
        try:
            listener.bind(str(folder / "sock"))
            listener.listen()
        finally:
            os.seteuid(0)
        with pytest.raises(UntrustedError, match="somebody else listens there"):
            supervisor_start._dial(folder / "sock")
