"""What a message may cost: its bytes and its elements, counted on the wire before anything is decoded."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError

from thumbq_server.domain.refusals import Invalid
from thumbq_server.domain.requests import MAX_BATCH

KIB, MIB = 1024, 1024 * 1024
# Decoding so little is quick, whatever is in it; how many elements there are is checked afterwards.
_SMALL = 256 * KIB
# A message has a few fields beside its elements.
_OTHER_FIELDS = 100
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class Bound(NamedTuple):
    """The most bytes of a message. `holders`: the fields of the message whose own fields are elements."""

    size: int
    holders: frozenset[int] = frozenset()


_DEFAULT = Bound(64 * KIB)
BOUNDS: Mapping[str, Bound] = {
    "/thumbq.v1.QueueService/CallTogether": Bound(4 * MIB),
    "/thumbq.v1.QueueService/EnqueueJobs": Bound(4 * MIB),
    # An error message may be long: it is cut, and not refused.
    "/thumbq.v1.QueueService/FailJob": Bound(4 * MIB),
    "/thumbq.v1.QueueService/LogJobEvent": Bound(4 * MIB),
    "/thumbq.v1.QueueService/KeepWorkers": Bound(4 * MIB),
    "/thumbq.v1.QueueService/ReportResults": Bound(4 * MIB),
    # Hello, Heartbeat and Results.
    "/thumbq.v1.QueueService/StreamJobs": Bound(4 * MIB, frozenset({1, 4, 5})),
    "/thumbq.v1.NotificationService/Subscribe": Bound(256 * KIB),
}


def reader(method: str, decode: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Return the function that reads the requests of a method. It raises Invalid."""
    bound = BOUNDS.get(method, _DEFAULT)

    def read(data: bytes) -> Any:
        if len(data) > bound.size:
            raise Invalid(f"the message has {len(data)} bytes; at most {bound.size} are taken")
        if len(data) > _SMALL:
            _count(memoryview(data), bound.holders, MAX_BATCH + _OTHER_FIELDS)
        try:
            return decode(data)
        except DecodeError:
            raise Invalid("the message is malformed") from None

    return read


def _count(data: memoryview, holders: frozenset[int], left: int) -> int:
    """Return how many of `left` fields remain when those of the message, and of its holders, are counted."""
    at, end = 0, len(data)
    while at < end:
        left -= 1
        if left < 0:
            raise Invalid(f"the message has too many elements; at most {MAX_BATCH} are taken at once")
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == _BYTES:
            length, at = _varint(data, at)
            if tag >> 3 in holders:
                left = _count(data[at : at + length], frozenset(), left)
            at += length
        elif kind == _VARINT:
            _, at = _varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        else:
            raise Invalid("the message is malformed")
    return left


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return the number that begins at `at`, and where it ends."""
    value = shift = 0
    for byte in data[at : at + 10]:
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise Invalid("the message is malformed")
