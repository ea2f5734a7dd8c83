"""An object of a store as the content of a response."""

from collections.abc import AsyncIterator

import grpc

from thumbq_gateway.http.errors import Refusal
from thumbq_gateway.http.files.places import NotThere
from thumbq_runtime.objects import FoundObject, NoSuchObject, Objects, StoreTrouble


async def open_object(objects: Objects, key: str) -> "StoredObject":
    """Ask for an object. Raises NotThere, Refusal."""
    try:
        found = await objects.get(key)
        pieces = found.pieces()
        return StoredObject(found, await anext(pieces, b""), pieces)
    except NoSuchObject:
        raise NotThere from None
    except StoreTrouble as trouble:
        raise unavailable(trouble) from None


def unavailable(trouble: StoreTrouble) -> Refusal:
    """Return the refusal of a request that the store does not answer."""
    return Refusal(grpc.StatusCode.UNAVAILABLE, str(trouble))


class StoredObject:
    """An object that has begun to come.

    A range is cut out of it, since not every store answers for a range as it should. What lies before the range comes
    as well: that is little for a picture, and much for the end of a large model.
    """

    def __init__(self, found: FoundObject, start: bytes, rest: AsyncIterator[bytes]) -> None:
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
        while position < end:
            if not piece:
                raise ConnectionResetError("the object ended before its size")
            if wanted := piece[max(0, first - position) : end - position]:
                yield wanted
            position += len(piece)
            if position < end:
                piece = await anext(self._rest, b"")

    def close(self) -> None:
        """Let go of what has not come yet."""
