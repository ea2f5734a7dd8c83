#!/usr/bin/env python3
"""Write the comments of proto/ for the gateway's OpenAPI document, and the reference of the protocol for readers.

Usage: protocol_reference.py DESCRIPTOR_SET JSON MARKDOWN; the set has source information.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet

_HEADING = """# The protocol

Every call, message and enum of [proto/thumbq/v1](../proto/thumbq/v1), written by `make proto` from its comments.
[http.md](http.md) says how the gateway turns the calls into JSON routes.
"""
# The numbers of fields in descriptor.proto, which name the place of a comment.
_MESSAGE, _ENUM, _SERVICE, _FIELD, _NESTED, _NESTED_ENUM, _METHOD = 4, 5, 6, 2, 3, 4, 2
Place = tuple[int, ...]


def main(descriptor_set: str, comments_file: str, reference_file: str) -> None:
    """Read the descriptor set, and write both files."""
    files = [
        file
        for file in FileDescriptorSet.FromString(Path(descriptor_set).read_bytes()).file
        if file.package == "thumbq.v1"
    ]
    comments = {name: text for file in files for name, text in _named_comments(file)}
    Path(comments_file).write_text(json.dumps(comments, indent=1, ensure_ascii=False) + "\n")
    lines = [line for file in files for line in _reference(file, comments)]
    Path(reference_file).write_text(_HEADING + "\n".join(lines) + "\n")


def _named_comments(file: FileDescriptorProto) -> Iterator[tuple[str, str]]:
    """Return the comment of each thing that has one, under its full name without the package."""
    at = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}
    for name, path in _places(file):
        if text := _plain(at.get(path, "")):
            yield name, text


def _places(file: FileDescriptorProto) -> Iterator[tuple[str, Place]]:
    for number, service in enumerate(file.service):
        yield service.name, (_SERVICE, number)
        for place, method in enumerate(service.method):
            yield f"{service.name}.{method.name}", (_SERVICE, number, _METHOD, place)
    for number, enum in enumerate(file.enum_type):
        yield from _enum(enum, enum.name, (_ENUM, number))
    for number, message in enumerate(file.message_type):
        yield from _message(message, message.name, (_MESSAGE, number))


def _enum(enum: Any, name: str, path: Place) -> Iterator[tuple[str, Place]]:
    yield name, path
    for place, value in enumerate(enum.value):
        yield f"{name}.{value.name}", (*path, _FIELD, place)


def _message(message: Any, name: str, path: Place) -> Iterator[tuple[str, Place]]:
    yield name, path
    for place, field in enumerate(message.field):
        yield f"{name}.{field.name}", (*path, _FIELD, place)
    for place, nested in enumerate(message.nested_type):
        yield from _message(nested, f"{name}.{nested.name}", (*path, _NESTED, place))
    for place, enum in enumerate(message.enum_type):
        yield from _enum(enum, f"{name}.{enum.name}", (*path, _NESTED_ENUM, place))


def _plain(comment: str) -> str:
    """Return the paragraphs of a comment, each in one line. Lines of lists and drawings stay as they are."""
    text = ""
    for line in (line.removeprefix(" ").rstrip() for line in comment.splitlines()):
        joins = text and not text.endswith("\n") and line and not line.startswith(("- ", " "))
        text += f" {line}" if joins else f"{line}\n" if not line else f"\n{line}" if text else line
    return text.strip()


def _reference(file: FileDescriptorProto, comments: dict[str, str]) -> Iterator[str]:
    for service in file.service:
        yield from ("", f"## {service.name}", comments.get(service.name, ""))
        for method in service.method:
            takes, gives = (
                f"{'stream ' if streams else ''}{kind.rpartition('.')[2]}"
                for kind, streams in (
                    (method.input_type, method.client_streaming),
                    (method.output_type, method.server_streaming),
                )
            )
            yield from ("", f"### {method.name}", f"`{takes}` → `{gives}`", "")
            yield comments.get(f"{service.name}.{method.name}", "")
    yield from ("", f"## Messages of {Path(file.name).name}")
    for message in file.message_type:
        yield from _fields(message, message.name, comments)
    for enum in file.enum_type:
        yield from _values(enum, enum.name, comments)


def _fields(message: Any, name: str, comments: dict[str, str]) -> Iterator[str]:
    yield from ("", f"### {name}", comments.get(name, ""))
    if message.field:
        yield from ("", "| field | type | |", "|---|---|---|")
    for field in message.field:
        yield f"| {field.name} = {field.number} | {_type(field)} | {_cell(comments.get(f'{name}.{field.name}', ''))} |"
    for nested in message.nested_type:
        if not nested.options.map_entry:
            yield from _fields(nested, f"{name}.{nested.name}", comments)
    for enum in message.enum_type:
        yield from _values(enum, f"{name}.{enum.name}", comments)


def _values(enum: Any, name: str, comments: dict[str, str]) -> Iterator[str]:
    text = comments.get(name, "")
    yield from ("", f"### {name}", f"```\n{text}\n```" if "-->" in text else text)
    yield from ("", "| value | |", "|---|---|")
    for value in enum.value:
        yield f"| {value.name} = {value.number} | {_cell(comments.get(f'{name}.{value.name}', ''))} |"


def _type(field: FieldDescriptorProto) -> str:
    kind = (
        field.type_name.rpartition(".")[2] or FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    )
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return f"repeated {kind}"
    return f"optional {kind}" if field.proto3_optional else kind


def _cell(text: str) -> str:
    return text.replace("\n", " ").replace("|", "\\|")


def _checked(arguments: Sequence[str]) -> tuple[str, str, str]:
    if len(arguments) != 3:
        sys.exit(__doc__)
    return arguments[0], arguments[1], arguments[2]


if __name__ == "__main__":
    main(*_checked(sys.argv[1:]))
