"""Absolute paths of folders, and folders below a root, opened so that no link leads out of it."""

import math
import os
import shutil
from pathlib import Path


def absolute(path: Path) -> Path:
    """Return the path from the root of the disk, without "..", which servers refuse in the path of a thumbnail."""
    # Only the real path tells where ".." leads to behind a link. Other links keep their names.
    return Path(os.path.realpath(path)) if ".." in path.parts else path.absolute()


def resolved(path: Path) -> Path:
    """Return the path without links. Raises OSError, also for links that lead in a circle."""
    # Path.resolve raises RuntimeError for those before Python 3.13.
    return Path(os.path.realpath(path, strict=True))


def free_bytes(folder: Path) -> float:
    """Return how many bytes are free on the disk of a folder; NaN when it cannot be looked at."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return math.nan


def open_folder_below(root: Path, folder: Path) -> int:
    """Return the open folder. Both are resolved, so a link on the way has come since then and is refused.

    Raises OSError; ValueError when the folder is not below the root.
    """
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        parts = folder.relative_to(root).parts
    except ValueError:
        os.close(descriptor)
        raise
    for part in parts:
        descriptor = step_into(descriptor, part, os.O_DIRECTORY)
    return descriptor


def step_into(folder: int, name: str, flags: int) -> int:
    """Return an open file or folder of an open folder, which is closed. A link is refused. Raises OSError."""
    try:
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | flags, dir_fd=folder)
    finally:
        os.close(folder)
