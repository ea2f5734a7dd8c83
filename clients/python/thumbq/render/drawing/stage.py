"""The folder in which a renderer keeps the model in hand; a lock on it says that it is in use."""

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

PREFIX = "thumbq-render-"


class Stage:
    """Holds files that were fetched, files that were checked, a root for namespaces, and a cache that stays empty."""

    def __init__(self) -> None:
        """Make the folder, and remove those of workers that were killed."""
        for old in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
            _remove_if_abandoned(old)
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._lock, fcntl.LOCK_SH)
        for name in ("checked", "incoming", "root", "cache/f3d"):
            (self.path / name).mkdir(parents=True)

    def remove(self) -> None:
        """Remove the folder and all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _remove_if_abandoned(folder: Path) -> None:
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            # A folder that is being made has no lock yet, and nothing in it either.
            with os.scandir(descriptor) as content:
                is_made = any(content)
            if is_made and os.fstat(descriptor).st_uid == os.geteuid():
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(descriptor)
