"""Every input is bounded before it costs anything."""

from collections.abc import Iterator, Mapping

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from tests.support.service.server import status_of
from tests.wire.hostile.hostile import field, forget_peak, memory, peak_of_memory, watched_loop
from tests.wire.worker import HASH, Worker
from thumbq.v1 import admin_pb2, job_pb2, notification_pb2, queue_pb2
from thumbq_server.rpc.interceptors import bounds
from thumbq_server.rpc.interceptors.bounds import Columns, Elements, Few, Holder, NewJob

Stream = queue_pb2.StreamJobsRequest
MILLIONS = 1_900_000  # nearly 4 MiB, the most that gRPC takes
EMPTY_RESULTS = field(5, field(2, b"") * MILLIONS)
EMPTY_TOKENS = field(4, field(1, b"") * MILLIONS)
EMPTY_PATHS = field(5, field(3, field(3, b"") * MILLIONS))
PACKED_NUMBERS = field(5, field(3, field(2, bytes(2 * MILLIONS))))
PACKED_IN_MANY_GROUPS = field(5, field(3, field(4, b"\x01" * 3000)) * 1000)
UNPACKED_NUMBERS = field(5, field(3, b"\x10\x01" * MILLIONS))
EMPTY_KINDS = field(1, field(2, field(3, b"") * MILLIONS))
EMPTY_GROUPS = field(5, field(3, b"") * MILLIONS)
LABELS = field(1, b"".join(field(3, field(1, b"%d" % number) + field(2, b"x")) for number in range(300_000)))


@pytest.mark.changes_nothing
@pytest.mark.parametrize("message", [EMPTY_RESULTS, EMPTY_TOKENS, LABELS], ids=["results", "tokens", "labels"])
async def test_a_message_with_millions_of_elements_is_refused_before_it_is_decoded(channel, message):
    stream = channel.stream_stream("/thumbq.v1.QueueService/StreamJobs")()
    before = memory()
    async with watched_loop() as pauses:
        await stream.write(field(1, field(1, b"w1")))
        await stream.read()
        await stream.write(message)
        assert await stream.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert max(pauses) < 1
    assert memory() - before < 200
    assert "too many elements" in await stream.details()


@pytest.mark.changes_nothing
@pytest.mark.parametrize(
    "message",
    [EMPTY_PATHS, PACKED_NUMBERS, PACKED_IN_MANY_GROUPS, UNPACKED_NUMBERS, EMPTY_GROUPS],
    ids=["paths", "numbers", "numbers in groups", "unpacked numbers", "groups"],
)
async def test_columns_with_millions_of_entries_are_refused_before_they_are_decoded(channel, message):
    stream = channel.stream_stream("/thumbq.v1.QueueService/StreamJobs")()
    await stream.write(field(1, field(1, b"w1") + b"\x28\x01"))
    await stream.read()
    await stream.write(message)
    assert await stream.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "too many elements" in await stream.details()


@pytest.mark.changes_nothing
@pytest.mark.parametrize("method", ["EnqueueJobs", "ReportResults"])
async def test_a_batch_with_millions_of_elements_is_refused_before_it_is_decoded(channel, method):
    call = channel.unary_unary(f"/thumbq.v1.QueueService/{method}")
    code, text = await status_of(call(field(1, b"") * 1_500_000))
    assert (code, "too many elements" in text) == (grpc.StatusCode.INVALID_ARGUMENT, True)


@pytest.mark.changes_nothing
async def test_a_call_with_millions_of_kinds_among_others_is_refused_before_it_is_decoded(channel):
    call = channel.unary_unary("/thumbq.v1.QueueService/CallTogether")
    code, text = await status_of(call(EMPTY_KINDS))
    assert (code, "too many elements" in text) == (grpc.StatusCode.INVALID_ARGUMENT, True)


@pytest.mark.changes_nothing
async def test_a_long_header_is_not_copied_into_every_job_of_a_batch_that_is_too_large(queue):
    request = queue_pb2.EnqueueJobsRequest(jobs=[queue_pb2.NewJob()] * 131_000)
    forget_peak()
    before = memory()
    code, text = await status_of(queue.EnqueueJobs(request, metadata=[("traceparent", "0" * 7_500)]))
    assert (code, text) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "jobs has 131000 items; at most 10000 are taken at once",
    )
    assert peak_of_memory() - before < 200


@pytest.mark.parametrize("method", ["EnqueueJobs", "EnqueueStream", "CallTogether"])
async def test_a_job_with_a_million_options_is_refused_before_it_is_decoded(channel, method):
    job = field(9, field(1, field(1, b"a") + field(2, field(6, field(1, b"") * 1_000_000))))
    path = f"/thumbq.v1.QueueService/{method}"
    if method == "EnqueueStream":
        call = channel.stream_stream(path)(iter([field(2, job)]))
    else:
        call = channel.unary_unary(path)(field(1, field(1, job) if method == "CallTogether" else job))
    assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "a job has 2000" in await call.details()


@pytest.mark.changes_nothing
async def test_one_element_too_many_in_a_small_message_is_refused_too(queue, notifications):
    worker = Worker(queue)
    await worker.hello()
    await worker.send(heartbeat=Stream.Heartbeat(lease_tokens=["1-1"] * 10_001))
    assert await worker.ends() == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "leaseTokens has 10001 items; at most 10000 are taken at once",
    )
    subscription = notifications.Subscribe(notification_pb2.SubscribeRequest(model_ids=range(1, 10_002)))
    assert await subscription.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.changes_nothing
async def test_a_message_that_needs_little_may_not_be_large(channel):
    call = channel.unary_unary("/thumbq.v1.QueueService/GetJob")
    code, text = await status_of(call(bytes(100_000)))
    assert (code, text) == (grpc.StatusCode.INVALID_ARGUMENT, "the message has 100000 bytes; at most 65536 are taken")


@pytest.mark.changes_nothing
@pytest.mark.parametrize(
    ("hello", "why"),
    [
        ({"version": "1" * 101}, "version is longer than 100 characters"),
        ({"version": "1\0"}, "version has a character that is not printable (U+0000)"),
        ({"labels": {"gpu": "\0"}}, "a label has a character that is not printable (U+0000)"),
        ({"labels": {"": "x"}}, "the name of a label has 1 to 100 characters"),
        ({"labels": {"gpu": "x" * 501}}, "the value of a label has at most 500 characters"),
        ({"labels": {str(n): "x" for n in range(51)}}, "there are 51 labels; at most 50 are taken"),
        ({"worker_id": "w\u200d1"}, "WorkerId has a character that is not printable (U+200D)"),
        ({"session_id": "\0"}, "sessionId is malformed"),
    ],
)
async def test_what_a_worker_says_of_itself_is_bounded(queue, hello, why):
    worker = Worker(queue)
    await worker.send(hello=Stream.Hello(**{"worker_id": "w1", **hello}))
    assert await worker.ends() == (grpc.StatusCode.INVALID_ARGUMENT, why)


@pytest.mark.changes_nothing
async def test_a_malformed_token_in_a_heartbeat_is_answered_like_a_lost_lease(queue):
    worker = Worker(queue)
    await worker.hello()
    await worker.send(heartbeat=Stream.Heartbeat(lease_tokens=["77-1", "nonsense", "x" * 1000]))
    lost = await worker.receives("lease_lost")
    assert list(lost.lease_tokens) == ["77-1", "nonsense", "x" * 100]
    assert lost.reason == job_pb2.LEASE_LOST_REASON_EXPIRED
    await worker.is_understood()


async def test_the_largest_message_of_columns_is_taken(queue):
    worker = Worker(queue, columns=True)
    await worker.hello()
    columns = queue_pb2.CompletedColumns(
        lease="1-x",
        job_ids=range(2**62, 2**62 + 10_000),
        thumbnail_paths=["/" + "x" * 299] * 10_000,
        sizes_bytes=[2**62] * 10_000,
        widths=[2**31 - 1] * 10_000,
        heights=[2**31 - 1] * 10_000,
    )
    await worker.send(results=Stream.Results(number=3, completed=[columns]))
    acks = await worker.receives("result_acks")
    assert (acks.number, len(acks.exceptions)) == (3, 10_000)
    assert {exception.code for exception in acks.exceptions} == {queue_pb2.RESULT_CODE_STALE}


async def test_the_largest_messages_are_taken_in_pieces_while_others_are_served(queue):
    worker = Worker(queue)
    await worker.hello()
    jobs = [queue_pb2.NewJob(model_id=number, model_hash=HASH) for number in range(1, 10_001)]
    await queue.EnqueueJobs(queue_pb2.EnqueueJobsRequest(jobs=jobs))
    await worker.send(heartbeat=Stream.Heartbeat(lease_tokens=[f"{number}-1" for number in range(1, 10_001)]))
    lost = 0
    while lost < 10_000:
        lost += len((await worker.receives("lease_lost")).lease_tokens)
    assert lost == 10_000


def methods():
    for module in (queue_pb2, notification_pb2, admin_pb2):
        for service in module.DESCRIPTOR.services_by_name.values():
            yield from service.methods


@pytest.mark.changes_nothing
@pytest.mark.parametrize("method", list(methods()), ids=lambda method: method.name)
async def test_garbage_is_answered_with_invalid_argument(channel, method):
    path = f"/{method.containing_service.full_name}/{method.name}"
    if method.client_streaming:
        call = channel.stream_stream(path)(iter([b"\xff\xff\xff"]))
    elif method.server_streaming:
        call = channel.unary_stream(path)(b"\xff\xff\xff")
    else:
        call = channel.unary_unary(path)(b"\xff\xff\xff")
    assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT


def repeated(message: Descriptor, where: str, above: frozenset[str] = frozenset()) -> Iterator[str]:
    """Every field of a message, at any depth, that may have many elements."""
    for each in () if message.full_name in above else message.fields:
        if each.is_repeated:
            yield f"{where}.{each.name}"
        if each.message_type:
            yield from repeated(each.message_type, f"{where}.{each.name}", above | {message.full_name})


def packed(message: Descriptor) -> set[FieldDescriptor]:
    """The fields whose elements come together as one field."""
    return {each for each in message.fields if each.is_packed}


def uncounted(message: Descriptor, holders: Mapping[int, Holder], where: str) -> Iterator[str]:
    """The fields that may have many elements which no bound counts. The fields of `message` itself are counted."""
    yield from (f"{where}.{each.name}" for each in packed(message))
    for each in message.fields:
        name = f"{where}.{each.name}"
        if not (inner := each.message_type):
            continue
        match holders.get(each.number):
            case NewJob():
                pass
            case Elements(further):
                yield from uncounted(inner, further, name)
            case Few():
                yield from uncounted(inner, {}, name)
            case Columns(counted):
                assert {column.number for column in packed(inner)} == counted, name
                assert not any(column.message_type for column in inner.fields), name
            case None:
                yield from repeated(inner, name)


@pytest.mark.parametrize("method", list(methods()), ids=lambda method: method.name)
def test_all_that_a_large_message_may_have_many_of_is_counted(method) -> None:
    bound = bounds.bound_of(f"/{method.containing_service.full_name}/{method.name}")
    if bound.size > bounds._SMALL:
        assert list(uncounted(method.input_type, bound.holders, method.input_type.name)) == []
