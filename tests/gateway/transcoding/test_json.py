"""Messages as JSON: printed like protobuf's own json_format, except for enum words, and read with tolerance."""

from decimal import Decimal
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from thumbq.v1 import admin_pb2, job_pb2, notification_pb2, queue_pb2
from thumbq_gateway.protojson.decoder import decoder_of
from thumbq_gateway.protojson.encoder import encoder_of
from thumbq_gateway.protojson.values import InvalidValue
from thumbq_runtime.enum_words import words_of

MESSAGE_TYPES = sorted(
    (
        message_type
        for module in (job_pb2, queue_pb2, notification_pb2, admin_pb2)
        for message_type in module.DESCRIPTOR.message_types_by_name.values()
    ),
    key=lambda message_type: message_type.full_name,
)
INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1) | st.just(2**53 + 1),
}
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NANOS = st.integers(0, 999_999_999)
TIMESTAMPS = st.builds(Timestamp, seconds=st.integers(-62_135_596_800, 253_402_300_799), nanos=NANOS)
DURATIONS = st.builds(
    lambda sign, seconds, nanos: Duration(seconds=sign * seconds, nanos=sign * nanos),
    st.sampled_from((-1, 1)),
    st.integers(0, 315_575_999_999),
    NANOS,
)

STRUCTS = st.dictionaries(
    TEXTS,
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53).map(float) | TEXTS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
        max_leaves=5,
    ),
    max_size=3,
)

WELL_KNOWN = {
    Timestamp.DESCRIPTOR.full_name: TIMESTAMPS,
    Duration.DESCRIPTOR.full_name: DURATIONS,
    Struct.DESCRIPTOR.full_name: STRUCTS,
}


def values_of(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    """Return a strategy for one element of the field."""
    if field.message_type is not None:
        known = WELL_KNOWN.get(field.message_type.full_name)
        return messages_of(field.message_type) if known is None else known
    if field.enum_type is not None:
        return st.sampled_from([value.number for value in field.enum_type.values])
    if field.type == FieldDescriptor.TYPE_BOOL:
        return st.booleans()
    if field.type == FieldDescriptor.TYPE_DOUBLE:
        return st.floats(allow_nan=False, allow_infinity=False)
    return INTEGERS.get(field.cpp_type, TEXTS)


def contents_of(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    """Return a strategy for the whole field."""
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        return st.dictionaries(*(values_of(entry.fields_by_name[side]) for side in ("key", "value")), max_size=3)
    return st.lists(values_of(field), max_size=3) if field.is_repeated else values_of(field)


@st.composite
def messages_of(draw: st.DrawFn, message_type: Descriptor) -> Message:
    """Return a strategy for messages of the type, with any fields unset."""
    groups = [group.name for group in message_type.oneofs if len(group.fields) > 1]
    chosen = {name: draw(st.sampled_from(list(message_type.oneofs_by_name[name].fields))) for name in groups}
    fields = {
        field.name: draw(contents_of(field))
        for field in message_type.fields
        if field.containing_oneof is None or chosen.get(field.containing_oneof.name, field) is field
        if draw(st.booleans())
    }
    return GetMessageClass(message_type)(**fields)


def has(types: set[int], message_type: Descriptor) -> bool:
    inner = [
        field.message_type
        for field in message_type.fields
        if field.message_type is not None and field.message_type != Struct.DESCRIPTOR
    ]
    return any(field.type in types for field in message_type.fields) or any(has(types, kind) for kind in inner)


def any_message() -> st.SearchStrategy[Message]:
    # Bytes travel on streams only, which have no JSON.
    unprinted = {FieldDescriptor.TYPE_BYTES}
    return st.sampled_from([kind for kind in MESSAGE_TYPES if not has(unprinted, kind)]).flatmap(messages_of)


def by_json_format(message: Message) -> Any:
    printed = json_format.MessageToDict(
        message, always_print_fields_with_no_presence=True, unquote_int64_if_possible=True
    )
    return with_words(printed, message.DESCRIPTOR)


def with_words(printed: dict[str, Any], message_type: Any) -> dict[str, Any]:
    """Return json_format's output with the documented words instead of enum names."""

    def worded(value: Any, field: FieldDescriptor) -> Any:
        if field.message_type == Struct.DESCRIPTOR:
            return value
        if isinstance(value, list):
            return [worded(element, field) for element in value]
        if field.enum_type is not None:
            return words_of(field.enum_type)[field.enum_type.values_by_name[value].number]
        return with_words(value, field.message_type) if field.message_type and isinstance(value, dict) else value

    fields = {field.json_name: field for field in message_type.fields}
    if message_type.GetOptions().map_entry:
        return printed
    return {name: worded(value, fields[name]) for name, value in printed.items()}


@given(any_message())
def test_a_message_is_printed_as_json_format_prints_it(message: Message) -> None:
    assert encoder_of(message.DESCRIPTOR)(message) == by_json_format(message)


@given(any_message())
def test_what_was_printed_is_read_back_as_the_same_message(message: Message) -> None:
    printed = encoder_of(message.DESCRIPTOR)(message)
    assert decoder_of(message.DESCRIPTOR)(printed) == message


@given(any_message(), st.booleans())
def test_what_json_format_prints_is_read_as_the_same_message(message: Message, snake_case: bool) -> None:
    printed = json_format.MessageToDict(message, preserving_proto_field_name=snake_case)
    assert decoder_of(message.DESCRIPTOR)(printed) == message


def test_fields_of_a_job_are_listed_in_the_order_of_the_contract() -> None:
    printed = encoder_of(job_pb2.Job.DESCRIPTOR)(job_pb2.Job())
    documented = ["id", "modelId", "modelHash", "status", "attemptCount"]
    assert list(printed)[: len(documented)] == documented


@pytest.mark.parametrize(
    ("number", "word"),
    [(job_pb2.JOB_STATUS_PROCESSING, "Processing"), (job_pb2.JOB_STATUS_UNSPECIFIED, "Unspecified")],
)
def test_an_enum_is_its_bare_word(number: int, word: str) -> None:
    assert words_of(job_pb2.JobStatus.DESCRIPTOR)[number] == word


def test_a_word_of_two_parts_is_in_pascal_case() -> None:
    assert words_of(queue_pb2.ResultCode.DESCRIPTOR)[queue_pb2.RESULT_CODE_ALREADY_DONE] == "AlreadyDone"


def test_an_enum_value_of_a_newer_server_is_its_number() -> None:
    job = job_pb2.Job(status=77)  # type: ignore[arg-type]
    assert encoder_of(job_pb2.Job.DESCRIPTOR)(job)["status"] == 77


@pytest.mark.parametrize(
    "body",
    [
        {"modelId": 5, "maxAttempts": 2, "delay": "1.5s"},
        {"MODELID": 5, "maxattempts": 2, "Delay": "1.5"},
        {"model_id": "5", "max_attempts": "2", "delay": Decimal("1.5")},
        {
            "ModelId": Decimal("5.0"),
            "Max_Attempts": Decimal("2e0"),
            "delay": "1.500000000s",
            "modelHash": None,
            "colour": {"a": [1]},
        },
    ],
)
def test_spelling_is_taken_lightly(body: dict[str, Any]) -> None:
    expected = queue_pb2.EnqueueJobRequest(model_id=5, max_attempts=2, delay=Duration(seconds=1, nanos=500_000_000))
    assert decoder_of(queue_pb2.EnqueueJobRequest.DESCRIPTOR)(body) == expected


@pytest.mark.parametrize("word", ["Processing", "processing", "PROCESSING", "JOB_STATUS_PROCESSING", 2])
def test_an_enum_is_read_in_any_case(word: object) -> None:
    read = decoder_of(queue_pb2.ListJobsRequest.DESCRIPTOR)({"status": word})
    assert read == queue_pb2.ListJobsRequest(status=job_pb2.JOB_STATUS_PROCESSING)


WHOLE = "must be a whole number."
DURATION = 'must be a duration such as "30s", or a number of seconds.'


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ([], "The request body must be a JSON object."),
        ("text", "The request body must be a JSON object."),
        ({"jobs": {}}, "jobs must be a list."),
        ({"jobs": [1]}, "jobs[0] must be a JSON object."),
        ({"jobs": [None]}, "jobs[0] must be a JSON object."),
        ({"jobs": [{}, {"modelId": "five"}]}, f"jobs[1].modelId {WHOLE}"),
        ({"jobs": [{"modelId": 1.5}]}, f"jobs[0].modelId {WHOLE}"),
        ({"jobs": [{"modelId": True}]}, f"jobs[0].modelId {WHOLE}"),
        ({"jobs": [{"modelId": ""}]}, f"jobs[0].modelId {WHOLE}"),
        ({"jobs": [{"modelId": "٣"}]}, f"jobs[0].modelId {WHOLE}"),
        ({"jobs": [{"modelId": [1]}]}, f"jobs[0].modelId {WHOLE}"),
        ({"jobs": [{"modelId": float("inf")}]}, f"jobs[0].modelId {WHOLE}"),
        ({"jobs": [{"priority": 2**31}]}, "jobs[0].priority must be between -2147483648 and 2147483647."),
        ({"jobs": [{"modelHash": 5}]}, "jobs[0].modelHash must be a string."),
        ({"jobs": [{"modelHash": "\ud800"}]}, "jobs[0].modelHash must be valid Unicode."),
        ({"jobs": [{"force": "yes"}]}, "jobs[0].force must be true or false."),
        ({"jobs": [{"delay": "1h"}]}, f"jobs[0].delay {DURATION}"),
        ({"jobs": [{"delay": True}]}, f"jobs[0].delay {DURATION}"),
        ({"jobs": [{"delay": float("nan")}]}, f"jobs[0].delay {DURATION}"),
        (
            {"jobs": [{"delay": Decimal("1e300")}]},
            "jobs[0].delay must be between -315576000000 and 315576000000 seconds.",
        ),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_the_name_of_its_field(body: object, sentence: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        decoder_of(queue_pb2.EnqueueJobsRequest.DESCRIPTOR)(body)
    assert str(refused.value) == sentence


def test_only_one_of_several_outcomes_can_be_meant() -> None:
    body = {"results": [{"leaseToken": "1-1", "complete": {}, "fail": {}}]}
    with pytest.raises(InvalidValue, match=r"results\[0\] must be only one of complete and fail\."):
        decoder_of(queue_pb2.ReportResultsRequest.DESCRIPTOR)(body)


def test_an_unknown_word_is_answered_with_those_that_there_are() -> None:
    with pytest.raises(InvalidValue, match=r"status must be one of Pending, Processing, Completed, Failed, Cancelled"):
        decoder_of(queue_pb2.ListJobsRequest.DESCRIPTOR)({"status": "Splendid"})


def test_a_field_of_the_path_is_not_read_from_the_body() -> None:
    decoder = decoder_of(queue_pb2.FailJobRequest.DESCRIPTOR, frozenset({"job_id"}))
    assert decoder.fields({"jobId": "no number", "errorMessage": "x"}) == {"error_message": "x"}


def test_a_query_string_is_read_as_a_body_is() -> None:
    decoder = decoder_of(admin_pb2.RedriveDeadLettersRequest.DESCRIPTOR)
    pairs = [("jobIds", "1"), ("job_ids", "2"), ("all", "TRUE"), ("colour", "red")]
    assert decoder.query(pairs) == {"job_ids": [1, 2], "all": True}


def test_an_empty_parameter_is_an_unset_one() -> None:
    assert decoder_of(queue_pb2.ListJobsRequest.DESCRIPTOR).query([("status", ""), ("modelId", "")]) == {}


def test_a_parameter_that_does_not_fit_is_refused_with_its_name() -> None:
    with pytest.raises(InvalidValue, match=r"pageSize must be a whole number\."):
        decoder_of(queue_pb2.ListJobsRequest.DESCRIPTOR).query([("pageSize", "many")])
