"""Thumbnails of the reference worker in a folder."""

import os
import tempfile
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

from thumbq.render.jobs.thumbnails import NotStored, place_of
from thumbq_runtime.files.folders import absolute
from thumbq_runtime.files.private import sync_folder
from thumbq_runtime.files.threads import FileThreads, Stalled

# Seconds after which an unfinished picture counts as left by a killed worker.
_ABANDONED = 86_400.0
# Seconds for which a job waits for a folder that does not answer, as for an object store.
_PATIENCE = 600.0


class ThumbnailFolder:
    """Stores pictures as `<root>/ab/cd/abcd…-512.webp`."""

    def __init__(self, root: Path) -> None:
        self._root = absolute(root)
        self._threads = FileThreads(timeout=_PATIENCE)

    async def keep(self, name: str, picture: bytes) -> str:
        """See Thumbnails."""
        try:
            return str(await self._threads.run(name, partial(self.store, name, picture)))
        except OSError as error:
            raise NotStored(f"{error.strerror}.") from error
        except Stalled:
            raise NotStored("The folder does not answer.") from None

    def path(self, name: str) -> Path:
        """Return the file of a picture."""
        return self._root / place_of(name)

    def store(self, name: str, picture: bytes) -> Path:
        """Write a picture so that a reader finds the old one, the new one or none, also after a power cut."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self._unfinished(), prefix=".new-", delete=False) as file:
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
            sync_folder(folder)
        return path

    def _unfinished(self) -> Path:
        """Return the folder of pictures that are being written, without those of workers that were killed."""
        folder = self._root / ".new"
        folder.mkdir(exist_ok=True)
        for old in folder.glob(".new-*"):
            # Another worker may have moved or removed it, or another user may own it. No picture has to wait for that.
            with suppress(OSError):
                if time.time() - old.stat().st_mtime > _ABANDONED:
                    old.unlink()
        return folder
