"""Standard output and error that never fail and never make their writer wait.

The reader of a log may go away, stop reading, or be a disk that is full. None of these ends or blocks the program.
"""

import atexit
import io
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable

# Bytes that wait for a reader; lines beyond them are dropped.
LARGEST_BACKLOG = 1 << 20
# Seconds that the end of the process waits for a reader that takes nothing, and for one that goes on reading.
LAST_SECONDS = 1.0
LONGEST_END = 10.0
# Bytes that are written at once.
_PIECE = 1 << 16


class Outlet(io.TextIOBase):
    """A text stream whose lines a thread writes; it drops and counts what cannot be written."""

    encoding = "utf-8"

    def __init__(self, fd: int) -> None:
        self.dropped = 0
        # Makes a line of a sentence of the outlet's own.
        self.line_of: Callable[[str], str] = "thumbq: {}".format
        self._fd = fd
        self._line = ""
        self._waiting = deque[bytes]()
        self._size = 0
        self._busy = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._write_lines, name=f"outlet {fd}", daemon=True)
        self._thread.start()
        atexit.register(self._finish)

    def write(self, text: str) -> int:
        """Take a text; each whole line goes to the thread."""
        with self._changed:
            *lines, self._line = (self._line + text).split("\n")
            for line in lines:
                self._take(line + "\n")
        return len(text)

    def flush(self) -> None:
        """Do nothing: lines are written as soon as the reader takes them."""

    def writable(self) -> bool:
        """Return True."""
        return True

    def isatty(self) -> bool:
        """Return whether the stream is a terminal."""
        return os.isatty(self._fd)

    def fileno(self) -> int:
        """Return the descriptor behind the stream."""
        return self._fd

    def _take(self, line: str) -> None:
        data = line.encode("utf-8", "backslashreplace")
        if self._size + len(data) > LARGEST_BACKLOG:
            self.dropped += 1
            return
        self._waiting.append(data)
        self._size += len(data)
        self._changed.notify_all()

    def _write_lines(self) -> None:
        told = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                self._busy = True
                lines = self._next_lines()
            written = _written(self._fd, b"".join(lines))
            # There is room again before the reader can know that lines were lost.
            with self._changed:
                self._size -= sum(map(len, lines))
                self.dropped += 0 if written else len(lines)
            if written and told != self.dropped:
                told = self.dropped
                sentence = f"{told} lines of this log were lost; their reader did not take them"
                _written(self._fd, f"{self.line_of(sentence)}\n".encode())
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def _next_lines(self) -> list[bytes]:
        lines = [self._waiting.popleft()]
        size = len(lines[0])
        while self._waiting and (size := size + len(self._waiting[0])) <= _PIECE:
            lines.append(self._waiting.popleft())
        return lines

    def _finish(self) -> None:
        with self._changed:
            if self._line:
                self._take(self._line)
                self._line = ""
            ends = time.monotonic() + LONGEST_END
            while (self._waiting or self._busy) and time.monotonic() < ends and self._changed.wait(LAST_SECONDS):
                pass


def protect_standard_streams() -> None:
    """Open the standard streams that are closed, and replace those that are written to by outlets."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            # Otherwise the next file or socket would get this number, and the lines with it.
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != fd:
                os.dup2(opened, fd)
                os.close(opened)
            os.set_inheritable(fd, True)
    sys.stdout, sys.stderr = Outlet(1), Outlet(2)


def _written(fd: int, data: bytes) -> bool:
    try:
        while data:
            try:
                data = data[os.write(fd, data) :]
            except BlockingIOError:
                # Another process may have made the terminal or pipe, which is shared, non-blocking.
                waiting = select.poll()
                waiting.register(fd, select.POLLOUT)
                waiting.poll()
    except OSError:
        return False
    return True
