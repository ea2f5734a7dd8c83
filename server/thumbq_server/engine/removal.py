"""Removing the files of pictures that nothing shows any more.

A file goes first, and its row on the list after it: a crash in between leaves a row without a file, which is dropped. A
file that an end of any job names stays. So does one that has changed since it was reported, for an hour: a worker may
have written it for a job that it has not reported yet.
"""

import errno
import os
import stat
import time
from enum import Enum
from functools import partial
from pathlib import Path

import structlog

from thumbq_runtime.file_threads import FileThreads, Stalled
from thumbq_runtime.folders import open_folder_below, resolved
from thumbq_server.storage import removals
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.removals import Removal

log = structlog.get_logger()

LIMIT = 1000
STILL_IN_WORK = 3600.0  # seconds
_FILE_TIMEOUT = 5.0
_LIST_SECONDS = 0.5  # The other duties wait meanwhile.
# The look into the table of ends may take this part of the time.
_SHARE = 0.05
# A path that says this leads to no file, now and later.
_NO_SUCH_PLACE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}


class Outcome(Enum):
    """What became of a file."""

    REMOVED = "removed"
    # not there, no file, or outside the root
    NOT_OURS = "not ours"
    CHANGED = "changed"


class ListSuperseded:
    """Lists pictures that others replaced `grace` seconds ago. Each run continues where the last one ended."""

    def __init__(self, database: Database, grace: float) -> None:
        self._database = database
        self._grace = grace
        self._after = 0

    async def __call__(self) -> int:
        """Return how many were listed."""
        count = 0
        until = time.monotonic() + _LIST_SECONDS
        while True:
            listed, last = await removals.list_superseded(self._database, self._grace, self._after, LIMIT)
            count += listed
            self._after = last or 0
            if last is None or time.monotonic() >= until:
                return count


class RemovePictures:
    """Removes the listed files below a root."""

    def __init__(self, database: Database, root: Path) -> None:
        self._database = database
        self._root = root
        self._threads = FileThreads(timeout=_FILE_TIMEOUT)
        self._not_before = 0.0

    async def __call__(self) -> int:
        """Return how many files were removed."""
        if time.monotonic() < self._not_before or not (due := await removals.due(self._database, LIMIT)):
            return 0
        began = time.monotonic()
        named = await removals.named(self._database, [removal.path for removal in due])
        self._not_before = time.monotonic() + (time.monotonic() - began) / _SHARE
        settled = [removal.id for removal in due if removal.path in named]
        later: list[int] = []
        count = 0
        for removal in due:
            if removal.path in named:
                continue
            outcome = await self._remove(removal)
            (later if outcome in {None, Outcome.CHANGED} else settled).append(removal.id)
            count += outcome is Outcome.REMOVED
        await removals.drop(self._database, settled)
        await removals.postpone(self._database, later, STILL_IN_WORK)
        return count

    async def _remove(self, removal: Removal) -> Outcome | None:
        """Return what became of a file; None when it cannot be removed now."""
        step = partial(remove, self._root, removal.path, removal.reported_at.timestamp())
        try:
            return await self._threads.run(removal.path, step)
        except (OSError, Stalled) as problem:
            log.warning("picture.not_removed", path=removal.path, reason=str(problem))
            return None


def remove(root: Path, path: str, reported_at: float) -> Outcome:
    """Remove the file of a picture, unless it was changed after `reported_at` and in the last hour. Raises OSError."""
    real_root = resolved(root)
    place = Path(path)
    try:
        folder = open_folder_below(real_root, resolved(place.parent))
    except (OSError, ValueError) as problem:
        if isinstance(problem, OSError) and problem.errno not in _NO_SUCH_PLACE:
            raise
        return Outcome.NOT_OURS
    try:
        found = os.stat(place.name, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISREG(found.st_mode):
            return Outcome.NOT_OURS
        if found.st_mtime > reported_at and found.st_mtime > time.time() - STILL_IN_WORK:
            return Outcome.CHANGED
        os.unlink(place.name, dir_fd=folder)
    except FileNotFoundError:
        return Outcome.NOT_OURS
    finally:
        os.close(folder)
    return Outcome.REMOVED
