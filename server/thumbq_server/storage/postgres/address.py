"""Where PostgreSQL is: DATABASE_URL, read the way libpq reads it.

asyncpg reads such addresses too, but it sends parameters that it does not know to the server as settings, and it tries
several hosts within one time limit. So the address is taken apart here, and asyncpg gets one host at a time.
"""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

DEFAULT_PORT = 5432
CONNECT_SECONDS = 5.0

# asyncpg takes these from the query of an address.
_FOR_ASYNCPG = frozenset(
    {
        "gsslib",
        "krbsrvname",
        "service",
        "ssl_max_protocol_version",
        "ssl_min_protocol_version",
        "sslcert",
        "sslcrl",
        "sslkey",
        "sslmode",
        "sslnegotiation",
        "sslpassword",
        "sslrootcert",
    }
)
_PLACE = frozenset({"host", "hostaddr", "port", "dbname", "database", "user", "password", "passfile"})
# The server takes these when a session starts.
_SETTINGS = frozenset({"application_name", "options", "search_path"})
# libpq parameters that asyncpg cannot honour, with the values that ask for nothing special.
_HARMLESS = {
    "channel_binding": ("prefer", "disable"),
    "gssencmode": ("prefer", "disable"),
    "client_encoding": ("utf8", "utf-8", "unicode", "auto"),
    "load_balance_hosts": ("disable",),
    "target_session_attrs": ("any", "read-write", "primary", "prefer-standby"),
    "fallback_application_name": None,
}
_ELSEWHERE = {
    "pgbouncer": "thumbq does not need to be told of PgBouncer: it wants a connection of its own in session mode",
    "connection_limit": "thumbq opens a fixed number of connections, which docs/operations.md lists",
    "pool_size": "thumbq opens a fixed number of connections, which docs/operations.md lists",
    "sslaccept": "write sslmode=require or sslmode=verify-full",
}
_KEYWORD_STRING = re.compile(r"\s*[a-z_]+\s*=")


class InvalidAddress(ValueError):
    """Says in one sentence what is wrong with DATABASE_URL, without its password."""


@dataclass(frozen=True)
class Address:
    """A database and the hosts that may have it, in the order in which they are tried."""

    hosts: tuple[tuple[str, int], ...] = ()
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    database: str | None = None
    passfile: str | None = None
    # seconds for each host
    connect_timeout: float = CONNECT_SECONDS
    settings: Mapping[str, str] = field(default_factory=dict)
    asyncpg: Mapping[str, str] = field(default_factory=dict, repr=False)

    def arguments(self, host: tuple[str, int] | None) -> dict[str, Any]:
        """Return what `asyncpg.connect` takes for one of the hosts, or for the host that the environment names."""
        place = {} if host is None else {"host": host[0], "port": host[1]}
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
    text = text.strip()
    scheme, separator, rest = text.partition("://")
    if separator:
        if scheme.partition("+")[0] not in {"postgresql", "postgres"}:
            raise InvalidAddress(f"DATABASE_URL begins with {scheme}://, and thumbq runs on postgresql:// only.")
        place, parameters = _split_url(rest)
    elif _KEYWORD_STRING.match(text):
        place, parameters = {}, _split_keywords(text)
    else:
        raise InvalidAddress("DATABASE_URL must look like postgresql://user:password@host:5432/database.")
    place |= {name: value for name, value in parameters.items() if name in _PLACE}
    return _build(place, {name: value for name, value in parameters.items() if name not in _PLACE})


def _split_url(rest: str) -> tuple[dict[str, str], dict[str, str]]:
    before_query, _, query = rest.partition("?")
    authority, _, database = before_query.partition("/")
    # A password may contain "@" unescaped: the last one ends it.
    account, _, host_list = authority.rpartition("@")
    user, has_password, password = account.partition(":")
    early_end = "@" in before_query or ("@" in query and "=" not in query.partition("@")[0])
    if early_end and "@" not in authority:
        raise InvalidAddress(
            "The password in DATABASE_URL contains '/', '?' or '#': write %2F for /, %3F for ? and %23 for #."
        )
    place = _hosts_of(host_list)
    place |= {"user": unquote(user)} if user else {}
    place |= {"password": unquote(password)} if has_password else {}
    place |= {"dbname": unquote(database)} if database else {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError:
        raise InvalidAddress("The part of DATABASE_URL behind '?' must be name=value, joined by '&'.") from None
    parameters = dict(pairs)
    if parameters.pop("ssl", "").lower() in {"true", "1", "require"}:
        parameters.setdefault("sslmode", "require")
    return place, parameters


def _hosts_of(host_list: str) -> dict[str, str]:
    names, ports = [], []
    for entry in filter(None, host_list.split(",")):
        host, port = (entry, "") if entry.endswith("]") or ":" not in entry else entry.rsplit(":", 1)
        names.append(unquote(host).strip("[]"))
        ports.append(port)
    return {"host": ",".join(names), "port": ",".join(ports)} if names else {}


def _split_keywords(text: str) -> dict[str, str]:
    spaced = re.sub(r"\s*=\s*", "=", text)
    try:
        words = shlex.split(spaced)
    except ValueError:
        raise InvalidAddress("A quote in DATABASE_URL is not closed.") from None
    parameters = dict(word.partition("=")[::2] for word in words)
    if not all("=" in word for word in words):
        raise InvalidAddress("DATABASE_URL must be keyword=value pairs, such as host=db dbname=thumbq, or an URL.")
    return parameters


def _build(place: Mapping[str, str], parameters: dict[str, str]) -> Address:
    timeout = _seconds(parameters.pop("connect_timeout", ""))
    if schema := parameters.pop("schema", ""):
        parameters.setdefault("search_path", schema)
    for name, value in parameters.items():
        _check_parameter(name, value)
    return Address(
        hosts=_hosts(place.get("hostaddr") or place.get("host", ""), place.get("port", "")),
        user=place.get("user"),
        password=place.get("password"),
        database=place.get("dbname") or place.get("database"),
        passfile=place.get("passfile"),
        connect_timeout=timeout,
        settings={name: value for name, value in parameters.items() if name in _SETTINGS},
        asyncpg={name: value for name, value in parameters.items() if name in _FOR_ASYNCPG},
    )


def _check_parameter(name: str, value: str) -> None:
    if name in _FOR_ASYNCPG or name in _SETTINGS:
        return
    if name in _HARMLESS:
        allowed = _HARMLESS[name]
        if allowed is None or value.lower() in allowed:
            return
        raise InvalidAddress(f"DATABASE_URL asks for {name}={value}, which thumbq cannot do; remove it.")
    hint = f": {_ELSEWHERE[name]}" if name in _ELSEWHERE else ""
    raise InvalidAddress(f"DATABASE_URL has the parameter {name!r}, which thumbq does not know; remove it{hint}.")


def _hosts(names: str, ports: str) -> tuple[tuple[str, int], ...]:
    hosts = [name for name in names.split(",") if name]
    numbers = [_port(port) for port in ports.split(",")] if ports else []
    if len(numbers) <= 1:
        numbers = (numbers or [DEFAULT_PORT]) * len(hosts)
    if len(numbers) != len(hosts):
        raise InvalidAddress(f"DATABASE_URL names {len(hosts)} hosts and {len(numbers)} ports.")
    return tuple(zip(hosts, numbers, strict=True))


def _port(text: str) -> int:
    if not text:
        return DEFAULT_PORT
    if text.isascii() and text.isdigit() and 0 < int(text) < 65_536:
        return int(text)
    raise InvalidAddress(
        "The port in DATABASE_URL is not a number from 1 to 65535; if it is part of a password, write its / ? # @ : as"
        " %2F %3F %23 %40 %3A."
    )


def _seconds(text: str) -> float:
    if not text:
        return CONNECT_SECONDS
    try:
        seconds = int(text)
    except ValueError:
        raise InvalidAddress("connect_timeout in DATABASE_URL must be a number of seconds.") from None
    # libpq's meaning: zero or less is no limit, and one is taken as two.
    return max(seconds, 2) if seconds > 0 else 3600.0
