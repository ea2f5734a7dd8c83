"""`python -m thumbq_server`: one server, set up by the environment."""

import logging
import sys

import structlog
import uvloop
from pydantic import ValidationError

from thumbq_server.app import is_loopback, run
from thumbq_server.settings import Settings
from thumbq_server.storage.postgres.errors import Unavailable


def main() -> None:
    """Run a server; exits with 2 and a sentence when it is set up wrongly."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"]),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    # its pool tells of every attempt, with a traceback; that PostgreSQL is away is said by ours
    logging.getLogger("asyncpg").setLevel(logging.ERROR)
    try:
        settings = Settings()
        settings.dsn()
    except (ValidationError, ValueError, OSError) as error:
        sys.exit(f"thumbq server: {error}")
    if not is_loopback(settings.grpc_host) and not settings.insecure:
        sys.exit(
            f"thumbq server: refusing to listen on {settings.grpc_host} without API keys;"
            " set THUMBQ_INSECURE=1 if the network is trusted"
        )
    try:
        uvloop.run(run(settings))
    except (Unavailable, OSError) as error:
        sys.exit(f"thumbq server: PostgreSQL cannot be reached: {error}")


if __name__ == "__main__":
    main()
