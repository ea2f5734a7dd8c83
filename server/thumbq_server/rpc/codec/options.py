"""The options of a job: a message on the wire, canonical JSON everywhere else."""

import json

from google.protobuf.struct_pb2 import Struct, Value

from thumbq_server.domain.kinds import MAX_OPTIONS_MESSAGE, check_options
from thumbq_server.domain.refusals import Invalid


def read_options(message: Struct) -> str | None:
    """Return options as canonical JSON. Raises Invalid."""
    if message.ByteSize() > MAX_OPTIONS_MESSAGE:
        raise Invalid("options are too large")
    return check_options(_object(message))


def options_message(text: str) -> Struct:
    """Return options as a message."""
    message = Struct()
    message.update(json.loads(text))
    return message


def _object(message: Struct) -> dict[str, object]:
    return {name: _plain(value) for name, value in message.fields.items()}


def _plain(value: Value) -> object:
    match value.WhichOneof("kind"):
        case "struct_value":
            return _object(value.struct_value)
        case "list_value":
            return [_plain(member) for member in value.list_value.values]
        case "null_value" | None:
            return None
        case kind:
            return getattr(value, kind)
