"""A client's request for the notification stream, read from its URL and headers."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import grpc
from aiohttp import web

from thumbq.v1.job_pb2 import ThumbnailStatus
from thumbq.v1.notification_pb2 import Notification, SubscribeRequest
from thumbq_gateway.http.bodies.body import MEBIBYTE, Bodies
from thumbq_gateway.http.errors import Refusal
from thumbq_gateway.http.requests.tickets import check_models, check_sees_all, models_of
from thumbq_gateway.notifications.cursor import Cursor, StartFrom
from thumbq_gateway.notifications.framing import EVENT_STREAM, JSON_LINES, Framing
from thumbq_gateway.notifications.ring import Event
from thumbq_gateway.protojson.decoder import decoder_of
from thumbq_gateway.protojson.values import (
    InvalidValue,
    Reader,
    choice_reader,
    read_flag,
    read_flag_text,
    whole_number_reader,
)

MOST_MODELS = 10_000  # of one subscription
_FEW_MODELS = 100  # a page of them is always served
_ALL: frozenset[int] = frozenset()  # one for all clients: Python makes another empty set each time
# Long enough that nobody guesses the name of another client's stream.
_STREAM = re.compile(r"[0-9A-Za-z-]{16,64}")
_WORDS = {"earliest": StartFrom.EARLIEST, "latest": StartFrom.LATEST}
_read_status = choice_reader(ThumbnailStatus.DESCRIPTOR)
_decode = decoder_of(SubscribeRequest.DESCRIPTOR).fields
_read_model_id = whole_number_reader(1, 2**63 - 1)


@dataclass(frozen=True, slots=True)
class SubscriptionRequest:
    """The events that one client wants, and their form."""

    framing: Framing
    model_ids: frozenset[int]  # empty: all
    statuses: frozenset[int]  # empty: all
    start: Cursor | StartFrom
    # Without thumbnails there are no events of the log, whatever the other fields say.
    wants_thumbnails: bool
    watches_queue: bool
    wants_progress: bool
    stream: str  # the name under which the client may change its models; "": none

    @property
    def counted_models(self) -> int:
        """How many of its models count towards the limit of the gateway."""
        return len(self.model_ids) if len(self.model_ids) > _FEW_MODELS else 0

    @property
    def is_filtered(self) -> bool:
        """Whether the log may grow without an event for this client."""
        return bool(self.model_ids or self.statuses)

    def wants(self, news: Event | Notification) -> bool:
        """Return whether the event passes the filter."""
        models, statuses = self.model_ids, self.statuses
        return (not models or news.model_id in models) and (not statuses or news.status in statuses)


async def read_request(request: web.Request, bodies: Bodies) -> SubscriptionRequest:
    """Read the parameters of an HTTP request, from its query or from the body of a POST. Raises Refusal."""
    try:
        if request.method == "POST":
            return await bodies.decoded(request, MEBIBYTE, lambda body: _from_body(request, body))
        return _from_query(request)
    except InvalidValue as invalid:
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, str(invalid)) from None


def within_ticket(request: web.Request, asked: SubscriptionRequest) -> SubscriptionRequest:
    """Return what a request gets: without models of its own, those of its ticket. Raises Refusal."""
    models = models_of(request)
    if models is None:
        return asked
    if asked.watches_queue:
        check_sees_all(request)
    check_models(request, asked.model_ids)
    return asked if asked.model_ids else replace(asked, model_ids=models)


def _from_query(request: web.Request) -> SubscriptionRequest:
    return SubscriptionRequest(
        framing=_framing(request),
        model_ids=_model_ids(_several(request, "modelId", _read_model_id), "modelId"),
        statuses=frozenset(_several(request, "status", _read_status)) or _ALL,
        start=_start(request, request.query.get("after")),
        wants_thumbnails=_flag(request, "thumbnails", default=True),
        watches_queue=_flag(request, "queue"),
        wants_progress=_flag(request, "progress"),
        stream=_stream(request.query.get("stream", "")),
    )


def _from_body(request: web.Request, body: object) -> SubscriptionRequest:
    """Read the fields of SubscribeRequest, `thumbnails` and `queue`."""
    fields = _decode(body)
    return SubscriptionRequest(
        framing=_framing(request),
        model_ids=_model_ids(_checked(fields.get("model_ids", ()), "modelIds", _read_model_id), "modelIds"),
        statuses=frozenset(_checked(fields.get("statuses", ()), "statuses", _read_status)) or _ALL,
        start=_start(request, fields.get("after")),
        wants_thumbnails=_flag_beside(body, "thumbnails", default=True),
        watches_queue=_flag_beside(body, "queue", default=False),
        wants_progress=fields.get("progress", False),
        stream=_stream(request.query.get("stream", "")),
    )


def read_change(body: object) -> tuple[str, frozenset[int]]:
    """Read the name of a stream and the models that it is to have, at least one. Raises InvalidValue."""
    fields = _decode(body)
    name = _beside(body, "stream")
    if not isinstance(name, str) or not name:
        raise InvalidValue("must be the name of a stream", "stream")
    model_ids = _model_ids(_checked(fields.get("model_ids", ()), "modelIds", _read_model_id), "modelIds")
    if not model_ids:
        raise InvalidValue("must not be empty", "modelIds")
    return _stream(name), model_ids


def _beside(body: Any, name: str) -> object:
    """Return a field of a body that SubscribeRequest does not have, or None."""
    return next((value for key, value in body.items() if key.lower() == name), None)


def _flag_beside(body: Any, name: str, *, default: bool) -> bool:
    value = _beside(body, name)
    try:
        return default if value is None else read_flag(value)
    except InvalidValue as invalid:
        raise invalid.within(name) from None


def _stream(name: str) -> str:
    if name and not _STREAM.fullmatch(name):
        raise InvalidValue("must be 16 to 64 letters, digits and hyphens", "stream")
    return name


def _model_ids(model_ids: Iterable[int], name: str) -> frozenset[int]:
    distinct = frozenset(model_ids) or _ALL
    if len(distinct) > MOST_MODELS:
        raise InvalidValue(f"must name at most {MOST_MODELS:,} models", name)
    return distinct


def _checked(values: Iterable[object], name: str, read: Reader) -> Iterator[Any]:
    for position, value in enumerate(values):
        try:
            yield read(value)
        except InvalidValue as invalid:
            raise invalid.within(f"{name}[{position}]") from None


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


def _flag(request: web.Request, name: str, *, default: bool = False) -> bool:
    text = request.query.get(name)
    try:
        return read_flag_text(text) if text else default
    except InvalidValue as invalid:
        raise invalid.within(name) from None


def _start(request: web.Request, after: str | None) -> Cursor | StartFrom:
    # A browser sets this header by itself and never reconnects after a 400, so a malformed one is not refused.
    if text := request.headers.get("Last-Event-ID"):
        return _position(text) or StartFrom.MALFORMED
    if position := _position(after or "latest"):
        return position
    raise InvalidValue('must be a cursor such as "5f0c21ab-42", or "earliest", or "latest"', "after")


def _position(text: str) -> Cursor | StartFrom | None:
    if word := _WORDS.get(text):
        return word
    try:
        return Cursor.parse(text)
    except ValueError:
        return None
