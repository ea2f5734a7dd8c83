"""How a command fails: with one sentence, and exit code 1."""

import asyncio
import errno
import os
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import grpc
import typer
from rich.console import Console

from thumbq.client.errors import ThumbqError
from thumbq.connection import PROXY_VARIABLES, UnreadableKey, is_local
from thumbq.producer import JobNotFound
from thumbq.tls import UnusableCertificate, explain
from thumbq_runtime.outage import DATABASE_AWAY
from thumbq_runtime.text import printable

# Seconds for an answer before the server counts as unreachable.
TIMEOUT = 5.0
_OF_OUTPUT = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}

# A bar is shown on it as well: what else is written meanwhile stands above the bar.
standard_error = Console(stderr=True, highlight=False, emoji=False)


def run(server: str, command: Coroutine[Any, Any, None]) -> None:
    """Run a command that talks to the server at `server`."""
    try:
        asyncio.run(command)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except (UnreadableKey, UnusableCertificate) as error:
        fail(f"{error}.")
    except JobNotFound as error:
        fail(f"{str(error).capitalize()}.")
    except ThumbqError as error:
        _fail_call(server, error.code, str(error), error.reason)
    except grpc.aio.AioRpcError as error:
        text = error.details() or error.code().name
        _fail_call(server, error.code(), text, explain(text, server))


def _fail_call(server: str, code: grpc.StatusCode | None, text: str, reason: str) -> NoReturn:
    match code:
        case _ if DATABASE_AWAY in text:
            fail(f"{DATABASE_AWAY} `thumbq health` says why.")
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            fail(f"The server at {server} does not answer in time. `thumbq health` says whether it can work.")
        case grpc.StatusCode.UNAVAILABLE:
            why = f": {reason}." if reason else f". {where_to_look(server)}"
            fail(f"The server at {server} cannot be reached{why}")
        case grpc.StatusCode.UNIMPLEMENTED:
            fail(f"The server at {server} cannot do this; it may be of another version.")
        case _:
            fail(printable(text))


def where_to_look(server: str) -> str:
    """Return where to look when a server cannot be reached and nothing says why."""
    proxy = next((name for name in PROXY_VARIABLES if os.environ.get(name)), None)
    if proxy is None or is_local(server):
        return "Is `thumbq serve` running?"
    return f"The way there leads through the proxy that {proxy} names, unless no_proxy names the server's host."


@contextmanager
def output_is_written() -> Iterator[None]:
    """Exit with one sentence when what the block prints cannot be written, because a disk is full for instance."""
    try:
        yield
    except OSError as problem:
        if problem.errno not in _OF_OUTPUT or problem.filename is not None:
            raise
        # Nothing that is left may be tried again at the end of the process.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        with suppress(OSError):
            os.write(2, f"thumbq: The output cannot be written: {problem.strerror}.\n".encode())
        os.dup2(nowhere, 2)
        sys.exit(1)


def fail(sentence: str, code: int = 1) -> NoReturn:
    """Say what went wrong, and exit with a code."""
    standard_error.print(printable(f"thumbq: {sentence}", keep="\n"), style="red", markup=False, soft_wrap=True)
    raise typer.Exit(code)


def warn(sentence: str) -> None:
    """Say on standard error with what, or without what, the command goes on."""
    standard_error.print(printable(f"thumbq: {sentence}"), style="yellow", markup=False, soft_wrap=True)
