"""Message types as JSON Schema, for the OpenAPI document."""

from collections.abc import Iterable
from typing import Any, TypeAlias

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from thumbq_gateway.openapi.comments import comment_of
from thumbq_gateway.protojson.encoder import map_value
from thumbq_gateway.protojson.enum_words import choices

Schema: TypeAlias = dict[str, Any]

_SIMPLE: dict[int, Schema] = {
    FieldDescriptor.CPPTYPE_STRING: {"type": "string"},
    FieldDescriptor.CPPTYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.CPPTYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.CPPTYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.CPPTYPE_INT64: {"type": "integer", "format": "int64"},
    FieldDescriptor.CPPTYPE_UINT32: {"type": "integer", "minimum": 0},
    FieldDescriptor.CPPTYPE_UINT64: {"type": "integer", "minimum": 0},
}
_TEXTS: dict[Descriptor, Schema] = {
    Timestamp.DESCRIPTOR: {"type": "string", "format": "date-time"},
    Duration.DESCRIPTOR: {"type": "string", "examples": ["30s"]},
    Struct.DESCRIPTOR: {"type": "object"},
}


class Schemas:
    """Collects every schema that is referred to, under its short name."""

    def __init__(self) -> None:
        self.components: dict[str, Schema] = {}

    def reference(self, message_type: Descriptor) -> Schema:
        """Return a reference to the schema of a message type."""
        name = _short_name(message_type)
        if name not in self.components:
            self.components[name] = {}  # entered first, since its fields may refer to it
            self.components[name] |= described(self.inline(message_type.fields), comment_of(message_type))
        return {"$ref": f"#/components/schemas/{name}"}

    def inline(self, fields: Iterable[FieldDescriptor]) -> Schema:
        """Return the schema of an object with these fields."""
        return {"type": "object", "properties": {field.json_name: self.field(field) for field in fields}}

    def field(self, field: FieldDescriptor) -> Schema:
        """Return the schema of one field's value."""
        if value_field := map_value(field):
            schema: Schema = {"type": "object", "additionalProperties": self._value(value_field)}
        else:
            value = self._value(field)
            schema = {"type": "array", "items": value} if field.is_repeated else value
        return described(schema, comment_of(field))

    def _value(self, field: FieldDescriptor) -> Schema:
        if field.enum_type is not None:
            return self._words(field.enum_type)
        if field.message_type is None:
            return dict(_SIMPLE[field.cpp_type])
        return dict(_TEXTS.get(field.message_type) or self.reference(field.message_type))

    def _words(self, enum: EnumDescriptor) -> Schema:
        words: Schema = {"type": "string", "enum": list(choices(enum))}
        self.components.setdefault(enum.name, described(words, comment_of(enum)))
        return {"$ref": f"#/components/schemas/{enum.name}"}


def described(schema: Schema, text: str) -> Schema:
    """Return the schema with a description, if there is one."""
    return schema | {"description": text} if text else schema


def _short_name(message_type: Descriptor) -> str:
    package = message_type.file.package
    return str(message_type.full_name).removeprefix(f"{package}.").replace(".", "")
