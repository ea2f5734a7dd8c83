"""The folder of finished thumbnails, each under the hash of its model."""

import os
import tempfile
from pathlib import Path


class ThumbnailFolder:
    """Stores pictures as `<root>/ab/cd/abcd…-512.webp`."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    def path(self, name: str) -> Path:
        """Return the place of a picture; its name begins with the hash of the model."""
        return self._root / name[:2] / name[2:4] / name

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
