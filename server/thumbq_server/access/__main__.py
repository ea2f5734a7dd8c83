"""`python -m thumbq_server.access ROLE NAME SECONDS`: `thumbq keys create --database`, for the first key of all."""

import asyncio
import sys
from datetime import timedelta

from pydantic import ValidationError

from thumbq_runtime.access.roles import Role
from thumbq_runtime.logging import configure_logging_of_command
from thumbq_runtime.refusal import refuse, sentence_about
from thumbq_server.access.keyring import Keyring
from thumbq_server.domain.refusals import Refused
from thumbq_server.settings import Settings
from thumbq_server.storage.migrations import upgrade
from thumbq_server.storage.postgres.address import InvalidAddress
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.postgres.suitability import Unsuitable, check_database


async def _create(dsn: str, role: Role, name: str, life: timedelta | None) -> str:
    await check_database(dsn, 1)
    await upgrade(dsn)
    async with Database(dsn, pool_size=1) as database:
        keyring = Keyring(database, None)
        await keyring.look()
        _, key = await keyring.create(role, name, life)
    return key


def main() -> None:
    """Make a key and print it. Exit with 2 and a sentence when it cannot be made as asked."""
    role, name, seconds = sys.argv[1:]
    configure_logging_of_command()
    try:
        dsn = Settings().dsn()
        key = asyncio.run(_create(dsn, Role(role), name, timedelta(seconds=int(seconds)) if int(seconds) else None))
    except ValidationError as error:
        refuse("keys", sentence_about(error))
    except (Refused, Unsuitable, InvalidAddress, ValueError) as problem:
        refuse("keys", problem)
    except (Unavailable, OSError) as error:
        sys.exit(f"thumbq keys: PostgreSQL cannot be reached: {error}")
    sys.stdout.write(f"{key}\n")


if __name__ == "__main__":
    main()
