"""Addresses that a program binds, and the ones at which others reach it."""

import contextlib
import errno
import ipaddress
import os
import socket

_EVERY = {"", "0.0.0.0", "::"}  # noqa: S104 - every address of this machine
_NOT_HERE = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}  # a name may also stand for an address that this machine lacks
_TRIES = 20  # at a free port
LONGEST_SOCKET_PATH = 107  # bytes of the path of a Unix socket


class _Taken(OSError):
    """Another program listens at the address."""


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


def open_sockets(host: str, port: int, *, backlog: int = 0, reuse_port: bool = False) -> list[socket.socket]:
    """Listen on every address of the host; `::` takes IPv4 as well, and "" is every address of the machine.

    Port 0 is any free one, the same for all addresses. Raises OSError, whose filename is the address that is not free,
    and CannotListen for a host that is no name.
    """
    for _ in range(_TRIES if port == 0 else 0):
        # The port is chosen at the first address, and others may have it at the next one.
        with contextlib.suppress(_Taken):
            return _open_all(host, port, backlog=backlog, reuse_port=reuse_port)
    return _open_all(host, port, backlog=backlog, reuse_port=reuse_port)


def _open_all(host: str, port: int, *, backlog: int, reuse_port: bool) -> list[socket.socket]:
    # An address of IPv6 may have a zone, which only this function understands.
    try:
        found = socket.getaddrinfo(bare(host) or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except UnicodeError as problem:
        raise CannotListen(f"Nothing can listen on {host!a}: this is no name of a host.") from problem
    both = bare(host) == "::" and socket.has_dualstack_ipv6()
    missing: OSError | None = None
    with contextlib.ExitStack() as opened:
        sockets: list[socket.socket] = []
        for family, _, _, _, address in dict.fromkeys(found):
            place = (address[0], port, *address[2:])
            try:
                one = socket.create_server(
                    place, family=family, backlog=backlog, reuse_port=reuse_port, dualstack_ipv6=both
                )
            except OSError as problem:
                if problem.errno not in _NOT_HERE:
                    raise _named(problem, joined(str(address[0]), port), both=both) from problem
                missing = problem
                continue
            sockets.append(opened.enter_context(one))
            port = one.getsockname()[1]
        if missing and not sockets:
            raise missing
        opened.pop_all()
    return sockets


def _named(problem: OSError, address: str, *, both: bool) -> OSError:
    reason = os.strerror(problem.errno) if problem.errno else str(problem)
    kind = _Taken if problem.errno == errno.EADDRINUSE else OSError
    return kind(problem.errno, reason, f"{address} (IPv6 and IPv4)" if both else address)


def fits_a_socket(path: os.PathLike[str]) -> bool:
    """Return whether the path is short enough for a Unix socket."""
    return len(os.fsencode(path)) <= LONGEST_SOCKET_PATH


def free_port(host: str, port: int) -> int:
    """Return the port, or any free one for 0, if a program can listen there now. Raises CannotListen.

    It has to be free on every address of the host: gRPC would be content with one of them.
    """
    try:
        sockets = open_sockets(host, port)
        for one in sockets:
            port = one.getsockname()[1]
            one.close()
        return port
    except OSError as problem:
        reason = problem.strerror or str(problem)
        if not isinstance(problem, socket.gaierror) and problem.errno:
            reason = os.strerror(problem.errno)
        where = problem.filename or joined(host, port)
        raise CannotListen(f"Nothing can listen on {where}: {reason}.") from problem
