"""JSON to messages: tolerant of spelling, strict about values. Each refusal has its sentence."""

from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from thumbq_gateway.protojson.encoder import UnsupportedField, map_value
from thumbq_gateway.protojson.values import InvalidValue, Reader, read_flag_text, scalar_reader


class ReadableField(NamedTuple):
    """How to read one field from JSON and from a query string."""

    name: str
    json_name: str
    read: Reader
    read_text: Reader | None  # None: a query string cannot express the field
    is_repeated: bool


class MessageDecoder:
    """Makes messages of one type from parsed JSON or from query parameters."""

    def __init__(self, message_type: Descriptor, bound: frozenset[str] = frozenset()) -> None:
        """`bound` are the fields that the path sets: their values in a body are ignored."""
        self.message_class = GetMessageClass(message_type)
        fields = [_readable(field) for field in message_type.fields if field.name not in bound]
        self._by_plain_name = {_plain(field.name): field for field in fields}
        self._by_name = {field.json_name: field for field in fields} | {field.name: field for field in fields}
        self._alternatives = [
            {field.name: field.json_name for field in group.fields}
            for group in message_type.oneofs
            if len(group.fields) > 1
        ]

    def __call__(self, value: object) -> Message:
        """Return the message of a JSON object. Raises InvalidValue."""
        return self.message_class(**self.fields(value))

    def fields(self, value: object) -> dict[str, Any]:
        """Read field names and values from a JSON object; null is unset. Raises InvalidValue."""
        if not isinstance(value, dict):
            raise InvalidValue("must be a JSON object")
        read = {}
        for key, member in value.items():
            field = self._by_name.get(key) or self._by_plain_name.get(_plain(key))
            if field is None or member is None:
                continue
            try:
                read[field.name] = field.read(member)
            except InvalidValue as invalid:
                raise invalid.within(field.json_name) from None
        for alternatives in self._alternatives:
            if len(given := read.keys() & alternatives.keys()) > 1:
                names = " and ".join(sorted(alternatives[name] for name in given))
                raise InvalidValue(f"must be only one of {names}")
        return read

    def query(self, parameters: Iterable[tuple[str, str]]) -> dict[str, Any]:
        """Read field names and values from a query string; an empty value is unset. Raises InvalidValue."""
        read: dict[str, Any] = {}
        for key, text in parameters:
            field = self._by_plain_name.get(_plain(key))
            if field is None or field.read_text is None or not text:
                continue
            try:
                value = field.read_text(text)
            except InvalidValue as invalid:
                raise invalid.within(field.json_name) from None
            if field.is_repeated:
                read.setdefault(field.name, []).append(value)
            else:
                read[field.name] = value
        return read


@cache
def decoder_of(message_type: Descriptor, bound: frozenset[str] = frozenset()) -> MessageDecoder:
    """Return the decoder of a message type. Raises UnsupportedField."""
    return MessageDecoder(message_type, bound)


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _readable(field: FieldDescriptor) -> ReadableField:
    if value_field := map_value(field):
        read_entries = _map_reader(_element_reader(value_field))
        return ReadableField(field.name, field.json_name, read_entries, None, is_repeated=False)
    read = _element_reader(field)
    read_text = read_flag_text if field.type == FieldDescriptor.TYPE_BOOL else scalar_reader(field)
    whole = _list_reader(read) if field.is_repeated else read
    return ReadableField(field.name, field.json_name, whole, read_text, field.is_repeated)


def _element_reader(field: FieldDescriptor) -> Reader:
    if read := scalar_reader(field):
        return read
    if field.message_type is None:
        raise UnsupportedField(field)
    return decoder_of(field.message_type)


def _list_reader(read: Reader) -> Reader:
    def read_list(value: object) -> list[Any]:
        if not isinstance(value, list):
            raise InvalidValue("must be a list")
        position = 0
        try:
            elements = []
            for position, element in enumerate(value):  # noqa: B007  # the refusal names it
                elements.append(read(element))
            return elements
        except InvalidValue as invalid:
            raise invalid.within(f"[{position}]") from None

    return read_list


def _map_reader(read: Reader) -> Reader:
    def read_map(value: object) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise InvalidValue("must be a JSON object")
        entries = {}
        for key, member in value.items():
            try:
                entries[key] = read(member)
            except InvalidValue as invalid:
                raise invalid.within(key) from None
        return entries

    return read_map
