"""The hosts of DATABASE_URL: each gets its own time limit, and the one that answered last is asked first."""

import asyncio
import contextlib
import time
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import asyncpg
import structlog

from thumbq_server.storage.postgres.address import Address, parse_address
from thumbq_server.storage.postgres.address.certificates import trouble_with_tls
from thumbq_server.storage.postgres.pooler import check_full, has_pooler, open_pooled, with_options

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

# Seconds that the hosts before have before the next one is asked as well.
_HEAD_START = 0.25

log = structlog.get_logger()

_SET = "SELECT set_config(name, value, false) FROM unnest($1::text[], $2::text[]) AS given(name, value)"


class _Missing(Exception):
    """No host takes writes so far, and one is silent."""


# None is the host that the environment names.
_Host = tuple[str, int] | None


class Hosts:
    """Opens connections to whichever host takes writes."""

    def __init__(self, address: Address) -> None:
        self.address = address
        # Whether the newest attempt to connect failed.
        self.in_trouble = False
        self._search: asyncio.Task[_Host] | None = None
        self._in_order: list[_Host] = list(address.hosts) or [None]
        # Whether a pooler is at a host that may change backends, as far as the host was asked.
        self._is_pooled: dict[_Host, bool] = {}
        # Why TLS failed at a host, as the log has it.
        self._tls_troubles: dict[_Host, str] = {}

    async def connect(self, settings: Mapping[str, str], **options: Any) -> asyncpg.Connection:
        """Open a connection to the first host that answers in time and takes writes.

        A host that is silent does not keep the others waiting. While the primary is missing, one search is for all who
        wait. `options` go to `asyncpg.connect`. Raises the answer of the host that is likeliest to take writes later.
        """
        given = {**settings, **self.address.settings}
        if len(self._in_order) == 1 or not self.in_trouble:
            with contextlib.suppress(_Missing):
                return await self._ask(given, options)
        host = await self._find()
        return await self._open(host, given, options)

    async def _find(self) -> _Host:
        """Return the host that takes writes. Raises as `connect` does."""
        if self._search is None or self._search.done() or self._search.get_loop() is not asyncio.get_running_loop():
            self._search = asyncio.create_task(self._look())
        return await asyncio.shield(self._search)

    async def _look(self) -> _Host:
        connection = await self._ask(self.address.settings, {}, again=True)
        connection.terminate()
        return self._in_order[0]

    async def _ask(
        self, settings: Mapping[str, str], options: Mapping[str, Any], *, again: bool = False
    ) -> asyncpg.Connection:
        """Ask all hosts. When one stays silent and the others refuse, ask those `again`, or raise _Missing."""
        deadline = time.monotonic() + self.address.connect_timeout
        attempts: dict[asyncio.Task[asyncpg.Connection], _Host] = {}
        refusals: dict[_Host, BaseException] = {}
        order, due = list(self._in_order), list(self._in_order)
        try:
            while due or attempts:
                if due:
                    host = due.pop(0)
                    attempts[asyncio.create_task(self._open(host, settings, options))] = host
                done, _ = await asyncio.wait(attempts, timeout=_HEAD_START, return_when=asyncio.FIRST_COMPLETED)
                for attempt in done:
                    host = attempts.pop(attempt)
                    try:
                        return self._prefer(host, attempt.result())
                    except _ASK_NEXT as error:
                        self.in_trouble = True
                        refusals[host] = error
                        self._log_trouble(host, error)
                if not done and not due and refusals and time.monotonic() < deadline:
                    if not again:
                        raise _Missing
                    # One of them may be promoted while another one is silent.
                    due = [host for host in refusals if host not in attempts.values()]
            # The last of equals.
            raise max((refusals[host] for host in reversed(order)), key=_hope)
        finally:
            await _give_up(attempts)

    def _prefer(self, host: _Host, connection: asyncpg.Connection) -> asyncpg.Connection:
        self.in_trouble = False
        self._tls_troubles.pop(host, None)
        self._in_order = [host, *(other for other in self._in_order if other != host)]
        return connection

    def _log_trouble(self, host: _Host, error: BaseException) -> None:
        """Log why TLS fails at one of several hosts, once: the error of another one may be raised."""
        trouble = trouble_with_tls(error)
        if trouble is None:
            self._tls_troubles.pop(host, None)
        elif len(self._in_order) > 1 and self._tls_troubles.get(host) != trouble.sentence:
            self._tls_troubles[host] = trouble.sentence
            log.warning("postgres.tls_fails", host=host and host[0], why=trouble.sentence)

    def pass_over(self) -> None:
        """Ask the host that was asked first last from now on: it does not answer any more."""
        self._in_order = [*self._in_order[1:], self._in_order[0]]

    async def _open(self, host: _Host, settings: Mapping[str, str], options: Mapping[str, Any]) -> asyncpg.Connection:
        place = {**self.address.arguments(host), "timeout": self.address.connect_timeout, **options}
        try:
            if self.address.pooler == "session":
                return await _open_session(place, settings)
            if await self._has_pooler(host, place, settings):
                return await open_pooled(place, settings)
            connection: asyncpg.Connection = await asyncpg.connect(**place, server_settings=dict(settings))
        except asyncpg.TooManyConnectionsError as error:
            check_full(error)
            raise
        except asyncpg.ProtocolViolationError as error:
            check_full(error)
            # A pooler may have come since: the next connection finds out.
            self._is_pooled.pop(host, None)
            raise
        except asyncpg.ConnectionDoesNotExistError as error:
            # What PostgreSQL says of a certificate may get lost with the connection.
            if trouble_with_tls(error) or "sslcert" not in self.address.asyncpg:
                raise
            raise asyncpg.ConnectionDoesNotExistError(
                f"{error}; it may not accept the certificate in sslcert"
            ) from error
        except OSError as error:
            if host is None or not host[0].startswith("/") or error.errno is None:
                raise
            # asyncio does not say which socket was not there, or was not permitted.
            raise OSError(error.errno, error.strerror, f"{host[0]}/.s.PGSQL.{host[1]}") from error
        return connection

    async def _has_pooler(self, host: _Host, place: Mapping[str, Any], settings: Mapping[str, str]) -> bool:
        if host not in self._is_pooled:
            self._is_pooled[host] = self.address.pooler is not None or await has_pooler(place, settings)
            if self._is_pooled[host]:
                log.info("postgres.pooled", host=host and host[0])
        return self._is_pooled[host]


def _hope(error: BaseException) -> int:
    """Return how likely it is that the host takes writes later, as it is."""
    if isinstance(error, asyncpg.TooManyConnectionsError):
        return 3  # it may be the primary, and room can be made at it
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return 0
    trouble = trouble_with_tls(error)
    return 2 if trouble is None or trouble.may_pass else 1


async def _open_session(place: Mapping[str, Any], settings: Mapping[str, str]) -> asyncpg.Connection:
    # PgBouncer refuses settings in the start of a session, or leaves them out, also in its session mode.
    connection: asyncpg.Connection = await asyncpg.connect(**place)
    try:
        own = with_options(settings)
        await connection.fetch(_SET, list(own), list(own.values()), timeout=place["timeout"])
    except BaseException:
        connection.terminate()
        raise
    return connection


async def _give_up(attempts: Iterable[asyncio.Task[asyncpg.Connection]]) -> None:
    """Cancel the attempts that are left. One that has succeeded meanwhile is broken off."""
    for attempt in attempts:
        attempt.cancel()
    for left in await asyncio.gather(*attempts, return_exceptions=True):
        if isinstance(left, asyncpg.Connection):
            left.terminate()


@cache
def hosts_of(dsn: str) -> Hosts:
    """Return the hosts of an address, shared by all connections of this process. Raises InvalidAddress."""
    return Hosts(parse_address(dsn))
