"""Ports that are free, and stay so until a server listens on them."""

import contextlib
import random
import socket


def free_port() -> int:
    """Return a port below the kernel's range for outgoing connections, so that no client takes it meanwhile."""
    while True:
        port = random.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
