"""The bytes that clients receive: Server-Sent Events, or one JSON object a line."""

from typing import Any, NamedTuple, Protocol

from thumbq.v1.notification_pb2 import JobProgress, Notification, ResetReason
from thumbq_gateway.http.files.thumbnails import versioned
from thumbq_gateway.notifications.cursor import Cursor
from thumbq_gateway.notifications.ring import Event
from thumbq_gateway.protojson.encoder import encoder_of, json_bytes
from thumbq_runtime.enum_words import words_of

_print_progress = encoder_of(JobProgress.DESCRIPTOR)
_print_notification = encoder_of(Notification.DESCRIPTOR)
_REASONS = words_of(ResetReason.DESCRIPTOR)


class ProgressEvent(NamedTuple):
    """How far a job has come, encoded once for each framing."""

    model_id: int
    event_stream: bytes
    json_lines: bytes


class Framing(Protocol):
    """One way to write a stream of events."""

    content_type: str

    def encoded(self, event: Event | ProgressEvent) -> bytes:
        """Return the bytes of an event that is encoded already."""

    def opening(self, retry: int) -> bytes:
        """Start the stream; `retry` is the client's pause before it reconnects, in milliseconds."""

    def event(self, name: str, data: bytes, cursor: str | None) -> bytes:
        """Encode an event with its JSON data; with a cursor, the client resumes after this event."""

    def cursor(self, cursor: str) -> bytes:
        """Move the client's position without an event."""

    def heartbeat(self, cursor: str | None) -> bytes:
        """Encode a heartbeat. With a cursor, encode the cursor instead."""


class EventStreamFraming:
    """Server-Sent Events, as browsers read them."""

    content_type = "text/event-stream"

    def encoded(self, event: Event | ProgressEvent) -> bytes:
        """Return the event's frame."""
        return event.event_stream

    def opening(self, retry: int) -> bytes:
        """Write the `retry:` line."""
        return b"retry: %d\n\n" % retry

    def event(self, name: str, data: bytes, cursor: str | None) -> bytes:
        """Write the `id:`, `event:` and `data:` lines."""
        id_line = b"id: %b\n" % cursor.encode() if cursor else b""
        return b"%bevent: %b\ndata: %b\n\n" % (id_line, name.encode(), data)

    def cursor(self, cursor: str) -> bytes:
        """Write a bare `id:` line: it moves the browser's Last-Event-ID without an event."""
        return b"id: %b\n\n" % cursor.encode()

    def heartbeat(self, cursor: str | None) -> bytes:
        """Write a comment."""
        return self.cursor(cursor) if cursor else b":\n\n"


class JsonLinesFraming:
    """The same events as JSON objects, one a line."""

    content_type = "application/x-ndjson"

    def encoded(self, event: Event | ProgressEvent) -> bytes:
        """Return the event's line."""
        return event.json_lines

    def opening(self, retry: int) -> bytes:
        """Write an `open` line with the pause."""
        return b'{"event":"open","retry":%d}\n' % retry

    def event(self, name: str, data: bytes, cursor: str | None) -> bytes:
        """Write a line with `event`, `id` and `data`."""
        id_member = b'"id":"%b",' % cursor.encode() if cursor else b""
        return b'{"event":"%b",%b"data":%b}\n' % (name.encode(), id_member, data)

    def cursor(self, cursor: str) -> bytes:
        """Write a `cursor` line with `id` only."""
        return b'{"event":"cursor","id":"%b"}\n' % cursor.encode()

    def heartbeat(self, cursor: str | None) -> bytes:
        """Write a `heartbeat` line."""
        return self.cursor(cursor) if cursor else b'{"event":"heartbeat"}\n'


EVENT_STREAM = EventStreamFraming()
JSON_LINES = JsonLinesFraming()


def event_of(notification: Notification) -> Event:
    """Encode a notification once, for all clients."""
    data = json_bytes(notification_data(notification))
    cursor = notification.cursor
    return Event(
        seq=Cursor.parse(cursor).seq,
        model_id=notification.model_id,
        status=notification.status,
        event_stream=EVENT_STREAM.event("thumbnail", data, cursor),
        json_lines=JSON_LINES.event("thumbnail", data, cursor),
    )


def progress_event_of(told: JobProgress) -> ProgressEvent:
    """Encode how far a job has come, without a cursor: it is not in the log."""
    data = json_bytes(_print_progress(told))
    return ProgressEvent(
        model_id=told.model_id,
        event_stream=EVENT_STREAM.event("progress", data, None),
        json_lines=JSON_LINES.event("progress", data, None),
    )


def reset_data(cursor: Cursor, reason: ResetReason.ValueType) -> bytes:
    """Encode a reset: the cursor to continue from, and the reason."""
    return json_bytes({"cursor": str(cursor), "reason": _REASONS[reason]})


def heartbeat_data(connected: bool) -> bytes:
    """Encode whether the gateway is connected to its server."""
    return json_bytes({"connected": connected})


def notification_data(notification: Notification) -> dict[str, Any]:
    """Return the documented fields, unset ones as null; `nextAttemptAt` and `test` appear only when they are set."""
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
