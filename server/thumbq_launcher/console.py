"""Lines that the operator of `thumbq serve` reads."""

import contextlib
import os
import sys
from typing import TextIO

from thumbq_runtime.logs.lines import is_json, warning_as_json
from thumbq_runtime.text import printable


def inform(sentence: str) -> None:
    """Write a line to standard output."""
    _write(sys.stdout, f"thumbq: {printable(sentence)}")


def warn(sentence: str) -> None:
    """Write a line about a problem to standard error, in the form of the log. Raises InvalidSetting."""
    if is_json(os.environ):
        _write(sys.stderr, warning_as_json("serve.warning", "serve", sentence))
    else:
        _write(sys.stderr, f"thumbq: {printable(sentence)}")


def _write(stream: TextIO, line: str) -> None:
    # A closed terminal is no reason to stop serving.
    with contextlib.suppress(OSError):
        stream.write(f"{line}\n")
        stream.flush()
