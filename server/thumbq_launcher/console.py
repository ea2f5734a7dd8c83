"""Lines that the operator of `thumbq serve` reads."""

import contextlib
import sys
from typing import TextIO

from thumbq_runtime.text import printable


def inform(sentence: str) -> None:
    """Write a line to standard output."""
    _write(sys.stdout, sentence)


def warn(sentence: str) -> None:
    """Write a line about a problem to standard error."""
    _write(sys.stderr, sentence)


def _write(stream: TextIO, sentence: str) -> None:
    # A closed terminal is no reason to stop serving.
    with contextlib.suppress(OSError):
        stream.write(f"thumbq: {printable(sentence)}\n")
        stream.flush()
