"""Messages to JSON. The tables are made once per message type, so that encoding only walks them."""

import json
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any, TypeAlias

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from thumbq_gateway.protojson.objects import EXACT_IN_A_DOUBLE, object_of
from thumbq_runtime.enum_words import words_of

Convert: TypeAlias = Callable[[Any], Any] | None  # None: the value is JSON already


LONG_TYPES = {FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64}
PLAIN_TYPES = {
    FieldDescriptor.CPPTYPE_INT32,
    FieldDescriptor.CPPTYPE_UINT32,
    FieldDescriptor.CPPTYPE_BOOL,
    FieldDescriptor.CPPTYPE_DOUBLE,
    FieldDescriptor.CPPTYPE_STRING,
}

_to_text = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


class UnsupportedField(TypeError):
    """A field of a kind that the gateway cannot express in JSON."""

    def __init__(self, field: FieldDescriptor) -> None:
        super().__init__(f"{field.full_name} is of a kind that the gateway does not speak in JSON.")


def json_bytes(value: object) -> bytes:
    """Return compact JSON in UTF-8."""
    return _to_text(value).encode()


@cache
def encoder_of(message_type: Descriptor) -> "MessageEncoder":
    """Return the encoder of a message type. Raises UnsupportedField."""
    return MessageEncoder(message_type)


class MessageEncoder:
    """Turns messages of one type into JSON values, as json_format does, except that enums are documented words."""

    def __init__(self, message_type: Descriptor) -> None:
        self._fields = [
            (field.json_name, field.name, field.has_presence, _field_converter(field)) for field in message_type.fields
        ]

    def __call__(self, message: Message) -> dict[str, Any]:
        """Return all fields, except unset ones with presence."""
        printed = {}
        for name, attribute, has_presence, convert in self._fields:
            if has_presence and not message.HasField(attribute):
                continue
            value = getattr(message, attribute)
            printed[name] = value if convert is None else convert(value)
        return printed


def _field_converter(field: FieldDescriptor) -> Convert:
    if value_field := map_value(field):
        convert = _value_converter(value_field)
        return lambda entries: {key: convert(value) if convert else value for key, value in entries.items()}
    convert = _value_converter(field)
    if not field.is_repeated:
        return convert
    return list if convert is None else lambda values: [convert(value) for value in values]


def _value_converter(field: FieldDescriptor) -> Convert:
    if field.type == FieldDescriptor.TYPE_BYTES:
        raise UnsupportedField(field)
    if field.cpp_type in PLAIN_TYPES:
        return None
    if field.cpp_type in LONG_TYPES:
        return exact_number
    if field.enum_type is not None:
        words = words_of(field.enum_type)
        return lambda number: words.get(number, number)
    if field.message_type is None:
        raise UnsupportedField(field)
    return _MESSAGE_CONVERTERS.get(field.message_type.full_name) or encoder_of(field.message_type)


@lru_cache(1_000)
def _time_text(seconds: int, nanos: int) -> str:
    """Return RFC 3339. Jobs of one claim or batch share their times, and the text takes longer to make than to find."""
    return Timestamp(seconds=seconds, nanos=nanos).ToJsonString()


_MESSAGE_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "google.protobuf.Timestamp": lambda value: _time_text(value.seconds, value.nanos),
    "google.protobuf.Duration": lambda value: value.ToJsonString(),
    "google.protobuf.Struct": object_of,
}


def exact_number(value: int) -> int | str:
    """Return a number, or a string if JavaScript would round it."""
    if -EXACT_IN_A_DOUBLE <= value <= EXACT_IN_A_DOUBLE or float(value) == value:
        return value
    return str(value)


def map_value(field: FieldDescriptor) -> FieldDescriptor | None:
    """Return the value field of a map<string, …>, or None for other fields. Raises UnsupportedField."""
    entry = field.message_type
    if entry is None or not entry.GetOptions().map_entry:
        return None
    if entry.fields_by_name["key"].type != FieldDescriptor.TYPE_STRING:
        raise UnsupportedField(field)
    return entry.fields_by_name["value"]
