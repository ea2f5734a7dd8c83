"""Pictures in an object store."""

from thumbq_gateway.http.files.pictures import Picture, key_of_upload
from thumbq_gateway.http.files.places import NotThere
from thumbq_gateway.http.files.stored_object import StoredObject, open_object, unavailable
from thumbq_runtime.files.objects import Objects, StoreTrouble

# Seconds for which a signed address is good. A redirection may be kept for less.
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

    async def open(self, path: str) -> StoredObject:
        """Ask for the object at a path. Raises NotThere, Refusal."""
        return await open_object(self._objects, self._key(path))

    async def redirection(self, path: str) -> str | None:
        """Return a signed address of the object, if clients are to go there. Raises Refusal."""
        if not self._redirect:
            return None
        try:
            return await self._objects.signed_url(self._key(path), _SIGNED_FOR)
        except StoreTrouble as trouble:
            raise unavailable(trouble) from None

    async def keep(self, content: bytes, picture: Picture) -> str:
        """Keep a picture that was uploaded, and return its name. Raises Refusal."""
        try:
            return await self._objects.put(key_of_upload(content, picture), content, picture.content_type)
        except StoreTrouble as trouble:
            raise unavailable(trouble) from None

    def _key(self, path: str) -> str:
        key = self._objects.key(path)
        if key is None:
            raise NotThere
        return key
