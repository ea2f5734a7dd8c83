"""A client's request for the notification stream, read from its URL and headers."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
from aiohttp import web

from thumbq.v1.job_pb2 import ThumbnailStatus
from thumbq.v1.notification_pb2 import Notification
from thumbq_gateway.http.errors import Refusal
from thumbq_gateway.notifications.cursor import Cursor, StartFrom
from thumbq_gateway.notifications.framing import EVENT_STREAM, JSON_LINES, Framing
from thumbq_gateway.notifications.ring import Event
from thumbq_gateway.protojson.values import InvalidValue, Reader, read_flag_text, whole_number_reader, word_reader

_WORDS = {"earliest": StartFrom.EARLIEST, "latest": StartFrom.LATEST}
_read_status = word_reader(ThumbnailStatus.DESCRIPTOR)
_read_model_id = whole_number_reader(1, 2**63 - 1)


@dataclass(frozen=True, slots=True)
class SubscriptionRequest:
    """The events that one client wants, and their form."""

    framing: Framing
    model_ids: frozenset[int]  # empty: all
    statuses: frozenset[int]  # empty: all
    start: Cursor | StartFrom
    watches_queue: bool

    @property
    def is_filtered(self) -> bool:
        """Whether the log may grow without an event for this client."""
        return bool(self.model_ids or self.statuses)

    def wants(self, news: Event | Notification) -> bool:
        """Return whether the event passes the filter."""
        models, statuses = self.model_ids, self.statuses
        return (not models or news.model_id in models) and (not statuses or news.status in statuses)


def read_request(request: web.Request) -> SubscriptionRequest:
    """Read the parameters of an HTTP request. Raises Refusal."""
    try:
        return SubscriptionRequest(
            framing=_framing(request),
            model_ids=frozenset(_several(request, "modelId", _read_model_id)),
            statuses=frozenset(_several(request, "status", _read_status)),
            start=_start(request),
            watches_queue=_watches_queue(request),
        )
    except InvalidValue as invalid:
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, str(invalid)) from None


def _framing(request: web.Request) -> Framing:
    accept = request.headers.get("Accept", "")
    return JSON_LINES if "ndjson" in accept and "event-stream" not in accept else EVENT_STREAM


def _several(request: web.Request, name: str, read: Reader) -> Iterator[Any]:
    """Read a parameter that may be repeated, or list its values with commas."""
    for text in ",".join(request.query.getall(name, [])).split(","):
        if text.strip():
            try:
                yield read(text.strip())
            except InvalidValue as invalid:
                raise invalid.within(name) from None


def _watches_queue(request: web.Request) -> bool:
    try:
        return read_flag_text(request.query.get("queue") or "false")
    except InvalidValue as invalid:
        raise invalid.within("queue") from None


def _start(request: web.Request) -> Cursor | StartFrom:
    # A browser sets this header by itself and never reconnects after a 400, so a malformed one is not refused.
    if text := request.headers.get("Last-Event-ID"):
        return _position(text) or StartFrom.MALFORMED
    if position := _position(request.query.get("after") or "latest"):
        return position
    raise InvalidValue('must be a cursor such as "5f0c21ab-42", or "earliest", or "latest"', "after")


def _position(text: str) -> Cursor | StartFrom | None:
    if word := _WORDS.get(text):
        return word
    try:
        return Cursor.parse(text)
    except ValueError:
        return None
