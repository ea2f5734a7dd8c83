"""The options of a job in Python's own types."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from google.protobuf.struct_pb2 import Struct, Value

from thumbq.v1.job_pb2 import Job

# Up to here a double tells each whole number from the next.
_EXACT = 2**53
# The server takes fewer. A message has an end at about three times as many.
_MOST_LEVELS = 20


def options_of(job: Job) -> dict[str, Any]:
    """Return the options of a job, for its handler: whole numbers are int. Empty when it has none."""
    return object_of(job.options) if job.HasField("options") else {}


def object_of(message: Struct) -> dict[str, Any]:
    """Return any object as Python's own types."""
    return {name: _value(value) for name, value in message.fields.items()}


def check_exact(value: object, levels: int = _MOST_LEVELS) -> None:
    """Raise ValueError when options, or a part of them, would not arrive as they are."""
    if isinstance(value, Mapping | list | tuple):
        if not levels:
            raise ValueError("options have too many levels")
        for member in value.values() if isinstance(value, Mapping) else value:
            check_exact(member, levels - 1)
    elif isinstance(value, int) and abs(value) > _EXACT:
        raise ValueError("options have a whole number beyond 2^53, which a double cannot hold")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("options have a number that is not finite")


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
