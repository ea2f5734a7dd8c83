"""A program on a terminal of its own: what it shows, and what is typed."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

# Seconds in which a program must show what is waited for: starting Python alone may take 20 on a busy machine.
PATIENCE = 120.0
# Becomes the program in its arguments, with the terminal as the one whose Ctrl-C reaches it.
_TAKING_THE_TERMINAL = """
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGINT, signal.SIG_DFL)  # whoever runs the tests in the background ignores it
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """A pseudo-terminal with a program in it."""

    def __init__(self, process: "subprocess.Popen[bytes]", screen: int) -> None:
        self.process = process
        self.shown = ""
        self._screen = screen

    def type(self, keys: str) -> None:
        os.write(self._screen, keys.encode())

    def resize(self, columns: int, lines: int) -> None:
        resize(self._screen, columns, lines)

    def shows(self, text: str) -> str:
        """Wait until the program shows this, and return all that came up to then, which is not looked at again."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.shown:
            if not self._read(deadline - time.monotonic()):
                raise AssertionError(f"{text!r} did not come:\n{self.shown[-3000:]}")
        seen, found, self.shown = self.shown.partition(text)
        return seen + found

    def ends(self) -> tuple[int, str]:
        """Wait for the end; return the exit code, and what came that was not looked at."""
        deadline = time.monotonic() + PATIENCE
        while self._read(deadline - time.monotonic()):
            pass
        return self.process.wait(max(1.0, deadline - time.monotonic())), self.shown

    def _read(self, seconds: float) -> bool:
        if seconds <= 0 or not select.select([self._screen], [], [], seconds)[0]:
            return False
        try:
            piece = os.read(self._screen, 65536)
        except OSError:  # Linux says so when the program has closed its side
            return False
        self.shown += piece.decode(errors="replace")
        return bool(piece)


def resize(screen: int, columns: int, lines: int) -> None:
    fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


@contextmanager
def on_terminal(
    command: Sequence[str | Path], columns: int = 100, lines: int = 40, variables: Mapping[str, str] | None = None
) -> Iterator[Terminal]:
    """Run a program on a terminal of this size; it is killed at the end of the block, unless it has ended."""
    screen, programs_side = pty.openpty()
    resize(screen, columns, lines)
    plain = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES", "NO_COLOR"}}
    process = subprocess.Popen(
        [sys.executable, "-c", _TAKING_THE_TERMINAL, *command],
        stdin=programs_side,
        stdout=programs_side,
        stderr=programs_side,
        env=plain | {"TERM": "xterm-256color"} | dict(variables or {}),
        start_new_session=True,
    )
    os.close(programs_side)
    try:
        yield Terminal(process, screen)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(screen)
