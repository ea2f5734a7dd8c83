"""`python -m thumbq_server.access ROLE NAME SECONDS`: `thumbq keys create --database`, for the first key of all.

SECONDS is empty for a key that does not expire.
"""

import asyncio
import sys
from datetime import timedelta

from pydantic import ValidationError

from thumbq_runtime.access.api_keys import print_key
from thumbq_runtime.access.roles import Role
from thumbq_runtime.logs.setup import configure_logging_of_command
from thumbq_runtime.process.refusal import EXIT_INTERRUPTED, refuse, sentence_about
from thumbq_runtime.settings.declaration import InvalidSetting
from thumbq_runtime.text import printable
from thumbq_server.access.keyring import Keyring
from thumbq_server.domain.refusals import Refused
from thumbq_server.settings import Settings
from thumbq_server.storage.migrations import upgrade
from thumbq_server.storage.postgres.address import InvalidAddress
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.postgres.suitability import Unsuitable, check_database


async def _create(dsn: str, role: Role, name: str, life: timedelta | None) -> None:
    await check_database(dsn, 1)
    await upgrade(dsn)
    async with Database(dsn, pool_size=1) as database:
        keyring = Keyring(database, None)
        await keyring.look()
        record, key = await keyring.create(role, name, life)
        try:
            print_key(key)
        except OSError as problem:
            await keyring.revoke(record.prefix)
            sys.exit(f"thumbq keys: The key cannot be written and is revoked: {problem.strerror}. Make another one.")


def main() -> None:
    """Make a key and print it. Exit with 2 and a sentence when it cannot be made as asked."""
    role, name, seconds = sys.argv[1:]
    try:
        configure_logging_of_command("keys")
        dsn = Settings().dsn()
        asyncio.run(_create(dsn, Role(role), name, timedelta(seconds=int(seconds)) if seconds else None))
    except ValidationError as error:
        refuse("keys", sentence_about(error))
    except (InvalidSetting, Refused, Unsuitable, InvalidAddress, ValueError) as problem:
        refuse("keys", problem)
    except (Unavailable, OSError) as error:
        sys.exit(printable(f"thumbq keys: PostgreSQL cannot be reached: {error}"))
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()
