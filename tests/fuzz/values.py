"""Values and messages: right ones, odd ones and wrong ones, drawn from the descriptors of the protocol."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

_ODD_DOUBLES = [math.nan, math.inf, -math.inf, -0.0, -1.0, 1.0000001, 1.5, 2.0**53 + 2, 5e-324, -1e308, 1e308]
_ODD_INTEGERS = [0, 1, -1, 9, 10, 11, 100, 1000, 1001, 10_000, 10_001, 2**31 - 1, -(2**31)]
_ODD_LONGS = [*_ODD_INTEGERS, 2**31, 2**32, 2**53, 2**53 + 1, 2**63 - 1, -(2**63)]
ODD_TEXTS = [
    "", " ", "\0", "a\0b", "\x1b[2J", "\u200d", "\u00a0", "\u202e", "\ufeff", "é", "😀", "'; --", "%00", "../..", "/",
    "earliest", "latest", "0-0", "1:1", "1-1", "null", "NaN", "-1", "9" * 30, "a" * 100, "a" * 101, "x" * 1000,
    "/models/../a.png", "/" + "d/" * 300, "${x}", "<b>", '"', "\\", "\r\n", "\t",
]  # fmt: skip


@dataclass
class Known:
    """Facts of the running service, so that cases reach jobs, leases and cursors that exist."""

    job_ids: list[int] = field(default_factory=lambda: [1])
    model_ids: list[int] = field(default_factory=lambda: [1])
    tokens: list[str] = field(default_factory=list)
    cursors: list[str] = field(default_factory=list)
    sessions: list[str] = field(default_factory=list)
    # Routes of the gateway's OpenAPI document: method and path.
    routes: list[tuple[str, str]] = field(default_factory=list)


class Values:
    """Draws values for fields. `oddness` is the chance that a value is not one that an honest client sends."""

    def __init__(self, chance: random.Random, known: Known, oddness: float) -> None:
        self.chance = chance
        self.known = known
        self.oddness = oddness

    @property
    def is_odd(self) -> bool:
        return self.chance.random() < self.oddness

    def message(self, descriptor: Descriptor, depth: int = 0) -> Message:
        """Return a message of this type. Half of its optional fields are set; one field of each oneof."""
        message: Message = GetMessageClass(descriptor)()
        chosen = {id(self.chance.choice(list(oneof.fields))) for oneof in descriptor.oneofs}
        for each in descriptor.fields:
            if each.containing_oneof is not None and id(each) not in chosen:
                continue
            if self.chance.random() < 0.85 and depth < 6:
                self._fill(message, each, depth)
        return message

    def _fill(self, message: Message, each: FieldDescriptor, depth: int) -> None:
        container = getattr(message, each.name)
        if each.message_type is not None and each.message_type.GetOptions().map_entry:
            value = each.message_type.fields_by_name["value"]
            for _ in range(self._count()):
                if value.message_type is None:
                    container[self.text("label")] = self.scalar(value)
                else:
                    container[self.text("label")].CopyFrom(self.message(value.message_type, depth + 1))
        elif each.is_repeated and each.message_type is not None:
            container.extend(self.message(each.message_type, depth + 1) for _ in range(self._count()))
        elif each.is_repeated:
            container.extend(self.scalar(each) for _ in range(self._count()))
        elif each.message_type is not None:
            container.CopyFrom(self.message(each.message_type, depth + 1))
            if each.message_type.full_name == "google.protobuf.Duration" and not self.is_odd:
                container.seconds, container.nanos = self.chance.choice([0, 1]), self.chance.choice([0, 500_000_000])
        else:
            setattr(message, each.name, self.scalar(each))

    def _count(self) -> int:
        return self.chance.choice([0, 1, 1, 2, 3, 10, 100]) if self.is_odd else self.chance.choice([1, 1, 2, 3])

    def scalar(self, each: FieldDescriptor) -> Any:
        """Return a value for a field that is no message. One that the field cannot hold is cut to its size."""
        kinds: dict[int, Callable[[str], Any]] = {
            FieldDescriptor.CPPTYPE_STRING: self.text,
            FieldDescriptor.CPPTYPE_INT64: lambda name: self.integer(name, _ODD_LONGS),
            FieldDescriptor.CPPTYPE_INT32: lambda name: self.integer(name, _ODD_INTEGERS),
            FieldDescriptor.CPPTYPE_DOUBLE: lambda _: self.chance.choice(
                _ODD_DOUBLES if self.is_odd else [0.0, 0.5, 1.0]
            ),
            FieldDescriptor.CPPTYPE_BOOL: lambda _: self.chance.random() < 0.5,
            FieldDescriptor.CPPTYPE_ENUM: lambda _: self.chance.choice([0, 1, 2, 3, 4, 5, 99, -1]),
        }
        if each.type == FieldDescriptor.TYPE_BYTES:
            return self.chance.randbytes(self.chance.randrange(40))
        return kinds[each.cpp_type](each.name)

    def text(self, name: str) -> str:
        """Return a text for the field of this name, in the form that protobuf can carry."""
        if self.is_odd:
            return self.chance.choice(ODD_TEXTS)
        choices = {
            "worker_id": ["fuzz-1", "fuzz-2"],
            "model_hash": [f"{self.chance.randrange(4):064x}"],
            "thumbnail_path": ["/thumbnails/a.png"],
            "lease_token": self.known.tokens,
            "lease_tokens": self.known.tokens,
            "after": ["earliest", "latest", *self.known.cursors],
            "page_token": [""],
            "session_id": ["", *self.known.sessions],
            "service": [""],
            "kind": ["", "Model", "Texture", "Sound"],
            "kinds": ["Model", "Texture", "Sound"],
            "progress_text": ["", "meshing"],
        }.get(name, ["text"])
        return self.chance.choice(choices or ["1-1"])

    def integer(self, name: str, odd: list[int]) -> int:
        if self.is_odd:
            return self.chance.choice(odd)
        choices = {
            "job_id": self.known.job_ids,
            "job_ids": self.known.job_ids,
            "model_id": self.known.model_ids,
            "model_ids": self.known.model_ids,
        }.get(name, [1, 2, 3])
        return self.chance.choice(choices)


def garble(chance: random.Random, data: bytes) -> bytes:
    """Return the bytes with a few changes: flipped, removed, doubled or inserted."""
    changed = bytearray(data)
    for _ in range(chance.randrange(1, 6)):
        place = chance.randrange(len(changed) + 1)
        match chance.randrange(4):
            case 0 if place < len(changed):
                changed[place] ^= 1 << chance.randrange(8)
            case 1:
                del changed[place : place + chance.randrange(1, 9)]
            case 2:
                changed[place:place] = changed[place : place + chance.randrange(1, 33)]
            case _:
                changed[place:place] = chance.randbytes(chance.randrange(1, 9))
    return bytes(changed)
