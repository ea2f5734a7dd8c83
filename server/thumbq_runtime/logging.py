"""The log of the server and of the gateway: one line an event on standard error."""

import sys

import structlog


def configure_logging() -> None:
    """Write events as `key=value` with their time in UTC, exceptions with their traceback."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"]),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
