"""How the intake says that a file cannot be used, or that there is no room for it."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

_FULL = {errno.ENOSPC, errno.EDQUOT}


class Refused(Exception):
    """Says in one sentence what a person can do something about, and whether the same file may do later."""

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


class NoRoom(Exception):
    """The worker has no room for the file, which is not at fault."""


@contextmanager
def needing_room() -> Iterator[None]:
    """Raise NoRoom in place of the OSError of a block that writes where there is no room."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise NoRoom(f"The worker has no room for the model: {error.strerror}.") from error
        raise
