"""What --json prints: the fields of the protocol, in the words that the JSON routes use."""

import json
from collections.abc import Sequence
from typing import Any

import typer
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from thumbq.options import object_of
from thumbq_runtime.enum_words import words_of

JSON_HELP = "Print JSON for scripts: the fields of the JSON routes."


def print_json(messages: Message | Sequence[Message], **more: Any) -> None:
    """Print a message as an object, with `more` fields, or messages as a list. A terminal obeys nothing in it."""
    shown = as_json(messages) | more if isinstance(messages, Message) else list(map(as_json, messages))
    typer.echo(json.dumps(shown, indent=2))  # escapes what is not ASCII


def as_json(message: Message) -> dict[str, Any]:
    """Return every field of a message; None for a message or an optional field that is missing."""
    return {field.json_name: _field(message, field) for field in message.DESCRIPTOR.fields}


def _field(message: Message, field: Any) -> Any:
    value = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return dict(value)
    if field.is_repeated:
        return [_value(item, field) for item in value]
    if field.has_presence and not message.HasField(field.name):
        return None
    return _value(value, field)


def _value(value: Any, field: Any) -> Any:
    if isinstance(value, (Timestamp, Duration)):
        return value.ToJsonString()
    if isinstance(value, Struct):
        return object_of(value)
    if isinstance(value, Message):
        return as_json(value)
    if field.enum_type is not None:
        return words_of(field.enum_type).get(value, value)
    return value
