"""A stretch of the server's log, read for one client that is far behind."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from thumbq.v1.notification_pb2 import Notification, ResetReason
from thumbq_gateway.notifications.cursor import Cursor
from thumbq_gateway.notifications.framing import event_of
from thumbq_gateway.notifications.ring import Event

_BATCH = 64  # notifications that are encoded before other tasks run
_READ = 2_000  # notifications that are read for one client before the next client has its turn
_BYTES = 256 * 1024  # of the events in one page: as much as a client may leave unread


@dataclass(frozen=True)
class Page:
    """A stretch of the log that ends at `cursor`."""

    events: Sequence[Event]
    cursor: Cursor
    # Set when the stretch does not begin where the reader asked.
    reset_reason: ResetReason.ValueType = ResetReason.RESET_REASON_UNSPECIFIED


class PageBuilder:
    """Collects the events that one client wants, up to the size of a page."""

    def __init__(self, wants: Callable[[Notification], bool]) -> None:
        self._wants = wants
        self._events: list[Event] = []
        self._bytes = 0
        self._read = 0
        self._reached: Cursor | None = None

    @property
    def is_full(self) -> bool:
        """Whether the client should get what there is first."""
        return self._bytes >= _BYTES or self._read >= _READ

    async def take(self, notifications: Sequence[Notification], end: Cursor) -> None:
        """Add notifications up to the size of a page. `end` is the cursor after all of them."""
        for position, notification in enumerate(notifications, 1):
            self._read += 1
            if self._wants(notification):
                event = event_of(notification)
                self._events.append(event)
                self._bytes += event.size
            if self.is_full:
                is_last = position == len(notifications)
                self._reached = end if is_last else Cursor.parse(notification.cursor)
                return
            if position % _BATCH == 0:
                await asyncio.sleep(0)
        self._reached = end

    def built(self) -> Page | None:
        """Return the page, or None if nothing was read."""
        return Page(self._events, self._reached) if self._reached else None
