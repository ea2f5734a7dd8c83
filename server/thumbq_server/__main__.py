"""`python -m thumbq_server`: one server, set up by the environment."""

import logging
import sys
from functools import partial

import uvloop
from pydantic import ValidationError

from thumbq_runtime.addresses import is_loopback
from thumbq_runtime.lifecycle import run_until_signal
from thumbq_runtime.logging import configure_logging
from thumbq_server.app import serve
from thumbq_server.settings import Settings
from thumbq_server.storage.postgres.errors import Unavailable


def main() -> None:
    """Run a server. Exit with a sentence when it is set up wrongly."""
    configure_logging()
    # asyncpg logs every attempt to connect, with a traceback; we log once that PostgreSQL is away.
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
        uvloop.run(run_until_signal(partial(serve, settings)))
    except (Unavailable, OSError) as error:
        sys.exit(f"thumbq server: PostgreSQL cannot be reached: {error}")


if __name__ == "__main__":
    main()
