"""Who calls, as far as an address tells."""

import ipaddress
from collections.abc import Iterable, Sequence
from functools import lru_cache

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_SITE = 64  # bits of an IPv6 address that one site has; it may choose the others


def read_networks(text: str) -> tuple[Network, ...]:
    """Return the networks in a list such as "10.0.0.5,192.168.0.0/16". Raises ValueError."""
    return tuple(ipaddress.ip_network(one.strip(), strict=False) for one in text.split(",") if one.strip())


@lru_cache(maxsize=4096)
def site_of(address: str) -> str:
    """Return the address as buckets count it: IPv6 by its site, and IPv4 within IPv6 as IPv4."""
    number = _number(address)
    if number is None:
        return address[:100]
    if number.version == 6:
        return str(ipaddress.ip_network((number, _SITE), strict=False))
    return str(number)


def counted_as(key_prefix: str, address: str) -> str:
    """Return the name under which a caller is counted: its key, or else the address that it comes from."""
    return f"key {key_prefix}" if key_prefix else site_of(address)


@lru_cache(maxsize=4096)
def is_within(address: str, networks: tuple[Network, ...]) -> bool:
    """Return whether the address belongs to one of the networks."""
    number = _number(address)
    return number is not None and any(number in network for network in networks)


def behind_proxies(peer: str, forwarded: Iterable[str], proxies: tuple[Network, ...]) -> str:
    """Return the address of the caller. `forwarded` are the values of X-Forwarded-For.

    Each proxy appends the address that it was called from. So the list is read from its end, as long as a proxy that
    we trust wrote the entry. The caller may have invented the entries before.
    """
    if not proxies or not is_within(peer, proxies):
        return peer
    caller = peer
    for entry in reversed(_entries(forwarded)):
        if _number(entry) is None:
            break
        caller = entry
        if not is_within(entry, proxies):
            break
    return caller


def _entries(forwarded: Iterable[str]) -> Sequence[str]:
    return [entry.strip() for value in forwarded for entry in value.split(",")]


def _number(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        number = ipaddress.ip_address(address.strip("[]").partition("%")[0])
    except ValueError:
        return None
    if number.version == 6 and number.ipv4_mapped:
        return number.ipv4_mapped
    return number
