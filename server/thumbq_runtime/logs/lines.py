"""Lines of the standard library's log, for people or as JSON."""

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TextIO

from thumbq_runtime.logs.settings import LOG_FORMAT
from thumbq_runtime.logs.standard_streams import Outlet
from thumbq_runtime.text import printable

# What the callers of a logger may say of a line beside its sentence, with `extra`.
_FIELDS = ("job_id", "model_id", "trace_id", "worker_id", "count", "least")


class LineFormatter(logging.Formatter):
    """Keeps a message on its line, whatever text of strangers is in it."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        """Return the message with its control characters escaped, and the trace that it belongs to."""
        trace_id = getattr(record, "trace_id", None)
        return printable(super().formatMessage(record) + (f" (trace {trace_id})" if trace_id else ""))

    def formatException(  # noqa: N802 - the library's name
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None],
    ) -> str:
        """Return the traceback with all control characters but its line breaks escaped."""
        return printable(super().formatException(ei), keep="\n")


class JsonFormatter(logging.Formatter):
    """Writes a line as a JSON object, with the names that the lines of structlog have."""

    def __init__(self, program: str) -> None:
        super().__init__()
        self._program = program

    def format(self, record: logging.LogRecord) -> str:
        """Return the object on one line."""
        line = {
            "timestamp": _in_utc(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "program": self._program,
            "event": getattr(record, "event", "library.message"),
            "message": record.getMessage(),
            "logger": record.name,
        }
        line |= {name: value for name in _FIELDS if (value := getattr(record, name, None)) is not None}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return as_json(line)


def as_json(line: Mapping[str, Any]) -> str:
    """Return an object in ASCII, so that no control character of any alphabet is left."""
    text = json.dumps(line, default=str)
    if "\\ud" in text:
        # A half of a character, as in the name of a file that is not UTF-8, is refused by many readers of JSON.
        units = json.dumps(line, default=str, ensure_ascii=False).encode("utf-16-le", "surrogatepass")
        text = json.dumps(json.loads(units.decode("utf-16-le", "replace")))
    return text.replace("\x7f", "\\u007f")


def warning_as_json(event: str, program: str, message: str) -> str:
    """Return a warning that comes from no logger."""
    line = {"timestamp": _in_utc(datetime.now(UTC)), "level": "warning", "program": program}
    return as_json({**line, "event": event, "message": message})


def tell_of_lost_lines_as_json(program: str) -> None:
    """Let what is lost of standard error be told in a line as all others, where an outlet stands there."""
    if isinstance(sys.stderr, Outlet):
        sys.stderr.line_of = lambda sentence: warning_as_json("log.lost", program, sentence)


def _in_utc(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def is_json(environment: Mapping[str, str], stream: TextIO | None = None) -> bool:
    """Return whether the log is for programs. Raises InvalidSetting."""
    chosen = LOG_FORMAT.read(environment)
    return chosen == "json" or (chosen == "auto" and not (stream or sys.stderr).isatty())


def lines_handler(program: str, text: LineFormatter, *, json_lines: bool) -> logging.Handler:
    """Return a handler that writes to standard error in the form that is set."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(program) if json_lines else text)
    return handler
