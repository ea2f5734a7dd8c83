"""Every field of every request at the limits of its type: each answer is one that the protocol names."""

import uuid
from typing import Any

import asyncpg
import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.struct_pb2 import Struct
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.postgres.databases import database_at
from tests.support.service.server import running_server
from tests.wire.hostile.hostile import code_of
from tests.wire.worker import HASH
from thumbq.v1 import admin_pb2, notification_pb2, queue_pb2

INT32 = [0, 1, -1, 2**31 - 1, -(2**31)]
INT64 = [*INT32, 2**31, -(2**31) - 1, 2**32, 2**53 + 1, 2**63 - 1, -(2**63)]
TEXTS = [
    "",
    "x",
    "\0",
    "\ud7ff\ufffd",
    "x" * 5000,
    HASH,
    "1-1",
    f"{2**63 - 1}-{2**31 - 1}",
    f"{2**63}-{2**31}",
    "/a.png",
    "k" * 50,
    "k" * 51,
]
VALUES: dict[int, list[Any]] = {
    FieldDescriptor.CPPTYPE_INT32: INT32,
    FieldDescriptor.CPPTYPE_ENUM: INT32,
    FieldDescriptor.CPPTYPE_INT64: INT64,
    FieldDescriptor.CPPTYPE_BOOL: [False, True],
    FieldDescriptor.CPPTYPE_STRING: TEXTS,
    FieldDescriptor.CPPTYPE_DOUBLE: [0.0, -1.0, 1e300, float("inf"), float("nan")],
}
STRUCTS = [{}, {"a": None}, {"": 1e300}, {"deep": [[[[[[[1]]]]]]]}, {"x" * 5000: True}, {str(n): n for n in range(300)}]
NAMED = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.UNIMPLEMENTED,
}
METHODS = [
    method
    for module in (queue_pb2, notification_pb2, admin_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
    if not method.server_streaming
]


def requests(descriptor: Any, depth: int = 0) -> st.SearchStrategy[Message]:
    """Return messages whose fields are left out, or have a value at a limit."""
    fields = {field.name: values(field, depth) for field in descriptor.fields}
    return st.fixed_dictionaries({}, optional=fields).map(
        lambda chosen: GetMessageClass(descriptor)(**one_of(descriptor, chosen))
    )


def values(field: Any, depth: int) -> st.SearchStrategy[Any]:
    value: st.SearchStrategy[Any]
    if field.message_type == Struct.DESCRIPTOR:
        value = st.sampled_from(STRUCTS)
    elif field.type == FieldDescriptor.TYPE_BYTES:
        value = st.sampled_from([b"", b"\0", b"x" * 5000])
    elif field.message_type is not None and field.message_type.GetOptions().map_entry:
        key, entry = (values(each, depth + 1) for each in field.message_type.fields)
        return st.dictionaries(key, entry, max_size=2)
    elif field.message_type is not None:
        value = requests(field.message_type, depth + 1)
    else:
        value = st.sampled_from(VALUES[field.cpp_type])
    return st.lists(value, max_size=2) if field.is_repeated else value


def one_of(descriptor: Any, chosen: dict[str, Any]) -> dict[str, Any]:
    """Return the chosen values, of those of one oneof only the first."""
    for group in descriptor.oneofs:
        for extra in [field.name for field in group.fields if field.name in chosen][1:]:
            del chosen[extra]
    return chosen


@pytest.fixture(scope="module")
def cases() -> dict[str, list[Message]]:
    """Return the requests of each method. Making them takes long, and the server would share the event loop."""
    return {method.full_name: cases_of(method) for method in METHODS}


def cases_of(method: Any) -> list[Message]:
    collected: list[Message] = []

    @settings(max_examples=40, suppress_health_check=list(HealthCheck))
    @given(requests(method.input_type))
    def collect(request: Message) -> None:
        collected.append(request)

    collect()
    return collected


@pytest.fixture(scope="module")
async def walked_server(cases, postgres, migrated_template):
    """One server for all examples: what they leave behind makes the next ones more interesting."""
    name = f"thumbq_walked_{uuid.uuid4().hex[:8]}"
    connection = await asyncpg.connect(postgres)
    await connection.execute(f"CREATE DATABASE {name} TEMPLATE {migrated_template}")
    async with (
        running_server(database_at(postgres, name)) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        yield channel
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
async def test_any_value_at_a_limit_is_answered_as_the_protocol_says(walked_server, cases, method):
    call = walked_server.unary_unary(f"/{method.containing_service.full_name}/{method.name}")
    for request in cases[method.full_name]:
        if request.DESCRIPTOR.fields_by_name.get("wait"):
            request.ClearField("wait")
        assert await code_of(call(request.SerializeToString(), timeout=60)) in NAMED, request


async def test_jobs_of_a_model_are_listed_whatever_its_number_is(queue):
    for model_id in (2**31, 2**53 + 1, 2**63 - 1):
        job = await queue.EnqueueJob(queue_pb2.EnqueueJobRequest(model_id=model_id, model_hash=HASH))
        page = await queue.ListJobs(queue_pb2.ListJobsRequest(model_id=model_id))
        assert [listed.id for listed in page.jobs] == [job.job_id]
