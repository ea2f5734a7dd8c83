"""The JSON hub protocol of SignalR, version 1: messages to records, and records to messages."""

import json
from datetime import UTC, datetime
from enum import IntEnum
from functools import cached_property
from typing import Any, NamedTuple, NoReturn

from thumbq_gateway.protojson.encoder import json_bytes
from thumbq_gateway.protojson.text import MOST_LEVELS, is_too_deep

SEPARATOR = "\x1e"
LARGEST_MESSAGE = 32 * 1024  # characters of one message of a client; ASP.NET has about the same limit
# Bytes of one frame or request. A client puts all messages that it sends at one time into one: 1,600 joins have room.
LARGEST_DELIVERY = 128 * 1024
_TEXT_FRAME = 0x81  # the only or last frame of a text message (RFC 6455, section 5.2)


class MessageType(IntEnum):
    """The `type` of a message."""

    INVOCATION = 1
    STREAM_ITEM = 2
    COMPLETION = 3
    STREAM_INVOCATION = 4
    CANCEL_INVOCATION = 5
    PING = 6
    CLOSE = 7


class ProtocolError(ValueError):
    """A client broke the protocol; `str()` is a sentence for it."""


class Record:
    """One message as it goes over the wire, in the form of each transport, encoded once for all receivers."""

    def __init__(self, message: object) -> None:
        self.payload = json_bytes(message) + SEPARATOR.encode()

    @cached_property
    def frame(self) -> bytes:
        """A WebSocket frame. A server does not mask, so all clients get the same bytes."""
        size = len(self.payload)
        if size < 126:
            return b"%c%c%b" % (_TEXT_FRAME, size, self.payload)
        if size < 1 << 16:
            return b"%c\x7e%b%b" % (_TEXT_FRAME, size.to_bytes(2), self.payload)
        return b"%c\x7f%b%b" % (_TEXT_FRAME, size.to_bytes(8), self.payload)

    @cached_property
    def event(self) -> bytes:
        """A server-sent event in an HTTP chunk of its own. JSON has no line break that could end it too soon."""
        event = b"data: %b\r\n\r\n" % self.payload
        return b"%x\r\n%b\r\n" % (len(event), event)


class Invocation(NamedTuple):
    """A call of a hub's method. Without an id the caller wants no answer."""

    target: str
    arguments: list[Any]
    id: str | None


PING = Record({"type": MessageType.PING})
HANDSHAKE_DONE = Record({})


def handshake_refused(sentence: str) -> Record:
    """Return the answer to a handshake that is refused."""
    return Record({"error": sentence})


def invocation(target: str, argument: object) -> Record:
    """Return an event for the client, with one argument."""
    return Record({"type": MessageType.INVOCATION, "target": target, "arguments": [argument]})


def completion(invocation_id: str, error: str | None = None) -> Record:
    """Return the answer to an invocation; no method of these hubs has a result."""
    answer = {"type": MessageType.COMPLETION, "invocationId": invocation_id}
    return Record(answer | {"error": error} if error else answer)


def closing(error: str | None = None, *, allow_reconnect: bool = False) -> Record:
    """Return the last message. A client reconnects only when it allows that."""
    message: dict[str, Any] = {"type": MessageType.CLOSE}
    if error:
        message["error"] = error
    if allow_reconnect:
        message["allowReconnect"] = True
    return Record(message)


def now() -> str:
    """Return the present time of this machine, as RFC 3339 with Z."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def check_handshake(record: str) -> None:
    """Check that the record asks for this protocol. Raises ProtocolError."""
    request = _object(record)
    protocol, version = request.get("protocol"), request.get("version")
    if not isinstance(protocol, str):
        raise ProtocolError("Expected a handshake request with a protocol.")
    if protocol != "json":
        raise ProtocolError(f"The protocol '{protocol[:40]}' is not supported, only 'json' is.")
    if version != 1:
        raise ProtocolError("Only version 1 of the 'json' protocol is supported.")


def read_message(record: str) -> tuple[int, dict[str, Any]]:
    """Return the type and the fields of a message. Raises ProtocolError."""
    message = _object(record)
    kind = message.get("type")
    if not isinstance(kind, int):
        raise ProtocolError("A message has no type.")
    return kind, message


def read_invocation(message: dict[str, Any]) -> Invocation:
    """Return the call in an invocation. Raises ProtocolError."""
    target, arguments, call_id = message.get("target"), message.get("arguments"), message.get("invocationId")
    if not isinstance(target, str) or not isinstance(arguments, list):
        raise ProtocolError("An invocation needs a target and a list of arguments.")
    if call_id is not None and not isinstance(call_id, str):
        raise ProtocolError("An invocationId must be a string.")
    return Invocation(target, arguments, call_id or None)


def _object(record: str) -> dict[str, Any]:
    if is_too_deep(record.encode(errors="replace")):
        raise ProtocolError(f"A message has more than {MOST_LEVELS} levels.")
    try:
        value = json.loads(record, parse_constant=_refuse_constant)
        # Half a surrogate pair is JSON, but no text: no answer with it could be sent.
        json_bytes(value)
    except ValueError:
        raise ProtocolError("A message is not valid JSON.") from None
    if not isinstance(value, dict):
        raise ProtocolError("A message must be a JSON object.")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")
