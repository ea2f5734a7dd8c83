"""The log of a program: one line an event on standard error, with the text of strangers escaped."""

import logging
import os
import sys
import time

import structlog
from structlog.typing import EventDict, WrappedLogger

from thumbq_runtime.logs.level import LogLevel
from thumbq_runtime.logs.lines import LineFormatter, as_json, is_json, lines_handler, tell_of_lost_lines_as_json
from thumbq_runtime.logs.settings import LOG_LEVEL
from thumbq_runtime.logs.standard_streams import protect_standard_streams


def configure_logging(program: str) -> LogLevel:
    """Write events as `key=value` or as JSON, with their time in UTC, exceptions with their traceback.

    No line makes the program wait or fail. Libraries write theirs the same way. Raises InvalidSetting.
    """
    protect_standard_streams()
    json_lines = is_json(os.environ)
    if json_lines:
        tell_of_lost_lines_as_json(program)
    text = LineFormatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s", datefmt="%Y-%m-%dT%H:%M:%S")
    text.converter = time.gmtime
    # Of libraries, only warnings and errors are of interest.
    logging.basicConfig(handlers=[lines_handler(program, text, json_lines=json_lines)], level=logging.WARNING)

    _write_events(program, json_lines=json_lines)
    return LogLevel(LOG_LEVEL.read(os.environ), _set_level)


def configure_logging_of_command(program: str) -> None:
    """Write warnings and worse to standard error: the standard output of a command is its answer alone.

    Raises InvalidSetting.
    """
    _write_events(program, json_lines=is_json(os.environ))
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))


def _write_events(program: str, *, json_lines: bool) -> None:
    def name_program(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
        return {"program": program, **line}

    in_text = structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"])
    in_json = [name_program, structlog.processors.JSONRenderer(serializer=lambda line, **_: as_json(line))]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            *(in_json if json_lines else [in_text]),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _set_level(level: int) -> None:
    # Loggers look at this configuration at each line.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(level))
    logging.getLogger("thumbq").setLevel(level)
