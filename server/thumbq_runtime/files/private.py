"""Files and folders that only their owner reaches, whatever the umask of the process is."""

import os
from pathlib import Path

_OWNER_READS_AND_WRITES = 0o600
_OWNER_ONLY = 0o700
_TO_PASS = 0o711


def make_private_folder(path: Path, mode: int = _OWNER_ONLY) -> None:
    """Make a folder and those above it that are missing. One that exists keeps its mode. Raises OSError."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        try:
            folder.mkdir(mode=mode)
        except FileExistsError:  # another process has made it meanwhile
            continue
        folder.chmod(mode)
    if not path.is_dir():
        raise NotADirectoryError(f"{path} is not a folder")


def make_data_folder(path: Path) -> None:
    """Make the folder of all data. Where root does, PostgreSQL runs as another user, who has to pass it."""
    make_private_folder(path, _OWNER_ONLY if os.geteuid() else _TO_PASS)


def open_private(path: Path, flags: int) -> int:
    """Open a file of ours, new or old, and take it from everybody else's reach. Raises OSError."""
    descriptor = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _OWNER_READS_AND_WRITES)
    try:
        os.fchmod(descriptor, _OWNER_READS_AND_WRITES)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def sync_folder(path: Path) -> None:
    """Make the names of its files last, also after a power cut. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
