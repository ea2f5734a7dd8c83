"""What a client of the notification stream asks for, in its URL and headers."""

from dataclasses import dataclass

import grpc
from aiohttp import web

from thumbq_gateway.errors import Refusal
from thumbq_gateway.frames import FRAMINGS, Framing
from thumbq_gateway.ring import Cursor
from thumbq_gateway.values import InvalidValue, read_flag_text, whole_number_reader

EARLIEST, LATEST = "earliest", "latest"
_UNKNOWN = Cursor("unknown", 0)  # of no epoch that there is, so it leads to a reset
_read_model_id = whole_number_reader(1, 2**63 - 1)


@dataclass(frozen=True)
class Wish:
    """What one client wants to hear, and how."""

    framing: Framing
    model_ids: frozenset[int]  # empty: all
    after: Cursor | str  # or EARLIEST, or LATEST
    watches_queue: bool


def read_wish(request: web.Request) -> Wish:
    """The wish of the request. Raises Refusal."""
    accept = request.headers.get("Accept", "")
    framing = FRAMINGS["ndjson" in accept and "event-stream" not in accept]
    try:
        return Wish(framing, _model_ids(request), _after(request), _watches_queue(request))
    except InvalidValue as invalid:
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, str(invalid)) from None


def _model_ids(request: web.Request) -> frozenset[int]:
    texts = ",".join(request.query.getall("modelId", [])).split(",")
    try:
        return frozenset(_read_model_id(text.strip()) for text in texts if text.strip())
    except InvalidValue as invalid:
        raise invalid.within("modelId") from None


def _watches_queue(request: web.Request) -> bool:
    try:
        return read_flag_text(request.query.get("queue") or "false")
    except InvalidValue as invalid:
        raise invalid.within("queue") from None


def _after(request: web.Request) -> Cursor | str:
    # A browser sends the header by itself and gives up for good on a 400, so nothing in it is refused.
    if text := request.headers.get("Last-Event-ID"):
        return _position(text) or _UNKNOWN
    if position := _position(request.query.get("after") or LATEST):
        return position
    raise InvalidValue('must be a cursor such as "5f0c21ab-42", or "earliest", or "latest"', "after")


def _position(text: str) -> Cursor | str | None:
    if text in {EARLIEST, LATEST}:
        return text
    try:
        return Cursor.parse(text)
    except ValueError:
        return None
