"""`thumbq demo` runs the whole service, two render workers and sample models in one command."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from thumbq.cli.errors import fail
from thumbq_runtime.process.lifecycle import on_signals
from thumbq_runtime.settings.shared import DATA_DIR, GRPC_PORT, HTTP_PORT
from thumbq_runtime.text import printable

if TYPE_CHECKING:
    from thumbq.render.samples import Sample
    from thumbq.subscriber import Subscriber

T = TypeVar("T")

WORKERS = 2
# Seconds in which the service must start, in which all thumbnails must be done with --once, and in which a
# child must end in order.
START_LIMIT, RENDER_LIMIT, STOP_LIMIT = 120.0, 600.0, 40.0

# A launcher that becomes the Python program in its arguments; the program gets a signal however this process dies.
_ENDING_WITH_PARENT = """
import ctypes, os, sys
parent, number, *program = sys.argv[1:]
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, int(number))
if os.getppid() == int(parent):
    os.execv(sys.executable, [sys.executable, *program])
"""


class DemoFailed(Exception):
    """Says in one sentence why the demo has failed."""


def demo(
    once: Annotated[bool, typer.Option("--once", help="End when every thumbnail is done; 0 if as expected.")] = False,
    data_dir: Annotated[Path, typer.Option(help="Folder of its database, models and thumbnails.")] = Path(
        "thumbq-data/demo"
    ),
    http_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the page; 0 takes any free one.")
    ] = HTTP_PORT.default,
    grpc_port: Annotated[int, typer.Option(min=0, max=65535, help=GRPC_PORT.sentence)] = GRPC_PORT.default,
) -> None:
    """Watch thumbnails of sample models appear in a browser; Ctrl-C ends it.

    Example: thumbq demo --once
    """
    from thumbq.render.system_libraries import advice, missing_libraries

    _forget_settings()
    try:
        if missing := missing_libraries():
            fail(advice(missing))
        data_dir.mkdir(parents=True, exist_ok=True)
        as_expected = asyncio.run(_until_stopped(data_dir.absolute(), http_port, grpc_port, once))
    except BrokenPipeError:
        raise  # nobody reads the output
    except OSError as error:
        fail(f"{data_dir} cannot be used: {error.strerror}.")
    except (DemoFailed, ModuleNotFoundError) as error:
        fail(str(error))
    raise typer.Exit(0 if as_expected else 1)


async def _until_stopped(folder: Path, http_port: int, grpc_port: int, once: bool) -> bool:
    """Run the demo until it is done or a signal comes; a second signal ends it at once."""
    stop = asyncio.Event()
    on_signals(stop.set, lambda: os._exit(130))
    show = asyncio.create_task(_show(folder, http_port, grpc_port, once))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({show, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if not show.done():
        typer.echo("Ending.")
        show.cancel()
        await asyncio.wait({show})
    stopped.cancel()
    return not once if show.cancelled() else show.result()


async def _show(folder: Path, http_port: int, grpc_port: int, once: bool) -> bool:
    from thumbq.producer import Producer
    from thumbq.render.samples import write_samples
    from thumbq.subscriber import Subscriber
    from thumbq.v1.queue_pb2 import NewJob

    async with AsyncExitStack() as stack:
        typer.echo("Starting the service with a database of its own ...")
        page, server, service = await stack.enter_async_context(_service(folder, http_port, grpc_port))
        typer.secho(f"The page is at {page}", bold=True)
        samples = await asyncio.to_thread(write_samples, folder / "models")
        children = {"service": service}
        for number in range(1, WORKERS + 1):
            name = f"render-{number}"
            children[name] = await stack.enter_async_context(_worker(name, folder, server))
        typer.echo(f"{WORKERS} workers render {len(samples)} sample models from {folder / 'models'}")
        subscriber = await stack.enter_async_context(Subscriber(server))
        producer = await stack.enter_async_context(Producer(server))
        # force: models that an earlier demo has rendered are rendered again.
        jobs = [NewJob(model_id=sample.model_id, model_hash=sample.model_hash, force=True) for sample in samples]
        await producer.enqueue(jobs)
        try:
            async with asyncio.timeout(RENDER_LIMIT if once else None):
                as_expected = await _while_alive(children, _follow(subscriber, samples), folder)
        except TimeoutError:
            raise DemoFailed(f"Not all thumbnails are done after {RENDER_LIMIT:g} s.") from None
        if not once:
            typer.echo(f"The page stays live at {page} until Ctrl-C.")
            await _while_alive(children, asyncio.Event().wait(), folder)
        return as_expected


async def _follow(subscriber: "Subscriber", samples: Sequence["Sample"]) -> bool:
    """Print each result until every sample has one; return whether all are as expected."""
    from thumbq.subscriber import Reset
    from thumbq.v1.job_pb2 import ThumbnailStatus

    started = monotonic()
    waiting = {sample.model_id: sample for sample in samples}
    unexpected = []
    async for item in subscriber:
        if isinstance(item, Reset) or item.model_id not in waiting:
            continue
        sample = waiting[item.model_id]
        ready = item.status == ThumbnailStatus.THUMBNAIL_STATUS_READY
        if not ready and item.status != ThumbnailStatus.THUMBNAIL_STATUS_FAILED:
            continue
        count = f"[{len(samples) - len(waiting) + 1:2}/{len(samples)}]"
        if ready:
            typer.echo(f"  {count} {typer.style('ready', fg='green')}   {sample.name}")
        elif item.will_retry:
            typer.echo(f"          retry   {sample.name}: {printable(item.error_message)}")
            continue
        else:
            typer.echo(f"  {count} {typer.style('failed', fg='red')}  {sample.name}: {printable(item.error_message)}")
        if ready is not sample.sound:
            unexpected.append(sample.name)
        del waiting[item.model_id]
        if not waiting:
            break
    _summarize(samples, unexpected, monotonic() - started)
    return not unexpected


def _summarize(samples: Sequence["Sample"], unexpected: Sequence[str], seconds: float) -> None:
    if unexpected:
        typer.secho(f"Not as expected: {', '.join(unexpected)}.", fg="red")
    else:
        sound = [sample for sample in samples if sample.sound]
        (corrupt,) = (sample.name for sample in samples if not sample.sound)
        typer.echo(f"{len(sound)} thumbnails are ready after {seconds:.0f} s; {corrupt} is corrupt on purpose.")


@asynccontextmanager
async def _service(
    folder: Path, http_port: int, grpc_port: int
) -> AsyncIterator[tuple[str, str, asyncio.subprocess.Process]]:
    """Run the service; yield the addresses of its page and its gRPC API, and its process. Raises DemoFailed."""
    ours = {DATA_DIR.variable: str(folder), HTTP_PORT.variable: str(http_port), GRPC_PORT.variable: str(grpc_port)}
    async with _child("service", ["-m", "thumbq_launcher"], folder, signal.SIGTERM, os.environ | ours) as process:
        assert process.stdout is not None
        output = ""
        try:
            async with asyncio.timeout(START_LIMIT):
                while not (found := re.search(r"(https?://\S+)[\s\S]*gRPC +(\S+)\n", output)):
                    if not (line := await process.stdout.readline()):
                        raise DemoFailed(f"The service did not start:\n{_last_lines(folder, 'service')}")
                    output += line.decode()
        except TimeoutError:
            raise DemoFailed(f"The service did not start within {START_LIMIT:g} s.") from None
        rest = asyncio.create_task(_discard(process.stdout))
        try:
            yield found[1], found[2], process
        finally:
            rest.cancel()


async def _discard(stream: asyncio.StreamReader) -> None:
    """Read a pipe to its end, so that it does not fill up."""
    while await stream.read(65536):
        pass


def _forget_settings() -> None:
    """Remove the settings of thumbq: the database, the store and the keys that they name are not for the demo."""
    for name in list(os.environ):
        if name == "PORT" or name.startswith(("THUMBQ_", "DATABASE_URL")):
            del os.environ[name]


def _worker(name: str, folder: Path, server: str) -> AbstractAsyncContextManager[asyncio.subprocess.Process]:
    options = {
        "server": server,
        "models": folder / "models",
        "thumbnail-root": folder / "thumbnails",
        "worker-id": name,
        "concurrency": 1,
    }
    program = ["-c", "from thumbq.cli import main; main()", "worker"]
    program += [f"--{option}={value}" for option, value in options.items()]
    return _child(name, program, folder, signal.SIGKILL, os.environ)


@asynccontextmanager
async def _child(
    name: str, program: Sequence[str], folder: Path, death_signal: signal.Signals, environment: Mapping[str, str]
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a Python program with its log in `folder`; it ends with the context, or with this process."""
    launcher = ["-c", _ENDING_WITH_PARENT, str(os.getpid()), str(int(death_signal))]
    with (folder / f"{name}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *launcher,
            "-P",
            *program,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE if name == "service" else log,
            stderr=log,
            # A Ctrl-C in the terminal reaches the demo alone, which then ends its children in order.
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_LIMIT)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _while_alive(
    children: Mapping[str, asyncio.subprocess.Process], work: Coroutine[Any, Any, T], folder: Path
) -> T:
    """Do the work. Raises DemoFailed if a child ends first."""
    task = asyncio.create_task(work)
    ends = {asyncio.create_task(child.wait()): name for name, child in children.items()}
    try:
        await asyncio.wait({task, *ends}, return_when=asyncio.FIRST_COMPLETED)
        for end, name in ends.items():
            if end.done() and not task.done():
                raise DemoFailed(f"{name} has ended (exit code {end.result()}):\n{_last_lines(folder, name)}")
        return await task
    finally:
        for unfinished in (task, *ends):
            unfinished.cancel()


def _last_lines(folder: Path, name: str) -> str:
    log = folder / f"{name}.log"
    return "\n".join([*log.read_text(errors="replace").splitlines()[-5:], f"(from {log})"])
