"""Where finished thumbnails go, each under the hash of its model: a folder, or what the command line brings."""

import asyncio
import os
import tempfile
from pathlib import Path
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


class ThumbnailFolder:
    """Stores pictures as `<root>/ab/cd/abcd…-512.webp`."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    async def keep(self, name: str, picture: bytes) -> str:
        """See Thumbnails."""
        try:
            return str(await asyncio.to_thread(self.store, name, picture))
        except OSError as error:
            raise NotStored(f"{error.strerror}.") from error

    def path(self, name: str) -> Path:
        """Return the file of a picture."""
        return self._root / place_of(name)

    def store(self, name: str, picture: bytes) -> Path:
        """Write a picture so that a reader finds the old one, the new one or none, also after a power cut."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".new-", delete=False) as file:
            try:
                file.write(picture)
                file.flush()
                os.fsync(file.fileno())
                os.fchmod(file.fileno(), 0o644)
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
        for folder in (path.parent, path.parent.parent, self._root):
            _sync(folder)
        return path


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
