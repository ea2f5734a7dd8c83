"""A channel that shows a key with every call. gRPC's own way needs TLS, and its interceptors cost a task a call."""

from functools import partial
from typing import Any

import grpc


class KeyedChannel(grpc.aio.Channel):
    """Another channel, whose calls carry `authorization: Bearer KEY`."""

    def __init__(self, channel: grpc.aio.Channel, key: str) -> None:
        self._channel = channel
        self._metadata = (("authorization", f"Bearer {key}"),)

    async def __aenter__(self) -> "KeyedChannel":
        await self._channel.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._channel.__aexit__(*error)

    async def close(self, grace: float | None = None) -> None:
        """Close the channel."""
        await self._channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Return the state of the connection."""
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Wait for another state than this one."""
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Wait until the channel is connected."""
        await self._channel.channel_ready()

    def unary_unary(self, *method: Any, **options: Any) -> Any:
        """Return a method that can be called."""
        return partial(_keyed, self._channel.unary_unary(*method, **options), self._metadata)

    def unary_stream(self, *method: Any, **options: Any) -> Any:
        """Return a method that can be called."""
        return partial(_keyed, self._channel.unary_stream(*method, **options), self._metadata)

    def stream_unary(self, *method: Any, **options: Any) -> Any:
        """Return a method that can be called."""
        return partial(_keyed, self._channel.stream_unary(*method, **options), self._metadata)

    def stream_stream(self, *method: Any, **options: Any) -> Any:
        """Return a method that can be called."""
        return partial(_keyed, self._channel.stream_stream(*method, **options), self._metadata)


def _keyed(call: Any, key: tuple[tuple[str, str], ...], *request: Any, metadata: Any = None, **options: Any) -> Any:
    return call(*request, metadata=(*key, *metadata) if metadata else key, **options)
