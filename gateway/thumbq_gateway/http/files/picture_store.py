"""Pictures in an object store."""

from collections.abc import AsyncIterator

import grpc

from thumbq_gateway.http.errors import Refusal
from thumbq_gateway.http.files.pictures import Picture, key_of_upload
from thumbq_gateway.http.files.places import NotThere
from thumbq_runtime.objects import FoundObject, NoSuchObject, Objects, StoreTrouble

# A signed address is good for so long, in seconds. A redirection may be kept for less.
_SIGNED_FOR = 600.0


class PictureStore:
    """A place of pictures: the objects below the address of a store."""

    def __init__(self, objects: Objects, *, redirect: bool) -> None:
        """Send clients to the store itself if `redirect` is set."""
        self._objects = objects
        self._redirect = redirect

    def has(self, path: str) -> bool:
        """Return whether a reported path names an object of this store."""
        return self._objects.key(path) is not None

    async def open(self, path: str) -> "StoredPicture":
        """Ask for the object at a path. Raises NotThere, Refusal."""
        try:
            found = await self._objects.get(self._key(path))
            pieces = found.pieces()
            return StoredPicture(found, await anext(pieces, b""), pieces)
        except NoSuchObject:
            raise NotThere from None
        except StoreTrouble as trouble:
            raise _unavailable(trouble) from None

    async def redirection(self, path: str) -> str | None:
        """Return a signed address of the object, if clients are to go there. Raises Refusal."""
        if not self._redirect:
            return None
        try:
            return await self._objects.signed_url(self._key(path), _SIGNED_FOR)
        except StoreTrouble as trouble:
            raise _unavailable(trouble) from None

    async def keep(self, content: bytes, picture: Picture) -> str:
        """Keep a picture that was uploaded, and return its name. Raises Refusal."""
        try:
            return await self._objects.put(key_of_upload(content, picture), content, picture.content_type)
        except StoreTrouble as trouble:
            raise _unavailable(trouble) from None

    def _key(self, path: str) -> str:
        key = self._objects.key(path)
        if key is None:
            raise NotThere
        return key


class StoredPicture:
    """An object that has begun to come.

    A range is cut out of it: pictures are small, and not every store answers for a range as it should.
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


def _unavailable(trouble: StoreTrouble) -> Refusal:
    return Refusal(grpc.StatusCode.UNAVAILABLE, str(trouble))
