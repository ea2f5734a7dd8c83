"""What a message may cost: its bytes and its elements, counted on the wire before anything is decoded."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple, TypeAlias

from google.protobuf.message import DecodeError

from thumbq_server.domain.kinds import MAX_KINDS, MAX_OPTIONS_MESSAGE
from thumbq_server.domain.refusals import Invalid
from thumbq_server.domain.requests import MAX_BATCH

KIB, MIB = 1024, 1024 * 1024
# Decoding so little is quick, whatever is in it; how many elements there are is checked afterwards.
_SMALL = 256 * KIB
# A message has a few fields beside its elements.
_OTHER_FIELDS = 100
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


_ALL_BUT_LAST_BYTES = bytes(range(0x80, 0x100))


class Columns(NamedTuple):
    """A field whose own fields are columns, with an entry of each for a job. `packed`: those that hold varints."""

    packed: frozenset[int]


class NewJob(NamedTuple):
    """A field that is a job. Its options could hold a million values, and valid ones are short."""

    size: int = MAX_OPTIONS_MESSAGE + 16 * KIB


class Few(NamedTuple):
    """A field that has few fields of its own, among them elements that are counted for it alone."""

    most: int


class Elements(NamedTuple):
    """A field whose own fields are elements, or holders of further ones."""

    holders: Mapping[int, "Holder"] = {}


Holder: TypeAlias = Elements | Columns | NewJob | Few


class Bound(NamedTuple):
    """The most bytes of a message. `holders`: the fields of the message whose own fields count."""

    size: int
    holders: Mapping[int, Holder] = {}


_DEFAULT = Bound(64 * KIB)
_COMPLETED = Columns(packed=frozenset({2, 4, 5, 6}))
_DEQUEUE = Few(MAX_KINDS + _OTHER_FIELDS)
_NEW_JOBS = Columns(packed=frozenset({1, 3, 4}))
BOUNDS: Mapping[str, Bound] = {
    "/thumbq.v1.QueueService/CallTogether": Bound(4 * MIB, {1: Elements({1: NewJob(), 2: _DEQUEUE})}),
    "/thumbq.v1.QueueService/EnqueueJobs": Bound(4 * MIB, {1: NewJob()}),
    "/thumbq.v1.QueueService/EnqueueColumns": Bound(4 * MIB, {1: _NEW_JOBS}),
    "/thumbq.v1.QueueService/EnqueueStream": Bound(4 * MIB, {2: NewJob(), 3: _NEW_JOBS}),
    # An error message may be long: it is cut, and not refused.
    "/thumbq.v1.QueueService/FailJob": Bound(4 * MIB),
    "/thumbq.v1.QueueService/LogJobEvent": Bound(4 * MIB),
    "/thumbq.v1.QueueService/KeepWorkers": Bound(4 * MIB),
    "/thumbq.v1.QueueService/ReportResults": Bound(4 * MIB),
    # Hello, Heartbeat, Results and Progress.
    "/thumbq.v1.QueueService/StreamJobs": Bound(
        4 * MIB, {1: Elements(), 4: Elements(), 5: Elements({3: _COMPLETED}), 7: Elements()}
    ),
    "/thumbq.v1.NotificationService/Subscribe": Bound(256 * KIB),
    "/thumbq.v1.AdminService/CancelJobs": Bound(256 * KIB),
    "/thumbq.v1.AdminService/RedriveDeadLetters": Bound(256 * KIB),
    # A watch keeps the name of its service in memory, also of an unknown one.
    "/grpc.health.v1.Health/Watch": Bound(KIB),
}


def bound_of(method: str) -> Bound:
    """Return what a request of a method may cost."""
    return BOUNDS.get(method, _DEFAULT)


def reader(method: str, decode: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Return the function that reads the requests of a method. It raises Invalid."""
    bound = bound_of(method)

    def read(data: bytes) -> Any:
        if len(data) > bound.size:
            raise Invalid(f"the message has {len(data)} bytes; at most {bound.size} are taken")
        if len(data) > _SMALL:
            _Counter().count(memoryview(data), bound.holders)
        try:
            return decode(data)
        except DecodeError:
            raise Invalid("the message is malformed") from None

    return read


class _Counter:
    """Counts the fields of a message, and the entries of each column in it. Raises Invalid when they are too many."""

    def __init__(self) -> None:
        self._fields = 0
        self._entries: Counter[int] = Counter()

    def count(self, data: memoryview, holders: Mapping[int, Holder]) -> None:
        """Count the fields of a message, and of its holders."""
        for number, content in _fields(data):
            self._fields += 1
            if self._fields > MAX_BATCH + _OTHER_FIELDS:
                raise _too_many()
            holder = holders.get(number)
            if isinstance(holder, NewJob):
                if len(content) > holder.size:
                    raise Invalid(f"a job has {len(content)} bytes; at most {holder.size} are taken")
            elif isinstance(holder, Few):
                if next(islice(_fields(content), holder.most, None), None):
                    raise _too_many(holder.most)
            elif isinstance(holder, Columns):
                self._count_columns(content, holder.packed)
            elif holder is not None:
                self.count(content, holder.holders)

    def _count_columns(self, data: memoryview, packed: frozenset[int]) -> None:
        for number, content in _fields(data):
            # A varint ends with its only byte below 0x80. A packed column may also come entry by entry.
            entries = len(bytes(content).translate(None, _ALL_BUT_LAST_BYTES)) if number in packed else 1
            self._entries[number] += entries or 1
            if self._entries[number] > MAX_BATCH:
                raise _too_many()


def _too_many(most: int = MAX_BATCH) -> Invalid:
    return Invalid(f"the message has too many elements; at most {most} are taken at once")


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield the number of each field, and its content if it has a length."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        kind, content = tag & 7, data[:0]
        if kind == _BYTES:
            length, at = _varint(data, at)
            content = data[at : at + length]
            at += length
        elif kind == _VARINT:
            _, at = _varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        else:
            raise Invalid("the message is malformed")
        yield tag >> 3, content


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
