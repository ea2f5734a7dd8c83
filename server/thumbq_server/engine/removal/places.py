"""Where pictures are kept, for their removal: a folder, an object store, or both."""

import asyncio
import errno
import os
import stat
import time
from collections.abc import Sequence
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Protocol

import structlog

from thumbq_runtime.files.folders import open_folder_below, resolved
from thumbq_runtime.files.objects import SCHEME, NoSuchObject, Objects, StoreRefuses, StoreTrouble
from thumbq_runtime.files.threads import FileThreads, Stalled
from thumbq_server.storage.removals import Removal

log = structlog.get_logger()

STILL_IN_WORK = 3600.0  # seconds
# With the time of both places it is below that after which a duty is late.
_FILE_TIMEOUT = 3.0
# A path that says this leads to no file, now and later.
_NO_SUCH_PLACE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}
_OBJECTS_AT_ONCE = 16
# Seconds that one run may take at each place: other duties are due, and the other place waits.
_SECONDS = 2.0
# Seconds until a place that was away is tried again.
_PAUSE = 60.0
# The difference between the clock of this machine and one that nobody sets, when this program began.
_CLOCK_BEFORE = time.time() - time.monotonic()


class Outcome(Enum):
    """What became of a picture."""

    REMOVED = "removed"
    # not there, no file, or of no place
    NOT_OURS = "not ours"
    # a job shows it
    NAMED = "named"
    CHANGED = "changed"
    NOT_NOW = "not now"


class Place(Protocol):
    """A place of pictures."""

    def has(self, path: str) -> bool:
        """Return whether a reported path is of this place."""

    async def remove(self, removals: Sequence[Removal]) -> dict[int, Outcome]:
        """Remove pictures. Return what became of them, by removals; those that are missing are tried again soon."""


class FolderOfPictures:
    """The files below a root."""

    def __init__(self, root: Path, *, seconds: float = _SECONDS) -> None:
        self._root = root
        self._seconds = seconds
        self._threads = FileThreads(timeout=_FILE_TIMEOUT)
        self._not_before = 0.0

    def has(self, path: str) -> bool:
        """Return whether the path is one of a file."""
        return not path.startswith(SCHEME)

    async def remove(self, removals: Sequence[Removal]) -> dict[int, Outcome]:
        """Remove files, as many as there is time for. A folder that stalls is left alone for a while.

        The file that met it is tried again much later, so that one that always stalls keeps no others waiting.
        """
        outcomes: dict[int, Outcome] = {}
        now = time.monotonic()
        if now < self._not_before:
            return outcomes
        until = now + self._seconds
        for removal in removals:
            try:
                outcomes[removal.id] = await self._remove(removal)
            except Stalled:
                outcomes[removal.id] = Outcome.NOT_NOW
                self._not_before = time.monotonic() + _PAUSE
                log.warning("picture.not_removed", path=removal.path, reason="The folder does not answer in time.")
                break
            if time.monotonic() >= until:  # the others are due the next time
                break
        return outcomes

    async def _remove(self, removal: Removal) -> Outcome:
        step = partial(remove_file, self._root, removal)
        try:
            return await self._threads.run(removal.path, step)
        except OSError as problem:
            log.warning("picture.not_removed", path=removal.path, reason=str(problem))
            return Outcome.NOT_NOW


class StoreOfPictures:
    """The objects below the address of a store."""

    def __init__(self, objects: Objects, *, seconds: float = _SECONDS) -> None:
        self._objects = objects
        self._seconds = seconds
        self._not_before = 0.0

    def has(self, path: str) -> bool:
        """Return whether the path names an object of this store."""
        return self._objects.key(path) is not None

    async def remove(self, removals: Sequence[Removal]) -> dict[int, Outcome]:
        """Remove objects, as many as there is time for. A store that is away is left alone for a while.

        One that the store does not let go is tried again much later, so that it keeps no others waiting.
        """
        outcomes: dict[int, Outcome] = {}
        if time.monotonic() < self._not_before:
            return outcomes
        try:
            async with asyncio.timeout(self._seconds):
                for first in range(0, len(removals), _OBJECTS_AT_ONCE):
                    few = removals[first : first + _OBJECTS_AT_ONCE]
                    answers = await asyncio.gather(*map(self._answer, few))
                    outcomes |= {
                        removal.id: Outcome.NOT_NOW if isinstance(answer, StoreRefuses) else answer
                        for removal, answer in zip(few, answers, strict=True)
                        if isinstance(answer, Outcome | StoreRefuses)
                    }
                    if all(isinstance(answer, StoreTrouble) for answer in answers):
                        self._pause(str(answers[0]))
                        break
        except TimeoutError:  # the others are due the next time
            if not outcomes:
                self._pause("The object store does not answer in time.")
        return outcomes

    def _pause(self, reason: str) -> None:
        self._not_before = time.monotonic() + _PAUSE
        log.warning("pictures.not_removed", store=self._objects.address, reason=reason)

    async def _answer(self, removal: Removal) -> Outcome | StoreTrouble:
        """Return what became of an object, or why it is still there."""
        try:
            return await self._remove(removal)
        except StoreTrouble as trouble:
            if isinstance(trouble, StoreRefuses):
                log.warning("picture.not_removed", path=removal.path, reason=str(trouble))
            return trouble

    async def _remove(self, removal: Removal) -> Outcome:
        key = self._objects.key(removal.path) or ""
        try:
            modified = (await self._objects.look_at(key)).modified.timestamp()
        except NoSuchObject:
            return Outcome.NOT_OURS
        if _is_in_work(modified, removal):
            return Outcome.CHANGED
        await self._objects.remove(key)
        return Outcome.REMOVED


def remove_file(root: Path, removal: Removal) -> Outcome:
    """Remove the file of a picture, unless a job may still report it. Raises OSError."""
    real_root = resolved(root)
    place = Path(removal.path)
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
        if _is_in_work(found.st_mtime, removal):
            return Outcome.CHANGED
        os.unlink(place.name, dir_fd=folder)
    except FileNotFoundError:
        return Outcome.NOT_OURS
    finally:
        os.close(folder)
    return Outcome.REMOVED


def _is_in_work(modified: float, removal: Removal) -> bool:
    """Return whether a picture was changed after its report and in the last hour.

    A clock that jumps ahead would make a picture old that was written a moment ago. So the earliest of three counts:
    PostgreSQL's, this machine's, and the one that this machine would have if nobody had set it.
    """
    present = min(removal.looked_at.timestamp(), time.time(), time.monotonic() + _CLOCK_BEFORE)
    return modified > removal.reported_at.timestamp() and modified > present - STILL_IN_WORK
