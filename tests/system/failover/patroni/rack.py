"""The network of a drill, in a namespace of its own: three hosts, each at its own cable of one router.

    host n has 10.77.n.2      the router has 10.77.n.1      the servers run beside the router

The router carries what the hosts say to each other, and can stop doing so.
"""

import subprocess
from pathlib import Path

NETWORK = "10.77.0.0/16"
NUMBERS = (1, 2, 3)


def address_of(number: int) -> str:
    """Return the address of a host."""
    return f"10.77.{number}.2"


def router_for(number: int) -> str:
    """Return the router's address on the cable of a host."""
    return f"10.77.{number}.1"


def cable_of(number: int) -> str:
    """Return the name of the router's end of the cable of a host."""
    return f"host{number}"


def build() -> None:
    """Make this namespace the router."""
    _ip("link set lo up")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def plug_in(number: int, process: int) -> None:
    """Lay a cable from the router into the namespace of a process."""
    cable = cable_of(number)
    _ip(f"link add {cable} type veth peer name eth0 netns {process}")
    _ip(f"address add {router_for(number)}/24 dev {cable}")
    _ip(f"link set {cable} up")


def set_up_host(number: int) -> None:
    """Configure the host's end of its cable. The host itself runs this."""
    _ip("link set lo up")
    _ip(f"address add {address_of(number)}/24 dev eth0")
    _switch_on(number, within=[])


def pull_out(process: int) -> None:
    """Pull the cable of a host out: neither side hears of the other any more."""
    _ip("link set eth0 down", within=_namespace_of(process))


def put_in(number: int, process: int) -> None:
    """Put the cable of a host in again."""
    _switch_on(number, within=_namespace_of(process))


def cut_off(number: int) -> None:
    """Carry nothing any more between a host and the other hosts; the servers still reach it."""
    for rule in _rules(number):
        _ip(f"rule add {rule}")


def connect(number: int) -> None:
    """Carry everything again between a host and the other hosts."""
    for rule in _rules(number):
        _ip(f"rule del {rule}")


def _rules(number: int) -> list[str]:
    ways = [f"iif {cable_of(other)} to {address_of(number)}" for other in NUMBERS if other != number]
    return [f"{way} blackhole" for way in [f"iif {cable_of(number)} to {NETWORK}", *ways]]


def _switch_on(number: int, within: list[str]) -> None:
    _ip("link set eth0 up", within)
    _ip(f"route add default via {router_for(number)}", within)


def _namespace_of(process: int) -> list[str]:
    return ["nsenter", f"--net=/proc/{process}/ns/net"]


def _ip(command: str, within: list[str] | None = None) -> None:
    subprocess.run([*(within or []), "ip", *command.split()], check=True)
