"""The connections of the workers of a process: streams that share one cost less to read and to write."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from thumbq.connection import key_in_environment, open_channel
from thumbq.tls import Tls

# Workers that share a connection, and so a server. Proxies take about a hundred streams a connection.
MOST_STREAMS = 25

_Key = tuple[str, str | None, Tls]


class _Shared:
    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.users = 0


class Channels:
    """Hands out channels to workers on one event loop."""

    def __init__(self) -> None:
        self._newest: dict[_Key, _Shared] = {}

    @asynccontextmanager
    async def join(self, target: str, api_key: str | None, tls: Tls | None) -> AsyncIterator[grpc.aio.Channel]:
        """Yield a channel for one stream. Raises UnreadableKey, UnusableCertificate.

        No stream joins a channel that another has left: it may have broken, or its server asked to go. Streams that
        share one have the same key, and the same files of TLS: those of the environment may have changed since.
        """
        api_key = api_key or key_in_environment()
        tls = Tls.from_environment() if tls is None else tls
        key = (target, api_key, tls)
        shared = self._newest.get(key)
        if shared is None or shared.users == MOST_STREAMS:
            shared = self._newest[key] = _Shared(open_channel(target, api_key, tls))
        shared.users += 1
        try:
            yield shared.channel
        finally:
            shared.users -= 1
            if self._newest.get(key) is shared:
                del self._newest[key]
            if not shared.users:
                await shared.channel.close()
