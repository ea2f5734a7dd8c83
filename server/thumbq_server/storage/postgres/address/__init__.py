"""Where PostgreSQL is: DATABASE_URL, read the way libpq reads it.

asyncpg reads such addresses too, but it sends parameters that it does not know to the server as settings, and it tries
several hosts within one time limit. So the address is taken apart here, and asyncpg gets one host at a time.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlencode

from thumbq_server.storage.postgres.address.parameters import (
    FOR_ASYNCPG,
    PLACE,
    SETTINGS,
    InvalidAddress,
    check_parameter,
    pool_mode,
    ssl_mode,
)
from thumbq_server.storage.postgres.address.text import split_address

__all__ = ["Address", "InvalidAddress", "parse_address"]

DEFAULT_PORT = 5432
CONNECT_SECONDS = 5.0
# libpq means no limit with 0.
LONGEST_CONNECT_SECONDS = 3600
# The kernel's limit for the name of a socket.
_LONGEST_SOCKET_BYTES = 107
# Colons and percent signs are of IPv6 addresses.
_HOST_NAME = re.compile(r"(?!-)[\w.:%-]+")


@dataclass(frozen=True)
class Address:
    """A database and the hosts that may have it, in the order in which they are tried."""

    hosts: tuple[tuple[str, int], ...] = ()
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    database: str | None = None
    passfile: str | None = None
    # of the host that the environment names
    port: int | None = None
    # seconds for each host
    connect_timeout: float = CONNECT_SECONDS
    # the mode of a pooler in between, "transaction" or "session", if the address names one
    pooler: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    asyncpg: Mapping[str, str] = field(default_factory=dict, repr=False)

    def arguments(self, host: tuple[str, int] | None) -> dict[str, Any]:
        """Return what `asyncpg.connect` takes for one of the hosts, or for the host that the environment names."""
        place = {"port": self.port} if host is None else {"host": host[0], "port": host[1]}
        return {
            "dsn": f"postgresql://?{urlencode(self.asyncpg)}" if self.asyncpg else "postgresql://",
            "user": self.user,
            "password": self.password,
            "database": self.database,
            "passfile": self.passfile,
            "target_session_attrs": "read-write",
            **place,
        }


def parse_address(text: str) -> Address:
    """Read an address such as postgresql://user@host:5432/name?sslmode=require, or libpq's keyword=value form.

    Raises InvalidAddress.
    """
    parameters = split_address(text)
    timeout = _seconds(parameters.pop("connect_timeout", ""))
    if schema := parameters.pop("schema", ""):
        parameters.setdefault("search_path", schema)
    if mode := ssl_mode(parameters.pop("ssl", "false")):
        parameters.setdefault("sslmode", mode)
    pooler = pool_mode(parameters)
    for name, value in parameters.items():
        if name not in PLACE:
            check_parameter(name, value)
    hosts, port = _hosts(parameters)
    return Address(
        hosts=hosts,
        user=parameters.get("user") or None,
        password=parameters.get("password"),
        database=parameters.get("dbname") or None,
        passfile=parameters.get("passfile") or None,
        port=port,
        connect_timeout=timeout,
        pooler=pooler,
        settings={name: value for name, value in parameters.items() if name in SETTINGS},
        asyncpg={name: value for name, value in parameters.items() if name in FOR_ASYNCPG},
    )


def _hosts(parameters: Mapping[str, str]) -> tuple[tuple[tuple[str, int], ...], int | None]:
    """Return the hosts with their ports, and the port without a host."""
    names, numbers = parameters.get("host", ""), parameters.get("hostaddr", "")
    ports = [_port(port) for port in parameters.get("port", "").split(",")]
    if not names and not numbers:
        if len(ports) > 1:
            raise InvalidAddress(f"DATABASE_URL names {len(ports)} ports and no host.")
        return (), ports[0]
    if names and numbers and names.count(",") != numbers.count(","):
        raise InvalidAddress("DATABASE_URL must name as many in hostaddr as in host.")
    if names and numbers and parameters.get("sslmode") == "verify-full":
        # asyncpg knows one of them, and checks the certificate against that.
        raise InvalidAddress(
            "DATABASE_URL has sslmode=verify-full with host and hostaddr: remove hostaddr, or host if the certificate"
            " of PostgreSQL names the number."
        )
    hosts = [_host(name) for name in names.split(",")] if names else []
    hosts = [_number(number) for number in numbers.split(",")] if numbers else hosts
    if len(ports) == 1:
        ports *= len(hosts)
    if len(ports) != len(hosts):
        raise InvalidAddress(f"DATABASE_URL names {len(hosts)} hosts and {len(ports)} ports.")
    return tuple((host, port or DEFAULT_PORT) for host, port in zip(hosts, ports, strict=True)), None


def _host(name: str) -> str:
    if name.startswith("/"):
        if len(f"{name}/.s.PGSQL.{DEFAULT_PORT}".encode()) > _LONGEST_SOCKET_BYTES:
            raise InvalidAddress("The folder of PostgreSQL's socket in DATABASE_URL has too long a name.")
        return name
    if not name:
        raise InvalidAddress("A host in DATABASE_URL has no name: remove the comma too many.")
    try:
        well_formed = bool(_HOST_NAME.fullmatch(name) and name.encode("idna"))
    except UnicodeError:
        well_formed = False
    if not well_formed:
        raise InvalidAddress(
            "A host in DATABASE_URL is no name that a host can have; if it is part of a password, write the password's"
            " / ? # @ : as %2F %3F %23 %40 %3A."
        )
    return name


def _number(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise InvalidAddress("hostaddr in DATABASE_URL must be an IP address.") from None


def _port(text: str) -> int | None:
    if not text:
        return None
    if text.isascii() and text.isdigit() and len(text) < 10 and 0 < int(text) < 65_536:
        return int(text)
    raise InvalidAddress(
        "The port in DATABASE_URL is not a number from 1 to 65535; if it is part of a password, write its / ? # @ : as"
        " %2F %3F %23 %40 %3A."
    )


def _seconds(text: str) -> float:
    if not text:
        return CONNECT_SECONDS
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) <= LONGEST_CONNECT_SECONDS):
        raise InvalidAddress(
            f"connect_timeout in DATABASE_URL must be whole seconds from 0 to {LONGEST_CONNECT_SECONDS}."
        )
    # libpq's meaning: zero is no limit, and one is taken as two.
    return max(int(text), 2) if int(text) else float(LONGEST_CONNECT_SECONDS)
