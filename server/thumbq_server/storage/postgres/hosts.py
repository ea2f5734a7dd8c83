"""The hosts of DATABASE_URL: each gets its own time limit, and the one that answered last is asked first."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import asyncpg

from thumbq_server.storage.postgres.address import Address, parse_address

# Errors of one host after which the next one is asked. A wrong password is wrong everywhere.
_ASK_NEXT = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.TargetServerAttributeNotMatched,
    asyncpg.InterfaceError,
)

_SET = "SELECT set_config(name, value, false) FROM unnest($1::text[], $2::text[]) AS given(name, value)"


class Hosts:
    """Opens connections to whichever host takes writes."""

    def __init__(self, address: Address) -> None:
        self.address = address
        # Whether the newest attempt to connect failed.
        self.in_trouble = False
        self._in_order: list[tuple[str, int] | None] = list(address.hosts) or [None]

    async def connect(self, settings: Mapping[str, str], **options: Any) -> asyncpg.Connection:
        """Open a connection to the first host that answers in time and takes writes.

        `options` go to `asyncpg.connect`. Raises what the last host answered.
        """
        for position, host in enumerate(self._in_order):
            try:
                connection = await self._open(host, {**settings, **self.address.settings}, options)
            except _ASK_NEXT:
                self.in_trouble = True
                if position == len(self._in_order) - 1:
                    raise
            else:
                self.in_trouble = False
                self._in_order = [host, *(other for other in self._in_order if other != host)]
                return connection
        raise AssertionError("unreachable")

    def pass_over(self) -> None:
        """Ask the host that was asked first last from now on: it does not answer any more."""
        self._in_order = [*self._in_order[1:], self._in_order[0]]

    async def _open(
        self, host: tuple[str, int] | None, settings: Mapping[str, str], options: Mapping[str, Any]
    ) -> asyncpg.Connection:
        place = {**self.address.arguments(host), "timeout": self.address.connect_timeout, **options}
        try:
            connection: asyncpg.Connection = await asyncpg.connect(**place, server_settings=dict(settings))
        except asyncpg.ProtocolViolationError:
            # PgBouncer refuses settings in the start of a session, also in its session mode.
            connection = await asyncpg.connect(**place)
            await connection.fetch(_SET, list(settings), list(settings.values()))
        except OSError as error:
            if host is None or not host[0].startswith("/") or error.errno is None:
                raise
            # asyncio does not say which socket was not there, or was not permitted.
            raise OSError(error.errno, error.strerror, f"{host[0]}/.s.PGSQL.{host[1]}") from error
        return connection


@cache
def hosts_of(dsn: str) -> Hosts:
    """Return the hosts of an address, shared by all connections of this process. Raises InvalidAddress."""
    return Hosts(parse_address(dsn))
