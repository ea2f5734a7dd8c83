"""Cases for the server: calls and streams of every method, with right, odd, garbled and very large messages."""

from collections.abc import Callable

from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from tests.fuzz.case import Case, Channel, Ending
from tests.fuzz.values import Values, garble
from thumbq.v1 import admin_pb2, notification_pb2, queue_pb2

_MODULES = (queue_pb2, notification_pb2, admin_pb2, health_pb2, reflection_pb2)
METHODS: list[MethodDescriptor] = [
    method
    for module in _MODULES
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
    # the first key would end every other case
    if method.name != "CreateKey"
]
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS = b"\0\0\0\4\0\0\0\0\0"
_STREAM = queue_pb2.StreamJobsRequest
# Just below the limit of the server, and beyond it.
_SIZES = [100_000, 1_000_000, 8_000_000, 16_000_000, 17_000_000]


def path_of(method: MethodDescriptor) -> str:
    """Return the path of a method: /package.Service/Method."""
    service, _, name = method.full_name.rpartition(".")
    return f"/{service}/{name}"


def rpc_case(values: Values) -> Case:
    """Return the next case for the server."""
    makers: list[tuple[int, Callable[[Values], Case]]] = [
        (10, _call),
        (4, _garbled_call),
        (2, _large_call),
        (10, _worker_stream),
        (2, _large_stream),
        (2, _flood),
        (3, _other_stream),
        (2, _raw_bytes),
    ]
    (maker,) = values.chance.choices([maker for _, maker in makers], [weight for weight, _ in makers])
    return maker(values)


def _call(values: Values) -> Case:
    method = values.chance.choice([method for method in METHODS if not _streams(method)])
    request = values.message(method.input_type).SerializeToString()
    return Case(Channel.UNARY, path_of(method), "odd fields" if values.oddness else "as documented", (request,))


def _garbled_call(values: Values) -> Case:
    chance = values.chance
    method = chance.choice([method for method in METHODS if not _streams(method)])
    data = values.message(method.input_type).SerializeToString()
    kind, request = chance.choice(
        [("garbled", garble(chance, data)), ("cut off", data[: len(data) // 2]), ("garbage", chance.randbytes(50))]
    )
    target = path_of(method) if chance.random() < 0.95 else chance.choice(["/x/y", "/thumbq.v1.QueueService/", "/"])
    return Case(Channel.UNARY, target, kind, (request,))


def _large_call(values: Values) -> Case:
    method = values.chance.choice([method for method in METHODS if not _streams(method)])
    request, label = _large_message(values, method.input_type)
    return Case(Channel.UNARY, path_of(method), label, (request,))


def _large_message(values: Values, descriptor: Descriptor, limit: int = 16_000_000) -> tuple[bytes, str]:
    """Return a message with one field, or one field of a field, as large or as often as the size allows."""
    chance = values.chance
    size = min(limit, chance.choice(_SIZES))
    fields = list(descriptor.fields)
    if not fields:
        return b"\xfa\x01\x00" * (size // 3), f"unknown fields of {size:,} bytes"
    each = chance.choice(fields)
    if each.message_type is not None and not each.is_repeated and each.message_type.fields:
        inner, label = _large_message(values, each.message_type, size)
        return _tag(each) + _varint(len(inner)) + inner, f"{each.name}: {label}"
    if each.is_repeated:
        content = chance.choice(
            [b"", values.message(each.message_type).SerializeToString() if each.message_type else b"1-1"]
        )
        one = _tag(each) + _varint(len(content)) + content
        return one * (size // len(one)), f"{size // len(one):,} {each.name}"
    if each.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        text = chance.choice([b"x", b"\0", b"\xff"]) * size
        return _tag(each) + _varint(size) + text, f"{each.name} of {size:,} bytes"
    one = _varint(each.number << 3) + b"\1"
    return one * (size // len(one)), f"{size // len(one):,} times {each.name}"


def _worker_stream(values: Values) -> Case:
    """Return a worker's stream: usually Hello first, then any messages, some of them garbled or out of order."""
    chance = values.chance
    hello = _STREAM()
    hello.hello.worker_id = values.text("worker_id")
    hello.hello.session_id = values.text("session_id")
    messages = [hello.SerializeToString()] if chance.random() < 0.9 else []
    messages += [_worker_message(values) for _ in range(chance.choice([0, 1, 2, 5, 20, 60]))]
    if values.is_odd:
        chance.shuffle(messages)
    if values.is_odd and messages:
        index = chance.randrange(len(messages))
        messages[index] = garble(chance, messages[index])
    ending = chance.choice(list(Ending))
    return Case(
        Channel.STREAM, path_of(_method("StreamJobs")), "worker's messages", tuple(messages), ending,
        reads=chance.random() < 0.85,
    )  # fmt: skip


def _worker_message(values: Values) -> bytes:
    message = values.message(_STREAM.DESCRIPTOR)
    if isinstance(message, _STREAM) and message.WhichOneof("message") == "hello" and not values.is_odd:
        message = _STREAM(credit=_STREAM.Credit(add=3))
    return message.SerializeToString()


def _large_stream(values: Values) -> Case:
    """Return a stream with one very large message after Hello, or as Hello."""
    request, label = _large_message(values, _STREAM.DESCRIPTOR)
    hello = _STREAM(hello=_STREAM.Hello(worker_id="fuzz-large")).SerializeToString()
    pieces = (request,) if values.chance.random() < 0.2 else (hello, request)
    return Case(Channel.STREAM, path_of(_method("StreamJobs")), label, pieces, Ending.HALF_CLOSE)


def _flood(values: Values) -> Case:
    """Return a stream with thousands of one message, whose answers are read or not."""
    chance = values.chance
    hello = _STREAM(hello=_STREAM.Hello(worker_id="fuzz-flood", session_id=values.text("session_id")))
    one = _worker_message(values)
    count = min(chance.choice([500, 5000, 20_000]), 8_000_000 // max(1, len(one)))
    return Case(
        Channel.STREAM, path_of(_method("StreamJobs")), f"{count:,} times the same message",
        (hello.SerializeToString(), *[one] * count), chance.choice(list(Ending)), reads=chance.random() < 0.5,
    )  # fmt: skip


def _other_stream(values: Values) -> Case:
    chance = values.chance
    method = chance.choice([method for method in METHODS if _streams(method) and method.name != "StreamJobs"])
    label = "odd fields"
    request = values.message(method.input_type).SerializeToString()
    match chance.randrange(4):
        case 0:
            label, request = "garbled", garble(chance, request)
        case 1:
            request, label = _large_message(values, method.input_type)
        case _:
            pass
    count = chance.choice([1, 1, 30]) if method.client_streaming and len(request) < 10_000 else 1
    return Case(
        Channel.STREAM, path_of(method), label, (request,) * count, chance.choice(list(Ending)),
        reads=chance.random() < 0.8,
    )  # fmt: skip


def _raw_bytes(values: Values) -> Case:
    """Return bytes for the gRPC port that are no call."""
    chance = values.chance
    noise = chance.randbytes(chance.randrange(1, 2000))
    kind, pieces = chance.choice(
        [
            ("garbage", (noise,)),
            ("HTTP/1.1", (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",)),
            ("garbage after the preface", (_PREFACE, noise)),
            ("garbled frames", (_PREFACE, garble(chance, _SETTINGS * 20))),
            ("pings", (_PREFACE, _SETTINGS, b"\0\0\x08\6\0\0\0\0\0pingping" * 5000)),
            ("settings", (_PREFACE, _SETTINGS * 5000)),
            ("half a preface", (_PREFACE[:10],)),
        ]
    )
    return Case(Channel.SOCKET, "the gRPC port", kind, pieces, chance.choice(list(Ending)))


def _method(name: str) -> MethodDescriptor:
    return next(method for method in METHODS if method.name == name)


def _streams(method: MethodDescriptor) -> bool:
    return bool(method.client_streaming or method.server_streaming)


def _tag(each: FieldDescriptor) -> bytes:
    return _varint(each.number << 3 | 2)


def _varint(number: int) -> bytes:
    data = b""
    while number > 127:
        data += bytes([number & 127 | 128])
        number >>= 7
    return data + bytes([number])
