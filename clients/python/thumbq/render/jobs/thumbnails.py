"""Where finished thumbnails go, each under the hash of its model: the command line brings the place."""

from typing import Protocol


class NotStored(Exception):
    """Says in a sentence why a picture could not be stored."""


class Thumbnails(Protocol):
    """Where pictures go."""

    async def keep(self, name: str, picture: bytes) -> str:
        """Keep a picture and return the path that is reported. Raises NotStored."""
        ...


def place_of(name: str) -> str:
    """Return the place of a picture below the root; its name begins with the hash of the model."""
    return f"{name[:2]}/{name[2:4]}/{name}"
