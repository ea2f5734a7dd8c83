"""How a program of thumbq starts and ends: its signals, its garbage collector and its pipe to the parent."""

import asyncio
import gc
import json
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

# Names a pipe, inherited from the parent, whose end lets the program start. It brings settings that came late.
START_FD = "THUMBQ_START_FD"


def wait_for_start() -> None:
    """Wait until the parent lets this program start, if it asks for that, and take the settings that it adds.

    Call it when the libraries are loaded, and before any setting is read.
    """
    if pipe := os.environ.pop(START_FD, None):
        with os.fdopen(int(pipe)) as settings:
            os.environ.update(json.loads(settings.read() or "{}"))


def let_start(pipe: int, settings: Mapping[str, str]) -> None:
    """Let a program go on that waits for its start, with these settings. It may have ended."""
    with suppress(BrokenPipeError), os.fdopen(pipe, "w") as program:
        program.write(json.dumps(settings))


async def run_until_signal(
    serve: Callable[[asyncio.Event], Awaitable[None]], on_hangup: Callable[[], object] = lambda: None
) -> bool:
    """Run `serve` until SIGTERM or SIGINT sets the event that it gets; a second signal exits at once with 1.

    SIGHUP calls `on_hangup`. Return whether a signal has asked for the end: False when `serve` returned by itself.
    """
    prefer_reference_counts()
    stop = asyncio.Event()
    signalled = False

    def end_in_order() -> None:
        nonlocal signalled
        signalled = True
        stop.set()

    on_signals(end_in_order, lambda: os._exit(1))
    on_hangups(on_hangup)
    await serve(stop)
    return signalled


def on_signals(first: Callable[[], object], later: Callable[[], object]) -> None:
    """Call `first` at the first SIGTERM or SIGINT, and `later` at each one that follows."""
    came = False

    def on_signal() -> None:
        nonlocal came
        action = later if came else first
        came = True
        action()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)


def on_hangups(action: Callable[[], object]) -> None:
    """Call `action` at each SIGHUP. A program on a terminal still ends with its terminal, which sends SIGHUP too."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, action)


def prefer_reference_counts() -> None:
    """Look for reference cycles rarely, and never among the objects that exist now.

    A batch is thousands of objects that reference counts free; the search for cycles among them took a third of
    the CPU time.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def announce_port(ready_fd: int | None, port: int) -> None:
    """Tell the parent process, if it passed a pipe, that this program serves at `port`."""
    if ready_fd is not None:
        # The parent may have ended, or have stopped to wait.
        with suppress(BrokenPipeError), os.fdopen(ready_fd, "w") as pipe:
            pipe.write(json.dumps({"port": port}) + "\n")


def announced_port(line: bytes) -> int:
    """Return the port in a line that `announce_port` wrote."""
    return int(json.loads(line)["port"])
