"""The child processes of `thumbq serve`: PostgreSQL, the servers and the gateways.

Only the standard library is loaded here, so that the parent stays small.
"""

import asyncio
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from thumbq_launcher.child import ending_with_parent
from thumbq_launcher.postgres.embedded import EmbeddedPostgres, EmbeddedPostgresError
from thumbq_runtime.process.lifecycle import START_FD, announced_port, let_start
from thumbq_runtime.process.refusal import EXIT_REFUSED
from thumbq_runtime.settings.declaration import Setting
from thumbq_runtime.settings.shared import READY_FD


class LaunchFailed(Exception):
    """Says in one sentence why a child did not start."""


class LaunchGivenUp(LaunchFailed):
    """The child has said itself why it ended. Another attempt right after it would say the same again."""


class LaunchRefused(LaunchGivenUp):
    """The child has said what must be configured differently."""


class Child(Protocol):
    """A process that can be launched again after its end."""

    name: str

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """The process, alive or not; None before the first launch."""

    async def launch(self) -> None:
        """Start the process and wait until it serves. Raises LaunchFailed."""


class Program:
    """A server or a gateway in a process of its own, which reports the port that it serves on a pipe.

    Its process may begin before it can be launched: it loads its libraries then, and waits.
    """

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], port_setting: Setting[int], port: int
    ) -> None:
        self.name = name
        self.port = port
        self.process: subprocess.Popen[bytes] | None = None
        self._serves = False
        # Whether an odd number of SIGHUPs came, each of which turns `debug` on or off.
        self._debugs = False
        # Of a process that has begun: where it says that it serves, where it waits for its settings, and those it has.
        self._begun: tuple[int, int, dict[str, str]] | None = None
        self.environment = dict(environment)
        self._command = command
        self._port_setting = port_setting

    def begin(self) -> None:
        """Start the process. Its settings may change until it is launched. Raises LaunchFailed."""
        self._serves = False
        settings = dict(self.environment)
        pipes: list[int] = []
        try:
            pipes += os.pipe()
            pipes += os.pipe()
            ready, says_ready, waits, goes_on = pipes
            self._spawn(settings, says_ready, waits)
        except OSError as problem:
            for pipe in pipes:
                os.close(pipe)
            raise LaunchFailed(f"The {self.name} could not be started: {problem.strerror}.") from problem
        os.close(says_ready)
        os.close(waits)
        self._begun = ready, goes_on, settings

    def _spawn(self, settings: Mapping[str, str], says_ready: int, waits: int) -> None:
        own = {READY_FD.variable: str(says_ready), START_FD: str(waits)}
        # SIGKILL, because without the parent the database is gone too, and the next start needs the ports.
        self.process = subprocess.Popen(
            ending_with_parent(self._command, signal.SIGKILL),
            env={**settings, **own},
            stdin=subprocess.DEVNULL,
            pass_fds=[says_ready, waits],
            # A Ctrl-C in the terminal reaches the parent alone, which then ends its children in order.
            start_new_session=True,
        )

    async def launch(self) -> None:
        """Start the program and wait until it serves; it keeps a port that it chose itself at later launches."""
        if not self._begun:
            self.begin()
        assert self._begun
        assert self.process
        (ready, goes_on, given), self._begun = self._begun, None
        settings = {**self.environment, self._port_setting.variable: str(self.port)}
        let_start(goes_on, dict(settings.items() - given.items()))
        line = await _first_line(ready)
        if not line:
            code = await ended(self.process)
            raise _kind_of_failure(code)(
                f"The {self.name} {describe_end(code)} before it was ready: its own messages say why."
            )
        self.port = announced_port(line)
        self._serves = True
        if self._debugs:
            self.process.send_signal(signal.SIGHUP)

    def hang_up(self) -> None:
        """Pass a SIGHUP on. A program that is only starting would end of it, so it gets it when it serves."""
        self._debugs = not self._debugs
        if self.process and self._serves:
            self.process.send_signal(signal.SIGHUP)


class PostgresChild:
    """The embedded PostgreSQL as a child."""

    name = "database"

    def __init__(self, postgres: EmbeddedPostgres) -> None:
        self.postgres = postgres

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """The postmaster."""
        return self.postgres.process

    async def launch(self) -> None:
        """Start PostgreSQL in the main thread, as it requires, and wait until it answers."""
        try:
            self.postgres.launch()
            while not self.postgres.ready():  # noqa: ASYNC110 - PostgreSQL reports it in a file
                await asyncio.sleep(0.02)
        except (EmbeddedPostgresError, OSError) as problem:
            raise LaunchFailed(str(problem)) from problem


def _kind_of_failure(code: int) -> type[LaunchFailed]:
    if code < 0:
        return LaunchFailed
    return LaunchRefused if code == EXIT_REFUSED else LaunchGivenUp


async def ended(process: subprocess.Popen[bytes]) -> int:
    """Wait for the end of a process and return its exit code, which is negative for a signal.

    Each wait has a thread of its own: asyncio has a few threads for everybody, which the waits for a
    few children would use up.
    """
    loop = asyncio.get_running_loop()
    ending: asyncio.Future[int] = loop.create_future()

    def tell(code: int) -> None:
        if not ending.done():
            ending.set_result(code)

    def wait() -> None:
        code = process.wait()
        with suppress(RuntimeError):  # the loop is closed, so nobody waits any more
            loop.call_soon_threadsafe(tell, code)

    try:
        threading.Thread(target=wait, name="child", daemon=True).start()
    except RuntimeError:
        # The system grants no other thread.
        while process.poll() is None:  # noqa: ASYNC110 - nobody tells the end of a process without one
            await asyncio.sleep(0.2)
        return process.returncode
    return await ending


def describe_end(code: int) -> str:
    """Return how a process ended, in words that follow its name."""
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


async def _first_line(pipe: int) -> bytes:
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(pipe, "rb")
    )
    try:
        return await reader.readline()
    finally:
        transport.close()
