"""Hosts: network namespaces with an address each, joined by a bridge to the namespace of the tests.

Programs on a host share the machine's files and nothing of the network, not even the loopback address.
"""

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from thumbq_launcher.child import ending_with_parent


class Host:
    """A host on which programs run, until it is killed."""

    def __init__(self, name: str, address: str, bridge: str) -> None:
        self.address = address
        self._link = name
        self._programs: list[asyncio.subprocess.Process] = []
        command = ending_with_parent([_program("unshare"), "--net", _program("sleep"), "infinity"], signal.SIGKILL)
        self._holder = subprocess.Popen(command)
        self._wait_for_namespace()
        ip(f"link add {name} type veth peer name eth0 netns {self._holder.pid}")
        ip(f"link set {name} master {bridge} up")
        for line in (f"addr add {address}/24 dev eth0", "link set eth0 up", "link set lo up"):
            subprocess.run([*self._inside(), _program("ip"), *line.split()], check=True)

    async def run(self, module: str, *arguments: str, **variables: str) -> None:
        """Run a server or a gateway, and wait until it serves."""
        readable, writable = os.pipe()
        environment = {**os.environ, **variables, "THUMBQ_READY_FD": str(writable)}
        self._programs.append(
            await asyncio.create_subprocess_exec(
                *ending_with_parent([*self._inside(), sys.executable, "-m", module, *arguments], signal.SIGKILL),
                env=environment,
                pass_fds=(writable,),
                stdin=subprocess.DEVNULL,
            )
        )
        os.close(writable)
        try:
            assert await asyncio.to_thread(os.read, readable, 100), f"{module} did not start"
        finally:
            os.close(readable)

    async def start(self, *command: str, **variables: str) -> None:
        """Start any program."""
        program = ending_with_parent([*self._inside(), *command], signal.SIGKILL)
        environment = {**os.environ, **variables}
        self._programs.append(await asyncio.create_subprocess_exec(*program, env=environment, stdin=subprocess.DEVNULL))

    async def kill(self) -> None:
        """Pull its cable, and kill all its programs."""
        ip(f"link set {self._link} down")
        for program in self._programs:
            if program.returncode is None:
                program.kill()
            await program.wait()
        self._programs.clear()

    def revive(self) -> None:
        """Connect it again; nothing runs on it."""
        ip(f"link set {self._link} up")

    def remove(self) -> None:
        """Remove the namespace and whatever still runs in it."""
        for program in self._programs:
            if program.returncode is None:
                program.kill()
        self._holder.kill()
        self._holder.wait()

    def _inside(self) -> list[str]:
        return [_program("nsenter"), f"--net=/proc/{self._holder.pid}/ns/net"]

    def _wait_for_namespace(self) -> None:
        own = Path("/proc/self/ns/net").readlink()
        namespace = Path(f"/proc/{self._holder.pid}/ns/net")
        while namespace.readlink() == own:
            assert self._holder.poll() is None, "the namespace could not be made"


@contextmanager
def two_hosts() -> Iterator[tuple[str, Host, Host]]:
    """Make two hosts. Yield the address of this one, at which both reach it, and the hosts."""
    number = random.randrange(1, 255)
    bridge, network = f"tq{os.getpid() % 100_000}", f"10.213.{number}"
    ip(f"link add {bridge} type bridge")
    hosts: list[Host] = []
    try:
        ip(f"addr add {network}.1/24 dev {bridge}")
        ip(f"link set {bridge} up")
        for index, letter in enumerate("ab"):
            hosts.append(Host(f"{bridge}{letter}", f"{network}.{index + 2}", bridge))
        yield f"{network}.1", hosts[0], hosts[1]
    finally:
        for host in hosts:
            host.remove()
        ip(f"link del {bridge}")


def ip(arguments: str) -> None:
    """Change the network of this namespace."""
    subprocess.run([_program("ip"), *arguments.split()], check=True)


def _program(name: str) -> str:
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    assert path, f"{name} is missing"
    return path
