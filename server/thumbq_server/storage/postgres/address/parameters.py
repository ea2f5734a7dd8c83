"""The parameters of an address: which thumbq honours, and the values that they take."""

import difflib
from collections.abc import MutableMapping

from thumbq_runtime.text import printable

_TLS_VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

# asyncpg takes these; None stands for any value.
FOR_ASYNCPG: dict[str, tuple[str, ...] | None] = {
    "gsslib": None,
    "krbsrvname": None,
    "service": None,
    "ssl_max_protocol_version": _TLS_VERSIONS,
    "ssl_min_protocol_version": _TLS_VERSIONS,
    "sslcert": None,
    "sslcrl": None,
    "sslkey": None,
    "sslmode": _SSL_MODES,
    "sslnegotiation": ("postgres", "direct"),
    "sslpassword": None,
    "sslrootcert": None,
}
PLACE = frozenset({"host", "hostaddr", "port", "dbname", "user", "password", "passfile"})
# The server takes these when a session starts.
SETTINGS = frozenset({"application_name", "options", "search_path"})
# libpq parameters that asyncpg cannot honour, with the values that ask for nothing special.
_HARMLESS = {
    "channel_binding": ("prefer", "disable"),
    "gssencmode": ("prefer", "disable"),
    "client_encoding": ("utf8", "utf-8", "unicode", "auto"),
    "load_balance_hosts": ("disable",),
    "target_session_attrs": ("any", "read-write", "primary", "prefer-standby"),
    "fallback_application_name": None,
}
_FIXED_CONNECTIONS = "thumbq opens a fixed number of connections, which docs/operations.md lists"
_ELSEWHERE = {
    "connection_limit": _FIXED_CONNECTIONS,
    "pool_size": _FIXED_CONNECTIONS,
    "pool_timeout": _FIXED_CONNECTIONS,
    "sslaccept": "write sslmode=require or sslmode=verify-full",
}
_NOT_HONOURED = [
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "requirepeer",
    "require_auth",
    "sslcompression",
    "sslcrldir",
    "sslsni",
    "sslcertmode",
    "gssdelegation",
    "replication",
    "requiressl",
]
_OF_THUMBQ = ("connect_timeout", "pgbouncer", "pooler", "schema", "ssl")
_POOL_MODES = ("transaction", "session")
_KNOWN = (*PLACE, *FOR_ASYNCPG, *SETTINGS, *_HARMLESS, *_ELSEWHERE, *_NOT_HONOURED, *_OF_THUMBQ)
_TRUE, _FALSE = {"true", "1"}, {"false", "0"}


class InvalidAddress(ValueError):
    """Says in one sentence what is wrong with DATABASE_URL, without its password."""


def gives_twice(name: str) -> InvalidAddress:
    """Return the refusal of an address in which a parameter has two values."""
    named = name if name in _KNOWN else "a parameter"
    return InvalidAddress(f"DATABASE_URL has two values for {named}: remove one of them.")


def ssl_mode(value: str) -> str | None:
    """Return the sslmode that `ssl` means, a parameter of other tools. Raises InvalidAddress."""
    if value.lower() in _FALSE:
        return None
    if value.lower() in _TRUE:
        return "require"
    if value in _SSL_MODES:
        return value
    raise InvalidAddress(f"ssl in DATABASE_URL must be true, false, or one of {', '.join(_SSL_MODES)}.")


def pool_mode(parameters: MutableMapping[str, str]) -> str | None:
    """Take `pooler` and `pgbouncer` out, a parameter of other tools, and return the mode. Raises InvalidAddress."""
    mode, of_other_tools = parameters.pop("pooler", ""), parameters.pop("pgbouncer", "false").lower()
    if mode and mode not in _POOL_MODES:
        raise InvalidAddress(f"pooler in DATABASE_URL must be one of {', '.join(_POOL_MODES)}.")
    if of_other_tools not in _TRUE | _FALSE:
        raise InvalidAddress("pgbouncer in DATABASE_URL must be true or false.")
    return mode or ("transaction" if of_other_tools in _TRUE else None)


def check_parameter(name: str, value: str) -> None:
    """Raise InvalidAddress for a parameter that thumbq cannot honour."""
    if name in SETTINGS:
        return
    if name in FOR_ASYNCPG:
        choices = FOR_ASYNCPG[name]
        if choices is not None and value not in choices:
            raise InvalidAddress(f"{name} in DATABASE_URL must be one of {', '.join(choices)}.")
        return
    if name in _HARMLESS:
        allowed = _HARMLESS[name]
        if allowed is None or value.lower() in allowed:
            return
        raise InvalidAddress(
            f"DATABASE_URL asks for {name}={printable(value)[:40]}, which thumbq cannot do; remove it."
        )
    raise InvalidAddress(_unknown(name))


def _unknown(name: str) -> str:
    similar = difflib.get_close_matches(name, _KNOWN, 1, 0.75)
    if not similar:
        # Its name may be a part of the password.
        return (
            "DATABASE_URL has a parameter that thumbq does not know: remove it. A password with spaces stands in single"
            " quotes between keyword=value pairs; in an URL, write its ? and & as %3F and %26."
        )
    if similar[0] != name:
        return f"DATABASE_URL has the parameter {name!r}, which thumbq does not know; did you mean {similar[0]!r}?"
    hint = f": {_ELSEWHERE[name]}" if name in _ELSEWHERE else ""
    return f"DATABASE_URL has the parameter {name!r}, which thumbq does not honour; remove it{hint}."
