"""The options of a job in Python's own types."""

from __future__ import annotations

from typing import Any

from google.protobuf.struct_pb2 import Struct, Value

from thumbq.v1.job_pb2 import Job

# Up to here a double tells each whole number from the next.
_EXACT = 2**53


def options_of(job: Job) -> dict[str, Any]:
    """Return the options of a job, for its handler: whole numbers are int. Empty when it has none."""
    return object_of(job.options) if job.HasField("options") else {}


def object_of(message: Struct) -> dict[str, Any]:
    """Return any object as Python's own types."""
    return {name: _value(value) for name, value in message.fields.items()}


def _value(value: Value) -> Any:
    match value.WhichOneof("kind"):
        case "struct_value":
            return object_of(value.struct_value)
        case "list_value":
            return [_value(member) for member in value.list_value.values]
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() and abs(number) <= _EXACT else number
        case "null_value" | None:
            return None
        case kind:
            return getattr(value, kind)
