"""`python -m thumbq_gateway`: one gateway, set up by the environment."""

import resource
import sys
from typing import NoReturn

import structlog
import uvloop
from pydantic import ValidationError

from thumbq_gateway.app import run
from thumbq_gateway.settings import Settings


def main() -> None:
    """Runs a gateway; exits with 2 and a sentence when it is set up wrongly."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"]),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        settings = Settings()
    except ValidationError as error:
        _refuse(str(error))
    if not settings.is_for_this_machine_only and not settings.insecure:
        _refuse(
            f"refusing to listen on {settings.http_host} without API keys;"
            " set THUMBQ_INSECURE=1 if the network is trusted"
        )
    _allow_many_connections()
    try:
        uvloop.run(run(settings))
    except OSError as error:
        _refuse(f"cannot listen on {settings.http_host}:{settings.http_port}: {error}")


def _refuse(sentence: str) -> NoReturn:
    sys.stderr.write(f"thumbq gateway: {sentence}\n")
    sys.exit(2)


def _allow_many_connections() -> None:
    """Each page that listens is an open file; the soft limit of 1024 is for programs that use select()."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    main()
