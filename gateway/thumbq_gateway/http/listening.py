"""The sockets that the gateway listens on."""

import socket

from thumbq_runtime.addresses import open_sockets

# Connections that wait for accept() when all pages reconnect at once. The kernel resets some of those beyond.
BACKLOG = 4_096


def listen(host: str, port: int, *, reuse_port: bool, patience: float) -> list[socket.socket]:
    """Listen on every address of the host; port 0 is any free one, the same for all.

    The kernel ends a connection whose peer acknowledges or takes nothing for `patience` seconds. Raises OSError.
    """
    sockets = open_sockets(host, port, backlog=BACKLOG, reuse_port=reuse_port)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # connections inherit it
        for one in sockets:
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(patience * 1000))
    return sockets
