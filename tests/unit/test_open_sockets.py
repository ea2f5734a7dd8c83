"""A free port for a host of several addresses, while others take ports too."""

import socket
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from thumbq_runtime.addresses import open_sockets

create_server = socket.create_server


def _rival(taken: ExitStack, times: int) -> Callable[..., socket.socket]:
    """Return a `create_server` after which somebody else takes the same port at 127.0.0.1, a few times."""
    left = [times]

    def create(address: Any, *, family: int, **options: Any) -> socket.socket:
        opened = create_server(address, family=family, **options)
        if left[0] and family == socket.AF_INET6:
            left[0] -= 1
            taken.enter_context(create_server(("127.0.0.1", opened.getsockname()[1])))
        return opened

    return create


@pytest.fixture
def two_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let localhost be ::1 and 127.0.0.1, in this order."""
    found = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


@pytest.mark.usefixtures("two_addresses")
def test_any_port_is_one_that_is_free_on_every_address(monkeypatch: pytest.MonkeyPatch) -> None:
    with ExitStack() as taken:
        monkeypatch.setattr(socket, "create_server", _rival(taken, times=3))
        with ExitStack() as opened:
            sockets = [opened.enter_context(one) for one in open_sockets("localhost", 0)]
            assert [one.getsockname()[0] for one in sockets] == ["::1", "127.0.0.1"]
            assert len({one.getsockname()[1] for one in sockets}) == 1


@pytest.mark.usefixtures("two_addresses")
def test_a_machine_without_such_a_port_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with ExitStack() as taken:
        monkeypatch.setattr(socket, "create_server", _rival(taken, times=1000))
        with pytest.raises(OSError, match="Address already in use"):
            open_sockets("localhost", 0)


@pytest.mark.usefixtures("two_addresses")
def test_a_port_that_was_asked_for_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with create_server(("127.0.0.1", 0)) as taken, ExitStack() as none:
        port = taken.getsockname()[1]
        monkeypatch.setattr(socket, "create_server", _rival(none, times=0))
        with pytest.raises(OSError, match="Address already in use") as refused:
            open_sockets("localhost", port)
    assert refused.value.filename == f"127.0.0.1:{port}"
