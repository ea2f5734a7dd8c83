"""The `thumbq` command in a process of its own, for tests of what it says.

The process is forked from one that has loaded the libraries, since loading takes most of a command's time. Everything
of the command line itself is loaded by the process, in its environment. Tests of starts, terminals and signals start
`THUMBQ` instead.
"""

import asyncio
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

_LIBRARIES = ("grpc.aio", "grpc_health.v1.health_pb2", "google.protobuf.json_format", "pydantic.type_adapter", "typer")
_OF_RICH = ("rich.console", "rich.progress", "rich.table")
_OF_THUMBQ = ("thumbq", "thumbq.v1.admin_pb2_grpc")

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload([*_LIBRARIES, *_OF_RICH, *_OF_THUMBQ])


class Ended(NamedTuple):
    """A command that has ended."""

    code: int
    output: str
    errors: str


async def command(*arguments: str, variables: Mapping[str, str] | None = None, together: bool = False) -> Ended:
    """Run `thumbq` with these arguments and additional variables. `together` brings the errors within the output."""
    return await asyncio.to_thread(_command, arguments, {**os.environ, **(variables or {})}, together)


def _command(arguments: tuple[str, ...], environment: dict[str, str], together: bool) -> Ended:
    with tempfile.TemporaryDirectory(prefix="thumbq-command-") as folder:
        output, errors = Path(folder, "output"), Path(folder, "output" if together else "errors")
        process = _forks.Process(target=_become, args=(arguments, environment, output, errors))
        process.start()
        process.join()
        assert process.exitcode is not None
        return Ended(process.exitcode, output.read_text(), errors.read_text())


def _become(arguments: tuple[str, ...], environment: dict[str, str], output: Path, errors: Path) -> None:
    os.environ.clear()
    os.environ.update(environment)
    for descriptor, path in ((1, output), (2, errors)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), descriptor)
    sys.argv = ["thumbq", *arguments]
    from thumbq.cli import main

    main()
