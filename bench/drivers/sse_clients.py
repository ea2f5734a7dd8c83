"""Thousands of subscribed pages in one process: `python -m bench.drivers.sse_clients ADDRESS PATH PATTERN`.

The program reads one JSON command a line from standard input, and answers each with one JSON line:

- `{"do": "connect", "count": n}`: open n more connections;
- `{"do": "expect", "events": n, "limit": s}`: answer `{}`, wait until each client has n more events, answer again;
- `{"do": "drop"}`: close all connections;
- `{"do": "reconnect", "behind": n, "limit": s}`: open them again, each with the id of its last event, and wait until
  each has the n events that it missed.

PATTERN matches an event, with three groups: its id, its seq (each event has the next number), and its clock (the
microseconds of CLOCK_MONOTONIC when it was published).
"""

import errno
import itertools
import json
import re
import resource
import select
import socket
import sys
import time
from collections.abc import Callable

from bench.measure import percentiles

_AT_ONCE = 256  # limit on connections that are being opened
_SOURCES = 8  # addresses to connect from, since each has a limited number of ports
_CHUNK = 1 << 18


class Client:
    """One page."""

    __slots__ = ("events", "last_id", "open", "seq", "socket", "tail", "wanted")

    def __init__(self) -> None:
        self.socket: socket.socket | None = None
        self.open = False
        self.tail = b""
        self.last_id = b""
        self.seq = 0
        self.events = 0
        self.wanted = 0


class Clients:
    """All pages of this process, in one loop of epoll."""

    def __init__(self, host: str, port: int, path: str, pattern: str) -> None:
        self._address = (host, port)
        self._request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nAccept: text/event-stream\r\n".encode()
        self._find_events = re.compile(pattern.encode()).findall
        self._epoll = select.epoll()
        self._clients: list[Client] = []
        self._by_file: dict[int, Client] = {}
        self._sources = itertools.cycle(range(2, 2 + _SOURCES))
        self._opening = self._waiting = 0
        self._start_counting()

    def connect(self, count: int) -> dict[str, float]:
        """Open more connections."""
        more = [Client() for _ in range(count)]
        self._clients += more
        return self._open(more, 60.0)

    def expect(self, events: int, limit: float) -> dict[str, float]:
        """Wait until each client has that many more events. Count everything since the last answer."""
        self._want(events)
        # The bench publishes after this line.
        print("{}", flush=True)
        return self._until_all_have_theirs(limit)

    def drop(self) -> dict[str, float]:
        """Close all connections."""
        for client in self._clients:
            if client.socket:
                del self._by_file[client.socket.fileno()]
                client.socket.close()
                client.socket, client.open, client.tail = None, False, b""
        return {}

    def reconnect(self, behind: int, limit: float) -> dict[str, float]:
        """Open all connections again, each from its last event."""
        self._want(behind)
        began = time.monotonic()
        self._open(self._clients, limit)
        return self._until_all_have_theirs(limit) | {"seconds": time.monotonic() - began}

    def _want(self, events: int) -> None:
        self._start_counting()
        self._waiting = len(self._clients)
        for client in self._clients:
            client.wanted = client.events + events

    def _start_counting(self) -> None:
        self._waits: list[float] = []
        self._gaps = self._repeated = self._resets = self._reads = self._bytes = 0

    def _until_all_have_theirs(self, limit: float) -> dict[str, float]:
        ends = time.monotonic() + limit
        self._loop(lambda: not self._waiting, ends)
        figures = {"waiting": self._waiting, "gaps": self._gaps, "repeated": self._repeated, "resets": self._resets}
        figures |= {"reads": self._reads, "bytes": self._bytes}
        return figures | (percentiles(sorted(self._waits)) if self._waits else {})

    def _open(self, clients: list[Client], limit: float) -> dict[str, float]:
        began = time.monotonic()
        waiting = iter(clients)
        for client in waiting:
            self._begin(client)
            if self._opening >= _AT_ONCE:
                self._loop(lambda: self._opening < _AT_ONCE, began + limit)
        self._loop(lambda: not self._opening, began + limit)
        return {"seconds": time.monotonic() - began, "failed": self._opening}

    def _begin(self, client: Client) -> None:
        client.socket = socket.socket()
        client.socket.setblocking(False)
        client.socket.bind((f"127.0.0.{next(self._sources)}", 0))
        if (problem := client.socket.connect_ex(self._address)) not in (0, errno.EINPROGRESS):
            raise OSError(problem, "connect")
        self._by_file[client.socket.fileno()] = client
        self._epoll.register(client.socket, select.EPOLLOUT)
        self._opening += 1

    def _loop(self, done: Callable[[], bool], ends: float) -> None:
        while not done() and time.monotonic() < ends:
            for file, event in self._epoll.poll(0.1, 4096):
                client = self._by_file.get(file)
                if client is None or client.socket is None:
                    continue
                if event & select.EPOLLOUT:
                    resume = b"Last-Event-ID: %b\r\n" % client.last_id if client.last_id else b""
                    client.socket.send(b"%b%b\r\n" % (self._request, resume))
                    self._epoll.modify(file, select.EPOLLIN)
                else:
                    self._read(client, client.socket)

    def _read(self, client: Client, connection: socket.socket) -> None:
        data = connection.recv(_CHUNK)
        if not data:
            raise ConnectionError("the server has ended a connection")
        now = time.monotonic_ns() // 1000
        self._reads += 1
        self._bytes += len(data)
        data = client.tail + data
        if not client.open:
            if b"\r\n\r\n" not in data:
                client.tail = data
                return
            if not data.startswith(b"HTTP/1.1 200"):
                raise ConnectionError(data[:100].decode(errors="replace"))
            client.open = True
            self._opening -= 1
        end = data.rfind(b"\n\n") + 2
        client.tail = data[end:] if end > 1 else data
        if end > 1:
            self._take(client, data[:end], now)

    def _take(self, client: Client, frames: bytes, now: int) -> None:
        for event_id, seq_text, clock in self._find_events(frames):
            seq = int(seq_text)
            if client.seq and seq != client.seq + 1:
                if seq <= client.seq:
                    self._repeated += 1
                    continue
                self._gaps += 1
            client.seq = seq
            client.last_id = event_id
            client.events += 1
            if client.events == client.wanted:
                self._waiting -= 1
            self._waits.append((now - int(clock)) / 1000)
        if b"event: reset" in frames:
            self._resets += 1


def main() -> None:
    """Carry out commands until standard input ends."""
    address, path, pattern = sys.argv[1:]
    host, port = address.rsplit(":", 1)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    clients = Clients(host, int(port), path, pattern)
    verbs: dict[str, Callable[..., dict[str, float]]] = {
        "connect": clients.connect,
        "expect": clients.expect,
        "drop": clients.drop,
        "reconnect": clients.reconnect,
    }
    for line in sys.stdin:
        command = json.loads(line)
        print(json.dumps(verbs[command.pop("do")](**command)), flush=True)


if __name__ == "__main__":
    main()
