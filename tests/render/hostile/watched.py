"""Watches a folder with inotify: the kernel notes every opening of a file in it."""

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OPENED = 0x20
_EVENT = struct.Struct("iIII")


class Watch:
    """The names of the files in a folder that are opened."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def opened(self) -> list[str]:
        """Return the names that were opened since the last look; the kernel notes an opening before it succeeds."""
        names = []
        try:
            content = os.read(self._descriptor, 1 << 16)
        except BlockingIOError:
            return []
        while content:
            *_, length = _EVENT.unpack_from(content)
            name = content[_EVENT.size : _EVENT.size + length]
            names.append(name.rstrip(b"\0").decode())
            content = content[_EVENT.size + length :]
        return names


@contextmanager
def watched(folder: Path) -> Iterator[Watch]:
    """Watch a folder."""
    library = ctypes.CDLL(None, use_errno=True)
    descriptor = library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if descriptor < 0 or library.inotify_add_watch(descriptor, os.fsencode(folder), OPENED) < 0:
            raise OSError(ctypes.get_errno(), "inotify")
        yield Watch(descriptor)
    finally:
        os.close(descriptor)
