"""One subscriber, and those who take the same bytes as it does."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence

from thumbq.v1.notification_pb2 import Notification
from thumbq_gateway.notifications.framing import Framing
from thumbq_gateway.notifications.ring import Event


class Audience:
    """The clients that take the same bytes. Written by Fanout alone."""

    def __init__(self, framing: Framing, statuses: frozenset[int], *, chunked: bool) -> None:
        """`statuses` empty: all."""
        self.framing = framing
        self.statuses = statuses
        self._chunked = chunked
        self.of_all_models: set[Subscriber] = set()
        self.by_model: defaultdict[int, set[Subscriber]] = defaultdict(set)
        self.of_queue: set[Subscriber] = set()

    def of_interest(self, events: Sequence[Event]) -> Sequence[Event]:
        """Those whose status it wants."""
        wanted = self.statuses
        return [event for event in events if event.status in wanted] if wanted else events

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

    @property
    def is_filtered(self) -> bool:
        """Whether the log may move without a word to it."""
        return bool(self.model_ids or self.audience.statuses)

    def wants(self, news: Event | Notification) -> bool:
        """Whether it passes the filter."""
        models, statuses = self.model_ids, self.audience.statuses
        return (not models or news.model_id in models) and (not statuses or news.status in statuses)

    def end(self) -> None:
        """Lets its handler finish."""
        if not self.ended.done():
            self.ended.set_result(None)
