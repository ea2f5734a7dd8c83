"""The form of an API key: a public prefix that finds it, and a secret. Only the SHA-256 of the whole is kept."""

import errno
import hashlib
import os
import re
import secrets
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

_FORM = re.compile(r"tq_([0-9a-f]{8})_[A-Za-z0-9_-]{43}")
_PREFIX_BYTES = 4
PREFIX_LENGTH = 2 * _PREFIX_BYTES
_SECRET_BYTES = 32
_LENGTH = len("tq__") + PREFIX_LENGTH + 43
# The keys in use: most of what a key costs a call is the SHA-256. Whether it is valid is looked up each time.
_MOST_REMEMBERED = 1024


class Fingerprint(NamedTuple):
    """All of a key that may be stored or sent on: nothing can be called with it."""

    prefix: str
    digest: bytes


def make_key() -> str:
    """Return a new key."""
    return f"tq_{secrets.token_hex(_PREFIX_BYTES)}_{secrets.token_urlsafe(_SECRET_BYTES)}"


def is_prefix(text: str) -> bool:
    """Return whether a text has the form of a key's prefix."""
    return re.fullmatch(r"[0-9a-f]{8}", text) is not None


def fingerprint_of(key: str) -> Fingerprint | None:
    """Return the fingerprint of a key, or None for a text that is no key."""
    return _fingerprint(key) if len(key) == _LENGTH else None


@lru_cache(maxsize=_MOST_REMEMBERED)
def _fingerprint(key: str) -> Fingerprint | None:
    form = _FORM.fullmatch(key)
    return Fingerprint(form[1], hashlib.sha256(key.encode()).digest()) if form else None


def prefix_in(text: str) -> str:
    """Return the prefix in a text that is a whole key, or else the text."""
    found = fingerprint_of(text)
    return found.prefix if found else text


def without_secrets(text: str) -> str:
    """Return a text with only the prefix left of each key in it."""
    return _FORM.sub(r"tq_\1_…", text)


def presented_key(header: Callable[[str], str | None]) -> str | None:
    """Return what a caller presents as its key, or None. `header` returns the value of a header by its lower name."""
    if key := header("x-api-key"):
        return key.strip()
    scheme, _, credentials = (header("authorization") or "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else None


def print_key(key: str) -> None:
    """Write a new key to standard output, where it stands alone. Raises OSError: then nobody has the key."""
    if sys.__stdout__ is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    # A buffer would be written at the end of the process, and nothing could be done about an error there.
    line = f"{key}\n".encode()
    while line:
        line = line[os.write(sys.__stdout__.fileno(), line) :]
