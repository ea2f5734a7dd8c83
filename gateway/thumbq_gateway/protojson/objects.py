"""JSON objects of any content: fields of the type google.protobuf.Struct."""

from decimal import Decimal
from typing import Any

from google.protobuf.struct_pb2 import Struct, Value

EXACT_IN_A_DOUBLE = 2**53


def object_of(message: Struct) -> dict[str, Any]:
    """Return the object of a message. Whole numbers have no point, as everywhere in JSON."""
    return {name: _value_of(value) for name, value in message.fields.items()}


def _value_of(value: Value) -> Any:
    match value.WhichOneof("kind"):
        case "struct_value":
            return object_of(value.struct_value)
        case "list_value":
            return [_value_of(member) for member in value.list_value.values]
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() and abs(number) <= EXACT_IN_A_DOUBLE else number
        case "null_value" | None:
            return None
        case kind:
            return getattr(value, kind)


def plain(value: object, levels: int) -> object:
    """Return JSON with its numbers as doubles. Raises ValueError with what is wrong, such as too many levels."""
    if isinstance(value, dict | list) and not levels:
        raise ValueError("has too many levels")
    if isinstance(value, dict):
        return {_text(name): plain(member, levels - 1) for name, member in value.items()}
    if isinstance(value, list):
        return [plain(member, levels - 1) for member in value]
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return _double(value)
    return _text(value) if isinstance(value, str) else value


def _double(value: int | Decimal) -> float:
    if not -Decimal("1e300") < value < Decimal("1e300"):
        raise ValueError("has a number that is too large")
    number = float(value)
    if -EXACT_IN_A_DOUBLE <= value <= EXACT_IN_A_DOUBLE:
        return number
    # With a point or an exponent, programs write large doubles in as few digits as name them.
    if isinstance(value, int) or value != Decimal(repr(number)):
        raise ValueError("has a number that a double cannot hold")
    return number


def _text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("must be valid Unicode") from None
    return value
