"""Single JSON values to values of message fields. Each refusal has its reason."""

import re
from collections.abc import Callable
from decimal import ROUND_DOWN, Decimal
from math import isfinite
from typing import Any, TypeAlias, cast

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from thumbq_gateway.protojson.enum_words import choices, numbers_of
from thumbq_gateway.protojson.objects import plain

Reader: TypeAlias = Callable[[Any], Any]

# A report with such a text must not be refused, since its job would stay locked.
_FREE_TEXTS = {"error_message", "message"}
_HALF_A_CHARACTER = re.compile(r"[\ud800-\udfff]")
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,20}")
_FRACTION = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?")
_SECONDS = re.compile(r"(-?[0-9]{1,12}(?:\.[0-9]{1,9})?)s?")
_NANOSECOND = Decimal("1e-9")
# The server takes fewer.
_MOST_LEVELS = 32
_LONGEST_DURATION = 315_576_000_000  # seconds: 10,000 years, the limit of Duration
_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


class InvalidValue(ValueError):
    """A value that its field cannot take. `str()` is a sentence that names the field."""

    def __init__(self, problem: str, path: str = "") -> None:
        super().__init__(problem, path)
        self.problem = problem
        self.path = path

    def within(self, name: str) -> "InvalidValue":
        """Return the same problem for the enclosing level."""
        joint = "." if self.path and not self.path.startswith("[") else ""
        return InvalidValue(self.problem, name + joint + self.path)

    def __str__(self) -> str:
        return f"{self.path or 'The request body'} {self.problem}."


def scalar_reader(field: FieldDescriptor) -> Reader | None:
    """Return the reader of the field's values, or None for a message with fields of its own."""
    if field.type == FieldDescriptor.TYPE_STRING:
        return read_free_text if field.name in _FREE_TEXTS else read_string
    if field.type == FieldDescriptor.TYPE_BOOL:
        return read_flag
    if field.cpp_type in _RANGES:
        return whole_number_reader(*_RANGES[field.cpp_type])
    if field.type == FieldDescriptor.TYPE_DOUBLE:
        return read_fraction
    if field.enum_type is not None:
        return enum_reader(field.enum_type)
    return _MESSAGE_READERS.get(field.message_type)


def read_string(value: object) -> str:
    """Return a string. One with a lone surrogate is refused, since UTF-8 cannot encode it."""
    if not isinstance(value, str):
        raise InvalidValue("must be a string")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidValue("must be valid Unicode") from None
    return value


def read_free_text(value: object) -> str:
    """Return a string in which each lone surrogate is replaced: cut texts and names of files have them."""
    if not isinstance(value, str):
        raise InvalidValue("must be a string")
    return value if value.isascii() else _HALF_A_CHARACTER.sub("\ufffd", value)


def read_flag(value: object) -> bool:
    """Return true or false."""
    if not isinstance(value, bool):
        raise InvalidValue("must be true or false")
    return value


def read_flag_text(value: str) -> bool:
    """Return true or false from a query string."""
    return read_flag({"true": True, "1": True, "false": False, "0": False}.get(value.lower()))


def whole_number_reader(lowest: int, highest: int) -> Reader:
    """Return a reader of whole numbers in the range, written as a number or as a string."""

    def read_whole_number(value: object) -> int:
        if isinstance(value, str):
            value = int(value) if _WHOLE_NUMBER.fullmatch(value) else None
        if not isinstance(value, int | Decimal) or isinstance(value, bool):
            raise InvalidValue("must be a whole number")
        if not lowest <= value <= highest:  # before int(), which would write out all digits of 1e999999
            raise InvalidValue(f"must be between {lowest} and {highest}")
        if value != int(value):
            raise InvalidValue("must be a whole number")
        return int(value)

    return read_whole_number


def read_fraction(value: object) -> float:
    """Return a finite number, written as a number or as a string."""
    if isinstance(value, str) and _FRACTION.fullmatch(value):
        value = float(value)
    if not isinstance(value, int | float | Decimal) or isinstance(value, bool):
        raise InvalidValue("must be a number")
    fraction = float(value)
    if not isfinite(fraction):
        raise InvalidValue("must be a number that fits into 64 bits")
    return fraction


def enum_reader(enum: EnumDescriptor) -> Reader:
    """Return a reader of the documented words, in any case, of the full names and of the numbers."""
    numbers = numbers_of(enum)
    problem = _must_be_one_of(enum)

    def read_enum(value: object) -> int:
        if isinstance(value, str) and (number := numbers.get(value.lower())) is not None:
            return number
        if isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value):
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and value in enum.values_by_number:
            return value
        raise InvalidValue(problem)

    return read_enum


def choice_reader(enum: EnumDescriptor) -> Reader:
    """Return a reader that takes what `enum_reader` takes, but not Unspecified."""
    read_enum = enum_reader(enum)

    def read_choice(value: object) -> int:
        if number := read_enum(value):
            return int(number)
        raise InvalidValue(_must_be_one_of(enum))

    return read_choice


def read_duration(value: object) -> Duration:
    """Return a duration from "30s", "30" or 30, in seconds."""
    seconds = _seconds(value)
    if seconds is None:
        raise InvalidValue('must be a duration such as "30s", or a number of seconds')
    if abs(seconds) > _LONGEST_DURATION:
        raise InvalidValue(f"must be between -{_LONGEST_DURATION} and {_LONGEST_DURATION} seconds")
    seconds = seconds.quantize(_NANOSECOND, rounding=ROUND_DOWN)
    whole = int(seconds)
    return Duration(seconds=whole, nanos=int((seconds - whole) * 1_000_000_000))


def read_timestamp(value: object) -> Timestamp:
    """Return a time from RFC 3339 text."""
    timestamp = Timestamp()
    try:
        timestamp.FromJsonString(value)  # type: ignore[arg-type]  # FromJsonString raises TypeError for other types
    except (ValueError, TypeError):
        raise InvalidValue('must be a time such as "2024-01-15T10:30:00Z"') from None
    return timestamp


def read_object(value: object) -> Struct:
    """Return a JSON object of any content."""
    if not isinstance(value, dict):
        raise InvalidValue("must be a JSON object")
    message = Struct()
    try:
        message.update(cast("dict[str, Any]", plain(value, _MOST_LEVELS)))
    except ValueError as error:
        raise InvalidValue(str(error)) from None
    return message


_MESSAGE_READERS: dict[Descriptor | None, Reader] = {
    Duration.DESCRIPTOR: read_duration,
    Timestamp.DESCRIPTOR: read_timestamp,
    Struct.DESCRIPTOR: read_object,
}


def _must_be_one_of(enum: EnumDescriptor) -> str:
    return f"must be one of {', '.join(choices(enum))}"


def _seconds(value: object) -> Decimal | None:
    if isinstance(value, str):
        match = _SECONDS.fullmatch(value)
        return Decimal(match[1]) if match else None
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        value = Decimal(value)
    return value if isinstance(value, Decimal) else None
