"""Addresses that a program binds, and the ones at which others reach it."""

import ipaddress
import os
import socket

_EVERY = {"", "0.0.0.0", "::"}  # noqa: S104 - every address of this machine


class CannotListen(Exception):
    """Says in one sentence why nothing can listen at an address."""


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach the address."""
    try:
        number = ipaddress.ip_address(bare(host))
    except ValueError:
        return host == "localhost"
    # IPv4 within IPv6, as in ::ffff:127.0.0.1.
    return (getattr(number, "ipv4_mapped", None) or number).is_loopback


def bare(host: str) -> str:
    """Return a host without the brackets that may stand around an IPv6 address."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def joined(host: str, port: int) -> str:
    """Return `host:port`, with brackets around an IPv6 address."""
    return f"[{bare(host)}]:{port}" if ":" in host else f"{host}:{port}"


def overlap(one: str, other: str) -> bool:
    """Return whether two hosts have an address in common, as far as they tell: one may be every address."""
    return bare(one) == bare(other) or not _EVERY.isdisjoint({bare(one), bare(other)})


def reachable_address(host: str, port: int) -> str:
    """Return the `host:port` at which a program on this machine reaches what is bound to `host`."""
    try:
        address = ipaddress.ip_address(bare(host))
    except ValueError:
        return f"{host or '127.0.0.1'}:{port}"
    if address.is_unspecified:
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    return joined(str(address), port)


def free_port(host: str, port: int) -> int:
    """Return the port, or any free one for 0, if a program can listen there now. Raises CannotListen."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        # An address of IPv6 may have a zone, which only this function understands.
        address = socket.getaddrinfo(bare(host) or None, port, family, socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][
            4
        ]
        with socket.create_server(address, family=family) as reserved:
            found: int = reserved.getsockname()[1]
            return found
    except UnicodeError as problem:
        raise CannotListen(f"Nothing can listen on {host!a}: this is no name of a host.") from problem
    except OSError as problem:
        reason = problem.strerror or str(problem)
        if not isinstance(problem, socket.gaierror) and problem.errno:
            reason = os.strerror(problem.errno)
        raise CannotListen(f"Nothing can listen on {joined(host, port)}: {reason}.") from problem
