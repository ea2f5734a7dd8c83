"""The reference worker: renders the models that jobs name."""

import asyncio
import logging
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from thumbq.cli.errors import fail, run
from thumbq_runtime.lines import LineFormatter
from thumbq_runtime.streams import protect_standard_streams

if TYPE_CHECKING:
    from thumbq.render.model_files import ModelFolder, ModelUrls
    from thumbq.render.renderer import Limits

# Seconds that running jobs get after SIGTERM; the compose file grants ten more.
GRACE = 30.0


def worker(
    models: Annotated[
        str,
        typer.Option(
            envvar="THUMBQ_MODELS",
            help="Where the model files are: a folder of <id>.glb, <id>-<name>.glb or <hash>.glb, or a URL such as"
            " https://host/models/{model_id}/file, which may also use {model_hash}.",
        ),
    ],
    thumbnail_root: Annotated[
        Path, typer.Option(envvar="THUMBQ_THUMBNAIL_ROOT", help="Folder that the thumbnails are written to.")
    ],
    server: Annotated[
        str, typer.Option(envvar="THUMBQ_SERVER", help="Address of the server's gRPC API.")
    ] = "127.0.0.1:50051",
    concurrency: Annotated[
        int | None, typer.Option(min=1, show_default="one per core", help="Models rendered at a time.")
    ] = None,
    worker_id: Annotated[
        str | None, typer.Option(show_default="host name and process id", help="Name of this worker.")
    ] = None,
    time_limit: Annotated[float, typer.Option(min=0.1, help="Seconds that one model may take.")] = 60,
    memory_limit: Annotated[int, typer.Option(min=512, help="MB that a renderer may use.")] = 2048,
    model_size_limit: Annotated[int, typer.Option(min=1, help="MB that a model file may have.")] = 512,
) -> None:
    """Render thumbnails of glTF, GLB, OBJ, STL, FBX and STEP models; SIGTERM ends it after the jobs in hand."""
    try:
        from thumbq.render.model_files import model_files
        from thumbq.render.renderer import Limits
    except ModuleNotFoundError as error:
        fail(f"The worker needs the extra 'render' ({error.name} is missing): pip install 'thumbq[render]'")
    try:
        source = model_files(models, model_size_limit << 20)
    except ValueError as error:
        fail(str(error))
    protect_standard_streams()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    slots = concurrency or len(os.sched_getaffinity(0))
    run(server, _work(server, worker_id, slots, source, thumbnail_root, Limits(time_limit, memory_limit)))


async def _work(
    server: str,
    worker_id: str | None,
    concurrency: int,
    source: "ModelFolder | ModelUrls",
    thumbnail_root: Path,
    limits: "Limits",
) -> None:
    from thumbq.render.handler import ThumbnailMaker
    from thumbq.render.renderer import Renderer, RenderFailed
    from thumbq.render.system_libraries import advice, missing_libraries
    from thumbq.render.thumbnails import ThumbnailFolder
    from thumbq.worker import Worker

    threads = max(1, len(os.sched_getaffinity(0)) // concurrency)
    async with AsyncExitStack() as stack:
        renderers = [await stack.enter_async_context(Renderer(limits, threads)) for _ in range(concurrency)]
        try:
            await asyncio.gather(*(renderer.start() for renderer in renderers))
        except RenderFailed as failure:
            missing = await asyncio.to_thread(missing_libraries)
            fail(advice(missing) if missing else str(failure))
        maker = ThumbnailMaker(source, ThumbnailFolder(thumbnail_root), renderers)
        async with Worker(server, worker_id=worker_id, concurrency=concurrency, grace=GRACE) as client:
            await client.run(maker)
