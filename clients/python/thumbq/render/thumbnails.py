"""The folder of finished thumbnails, each under the hash of its model."""

import os
import tempfile
from pathlib import Path


class ThumbnailFolder:
    """Stores pictures as `<root>/ab/cd/abcd….webp`."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    def path(self, model_hash: str) -> Path:
        """Where the picture of the model with this hash is, or would be."""
        return self._root / model_hash[:2] / model_hash[2:4] / f"{model_hash}.webp"

    def store(self, model_hash: str, picture: bytes) -> Path:
        """Write a picture so that a reader finds the old one, the new one or none, also after a power cut."""
        path = self.path(model_hash)
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
