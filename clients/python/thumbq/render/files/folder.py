"""Opens files that strangers have named: plain files beneath one folder, and nothing else."""

import errno
import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import IO

from thumbq.render.files.refusal import Refused, needing_room

CHUNK = 1 << 20
# In a folder with more files than this, a name in the wrong case is not looked for.
MOST_NAMES = 20_000

_PLAIN = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_KINDS = {
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a fifo",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
    stat.S_IFDIR: "a folder",
}


class Folder:
    """A folder that the operator has named; what lies in it is a stranger's."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        """Close the folder."""
        os.close(self._root)

    def names(self) -> list[str]:
        """Return the names in the folder."""
        return [entry.name for entry in os.scandir(self._root)]

    def open(self, name: str) -> IO[bytes]:
        """Open a plain file directly in the folder; raises Refused or OSError."""
        return _open_plain(name, self._root)

    def open_beneath(self, name: PurePosixPath) -> IO[bytes] | None:
        """Open a plain file at a relative path in any case; None when there is none; raises Refused."""
        with suppress(FileNotFoundError, NotADirectoryError):
            return self._walk(name, self._root)
        return None

    def _walk(self, name: PurePosixPath, root: int) -> IO[bytes]:
        folder = os.dup(root)
        try:
            for part in name.parts[:-1]:
                inner = os.open(_spelled(part, folder), _PLAIN | os.O_DIRECTORY, dir_fd=folder)
                os.close(folder)
                folder = inner
            return _open_plain(_spelled(name.parts[-1], folder), folder)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise Refused(f"{name} is behind a link. Only plain files are read.") from error
            raise
        finally:
            os.close(folder)


def copy(source: IO[bytes], target: Path, most: int, name: str) -> str:
    """Copy a file of at most `most` bytes, and return the hash of what was copied; raises Refused, NoRoom."""
    digest = hashlib.sha256()
    copied = 0
    with needing_room(), target.open("wb") as file:
        while chunk := source.read(CHUNK):
            copied += len(chunk)
            if copied > most:
                raise Refused(f"{name} is larger than the limit of {most >> 20} MB.")
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


def _open_plain(name: str, folder: int) -> IO[bytes]:
    # Look before opening: to open a device can already do something.
    _check_plain(name, os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    try:
        descriptor = os.open(name, _PLAIN, dir_fd=folder)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:
            raise Refused(f"{name} is not a plain file. Only plain files are read.") from error
        raise
    try:
        _check_plain(name, os.fstat(descriptor).st_mode)
    except Refused:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def _check_plain(name: str, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "no file")
        raise Refused(f"{name} is {kind}. Only plain files are read.")


def _spelled(name: str, folder: int) -> str:
    """Return the name as the folder spells it, which may differ in capitals."""
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        names = [entry.name for entry in os.scandir(folder)]
        alike = sorted(other for other in names if other.casefold() == name.casefold())
        return alike[0] if alike and len(names) <= MOST_NAMES else name
    return name
