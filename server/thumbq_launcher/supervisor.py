"""Keeps child processes running: PostgreSQL, the server and the gateway.

Only the standard library and the embedded PostgreSQL are loaded here, so that the parent stays small.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TextIO

from thumbq_launcher.child import ending_with_parent
from thumbq_launcher.postgres.embedded import EmbeddedPostgres, EmbeddedPostgresError

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 30.0
# A child that has run for so many seconds starts over with the first pause.
SOUND_LIFE = 60.0
START_ATTEMPTS = 3


class LaunchFailed(Exception):
    """Says in one sentence why a child did not come up."""


class Child(Protocol):
    """A process that can be launched again after its end."""

    name: str

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """The process, alive or not; None before the first launch."""

    async def launch(self) -> None:
        """Start the process and wait until it serves; raises LaunchFailed."""


class Program:
    """A role of thumbq that runs in a process of its own and says on a pipe which port it serves."""

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], port_variable: str, port: int
    ) -> None:
        self.name = name
        self.port = port
        self.process: subprocess.Popen[bytes] | None = None
        self._command = command
        self.environment = dict(environment)
        self._port_variable = port_variable

    async def launch(self) -> None:
        """Start the program and wait until it serves; a port it chose itself is its port from then on."""
        read_end, write_end = os.pipe()
        announcement = {self._port_variable: str(self.port), "THUMBQ_READY_FD": str(write_end)}
        try:
            # SIGKILL, since with the parent the database is gone as well, and the next start needs the ports.
            self.process = subprocess.Popen(  # noqa: ASYNC220 - as quick as any fork; the wait is not here
                ending_with_parent(self._command, signal.SIGKILL),
                env={**self.environment, **announcement},
                stdin=subprocess.DEVNULL,
                pass_fds=[write_end],
                # Ctrl-C is for the parent alone, which then ends its children in good order.
                start_new_session=True,
            )
        finally:
            os.close(write_end)
        line = await _first_line(read_end)
        if not line:
            how = describe_end(await ended(self.process))
            raise LaunchFailed(f"The {self.name} {how} before it was ready: its own messages say why.")
        self.port = int(json.loads(line)["port"])


class PostgresChild:
    """The embedded PostgreSQL as a child that is kept running."""

    name = "database"

    def __init__(self, postgres: EmbeddedPostgres) -> None:
        self.postgres = postgres

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """The postmaster."""
        return self.postgres.process

    async def launch(self) -> None:
        """Start the server in the main thread, as it must be, and wait until it answers."""
        try:
            self.postgres.launch()
            while not self.postgres.ready():  # noqa: ASYNC110 - told by a file of another program
                await asyncio.sleep(0.02)
        except EmbeddedPostgresError as problem:
            raise LaunchFailed(str(problem)) from problem


async def first_launch(child: Child) -> None:
    """Launch a child, with a few attempts; raises LaunchFailed when it does not come up at all."""
    for attempt in range(1, START_ATTEMPTS):
        try:
            await child.launch()
        except LaunchFailed:
            await asyncio.sleep(FIRST_PAUSE * attempt)
        else:
            return
    await child.launch()


async def launch_side_by_side(programs: Sequence[Program], host: str) -> int:
    """Launch programs that share one port, and return it; raises LaunchFailed."""
    if len(programs) > 1:
        # the system lets everybody in who asks to share: so first make sure that nobody else is there
        port = _free_port(host, programs[0].port)
        for program in programs:
            program.port = port
            program.environment["THUMBQ_REUSE_PORT"] = "1"
    for program in programs:
        await first_launch(program)
    return programs[0].port


def _free_port(host: str, port: int) -> int:
    try:
        with socket.create_server((host.strip("[]") or "127.0.0.1", port), family=_family(host)) as reserved:
            found: int = reserved.getsockname()[1]
            return found
    except OSError as problem:
        raise LaunchFailed(f"Nothing can listen on {host}:{port}: {os.strerror(problem.errno or 0)}.") from problem


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


async def keep_running(child: Child) -> None:
    """Launch a child again whenever it ends, with growing pauses, until cancelled."""
    pause = FIRST_PAUSE
    while process := child.process:
        began = time.monotonic()
        code = await ended(process)
        warn(f"the {child.name} {describe_end(code)} and is started again")
        if time.monotonic() - began > SOUND_LIFE:
            pause = FIRST_PAUSE
        pause = await _launch_again(child, pause)


async def end_programs(programs: Iterable[Program], seconds: float, at_once: asyncio.Event) -> None:
    """Ask the programs to end, and kill what is left after so many seconds or when it must be at once."""
    running = [program.process for program in programs if program.process]
    for process in running:
        process.terminate()
    all_ended = asyncio.create_task(_all_ended(running))
    hurry = asyncio.create_task(at_once.wait())
    await asyncio.wait({all_ended, hurry}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    hurry.cancel()
    for process in running:
        process.kill()
    await all_ended


async def _all_ended(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    await asyncio.gather(*(ended(process) for process in processes))


async def ended(process: subprocess.Popen[bytes]) -> int:
    """Wait for the end of a process and return its exit code, which is negative for a signal."""
    return await asyncio.to_thread(process.wait)


def describe_end(code: int) -> str:
    """How a process ended, as words that follow its name."""
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def say(sentence: str) -> None:
    """Tell the operator something on standard output."""
    _write(sys.stdout, sentence)


def warn(sentence: str) -> None:
    """Tell the operator of a problem on standard error."""
    _write(sys.stderr, sentence)


def _write(stream: TextIO, sentence: str) -> None:
    # Nobody listening any more is no reason to end.
    with contextlib.suppress(OSError):
        stream.write(f"thumbq: {sentence}\n")
        stream.flush()


async def _launch_again(child: Child, pause: float) -> float:
    """Attempt it until the child is up, and return the pause before the next attempt of all."""
    while True:
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
        try:
            await child.launch()
        except LaunchFailed as problem:
            warn(f"{problem} The next attempt follows in {pause:g} s.")
        else:
            say(f"the {child.name} is running again")
            return pause


async def _first_line(pipe: int) -> bytes:
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(pipe, "rb")
    )
    try:
        return await reader.readline()
    finally:
        transport.close()
