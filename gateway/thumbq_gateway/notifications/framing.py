"""The bytes that clients get: Server-Sent Events, or one JSON object a line."""

from typing import Any, Protocol

from thumbq.v1.notification_pb2 import Notification, ResetReason
from thumbq_gateway.http.files import versioned
from thumbq_gateway.notifications.ring import Cursor, Event
from thumbq_gateway.protojson.encoder import encoder_of, json_bytes
from thumbq_gateway.protojson.enum_words import words_of

_print_notification = encoder_of(Notification.DESCRIPTOR)
_REASONS = words_of(ResetReason.DESCRIPTOR)


class Framing(Protocol):
    """One way to write a stream of events."""

    index: int  # of its bytes in Event.frames
    content_type: str

    def opening(self, retry: int) -> bytes:
        """First of all: after how many milliseconds to come back when the connection breaks."""

    def event(self, name: str, data: bytes, cursor: str | None) -> bytes:
        """An event with its JSON data; the cursor says where it leaves the client in the log."""

    def cursor(self, cursor: str) -> bytes:
        """Where the client is in the log, when nothing has happened for it."""

    def heartbeat(self, cursor: str | None) -> bytes:
        """That the line is alive; with a cursor, that is said by telling it."""


class EventStreamFraming:
    """Server-Sent Events, as browsers read them."""

    index = 0
    content_type = "text/event-stream"

    def opening(self, retry: int) -> bytes:
        """The `retry:` line."""
        return b"retry: %d\n\n" % retry

    def event(self, name: str, data: bytes, cursor: str | None) -> bytes:
        """`id:`, `event:` and `data:` lines."""
        id_line = b"id: %b\n" % cursor.encode() if cursor else b""
        return b"%bevent: %b\ndata: %b\n\n" % (id_line, name.encode(), data)

    def cursor(self, cursor: str) -> bytes:
        """A bare `id:` line: it moves the browser's Last-Event-ID without an event."""
        return b"id: %b\n\n" % cursor.encode()

    def heartbeat(self, cursor: str | None) -> bytes:
        """A comment."""
        return self.cursor(cursor) if cursor else b":\n\n"


class JsonLinesFraming:
    """The same as JSON objects, one a line."""

    index = 1
    content_type = "application/x-ndjson"

    def opening(self, retry: int) -> bytes:
        """A line with the time in milliseconds."""
        return b'{"event":"open","retry":%d}\n' % retry

    def event(self, name: str, data: bytes, cursor: str | None) -> bytes:
        """A line with `event`, `id` and `data`."""
        id_member = b'"id":"%b",' % cursor.encode() if cursor else b""
        return b'{"event":"%b",%b"data":%b}\n' % (name.encode(), id_member, data)

    def cursor(self, cursor: str) -> bytes:
        """A line with `id` only."""
        return b'{"event":"cursor","id":"%b"}\n' % cursor.encode()

    def heartbeat(self, cursor: str | None) -> bytes:
        """A line that says so."""
        return self.cursor(cursor) if cursor else b'{"event":"heartbeat"}\n'


FRAMINGS: tuple[Framing, ...] = (EventStreamFraming(), JsonLinesFraming())


def event_of(notification: Notification) -> Event:
    """The notification, encoded once and for all clients."""
    data = json_bytes(notification_data(notification))
    cursor = notification.cursor
    return Event(
        seq=Cursor.parse(cursor).seq,
        model_id=notification.model_id,
        status=notification.status,
        frames=tuple(framing.event("thumbnail", data, cursor) for framing in FRAMINGS),
    )


def reset_data(cursor: Cursor, reason: ResetReason.ValueType) -> bytes:
    """What a client learns of a hole: where to go on, and why it could not from where it was."""
    return json_bytes({"cursor": str(cursor), "reason": _REASONS[reason]})


def heartbeat_data(connected: bool) -> bytes:
    """What the live page learns: whether the server behind the gateway is there."""
    return json_bytes({"connected": connected})


def notification_data(notification: Notification) -> dict[str, Any]:
    """The documented fields, unset ones as null; what is rarely said only when it is."""
    printed = _print_notification(notification)
    data = {
        "modelId": printed["modelId"],
        "jobId": printed["jobId"],
        "status": printed["status"],
        "thumbnailUrl": printed.get("thumbnailUrl"),
        "errorMessage": printed.get("errorMessage"),
        "attemptCount": printed["attemptCount"],
        "willRetry": printed["willRetry"],
        "timestamp": printed.get("timestamp"),
    }
    if notification.HasField("thumbnail_url") and not notification.test:
        data["thumbnailUrl"] = versioned(notification.thumbnail_url, notification.timestamp)
    if notification.HasField("next_attempt_at"):
        data["nextAttemptAt"] = printed["nextAttemptAt"]
    if notification.test:
        data["test"] = True
    return data
