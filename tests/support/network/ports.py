"""Ports that are free, and stay so until a server listens on them."""

import contextlib
import itertools
import os
import random
import socket
from collections.abc import Iterator

# Below the kernel's range for outgoing connections, so that no client takes a port before its server has it.
_FIRST, _LAST = 20_000, 32_000
_PROCESSES = 8


def free_port() -> int:
    """Return a port that nothing listens on, and that no other test has been given for a long time."""
    for port in _ports:
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("unreachable: the ports go round")


def _shuffled() -> Iterator[int]:
    """Give each test process ports of its own, and each port once a round."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _PROCESSES
    ports = list(range(_FIRST + number, _LAST, _PROCESSES))
    random.shuffle(ports)
    return itertools.cycle(ports)


_ports = _shuffled()
