"""The sockets that the gateway listens on."""

import errno
import socket
from contextlib import ExitStack

_BACKLOG = 4_096  # connections that wait for accept() when all pages reconnect at once
_NOT_HERE = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}  # a name may also stand for an address that this machine lacks


def listen(host: str, port: int, *, reuse_port: bool, patience: float) -> list[socket.socket]:
    """Listen on every address of the host; `::` takes IPv4 as well, and "" is every address of the machine.

    Port 0 is any free one, the same for all addresses.

    The kernel ends a connection whose peer acknowledges or takes nothing for `patience` seconds. Raises OSError.
    """
    found = socket.getaddrinfo(host.strip("[]") or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    both = host.strip("[]") == "::" and socket.has_dualstack_ipv6()
    missing: OSError | None = None
    with ExitStack() as opened:
        sockets: list[socket.socket] = []
        for family, _, _, _, address in dict.fromkeys(found):
            try:
                one = _open(
                    family, (address[0], port, *address[2:]), reuse_port=reuse_port, both=both, patience=patience
                )
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                missing = error
                continue
            sockets.append(opened.enter_context(one))
            port = one.getsockname()[1]
        if missing and not sockets:
            raise missing
        opened.pop_all()
    return sockets


def _open(family: int, address: tuple[object, ...], *, reuse_port: bool, both: bool, patience: float) -> socket.socket:
    one = socket.create_server(
        address,
        family=family,
        backlog=_BACKLOG,
        reuse_port=reuse_port,
        dualstack_ipv6=both,
    )
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # connections inherit it
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(patience * 1000))
    return one
