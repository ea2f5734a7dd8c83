"""One case of the fuzz: the bytes that a client sends, whole enough to be sent again from a file."""

import base64
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

_SHOWN = 600


class Channel(StrEnum):
    """The way in which a case reaches the service."""

    HTTP = "http"  # the pieces are written to a connection with the gateway
    UNARY = "unary"  # the one piece is the request of a gRPC call
    STREAM = "stream"  # the pieces are the messages of a gRPC stream
    SOCKET = "socket"  # the pieces are written to a connection with the gRPC port


class Ending(StrEnum):
    """The end of a case, after its last piece."""

    WAIT = "wait"  # for the answer
    HALF_CLOSE = "half-close"
    HANG_UP = "hang up"


@dataclass(frozen=True)
class Case:
    """What a client sends."""

    channel: Channel
    # The RPC, or the route.
    target: str
    # What is unusual about it, for the reader of a finding.
    label: str
    pieces: tuple[bytes, ...]
    ending: Ending = Ending.WAIT
    # Whether the client reads the answers.
    reads: bool = True

    @property
    def size(self) -> int:
        return sum(map(len, self.pieces))

    @property
    def name(self) -> str:
        return f"{self.channel} {self.target} ({self.label})"

    def smaller(self) -> Iterator["Case"]:
        """Yield cases with less in them, the smallest first."""
        count = len(self.pieces)
        step = count // 2
        while step and self.channel is not Channel.UNARY:
            for start in range(0, count, step):
                yield replace(self, pieces=self.pieces[:start] + self.pieces[start + step :])
            step //= 2
        for index, piece in enumerate(self.pieces):
            for cut in _smaller_pieces(piece):
                yield replace(self, pieces=(*self.pieces[:index], cut, *self.pieces[index + 1 :]))

    def show(self) -> str:
        """Return the pieces as Python literals, for a reader; long ones are cut."""
        lines = [f"    {_shown(piece)}" for piece in self.pieces[:12]]
        if len(self.pieces) > len(lines):
            lines.append(f"    ... {len(self.pieces) - len(lines)} more pieces")
        reading = "" if self.reads else ", and reads no answer"
        return "\n".join([f"  {self.name}, then: {self.ending}{reading}", *lines])

    def write(self, path: Path) -> None:
        """Write the case to a file."""
        packed = [base64.b64encode(zlib.compress(piece)).decode() for piece in self.pieces]
        path.write_text(json.dumps({**self.__dict__, "pieces": packed}) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Case":
        fields: dict[str, Any] = json.loads(path.read_text())
        pieces = tuple(zlib.decompress(base64.b64decode(piece)) for piece in fields.pop("pieces"))
        channel, ending = Channel(fields.pop("channel")), Ending(fields.pop("ending"))
        return cls(channel=channel, ending=ending, pieces=pieces, **fields)


@dataclass(frozen=True)
class Answer:
    """How the service answered: an HTTP status or a gRPC code, and the text beside it."""

    status: str
    text: str = ""


def _smaller_pieces(piece: bytes) -> Iterator[bytes]:
    step = len(piece) // 2
    while step >= max(1, len(piece) // 16):
        for start in range(0, len(piece), step):
            yield piece[:start] + piece[start + step :]
        step //= 2


def _shown(piece: bytes) -> str:
    if len(piece) <= _SHOWN:
        return repr(piece)
    return f"{piece[:_SHOWN]!r} ... {len(piece):,} bytes"
