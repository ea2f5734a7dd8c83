"""Addresses that a program binds, and the ones at which others reach it."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach the address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def reachable_address(host: str, port: int) -> str:
    """Return the `host:port` at which a program on this machine reaches what is bound to `host`."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return f"{host or '127.0.0.1'}:{port}"
    if address.is_unspecified:
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    return f"{address}:{port}" if address.version == 4 else f"[{address}]:{port}"
