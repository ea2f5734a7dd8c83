"""The port of the metrics: HTTP on threads of its own, which answer while the event loop is busy."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from thumbq_runtime.tls.certificates import Certificates
from thumbq_runtime.tls.handshakes import context_of_current

# Connections at once, each with a thread; one more is closed without an answer.
MOST_CONNECTIONS = 32
# Seconds of a connection, from its first byte to its last.
LONGEST = 10.0


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    # With the library's five, a scraper that comes among many waits for seconds before it is heard.
    request_queue_size = 128

    def __init__(self, *arguments: Any, **options: Any) -> None:
        # When each connection has to be over.
        self._ends: dict[socket.socket, float] = {}
        super().__init__(*arguments, **options)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer a connection on a thread of its own."""
        if len(self._ends) >= MOST_CONNECTIONS:
            self.shutdown_request(request)
            return
        self._ends[request] = time.monotonic() + LONGEST
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        self._ends.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Break off what takes too long. The server calls this twice a second."""
        now = time.monotonic()
        for connection, end in list(self._ends.items()):
            if end < now:
                with suppress(OSError):
                    # That of the plain socket: TLS belongs to the connection's thread, which finds the end of the file.
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client is gone, or speaks no TLS."""


class _ServerOfIPv6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = LONGEST

    def log_message(self, format: str, *_values: Any) -> None:  # noqa: A002 - the library's name
        """Say nothing: a scrape is no event."""


@contextmanager
def listening(
    address: str, port: int, application: Callable[..., Any], certificates: Certificates | None
) -> Iterator[int]:
    """Answer requests at the address until the block ends. Yield the port. Raises OSError."""
    kind = _ServerOfIPv6 if ":" in address else _Server
    server = make_server(address, port, application, kind, _Handler)
    if certificates:
        server.socket = _with_tls(server.socket, context_of_current(certificates))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _with_tls(listener: socket.socket, context: ssl.SSLContext) -> socket.socket:
    # The handshake waits for the first read, on the connection's own thread: a slow client holds up none other.
    return context.wrap_socket(listener, server_side=True, do_handshake_on_connect=False)
