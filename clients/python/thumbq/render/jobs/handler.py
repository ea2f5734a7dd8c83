"""The job of the reference worker: fetch the model, draw it, store the pictures."""

import asyncio
import logging
from collections.abc import Sequence
from time import monotonic

from thumbq.log_events import event
from thumbq.outcome import JobFailed, Thumbnail
from thumbq.render.child import RenderFailed
from thumbq.render.drawing.renderer import Pictures, Renderer
from thumbq.render.intake.model import Model
from thumbq.render.jobs.events import JobEvents
from thumbq.render.jobs.metrics import RenderMetrics
from thumbq.render.jobs.model_files import ModelSource
from thumbq.render.jobs.thumbnails import NotStored, Thumbnails
from thumbq.render.outputs import DEFAULT, Outputs
from thumbq.v1.job_pb2 import Job

_logger = logging.getLogger("thumbq.render")


class ThumbnailMaker:
    """A handler for `thumbq.Worker`, for as many jobs at a time as there are renderers."""

    def __init__(
        self,
        models: ModelSource,
        thumbnails: Thumbnails,
        renderers: Sequence[Renderer],
        outputs: Outputs = DEFAULT,
        events: JobEvents | None = None,
        metrics: RenderMetrics | None = None,
    ) -> None:
        self._models = models
        self._thumbnails = thumbnails
        self._outputs = outputs
        self._events = events
        self._metrics = metrics or RenderMetrics()
        self._free: asyncio.LifoQueue[Renderer] = asyncio.LifoQueue()
        for renderer in renderers:
            self._free.put_nowait(renderer)

    async def __call__(self, job: Job) -> Thumbnail:
        """Make the thumbnail; raises JobFailed with one sentence."""
        started = monotonic()
        try:
            model, pictures = await self._render(job)
            paths = await self._store(job.model_hash.lower(), pictures)
        except RenderFailed as error:
            self._metrics.failed(error.reason)
            raise JobFailed(str(error), retryable=error.retryable) from error
        except NotStored as error:
            self._metrics.failed("storage")
            raise JobFailed(f"The thumbnail could not be stored: {error}") from error
        except OSError as error:
            # There is no room for a file that was fetched, or a process cannot be started.
            self._metrics.failed("storage")
            raise JobFailed(f"The worker could not work on the model: {error.strerror or error}.") from error
        self._metrics.rendered(pictures.seconds)
        await self._tell(job, model)
        took, size = monotonic() - started, len(pictures.files[0])
        _logger.info(
            "Job %d (model %d): %s drawn in %.1f s, %.0f kB",
            job.id,
            job.model_id,
            model.format,
            took,
            size / 1000,
            extra=event("job.drawn", job),
        )
        return Thumbnail(paths[0], size, self._outputs.sizes[0], self._outputs.sizes[0])

    async def _render(self, job: Job) -> tuple[Model, Pictures]:
        renderer = await self._free.get()
        try:
            with self._metrics.in_slot():
                model = await self._models.take(renderer.intake, job.model_id, job.model_hash)
                return model, await renderer.draw(model, self._outputs)
        finally:
            self._free.put_nowait(renderer)

    async def _store(self, model_hash: str, pictures: Pictures) -> list[str]:
        names = [self._outputs.file_name(model_hash, size) for size in self._outputs.sizes]
        return [await self._thumbnails.keep(*pair) for pair in zip(names, pictures.files, strict=True)]

    async def _tell(self, job: Job, model: Model) -> None:
        for remark in model.remarks:
            _logger.warning("Job %d (model %d): %s", job.id, job.model_id, remark, extra=event("job.remark", job))
        if self._events and model.remarks:
            await self._events.remark(job.id, model.remarks)
