"""How a command fails: with one sentence, and exit code 1."""

import asyncio
from collections.abc import Coroutine
from typing import Any, NoReturn

import grpc
import typer
from rich.console import Console

from thumbq.producer import JobNotFound

# Seconds for an answer before the server counts as unreachable.
TIMEOUT = 5.0

_console = Console(stderr=True, highlight=False, soft_wrap=True)


def run(server: str, command: Coroutine[Any, Any, None]) -> None:
    """Run a command that talks to the server at `server`."""
    try:
        asyncio.run(command)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except JobNotFound as error:
        fail(f"{str(error).capitalize()}.")
    except grpc.aio.AioRpcError as error:
        match error.code():
            case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.DEADLINE_EXCEEDED:
                fail(f"The server at {server} cannot be reached. Is `thumbq serve` running?")
            case grpc.StatusCode.UNIMPLEMENTED:
                fail(f"The server at {server} cannot do this; it may be of another version.")
            case code:
                fail(error.details() or code.name)


def fail(sentence: str) -> NoReturn:
    """Say what went wrong, and exit with 1."""
    _console.print(f"thumbq: {sentence}", style="red", markup=False)
    raise typer.Exit(1)
