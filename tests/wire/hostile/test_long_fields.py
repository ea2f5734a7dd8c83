"""Every field that may be long, at the length of a whole message: it is refused, or costs little."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import grpc
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from tests.wire.hostile.hostile import field, memory, watched_loop
from thumbq.v1 import admin_pb2, notification_pb2, queue_pb2
from thumbq_server.rpc.interceptors.bounds import bound_of

LONGEST_PAUSE = 0.2  # seconds of work in which the loop serves no other call
MOST_GROWTH = 200  # MiB
HELLO = field(1, field(1, b"w1") + b"\x28\x01")  # with columns
NAMED = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
}
METHODS = [
    method
    for module in (queue_pb2, notification_pb2, admin_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
TEXT = FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES
Path = tuple[FieldDescriptor, ...]


def long_fields(message: Descriptor, around: tuple[Descriptor, ...] = ()) -> Iterator[Path]:
    """Yield the way to each field that may be long. A message within itself is entered once."""
    for member in message.fields:
        if member.is_repeated or member.type in TEXT:
            yield (member,)
        inner = member.message_type
        if inner is not None and inner not in around:
            for rest in long_fields(inner, (*around, inner)):
                yield (member, *rest)


def message_with(path: Path, size: int) -> bytes:
    """Return a message of about this size, all of it in one field."""
    *around, last = path
    if last.message_type is not None and last.message_type.GetOptions().map_entry:
        content = _entries(last.number, size)
    elif last.is_repeated and (last.message_type is not None or last.type in TEXT):
        content = field(last.number, b"") * (size // 2)
    else:
        content = field(last.number, b"\x01" * (size - 20))
    for member in reversed(around):
        content = field(member.number, content)
    return content[:size]


@cache
def _entries(number: int, size: int) -> bytes:
    return b"".join(field(number, field(1, b"%d" % name)) for name in range(size // 12))


async def ending(channel: Any, method: Any, message: bytes) -> grpc.StatusCode:
    """Return how a call with the message ends, OK also for a stream that stays open."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    call: Any
    if method.client_streaming:
        first = [HELLO] if method.name == "StreamJobs" and not message.startswith(b"\x0a") else []
        call = channel.stream_stream(path)(iter([*first, message]), timeout=60)
    elif method.server_streaming:
        call = channel.unary_stream(path)(message, timeout=60)
    else:
        call = channel.unary_unary(path)(message, timeout=60)
        code: grpc.StatusCode = await call.code()
        return code
    try:
        while await call.read() is not grpc.aio.EOF and method.client_streaming:
            pass
    except grpc.aio.AioRpcError as error:
        return error.code()
    call.cancel()
    return grpc.StatusCode.OK


async def test_a_field_of_the_longest_length_costs_little(channel):
    for method in METHODS:
        size = bound_of(f"/{method.containing_service.full_name}/{method.name}").size
        for path in long_fields(method.input_type):
            message, before = message_with(path, size), memory()
            async with watched_loop() as pauses:
                code = await ending(channel, method, message)
            seen = code in NAMED, max(pauses) < LONGEST_PAUSE, memory() - before < MOST_GROWTH
            name = ".".join(member.name for member in path)
            assert seen == (True, True, True), (method.name, name, code, max(pauses))
