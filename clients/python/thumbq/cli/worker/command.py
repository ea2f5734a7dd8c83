"""The reference worker: renders the models that jobs name."""

import asyncio
import logging
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from thumbq.cli.errors import fail, run
from thumbq.cli.worker.options import (
    Background,
    CameraPreset,
    Concurrency,
    Front,
    Gpu,
    MemoryLimit,
    MetricsHost,
    MetricsPort,
    Models,
    ModelSizeLimit,
    PictureFormat,
    Server,
    Size,
    ThumbnailRoot,
    ThumbnailStore,
    TimeLimit,
    Turntable,
    Up,
    WorkerId,
)
from thumbq.cli.worker.start import ended_by_sigterm, ended_in_order
from thumbq.connection import UnreadableKey, key_in_environment
from thumbq.log_events import event
from thumbq.render.formats import CAN_BE_DRAWN
from thumbq.tls import SECURE, Tls, UnusableCertificate
from thumbq_runtime.addresses import CannotListen, bare, free_port, reachable_address
from thumbq_runtime.files.objects import SCHEME
from thumbq_runtime.logs.level import LogLevel
from thumbq_runtime.logs.lines import LineFormatter, is_json, lines_handler, tell_of_lost_lines_as_json
from thumbq_runtime.logs.settings import LOG_LEVEL
from thumbq_runtime.logs.standard_streams import protect_standard_streams
from thumbq_runtime.process.lifecycle import on_hangups
from thumbq_runtime.settings.declaration import InvalidSetting

if TYPE_CHECKING:
    from thumbq.render.child import Limits
    from thumbq.render.jobs.model_files import ModelSource
    from thumbq.render.jobs.thumbnails import Thumbnails
    from thumbq.render.outputs import Outputs

_logger = logging.getLogger("thumbq.render")

HELP = (
    f"Render thumbnails of models; SIGTERM ends it after the jobs in hand. {CAN_BE_DRAWN}\n\n"
    "Example: thumbq worker --models ./models --thumbnail-root thumbq-data/thumbnails"
)

# Seconds that running jobs get after SIGTERM; the compose file grants ten more.
GRACE = 30.0
# systemd does not start a worker again that ends with this code.
WRONG_SETTING = 2


@ended_by_sigterm()
def worker(
    models: Models,
    thumbnail_root: ThumbnailRoot = None,
    thumbnail_store: ThumbnailStore = None,
    server: Server = "127.0.0.1:50051",
    concurrency: Concurrency = None,
    worker_id: WorkerId = None,
    time_limit: TimeLimit = 60,
    memory_limit: MemoryLimit = 2048,
    model_size_limit: ModelSizeLimit = 512,
    size: Size = None,
    picture_format: PictureFormat = "webp",
    background: Background = "transparent",
    camera: CameraPreset = "quarter",
    turntable: Turntable = 1,
    front: Front = 0.0,
    up: Up = None,
    gpu: Gpu = False,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = "127.0.0.1",
) -> None:
    """Render thumbnails of models; the help on the command line is HELP, which lists the formats."""
    if sys.platform != "linux":
        fail("The render worker needs Linux.")
    try:
        from thumbq.render.child import Limits
        from thumbq.render.jobs.model_files import model_source
        from thumbq.render.outputs import SIZE, Outputs, parse_up
    except ModuleNotFoundError as error:
        fail(f"The worker needs the extra 'render' ({error.name} is missing): pip install 'thumbq[render]'")
    try:
        source = _models_in_store(models) if models.startswith(SCHEME) else model_source(models)
        thumbnails = _thumbnails(thumbnail_store, thumbnail_root)
        metrics = None if metrics_port is None else _metrics_at(metrics_host, metrics_port)
        ground = None if background == "transparent" else background.lower()
        sizes = tuple(dict.fromkeys(size or (SIZE,)))
        outputs = Outputs(sizes, picture_format, ground, camera, turntable, front, parse_up(up or ()))
    except CannotListen as error:
        fail(str(error))
    except ValueError as error:
        fail(str(error), WRONG_SETTING)
    protect_standard_streams()
    level = _configure_log()
    _check_files(server)
    slots = concurrency or len(os.sched_getaffinity(0))
    limits = Limits(time_limit, memory_limit, model_size_limit)
    run(server, _work(server, worker_id, slots, source, thumbnails, limits, outputs, metrics, gpu, level))


def _check_files(server: str) -> None:
    """Fail when the worker could not connect with the files that the environment names."""
    try:
        key_in_environment()
        if server.startswith(SECURE):
            Tls.from_environment().credentials()
    except (UnreadableKey, UnusableCertificate) as problem:
        fail(f"{problem}.", WRONG_SETTING)


def _metrics_at(host: str, port: int) -> tuple[str, int]:
    free_port(host, port)
    return bare(host) or "0.0.0.0", port  # noqa: S104 - as for all our ports


def _models_in_store(models: str) -> "ModelSource":
    from thumbq.cli.worker.store import ModelsInStore

    return ModelsInStore(models)


def _thumbnails(store: str | None, root: Path | None) -> "Thumbnails":
    if store:
        from thumbq.cli.worker.store import ThumbnailObjects

        return ThumbnailObjects(store)
    if root is None:
        raise ValueError("Say where the thumbnails go: --thumbnail-root or --thumbnail-store.")
    from thumbq.cli.worker.folder import ThumbnailFolder

    return ThumbnailFolder(root)


async def _work(
    server: str,
    worker_id: str | None,
    concurrency: int,
    source: "ModelSource",
    thumbnails: "Thumbnails",
    limits: "Limits",
    outputs: "Outputs",
    metrics_at: tuple[str, int] | None,
    gpu: bool,
    level: LogLevel,
) -> None:
    from thumbq.render.child import RenderFailed
    from thumbq.render.drawing.renderer import Renderer
    from thumbq.render.jobs.events import JobEvents
    from thumbq.render.jobs.handler import ThumbnailMaker
    from thumbq.render.jobs.metrics import RenderMetrics
    from thumbq.render.system_libraries import advice, missing_libraries
    from thumbq.worker import Worker

    on_hangups(level.toggle)
    threads = max(1, len(os.sched_getaffinity(0)) // concurrency)
    async with AsyncExitStack() as stack:
        with ended_in_order():
            made = [Renderer(limits, threads, gpu=gpu) for _ in range(concurrency)]
            renderers = [await stack.enter_async_context(renderer) for renderer in made]
            try:
                await asyncio.gather(*(renderer.start() for renderer in renderers))
            except RenderFailed as failure:
                missing = await asyncio.to_thread(missing_libraries)
                fail(advice(missing) if missing else str(failure))
        _say_how_confined(renderers[0].confined)
        metrics = RenderMetrics()
        if metrics_at is not None:
            address = reachable_address(metrics_at[0], metrics.serve(*metrics_at))
            _logger.info("Metrics are at http://%s/metrics", address, extra=event("metrics.ready"))
        maker = ThumbnailMaker(source, thumbnails, renderers, outputs, JobEvents(server), metrics)
        async with Worker(server, worker_id=worker_id, concurrency=concurrency, grace=GRACE) as client:
            await client.run(maker)


def _configure_log() -> LogLevel:
    text = LineFormatter("%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        json_lines = is_json(os.environ)
        handler = lines_handler("worker", text, json_lines=json_lines)
        name = LOG_LEVEL.read(os.environ)
    except InvalidSetting as problem:
        fail(str(problem), WRONG_SETTING)
    if json_lines:
        tell_of_lost_lines_as_json("worker")
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    return LogLevel(name, logging.getLogger("thumbq").setLevel)


def _say_how_confined(confined: tuple[str, ...]) -> None:
    if confined[:1] in {("landlock",), ("namespaces",)}:
        _logger.info("The renderers are confined by %s", " and ".join(confined), extra=event("renderers.confined"))
    else:
        _logger.warning(
            "This system allows neither Landlock nor namespaces: that the renderers read no other files rests on the"
            " checks of the models alone (see docs/security.md)",
            extra=event("renderers.unconfined"),
        )
