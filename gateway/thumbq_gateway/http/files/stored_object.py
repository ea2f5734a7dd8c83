"""An object of a store as the content of a response."""

from collections.abc import AsyncIterator

import grpc

from thumbq_gateway.http.errors import Refusal
from thumbq_gateway.http.files.places import NotThere
from thumbq_runtime.files.objects import FoundObject, NoSuchObject, Objects, StoreTrouble

# Up to this many bytes before a range are skipped; beyond, the store is asked for the range.
_SOONER_LEFT_OUT = 1024 * 1024


async def open_object(objects: Objects, key: str) -> "StoredObject":
    """Ask for an object. Raises NotThere, Refusal."""
    try:
        found = await objects.get(key)
        pieces = found.pieces()
        return StoredObject(objects, key, found, await anext(pieces, b""), pieces)
    except NoSuchObject:
        raise NotThere from None
    except StoreTrouble as trouble:
        raise unavailable(trouble) from None


def unavailable(trouble: StoreTrouble) -> Refusal:
    """Return the refusal of a request that the store does not answer."""
    return Refusal(grpc.StatusCode.UNAVAILABLE, str(trouble))


class StoredObject:
    """An object that has begun to come.

    A range is cut out of it. For the end of a large one, the store is asked once more, for the range alone. Not every
    store answers that as it should, and the object may be another by then: the range is cut out of this one then, too.
    """

    def __init__(
        self, objects: Objects, key: str, found: FoundObject, start: bytes, rest: AsyncIterator[bytes]
    ) -> None:
        self._objects = objects
        self._key = key
        self._facts = found.facts
        self.start = start
        self.size = found.facts.size
        self.seconds = int(found.facts.modified.timestamp())
        self.tag = "".join(
            letter for letter in found.facts.tag if (letter.isascii() and letter.isalnum()) or letter == "-"
        )
        self._rest = rest

    async def pieces(self, first: int, end: int) -> AsyncIterator[bytes]:
        """Yield the bytes from one position to before another. Raises ConnectionResetError, StoreTrouble."""
        position, piece = 0, self.start
        if first >= len(piece) + _SOONER_LEFT_OUT and (part := await self._part(first, end)):
            self._rest = part.pieces()
            position, piece = first, await anext(self._rest, b"")
        while position < end:
            if not piece:
                raise ConnectionResetError("the object ended before its size")
            if wanted := piece[max(0, first - position) : end - position]:
                yield wanted
            position += len(piece)
            if position < end:
                piece = await anext(self._rest, b"")

    async def _part(self, first: int, end: int) -> FoundObject | None:
        """Return a part of this object, or None when the store has another answer."""
        try:
            found = await self._objects.get(self._key, (first, end))
        except StoreTrouble:
            return None
        return found if (found.facts, found.part) == (self._facts, (first, end)) else None

    def close(self) -> None:
        """Let go of what has not come yet."""
