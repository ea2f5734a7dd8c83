"""What a client of the notification stream asks for, in its URL and headers."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
from aiohttp import web

from thumbq.v1.job_pb2 import ThumbnailStatus
from thumbq_gateway.http.errors import Refusal
from thumbq_gateway.notifications.framing import FRAMINGS, Framing
from thumbq_gateway.notifications.ring import Cursor
from thumbq_gateway.protojson.enum_words import offered, words_of
from thumbq_gateway.protojson.values import InvalidValue, Reader, read_flag_text, whole_number_reader

EARLIEST, LATEST = "earliest", "latest"
MALFORMED = "malformed"
_STATUSES = {word.lower(): number for number, word in words_of(ThumbnailStatus.DESCRIPTOR).items() if number}
_read_model_id = whole_number_reader(1, 2**63 - 1)


@dataclass(frozen=True)
class Wish:
    """What one client wants to hear, and how."""

    framing: Framing
    model_ids: frozenset[int]  # empty: all
    statuses: frozenset[int]  # likewise
    after: Cursor | str  # or EARLIEST, LATEST, MALFORMED
    watches_queue: bool


def read_wish(request: web.Request) -> Wish:
    """The wish of the request. Raises Refusal."""
    accept = request.headers.get("Accept", "")
    framing = FRAMINGS["ndjson" in accept and "event-stream" not in accept]
    try:
        return Wish(
            framing,
            frozenset(_several(request, "modelId", _read_model_id)),
            frozenset(_several(request, "status", _read_status)),
            _after(request),
            _watches_queue(request),
        )
    except InvalidValue as invalid:
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, str(invalid)) from None


def _several(request: web.Request, name: str, read: Reader) -> Iterator[Any]:
    """The values of a parameter that may come several times, or with commas."""
    for text in ",".join(request.query.getall(name, [])).split(","):
        if text.strip():
            try:
                yield read(text.strip())
            except InvalidValue as invalid:
                raise invalid.within(name) from None


def _read_status(text: str) -> int:
    if status := _STATUSES.get(text.lower()):
        return status
    raise InvalidValue(f"must be one of {', '.join(offered(ThumbnailStatus.DESCRIPTOR))}")


def _watches_queue(request: web.Request) -> bool:
    try:
        return read_flag_text(request.query.get("queue") or "false")
    except InvalidValue as invalid:
        raise invalid.within("queue") from None


def _after(request: web.Request) -> Cursor | str:
    # A browser sends the header by itself and gives up for good on a 400, so nothing in it is refused.
    if text := request.headers.get("Last-Event-ID"):
        return _position(text) or MALFORMED
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
