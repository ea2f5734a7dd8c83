"""The log of a program: one line an event on standard error, with the text of strangers escaped."""

import logging
import sys

import structlog

from thumbq_runtime.lines import LineFormatter
from thumbq_runtime.streams import protect_standard_streams


def configure_logging() -> None:
    """Write events as `key=value` with their time in UTC, exceptions with their traceback.

    No line makes the program wait or fail. Libraries write theirs the same way.
    """
    protect_standard_streams()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"]),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
