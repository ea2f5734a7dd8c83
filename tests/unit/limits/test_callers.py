"""Who calls: addresses, and callers behind proxies."""

import pytest

from thumbq_runtime.limits.callers import behind_proxies, is_within, read_networks, site_of

PROXIES = read_networks("10.0.0.0/8, 2001:db8:1::1")


@pytest.mark.parametrize(
    ("address", "site"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:7:7:1:2:3:4", "2001:db8:7:7::/64"),
        ("[2001:db8:7:7:ffff::9]", "2001:db8:7:7::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("nonsense", "nonsense"),
    ],
)
def test_an_address_counts_by_its_site(address: str, site: str) -> None:
    assert site_of(address) == site


@pytest.mark.parametrize(
    ("peer", "forwarded", "caller"),
    [
        ("192.0.2.7", ["203.0.113.9"], "192.0.2.7"),  # no proxy of ours: what it says does not count
        ("10.0.0.5", ["203.0.113.9"], "203.0.113.9"),
        ("10.0.0.5", ["1.1.1.1, 203.0.113.9"], "203.0.113.9"),  # the caller wrote the first entry itself
        ("10.0.0.5", ["1.1.1.1", "203.0.113.9, 10.0.0.6"], "203.0.113.9"),  # two proxies, two headers
        ("10.0.0.5", [], "10.0.0.5"),
        ("10.0.0.5", ["unknown"], "10.0.0.5"),
        ("10.0.0.5", ["10.0.0.7"], "10.0.0.7"),
        ("2001:db8:1::1", ["2001:db8:9::5"], "2001:db8:9::5"),
        ("::ffff:10.0.0.5", ["203.0.113.9"], "203.0.113.9"),
        ("10.0.0.5", ["203.0.113.9:49152"], "203.0.113.9"),  # some proxies add the port
        ("10.0.0.5", ["[2001:db8:9::5]:49152"], "2001:db8:9::5"),
        ("10.0.0.5", ["203.0.113.9", "10.0.0.6:443"], "203.0.113.9"),
        ("10.0.0.5", ["_hidden:80"], "10.0.0.5"),
    ],
)
def test_only_a_trusted_proxy_tells_who_calls(peer: str, forwarded: list[str], caller: str) -> None:
    assert behind_proxies(peer, forwarded, PROXIES) == caller


def test_without_proxies_the_header_is_not_read() -> None:
    assert behind_proxies("10.0.0.5", ["203.0.113.9"], ()) == "10.0.0.5"


def test_networks_are_addresses_and_ranges() -> None:
    assert is_within("10.255.0.1", PROXIES)
    assert is_within("::ffff:10.255.0.1", PROXIES)
    assert not is_within("192.0.2.7", PROXIES)
    assert not is_within("nonsense", PROXIES)
    mapped = read_networks("::ffff:10.0.0.0/104, ::ffff:192.0.2.7")
    assert is_within("10.1.2.3", mapped)
    assert is_within("::ffff:192.0.2.7", mapped)
    assert not is_within("192.0.2.8", mapped)
    with pytest.raises(ValueError, match="does not appear"):
        read_networks("10.0.0.300")
