"""Pictures in a folder below a root."""

import os
import secrets
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path

import grpc

from thumbq_gateway.http.errors import Refusal
from thumbq_gateway.http.files.open_file import FILE_TIMEOUT, OpenFile, open_content, stalled_file
from thumbq_gateway.http.files.pictures import Picture, key_of_upload
from thumbq_gateway.http.files.places import NotThere
from thumbq_runtime.files.folders import resolved
from thumbq_runtime.files.objects import SCHEME
from thumbq_runtime.files.private import make_private_folder
from thumbq_runtime.files.threads import FileThreads, Stalled

# Of the files and folders that are made.
_OWNER_READS_AND_WRITES, _OWNER_ENTERS = 0o600, 0o700
# Seconds in which a busy disk writes a picture.
_KEEP_TIMEOUT = 15.0
# The name of a picture begins with it while it is written.
_UNFINISHED = ".upload-"
# Seconds after which an unfinished picture counts as left by a gateway that was killed.
_ABANDONED = 86_400.0
# Pictures that a folder may keep from being written at the same time. They stay in memory until then.
_MOST_KEPT = 8


class PictureFolder:
    """A place of pictures: the regular files below the root."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._threads = FileThreads(timeout=FILE_TIMEOUT)
        self._keepers = FileThreads(timeout=_KEEP_TIMEOUT, most=_MOST_KEPT)

    def has(self, path: str) -> bool:
        """Return whether a reported path names a file."""
        return not path.startswith(SCHEME)

    async def open(self, path: str) -> OpenFile:
        """Open the file at a path. Raises NotThere, Refusal."""
        try:
            step = partial(open_content, self._root, path, self._threads)
            return await self._threads.run(path, step, OpenFile.close)
        except (OSError, ValueError):
            raise NotThere from None
        except Stalled:
            raise stalled_file() from None

    async def redirection(self, _path: str) -> str | None:
        """Return None: the gateway itself sends files."""
        return None

    async def keep(self, content: bytes, picture: Picture) -> str:
        """Keep a picture that was uploaded, and return its path. Raises OSError, Refusal."""
        unfinished = f"{_UNFINISHED}{secrets.token_hex(8)}"
        step = partial(_keep, self._root, content, picture, unfinished)
        try:
            return str(await self._keepers.run(unfinished, step))
        except Stalled:
            message = "The folder of the pictures does not answer. Try again."
            raise Refusal(grpc.StatusCode.UNAVAILABLE, message) from None


def _keep(root: Path, content: bytes, picture: Picture, unfinished: str) -> Path:
    """Write the file beside its place, and move it there in one step, so that no reader sees half of it.

    Raises OSError, also where a link has taken the place of a folder below the root.
    """
    *place, name = key_of_upload(content, picture).split("/")
    make_private_folder(root)
    real_root = resolved(root)
    folder = _entered(real_root, place)
    try:
        _remove_abandoned(folder)
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_READS_AND_WRITES, dir_fd=folder)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.replace(unfinished, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(unfinished, dir_fd=folder)
        raise
    finally:
        os.close(folder)
    return real_root.joinpath(*place, name)


def _remove_abandoned(folder: int) -> None:
    for name in os.listdir(folder):
        if name.startswith(_UNFINISHED):
            # Another gateway may have removed it, or another user may own it. No picture has to wait for that.
            with suppress(OSError):
                if time.time() - os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime > _ABANDONED:
                    os.unlink(name, dir_fd=folder)


def _entered(root: Path, place: Iterable[str]) -> int:
    """Return the open folder at a place below the root. Folders on the way are made; links are not followed."""
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    for name in place:
        outer = folder
        try:
            with suppress(FileExistsError):
                os.mkdir(name, _OWNER_ENTERS, dir_fd=outer)
            folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=outer)
        finally:
            os.close(outer)
    return folder
