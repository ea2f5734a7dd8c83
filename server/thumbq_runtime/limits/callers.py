"""Who calls, as far as an address tells."""

import ipaddress
from collections.abc import Iterable, Sequence
from functools import lru_cache

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_MAPPED = 96  # bits before the IPv4 address within an IPv6 address
_SITE = 64  # bits of an IPv6 address that one site has; it may choose the others
_LONGEST_ENTRY = 100  # characters: an IPv6 address may name its zone in any number of them


def read_networks(text: str) -> tuple[Network, ...]:
    """Return the networks in a list such as "10.0.0.5,192.168.0.0/16". Raises ValueError."""
    return tuple(_network(one.strip()) for one in text.split(",") if one.strip())


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


def _network(text: str) -> Network:
    """Return a network, that of IPv4 within IPv6 as IPv4: as such, addresses are compared with it."""
    network = ipaddress.ip_network(text, strict=False)
    mapped = network.network_address.ipv4_mapped if network.version == 6 else None
    if mapped is None or network.prefixlen < _MAPPED:
        return network
    return ipaddress.ip_network((mapped, network.prefixlen - _MAPPED))


def _entries(forwarded: Iterable[str]) -> Sequence[str]:
    return [_without_port(entry.strip()[:_LONGEST_ENTRY]) for value in forwarded for entry in value.split(",")]


def _without_port(entry: str) -> str:
    """Return the address in `192.0.2.7:49152` or `[2001:db8::1]:49152`, as some proxies write it."""
    bracketed = entry.startswith("[") and "]" in entry
    if bracketed:
        return entry[1 : entry.index("]")]
    return entry.partition(":")[0] if entry.count(":") == 1 else entry


def _number(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        number = ipaddress.ip_address(address.strip("[]").partition("%")[0])
    except ValueError:
        return None
    if number.version == 6 and number.ipv4_mapped:
        return number.ipv4_mapped
    return number
