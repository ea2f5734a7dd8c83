"""A file of a folder below a root, opened so that no link leads out of it, and read piece by piece."""

import os
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import grpc

from thumbq_gateway.http.errors import Refusal
from thumbq_runtime.files.folders import open_folder_below, resolved, step_into
from thumbq_runtime.files.threads import FileThreads

FILE_TIMEOUT = 5.0  # seconds
_PIECE = 256 * 1024  # bytes


@dataclass(frozen=True)
class OpenFile:
    """An open file, with its first piece. Threads read the others."""

    file: BinaryIO
    threads: FileThreads
    start: bytes
    size: int
    modified: int  # nanoseconds

    @property
    def tag(self) -> str:
        """The entity tag, without quotes."""
        return f"{self.modified:x}-{self.size:x}"

    @property
    def seconds(self) -> int:
        """When it was modified, as HTTP counts time."""
        return self.modified // 1_000_000_000

    async def pieces(self, first: int, end: int) -> AsyncIterator[bytes]:
        """Yield the bytes from one position to before another. Raises OSError, Stalled."""
        position = first
        while position < end:
            piece = self.start[position:end]
            if not piece:
                read = partial(os.pread, self.file.fileno(), min(_PIECE, end - position), position)
                piece = await self.threads.run(self.file.name, read)
            if not piece:
                raise ConnectionResetError("the file became shorter while it was sent")
            yield piece
            position += len(piece)

    def close(self) -> None:
        """Close the file."""
        self.file.close()


def open_content(root: Path, path: str, threads: FileThreads) -> OpenFile:
    """Open a file and read its first piece. Raises OSError, ValueError."""
    file = open_below(root, path)
    try:
        start = os.pread(file.fileno(), _PIECE, 0)
        facts = os.fstat(file.fileno())
    except OSError:
        file.close()
        raise
    return OpenFile(file, threads, start, facts.st_size, facts.st_mtime_ns)


def open_below(root: Path, path: str) -> BinaryIO:
    """Open a regular file. The path may contain links, but must end below the root.

    Raises OSError, ValueError.
    """
    real_root = resolved(root)
    place = resolved(real_root / path)
    # a symbolic link that is swapped in from here on is refused
    folder = open_folder_below(real_root, place.parent)
    descriptor = step_into(folder, place.name, os.O_NONBLOCK)  # opening a pipe would block
    file = os.fdopen(descriptor, "rb")
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise OSError("no regular file")
    return file


def stalled_file() -> Refusal:
    """Return the answer for a file that is not read in time."""
    return Refusal(grpc.StatusCode.UNAVAILABLE, "The file cannot be read at the moment.")
