"""The log of what strangers can cause. A flood of it costs a few lines a second."""

import logging
import re
import time
from typing import Any

import structlog
from aiohttp.http import HttpProcessingError
from aiohttp.web import RequestPayloadError

_LINES = 5  # of one kind of event in one second
_LONGEST_PROBLEM = 200  # characters
_QUOTED = re.compile(r"""\s*b?['"].*""", re.DOTALL)  # what a caller sent, which may hold its key or its ticket


class LimitedLog:
    """Leaves out further lines of an event within the same second. The next line says how many were left out."""

    def __init__(self) -> None:
        self._log = structlog.get_logger()
        self._second: dict[str, int] = {}
        self._count: dict[str, int] = {}

    def warning(self, event: str, **fields: object) -> None:
        """Log a warning, unless the event has had its lines in this second."""
        self._write("warning", event, fields)

    def failure(self, event: str, **fields: object) -> None:
        """Log the present exception with its traceback, unless the event has had its lines in this second."""
        self._write("error", event, {"exc_info": True, **fields})

    def _write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        second = int(time.monotonic())
        if self._second.get(event) != second:
            left_out = self._count.get(event, 0) - _LINES
            self._second[event], self._count[event] = second, 0
            if left_out > 0:
                fields["left_out"] = left_out
        self._count[event] += 1
        if self._count[event] <= _LINES:
            getattr(self._log, level)(event, **fields)


def protocol_logger() -> logging.Logger:
    """Return the logger for what aiohttp says of a connection: one line for malformed HTTP, without its traceback."""
    logger = logging.getLogger("thumbq.http")
    logger.propagate = False
    logger.handlers = [_OneLine()]
    return logger


class _OneLine(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self._log = LimitedLog()

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        # The second comes from a body that no handler read, for instance one that was sent with a GET for a file.
        if isinstance(error, HttpProcessingError | RequestPayloadError):
            problem = " ".join(_QUOTED.sub("", str(error)).split())[:_LONGEST_PROBLEM]
            self._log.warning("request.malformed", message=record.getMessage(), problem=problem)
        else:
            self._log.failure("connection.broken", message=record.getMessage(), exc_info=record.exc_info)
