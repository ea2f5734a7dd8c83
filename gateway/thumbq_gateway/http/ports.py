"""The ports of the gateway: the one for clients, and one of this process alone for the other gateways."""

import socket
import ssl

from aiohttp import web

from thumbq_gateway.settings import Settings
from thumbq_runtime.addresses import is_loopback, joined, open_sockets

# Connections that wait for accept() when all pages reconnect at once. The kernel resets some of those beyond.
BACKLOG = 4_096


async def open_ports(settings: Settings, runner: web.AppRunner, context: ssl.SSLContext | None) -> None:
    """Listen for clients, with TLS if there is a context. Raises OSError, CannotListen."""
    patience = settings.subscriber_timeout
    for one in listen(settings.http_host, settings.http_port, reuse_port=settings.reuse_port, patience=patience):
        await _serve(runner, one, context)


async def open_own_port(settings: Settings, runner: web.AppRunner, context: ssl.SSLContext | None) -> str:
    """Listen on a port of this process alone, for the other gateways. Return its address, or "" when it is alone.

    Gateways that share a port need it: a connection to the shared port may reach any of them. Within one machine they
    talk without TLS.
    """
    if not settings.reuse_port and not settings.peer_host:
        return ""
    host = settings.peer_host or "127.0.0.1"
    used = None if is_loopback(host) else context
    for one in listen(host, 0, reuse_port=False, patience=settings.subscriber_timeout):
        await _serve(runner, one, used)
    address = joined(host, runner.addresses[-1][1])
    return f"https://{address}" if used else address


async def _serve(runner: web.AppRunner, listening: socket.socket, context: ssl.SSLContext | None) -> None:
    # The event loop listens once more, by default for fewer that wait.
    await web.SockSite(runner, listening, ssl_context=context, backlog=BACKLOG).start()


def listen(host: str, port: int, *, reuse_port: bool, patience: float) -> list[socket.socket]:
    """Listen on every address of the host; port 0 is any free one, the same for all.

    The kernel ends a connection whose peer acknowledges or takes nothing for `patience` seconds. Raises OSError,
    CannotListen.
    """
    sockets = open_sockets(host, port, backlog=BACKLOG, reuse_port=reuse_port)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # connections inherit it
        for one in sockets:
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(patience * 1000))
    return sockets
