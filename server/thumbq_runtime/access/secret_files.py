"""Secrets, as a variable or as the file that another variable names."""

import threading
from functools import cache
from pathlib import Path

_MOST_BYTES = 65_536
_SECONDS = 10.0


def read_secret(value: str | None, file: Path | None, variable: str, *, shortest: int = 1) -> str | None:
    """Return a secret, or None when neither is set. Raises ValueError without the secret in its text."""
    if not value and file is None:
        return None
    if not value and file:
        value = read_secret_file(file, f"{variable}_FILE")
        variable = f"the file of {variable}_FILE"
    if not value or len(value) < shortest:
        raise ValueError(f"{variable} must have {shortest} characters or more")
    # It is sent as metadata of gRPC, which takes no others.
    if not value.isascii() or not value.isprintable():
        raise ValueError(f"{variable} must have letters, digits and signs of ASCII only")
    return value


@cache
def read_secret_file(file: Path, variable: str) -> str:
    """Return what a file holds, without the spaces around it. Raises ValueError with a sentence.

    It may be a pipe that a shell fills: that gives its text only once, and one that stays empty is given up.
    """
    held: list[bytes] = []
    problems: list[Exception] = []

    def read() -> None:
        try:
            with file.open("rb") as stream:
                held.append(stream.read(_MOST_BYTES + 1))
        except (OSError, ValueError) as problem:
            problems.append(problem)

    thread = threading.Thread(target=read, name="secret", daemon=True)
    thread.start()
    thread.join(_SECONDS)
    if problems:
        raise ValueError(f"{variable} cannot be read: {problems[0]}.")
    if not held:
        raise ValueError(f"{variable} names {file}, which gave nothing within {_SECONDS:.0f} seconds.")
    if len(held[0]) > _MOST_BYTES:
        raise ValueError(f"{variable} names {file}, which is longer than {_MOST_BYTES} bytes.")
    try:
        text = held[0].decode().strip()
    except UnicodeDecodeError:
        raise ValueError(f"{variable} names {file}, which is not UTF-8.") from None
    if not text:
        raise ValueError(f"{variable} names {file}, which is empty.")
    if "\0" in text:
        raise ValueError(f"{variable} names {file}, which holds a NUL character.")
    return text
