"""One subscriber, and those who take the same bytes as it does."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable

from thumbq_gateway.frames import Framing
from thumbq_gateway.ring import Event


class Audience:
    """The clients that take the same bytes. Written by Fanout alone."""

    def __init__(self, framing: Framing, *, chunked: bool) -> None:
        self.framing = framing
        self._chunked = chunked
        self.of_all_models: set[Subscriber] = set()
        self.by_model: defaultdict[int, set[Subscriber]] = defaultdict(set)
        self.of_queue: set[Subscriber] = set()

    def packed(self, frame: bytes) -> bytes:
        """The frame as it goes over the wire: HTTP/1.1 wants it in a chunk of stated length."""
        return b"%x\r\n%b\r\n" % (len(frame), frame) if self._chunked else frame

    def packed_events(self, events: Iterable[Event]) -> bytes:
        """Several events in one piece."""
        index = self.framing.index
        return self.packed(b"".join([event.frames[index] for event in events]))


class Subscriber:
    """One connection. There may be ten thousand: nothing here that is not needed."""

    __slots__ = ("audience", "ended", "joined", "model_ids", "spoke", "transport", "watches_queue")

    def __init__(
        self,
        transport: asyncio.WriteTransport,
        audience: Audience,
        model_ids: frozenset[int],
        *,
        watches_queue: bool,
    ) -> None:
        """`model_ids` empty: all models."""
        self.transport = transport
        self.audience = audience
        self.model_ids = model_ids
        self.watches_queue = watches_queue
        # Written by Fanout: its part of the heartbeat wheel, and whether it gets what is published.
        self.spoke: set[Subscriber] | None = None
        self.joined = False
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end(self) -> None:
        """Lets its handler finish."""
        if not self.ended.done():
            self.ended.set_result(None)
