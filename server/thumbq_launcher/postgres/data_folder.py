"""The data folder of an embedded PostgreSQL: a lock in it says which process has it."""

import fcntl
import os
from pathlib import Path

from thumbq_launcher.postgres.cluster import EmbeddedPostgresError
from thumbq_runtime.files.private import make_data_folder, open_private


def take_data_folder(folder: Path) -> int:
    """Make the folder if there is none, and return its lock, which lasts until it is closed.

    Raises EmbeddedPostgresError.
    """
    try:
        make_data_folder(folder)
        lock = open_private(folder / "lock", os.O_RDWR)
    except OSError as problem:
        raise unusable(folder, problem) from problem
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(lock, 20).decode(errors="replace").strip()
        os.close(lock)
        raise EmbeddedPostgresError(
            f"The data folder {folder} is in use by another thumbq (process {owner}):"
            " stop that one first, or choose another folder."
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def unusable(folder: Path, problem: OSError) -> EmbeddedPostgresError:
    """Return the refusal of a data folder in which something fails."""
    return EmbeddedPostgresError(f"The data folder {folder} cannot be used: {problem}.")
