"""The demo: the whole service, two render workers and sample models, in one command."""

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

if TYPE_CHECKING:
    from thumbq.render.samples import Sample
    from thumbq.subscriber import Subscriber

T = TypeVar("T")

WORKERS = 2
# Seconds for the service to come up, for all thumbnails with --once, and for a child to end in good order.
START, PATIENCE, FAREWELL = 120.0, 600.0, 40.0

# Becomes the Python program in its arguments, which gets a signal when this process dies, however it dies.
_ENDING_WITH_PARENT = """
import ctypes, os, sys
parent, number, *program = sys.argv[1:]
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, int(number))
if os.getppid() == int(parent):
    os.execv(sys.executable, [sys.executable, *program])
"""


class DemoFailed(Exception):
    """Says in one sentence why the demo cannot go on."""


def demo(
    once: Annotated[bool, typer.Option("--once", help="End when every thumbnail is done; 0 if as expected.")] = False,
    data_dir: Annotated[Path, typer.Option(help="Folder of its database, models and thumbnails.")] = Path(
        "thumbq-data/demo"
    ),
    http_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the page; 0 is any free one.")] = 5009,
    grpc_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the gRPC API; 0 is any free one.")] = 50051,
) -> None:
    """Watch thumbnails of sample models appear in a browser; Ctrl-C ends it."""
    from thumbq.render.system_libraries import advice, missing_libraries

    try:
        if missing := missing_libraries():
            fail(advice(missing))
        data_dir.mkdir(parents=True, exist_ok=True)
        as_expected = asyncio.run(_until_stopped(data_dir.absolute(), http_port, grpc_port, once))
    except OSError as error:
        fail(f"{data_dir} cannot be used: {error.strerror}.")
    except (DemoFailed, ModuleNotFoundError) as error:
        fail(str(error))
    raise typer.Exit(0 if as_expected else 1)


async def _until_stopped(folder: Path, http_port: int, grpc_port: int, once: bool) -> bool:
    """Run the demo until it is done or a signal comes; a second signal ends it at once."""
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(130)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
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
        # force: also what an earlier demo has rendered is rendered for this one.
        jobs = [NewJob(model_id=sample.model_id, model_hash=sample.model_hash, force=True) for sample in samples]
        await producer.enqueue(jobs)
        try:
            async with asyncio.timeout(PATIENCE if once else None):
                as_expected = await _while_alive(children, _follow(subscriber, samples), folder)
        except TimeoutError:
            raise DemoFailed(f"Not all thumbnails are done after {PATIENCE:g} s.") from None
        if not once:
            typer.echo(f"The page stays live at {page} until Ctrl-C.")
            await _while_alive(children, asyncio.Event().wait(), folder)
        return as_expected


async def _follow(subscriber: "Subscriber", samples: Sequence["Sample"]) -> bool:
    """Print each outcome as it arrives, until every sample has one; whether all are as expected."""
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
            typer.echo(f"          retry   {sample.name}: {item.error_message}")
            continue
        else:
            typer.echo(f"  {count} {typer.style('failed', fg='red')}  {sample.name}: {item.error_message}")
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
    """The service, and where its page and its gRPC API are; raises DemoFailed."""
    # A demo renders into a database of its own, whatever the environment says about another.
    ours = {name: value for name, value in os.environ.items() if not _configures_thumbq(name)}
    ours |= {"THUMBQ_DATA_DIR": str(folder), "THUMBQ_HTTP_PORT": str(http_port), "THUMBQ_GRPC_PORT": str(grpc_port)}
    async with _child("service", ["-m", "thumbq_launcher"], folder, signal.SIGTERM, ours) as process:
        assert process.stdout is not None
        said = ""
        try:
            async with asyncio.timeout(START):
                while not (found := re.search(r"(http://\S+)[\s\S]*gRPC +(\S+)\n", said)):
                    if not (line := await process.stdout.readline()):
                        raise DemoFailed(f"The service did not start:\n{_last_lines(folder, 'service')}")
                    said += line.decode()
        except TimeoutError:
            raise DemoFailed(f"The service did not start within {START:g} s.") from None
        rest = asyncio.create_task(_swallow(process.stdout))
        try:
            yield found[1], found[2], process
        finally:
            rest.cancel()


async def _swallow(stream: asyncio.StreamReader) -> None:
    """Keep a pipe from filling up."""
    while await stream.read(65536):
        pass


def _configures_thumbq(name: str) -> bool:
    return name == "PORT" or name.startswith(("THUMBQ_", "DATABASE_URL"))


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
    """A Python program as a process, its log in `folder`; it is told to end with the context, or with this process."""
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
            # Ctrl-C is for the demo alone, which then ends its children in good order.
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), FAREWELL)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _while_alive(
    children: Mapping[str, asyncio.subprocess.Process], work: Coroutine[Any, Any, T], folder: Path
) -> T:
    """Do the work unless a child ends before it; raises DemoFailed."""
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
