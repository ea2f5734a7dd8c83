"""One client's connection."""

import asyncio

from thumbq_gateway.notifications.request import SubscriptionRequest


class Connection:
    """The connection of one client. There may be ten thousand, so it holds nothing that it does not need."""

    __slots__ = ("allowed", "ended", "is_chunked", "is_crowded", "is_live", "request", "transport", "wheel_slot")

    def __init__(
        self,
        transport: asyncio.WriteTransport,
        request: SubscriptionRequest,
        *,
        chunked: bool,
        crowded: bool,
        allowed: frozenset[int] | None = None,
    ) -> None:
        """`chunked`: the client speaks HTTP/1.1, so that each write is a chunk. `crowded`: its caller has many others.

        `allowed` are the models that it may ever see; None: all.
        """
        self.transport = transport
        self.request = request
        self.is_chunked = chunked
        self.is_crowded = crowded
        self.allowed = allowed
        # Set by Fanout: the slot of the heartbeat wheel, and True once live events are written to the connection.
        self.wheel_slot: set[Connection] | None = None
        self.is_live = False
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end(self) -> None:
        """Let the handler finish the response."""
        if not self.ended.done():
            self.ended.set_result(None)
