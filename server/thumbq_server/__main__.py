"""`python -m thumbq_server`: one server, set up by the environment."""

import logging
import os
import sys
from functools import partial

from pydantic import ValidationError

import thumbq_runtime.logs.plain_structlog  # noqa: F401 - before all that logs
from thumbq_runtime.addresses import CannotListen
from thumbq_runtime.logs.setup import configure_logging
from thumbq_runtime.process import event_loop
from thumbq_runtime.process.lifecycle import run_until_signal, wait_for_start
from thumbq_runtime.process.open_files import allow_many_open_files
from thumbq_runtime.process.refusal import refuse, sentence_about
from thumbq_runtime.settings.declaration import InvalidSetting
from thumbq_runtime.settings.environment import reach_this_machine_directly, warn_of_strangers
from thumbq_runtime.text import printable
from thumbq_runtime.tls.certificates import InvalidCertificate
from thumbq_server.app import serve
from thumbq_server.settings import Settings
from thumbq_server.storage.postgres.address import InvalidAddress
from thumbq_server.storage.postgres.errors import NotPermitted, Unavailable
from thumbq_server.storage.postgres.suitability import Unsuitable


def main() -> None:
    """Run a server. Exit with a sentence: with 2 when it is set up wrongly, else with 1."""
    wait_for_start()
    try:
        level = configure_logging("server")
    except InvalidSetting as problem:
        refuse("server", problem)
    warn_of_strangers(os.environ)
    reach_this_machine_directly(os.environ)
    # asyncpg logs every attempt to connect, with a traceback; we log once that PostgreSQL is away.
    logging.getLogger("asyncpg").setLevel(logging.ERROR)
    settings = _settings()
    allow_many_open_files()
    try:
        event_loop.run(run_until_signal(partial(serve, settings), level.toggle))
    except (Unsuitable, InvalidAddress, InvalidCertificate, InvalidSetting) as problem:
        refuse("server", problem)
    except NotPermitted as problem:
        refuse("server", f"PostgreSQL does not permit the role of DATABASE_URL what thumbq needs: {problem}.")
    except CannotListen as problem:
        # The port may be free in a moment, and the address may come.
        sys.exit(printable(f"thumbq server: {problem}"))
    except (Unavailable, OSError) as error:
        sys.exit(printable(f"thumbq server: PostgreSQL cannot be reached: {error}"))


def _settings() -> Settings:
    try:
        settings = Settings()
        settings.dsn()
        settings.secret_of_gateways()
        settings.objects()
    except ValidationError as error:
        refuse("server", sentence_about(error))
    except (ValueError, OSError) as error:
        refuse("server", error)
    return settings


if __name__ == "__main__":
    main()
