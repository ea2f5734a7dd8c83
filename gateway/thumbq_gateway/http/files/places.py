"""Where pictures are: a folder, an object store, or both."""

from collections.abc import Sequence
from typing import Protocol

from thumbq_gateway.http.files.pictures import Picture
from thumbq_gateway.http.files.response import Content


class NotThere(Exception):
    """There is no picture under this path."""


class Place(Protocol):
    """A place of pictures."""

    def has(self, path: str) -> bool:
        """Return whether a reported path is of this place."""

    async def open(self, path: str) -> Content:
        """Open the picture at a path. Raises NotThere, Refusal."""

    async def redirection(self, path: str) -> str | None:
        """Return the address at which the client may fetch the picture itself, if it is to do so. Raises Refusal."""

    async def keep(self, content: bytes, picture: Picture) -> str:
        """Keep a picture that was uploaded, and return the path that its worker reports. Raises OSError, Refusal."""


class Places:
    """The places of a gateway. The first one takes new pictures."""

    def __init__(self, places: Sequence[Place]) -> None:
        self._places = places

    def of(self, path: str) -> Place:
        """Return the place of a reported path. Raises NotThere."""
        for place in self._places:
            if place.has(path):
                return place
        raise NotThere

    def of_new_pictures(self) -> Place | None:
        """Return where uploads are kept; None without any place."""
        return self._places[0] if self._places else None
