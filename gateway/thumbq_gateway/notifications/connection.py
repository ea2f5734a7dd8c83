"""One client's connection."""

import asyncio

from thumbq_gateway.notifications.request import SubscriptionRequest


class Connection:
    """The connection of one client. There may be ten thousand, so it holds nothing that it does not need."""

    __slots__ = ("ended", "is_chunked", "is_live", "request", "transport", "wheel_slot")

    def __init__(
        self,
        transport: asyncio.WriteTransport,
        request: SubscriptionRequest,
        *,
        chunked: bool,
    ) -> None:
        """`chunked`: the client speaks HTTP/1.1, so that each write is a chunk."""
        self.transport = transport
        self.request = request
        self.is_chunked = chunked
        # Set by Fanout: the slot of the heartbeat wheel, and True once live events are written to the connection.
        self.wheel_slot: set[Connection] | None = None
        self.is_live = False
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end(self) -> None:
        """Let the handler finish the response."""
        if not self.ended.done():
            self.ended.set_result(None)
