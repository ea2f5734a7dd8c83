"""`python -m thumbq_server.database_command check|upgrade`: the tables of the database, looked at and renewed."""

import asyncio
import json
import sys

from pydantic import ValidationError

from thumbq_runtime.logs.setup import configure_logging_of_command
from thumbq_runtime.process.refusal import EXIT_INTERRUPTED, EXIT_REFUSED, refuse, sentence_about
from thumbq_runtime.settings.declaration import InvalidSetting
from thumbq_runtime.text import printable
from thumbq_server.settings import Settings
from thumbq_server.storage.migrations import schema_state, upgrade
from thumbq_server.storage.migrations.state import State
from thumbq_server.storage.postgres.address import InvalidAddress
from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.postgres.suitability import Unsuitable, check_database

# Connections that a command opens at a time.
_CONNECTIONS = 2


def main() -> None:
    """Run the verb in the arguments. Exit with 1 when an upgrade is due or PostgreSQL is away, with 2 if refused."""
    verb, *options = sys.argv[1:]
    try:
        configure_logging_of_command("db")
        code = asyncio.run(_check(_dsn(), "--json" in options) if verb == "check" else _upgrade(_dsn()))
    except (InvalidSetting, Unsuitable, InvalidAddress) as problem:
        refuse("db", problem)
    except (Unavailable, OSError) as error:
        sys.exit(printable(f"thumbq db: PostgreSQL cannot be reached: {error}"))
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    sys.exit(code)


async def _check(dsn: str, as_json: bool) -> int:
    await check_database(dsn, _CONNECTIONS)
    found = await schema_state(dsn)
    facts = {
        "state": found.state,
        "found": found.found,
        "wanted": found.ours,
        "oldestCode": found.oldest_code,
        "sentence": found.sentence,
    }
    sys.stdout.write((json.dumps(facts, indent=2) if as_json else printable(found.sentence)) + "\n")
    if found.state is State.TOO_NEW:
        return EXIT_REFUSED
    return 0 if found.fits else 1


async def _upgrade(dsn: str) -> int:
    await check_database(dsn, _CONNECTIONS)
    before = await upgrade(dsn)
    if before.fits:
        sys.stdout.write(f"Nothing to do. {before.sentence}\n")
    else:
        sys.stdout.write(f"The tables are of revision {before.ours} now (before: {before.found or 'none'}).\n")
    return 0


def _dsn() -> str:
    try:
        return Settings().dsn()
    except ValidationError as error:
        refuse("db", sentence_about(error))
    except (ValueError, OSError) as error:
        refuse("db", error)


if __name__ == "__main__":
    main()
