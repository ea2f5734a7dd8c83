"""The types of the client are the protocol's, field by field. The comparison needs no node."""

import re
from typing import NamedTuple

import pytest
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.struct_pb2 import Struct

from tests.typescript.compiler import PACKAGE
from thumbq.v1 import job_pb2, notification_pb2, queue_pb2
from thumbq_gateway.protojson.enum_words import choices
from thumbq_gateway.transcoding.contract import THUMBNAIL_FIELDS

SOURCE = (PACKAGE / "src" / "types.ts").read_text()
ENUMS = [
    job_pb2.JobStatus.DESCRIPTOR,
    job_pb2.ThumbnailStatus.DESCRIPTOR,
    notification_pb2.ResetReason.DESCRIPTOR,
    queue_pb2.EnqueueOutcome.DESCRIPTOR,
    queue_pb2.ResultCode.DESCRIPTOR,
]
ANSWERS = {
    "Job": job_pb2.Job.DESCRIPTOR,
    "Enqueued": queue_pb2.EnqueueJobResponse.DESCRIPTOR,
    "Reported": queue_pb2.CompleteJobResponse.DESCRIPTOR,
    "ResultException": queue_pb2.ResultException.DESCRIPTOR,
    "JobPage": queue_pb2.ListJobsResponse.DESCRIPTOR,
    "QueueSnapshot": notification_pb2.QueueSnapshot.DESCRIPTOR,
    "Rendering": notification_pb2.QueueSnapshot.Rendering.DESCRIPTOR,
    "JobProgress": notification_pb2.JobProgress.DESCRIPTOR,
}
REQUESTS = {
    "NewJob": queue_pb2.NewJob.DESCRIPTOR,
    "Claim": queue_pb2.DequeueJobRequest.DESCRIPTOR,
    "Picture": job_pb2.Result.Complete.DESCRIPTOR,
    "Failure": job_pb2.Result.Fail.DESCRIPTOR,
    "JobFilter": queue_pb2.ListJobsRequest.DESCRIPTOR,
}
NUMBERS = {FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_DOUBLE}
TEXTS = {
    "google.protobuf.Timestamp": "Timestamp",
    "google.protobuf.Duration": "Seconds",
    "google.protobuf.Struct": "Record<string, unknown>",
}


class Member(NamedTuple):
    type: str
    is_optional: bool


def members(interface: str) -> dict[str, Member]:
    found = re.search(rf"^export interface {interface} {{\n(.*?)^}}", SOURCE, re.MULTILINE | re.DOTALL)
    assert found, interface
    return {
        name: Member("string" if written == "Cursor" else written, mark == "?")
        for name, mark, written in re.findall(r"^  (\w+)(\??): (.+);$", found[1], re.MULTILINE)
    }


def written_type(field: FieldDescriptor) -> str:
    if field.message_type is not None:
        name = TEXTS.get(field.message_type.full_name, field.message_type.name)
    elif field.enum_type is not None:
        name = field.enum_type.name
    elif field.cpp_type in NUMBERS:
        name = "number"
    else:
        name = "boolean" if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL else "string"
    return f"{name}[]" if field.is_repeated else name


def says_optional(field: FieldDescriptor) -> bool:
    """Return whether the proto declares the field optional, or a job need not have it. Others are always set."""
    return field.containing_oneof is not None or field.message_type == Struct.DESCRIPTOR


@pytest.mark.parametrize("enum", ENUMS, ids=lambda enum: enum.name)
def test_an_enum_has_the_same_words(enum: EnumDescriptor) -> None:
    found = re.search(rf"^export type {enum.name} = (.+);$", SOURCE, re.MULTILINE)
    assert found
    assert found[1].split(" | ") == [f'"{word}"' for word in choices(enum)]


@pytest.mark.parametrize("interface", ANSWERS)
def test_an_answer_has_the_same_fields_and_lacks_those_that_can_be_unset(interface: str) -> None:
    described: Descriptor = ANSWERS[interface]
    assert members(interface) == {
        field.json_name: Member(written_type(field), says_optional(field)) for field in described.fields
    }


@pytest.mark.parametrize("interface", REQUESTS)
def test_a_request_has_the_same_fields(interface: str) -> None:
    described: Descriptor = REQUESTS[interface]
    assert {name: member.type for name, member in members(interface).items()} == {
        field.json_name: written_type(field) for field in described.fields
    }


def test_a_notification_has_the_same_fields_but_the_cursor_which_is_the_id_of_its_event() -> None:
    types = {name: member.type.removesuffix(" | null") for name, member in members("Notification").items()}
    described = {field.json_name: written_type(field) for field in notification_pb2.Notification.DESCRIPTOR.fields}
    assert types.pop("test") == "true"
    assert described.pop("test") == "boolean"
    assert described.pop("cursor") == "string"
    assert types == described


def test_a_thumbnail_has_the_documented_fields() -> None:
    types = {name: member.type.removesuffix(" | null") for name, member in members("Thumbnail").items()}
    by_name = job_pb2.Thumbnail.DESCRIPTOR.fields_by_camelcase_name
    assert types == {name: written_type(by_name[name]) for name in THUMBNAIL_FIELDS}
